//! What a rewrite did to rows that were sealed before: nothing but where they lie, other derived columns, other rows in the
//! place of rejected ones, or an end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::statement::SealedFile;
use crate::checkpoint::TopicPartition;

/// What a rewrite says of the rows of the files that it removes. A compaction says nothing: they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// New roots of what was derived, for each range whose rows were derived anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Derived>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<Redriven>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
}

/// What is derived of one range from now on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// The version that brought the range.
    pub version: u64,
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    pub partition: i32,
    pub derived_root: Digest,
}

/// Rejected rows that gave way to the rows of their records' events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redriven {
    pub by: Redriver,
    /// The batch, as the group's positions have it; each comes once, and they go up.
    pub number: i64,
    /// The object with what is left of the rows that went, relative to the lake.
    pub rejected: SealedFile,
    /// Each range that had some of them, as it is from now on.
    pub ranges: Vec<Recut>,
}

/// Whose dead letters: numbers of batches are those of one consumer group of one Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redriver {
    pub group: String,
    /// The cluster's id.
    pub cluster: String,
}

/// A range with other rows than it came with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recut {
    /// The version that brought the range.
    pub version: u64,
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    pub partition: i32,
    pub rows: u64,
    pub raw_root: Digest,
    pub derived_root: Digest,
}

/// Rows that went because their time was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// RFC 3339. Everything in the removed files was received, and sealed, before this time.
    pub before: String,
    /// What had to stay, as it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// The object with the leaves of the rows that went, relative to the lake.
    pub leaves: SealedFile,
}

impl Change {
    /// The ranges, by the version that brought them, that have other roots from now on.
    pub fn ranges(&self) -> BTreeSet<(u64, TopicPartition)> {
        let derived = self.derived.iter().map(|derived| (derived.version, derived.partition()));
        let recut = self.redriven.iter().flat_map(|redriven| &redriven.ranges);
        derived.chain(recut.map(|range| (range.version, range.partition()))).collect()
    }
}

impl Derived {
    pub fn new(version: u64, partition: &TopicPartition, derived_root: Digest) -> Derived {
        Derived {
            version,
            topic: partition.topic.to_string(),
            topic_id: partition.topic_id.as_ref().map(ToString::to_string),
            partition: partition.partition,
            derived_root,
        }
    }

    pub fn partition(&self) -> TopicPartition {
        partition(&self.topic, self.topic_id.as_deref(), self.partition)
    }
}

impl Recut {
    pub fn partition(&self) -> TopicPartition {
        partition(&self.topic, self.topic_id.as_deref(), self.partition)
    }
}

fn partition(topic: &str, topic_id: Option<&str>, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), topic_id: topic_id.map(Into::into), partition }
}
