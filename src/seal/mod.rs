//! What makes a lake's commit provable: leaves of rows, Merkle roots over them, signed statements in a chain, keys.
//!
//! Everything here is plain and without I/O: the same rows give the same roots, and the same bytes are the same seal,
//! whoever looks. `sink::lake` writes seals, `archive` checks them.

mod anchor;
mod change;
mod commit;
mod digest;
mod key;
pub mod leaf;
mod merkle;
mod origin;
mod statement;

pub use self::anchor::Anchor;
pub use self::change::{Change, Deletion, Derived, Recut, Redriven, Redriver};
pub use self::commit::{AddedFile, Claim, CommitEntry, ORIGINS_TAG, SHA256_TAG, SignedClaim, newest_received};
pub use self::digest::Digest;
pub use self::key::{KeyError, PublicKey, SealKey};
pub use self::leaf::{Leaves, RowLeaf};
pub use self::merkle::{MerkleTree, root_of};
pub use self::origin::{LeavesByOrigin, Origins, split_by_origin};
pub use self::statement::{
    Kind, Range, Seal, SealedBy, SealedFile, SealedGeneration, Signature, Span, Statement, Stored, decode, encode,
    ranges,
};

/// The folder of the seals in a lake.
pub const FOLDER: &str = "seals";

/// The name of the seal of `version`; names sort as versions do.
pub fn name_of(version: u64) -> String {
    format!("{version:020}.json")
}

/// The version whose seal has this name.
pub fn version_of(name: &str) -> Option<u64> {
    let version = name.strip_suffix(".json")?.parse().ok()?;
    (name_of(version) == name).then_some(version)
}
