//! An anchor: the newest seal's digest, for a second place that whoever can rewrite the lake cannot rewrite.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The form of anchors that this program writes and reads.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Anchor {
    anchor: u32,
    /// The table's id: a second place may hold the anchors of several lakes.
    pub table: String,
    pub version: u64,
    /// The digest of the seal of that version, and with it of everything before.
    pub seal: Digest,
}

impl Anchor {
    pub fn new(table: &str, version: u64, seal: Digest) -> Anchor {
        Anchor { anchor: FORMAT, table: table.to_string(), version, seal }
    }
}
