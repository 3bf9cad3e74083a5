//! Positions: how far a partition has been taken.
//!
//! Every position in this program is a [`NextOffset`]: the offset of the next record to read. Ranges end before
//! theirs. One meaning everywhere is what keeps "last processed" and "next to process" from being mixed up.

use std::fmt;
use std::sync::Arc;

/// The offset of the next record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl NextOffset {
    /// The position after the record at `offset`.
    pub const fn after(offset: i64) -> NextOffset {
        NextOffset(offset + 1)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of an input, under the topic's UUID where the broker gives one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub topic_id: Option<Arc<str>>,
    pub partition: i32,
}

/// What one commit takes a partition through: from a position up to, not including, another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    pub from: NextOffset,
    pub to: NextOffset,
    /// Up to here the broker had deleted what lay from `from` on before it was read, and an operator said to go on
    /// without it: the archive has a gap there, and says so.
    pub gap: Option<NextOffset>,
    /// Ranges `[start, end)` inside `from..to` that the broker never delivered: transaction markers, compaction.
    pub undelivered: Vec<(i64, i64)>,
}
