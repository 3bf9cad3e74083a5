//! Where anchors go: a Kafka topic, or objects at another URL.
//!
//! An anchor is worth as much as its place is out of reach of those who can write to the lake. Writing one may fail
//! without harm: the next one covers everything that the lost one covered.

mod topic;
mod url;

use super::error::{Cause, LakeError};
use super::location::LakeLocation;
use crate::seal::Anchor;

/// A second place for the digests of seals.
#[derive(Debug)]
pub enum AnchorPlace {
    Topic(topic::Topic),
    Url(url::Folder),
}

/// Why anchors could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} `{place}`")]
pub struct AnchorError {
    doing: &'static str,
    place: String,
    source: Cause,
}

impl AnchorPlace {
    /// A topic, reached by a client with these settings.
    ///
    /// # Errors
    /// If the client refuses its settings.
    pub fn topic(client: &rdkafka::ClientConfig, topic: &str) -> Result<AnchorPlace, AnchorError> {
        topic::Topic::new(client, topic).map(AnchorPlace::Topic)
    }

    /// A folder or bucket other than the lake's.
    ///
    /// # Errors
    /// If no store has such an address.
    pub fn url(location: &LakeLocation) -> Result<AnchorPlace, LakeError> {
        url::Folder::new(location).map(AnchorPlace::Url)
    }

    /// Writes `anchor`. Nothing that is there is changed.
    pub async fn publish(&self, anchor: &Anchor) -> Result<(), AnchorError> {
        match self {
            AnchorPlace::Topic(topic) => topic.publish(anchor).await,
            AnchorPlace::Url(folder) => folder.publish(anchor).await,
        }
    }

    /// Every anchor of the table with this id.
    pub async fn read(&self, table: &str) -> Result<Vec<Anchor>, AnchorError> {
        match self {
            AnchorPlace::Topic(topic) => topic.read(table).await,
            AnchorPlace::Url(folder) => folder.read(table).await,
        }
    }
}
