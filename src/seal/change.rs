//! What a rewrite did to rows that were sealed before: nothing but where they lie, other derived columns, or an end.

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

impl Derived {
    pub fn partition(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.as_str().into(),
            topic_id: self.topic_id.as_deref().map(Into::into),
            partition: self.partition,
        }
    }
}
