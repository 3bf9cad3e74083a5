//! The record: bytes as an input delivered them, with the position that they came from.

use std::fmt;
use std::sync::Arc;

/// Where a record stands in its input: Kafka's coordinates, or a file's path, 0 and the byte offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A header of a Kafka record. Values are bytes and may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// One record as it was read.
#[derive(Clone, Debug)]
pub struct RawRecord {
    pub position: Position,
    /// Kafka's topic UUID. Positions are kept under it, so that a recreated topic is another topic.
    pub topic_id: Option<Arc<str>>,
    /// Microseconds since 1970, as the broker has it; files have none.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    /// None is Kafka's tombstone.
    pub value: Option<Vec<u8>>,
}
