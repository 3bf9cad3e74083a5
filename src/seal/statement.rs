//! A seal: what one version of the table brought, bound to all that came before it, and signed.
//!
//! A seal is an object of one or two lines. The first is the statement, the second its signature, over the bytes of the
//! first as they stand; a seal without a key has no second line. The digest of the whole object stands in the next seal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::Change;
use super::digest::Digest;
use super::key::{PublicKey, SealKey};
use super::leaf::Leaves;
use super::merkle::root_of;
use crate::checkpoint::{Advance, TopicPartition};

/// The form of seals of commits that only add, and of those that remove files as well. Who reads only the first
/// refuses the second; a lake that was never rewritten stays readable to it.
const FORM: u32 = 1;
const FORM_OF_REWRITES: u32 = 2;

/// What a seal says. Unknown keys are refused: a newer form has another number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`Kind::form`].
    pub seal: u32,
    /// The table's id, so that the seal of one lake is none in another.
    pub table: String,
    pub version: u64,
    pub kind: Kind,
    /// The digest of the seal before; only version 0 has none.
    pub previous: Option<Digest>,
    /// The table's commit of this version, as it is stored.
    pub commit: Stored,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<Uuid>,
    /// The consumer group whose positions the commit moved; empty where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SealedFile>,
    /// Paths of the files that readers see no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Mappings and registries that were kept beside the table since this writer's last seal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<SealedGeneration>,
    /// Why a commit is [`Kind::Foreign`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub sealed_by: SealedBy,
    /// RFC 3339. The sealer's clock: for people, nothing is decided by it but whether a heartbeat is overdue.
    pub sealed_at: String,
    /// Another seal follows within so many milliseconds; without it nothing is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_within_ms: Option<u64>,
    pub writer: String,
}

/// What kind of commit it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The table was made, or got columns.
    Table,
    /// Rows were added, and positions moved.
    Append,
    /// Files were put in the place of others; each row that was sealed before is still there.
    Rewrite,
    /// Rows went because their time was over; their leaves were kept.
    Deletion,
    /// Nothing came: the archive ends here, and somebody watches.
    Heartbeat,
    /// Not what a writer of this program commits, or no longer what it committed. Sealed as it was found, so that the
    /// chain goes on; never valid.
    Foreign,
}

impl Kind {
    /// Whether it removes files, and its rows are those of commits before.
    pub const fn is_rewrite(self) -> bool {
        matches!(self, Kind::Rewrite | Kind::Deletion)
    }

    /// The form of its seals.
    pub const fn form(self) -> u32 {
        if self.is_rewrite() { FORM_OF_REWRITES } else { FORM }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealedBy {
    /// Who committed, from what it wrote.
    Committer,
    /// Somebody who came later and read the files again, because the committer died in between.
    Successor,
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub sha256: Digest,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedFile {
    /// Relative to the table.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    pub sha256: Digest,
    /// The versions that brought its rows, if a rewrite put them here; else its own did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedGeneration {
    pub name: String,
    pub sha256: Digest,
}

/// The rows that one commit brought of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    pub partition: i32,
    /// What the commit took the partition through. Files have no positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Span>,
    pub rows: u64,
    /// Over what arrived, in the order of offset and index.
    pub raw_root: Digest,
    /// Over what was derived, in the same order.
    pub derived_root: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub from: i64,
    pub to: i64,
    /// Up to here nobody read the records, and an operator went on without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<i64>,
    /// Offsets inside that the broker never delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<(i64, i64)>,
}

/// A signature, as the second line holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The id of the key.
    pub key: String,
    /// Base64.
    pub signature: String,
}

impl Signature {
    pub fn of(message: &[u8], key: &SealKey) -> Signature {
        Signature { key: key.public().id(), signature: key.sign(message) }
    }

    /// Whether one of `keys` made it over `message`.
    pub fn is_by_any(&self, keys: &[PublicKey], message: &[u8]) -> bool {
        keys.iter().any(|key| key.verifies(message, &self.signature))
    }
}

/// A seal as it was read.
#[derive(Clone, Debug)]
pub struct Seal {
    pub statement: Statement,
    /// What the signature is over.
    pub signed: Vec<u8>,
    pub signature: Option<Signature>,
}

/// Writes a seal.
///
/// # Errors
/// Only if the statement cannot be JSON, which its types rule out.
pub fn encode(statement: &Statement, key: Option<&SealKey>) -> Result<Vec<u8>, serde_json::Error> {
    let mut seal = serde_json::to_vec(statement)?;
    let signature = key.map(|key| Signature::of(&seal, key));
    seal.push(b'\n');
    if let Some(signature) = signature {
        serde_json::to_writer(&mut seal, &signature)?;
        seal.push(b'\n');
    }
    Ok(seal)
}

/// Reads a seal. Anything beside its lines is refused.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Seal, String> {
    let text = bytes.strip_suffix(b"\n").ok_or("it does not end with a line end")?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let signed = lines.next().unwrap_or_default();
    let signature = lines.next().map(serde_json::from_slice).transpose();
    let signature = signature.map_err(|error| format!("its signature is unreadable: {error}"))?;
    if lines.next().is_some() {
        return Err("it has more than two lines".to_string());
    }
    let statement: Statement =
        serde_json::from_slice(signed).map_err(|error| format!("its statement is unreadable: {error}"))?;
    let form = statement.kind.form();
    if statement.seal != form {
        return Err(format!("it has form `{}`, and its kind has `{form}`", statement.seal));
    }
    Ok(Seal { statement, signed: signed.to_vec(), signature })
}

/// What a commit's rows and advances come to, by partition. Puts the leaves into order.
pub fn ranges(advances: &BTreeMap<TopicPartition, Advance>, leaves: &mut Leaves) -> Vec<Range> {
    for partition in advances.keys() {
        leaves.entry(partition.clone()).or_default();
    }
    let range = |(partition, rows): (&TopicPartition, &mut Vec<super::leaf::RowLeaf>)| {
        rows.sort_unstable();
        let advance = advances.get(partition);
        Range {
            topic: partition.topic.to_string(),
            topic_id: partition.topic_id.as_ref().map(ToString::to_string),
            partition: partition.partition,
            advance: advance.map(|advance| Span {
                from: advance.from.0,
                to: advance.to.0,
                gap: advance.gap.map(|end| end.0),
                undelivered: advance.undelivered.clone(),
            }),
            rows: rows.len() as u64,
            raw_root: root_of(rows.iter().map(|row| row.raw)),
            derived_root: root_of(rows.iter().map(|row| row.derived)),
        }
    };
    leaves.iter_mut().map(range).collect()
}

impl Range {
    pub fn partition(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.as_str().into(),
            topic_id: self.topic_id.as_deref().map(Into::into),
            partition: self.partition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            seal: FORM,
            table: "t".to_string(),
            version: 3,
            kind: Kind::Heartbeat,
            previous: Some(Digest::of(b"before")),
            commit: Stored { sha256: Digest::of(b"commit"), bytes: 6 },
            commit_id: None,
            group: None,
            files: Vec::new(),
            removed: Vec::new(),
            change: None,
            ranges: Vec::new(),
            generations: Vec::new(),
            why: None,
            sealed_by: SealedBy::Committer,
            sealed_at: "2024-03-01T00:00:00Z".to_string(),
            next_within_ms: None,
            writer: "test".to_string(),
        }
    }

    #[test]
    fn a_seal_is_read_as_it_was_written() {
        let (key, _) = SealKey::generate().expect("a key");
        let seal = decode(&encode(&statement(), Some(&key)).expect("a seal")).expect("a seal");
        assert_eq!(seal.statement, statement());
        let signature = seal.signature.expect("a signature");
        assert_eq!(signature.key, key.public().id());
        assert!(signature.is_by_any(&[key.public().clone()], &seal.signed));
        let (other, _) = SealKey::generate().expect("a key");
        assert!(!signature.is_by_any(&[other.public().clone()], &seal.signed));
    }

    #[test]
    fn nothing_may_stand_beside_a_seal() {
        let (key, _) = SealKey::generate().expect("a key");
        let seal = encode(&statement(), Some(&key)).expect("a seal");
        for spoiled in [
            [&seal[..], b"\n"].concat(),
            [&seal[..], b"x"].concat(),
            [&seal[..], &seal].concat(),
            seal[..seal.len() - 1].to_vec(),
            String::from_utf8_lossy(&seal).replacen("{\"seal\"", "{\"more\":1,\"seal\"", 1).into_bytes(),
            String::from_utf8_lossy(&seal).replacen("\"version\":3", "\"version\":3,\"version\":4", 1).into_bytes(),
            String::from_utf8_lossy(&seal).replacen("\"seal\":1", "\"seal\":2", 1).into_bytes(),
        ] {
            decode(&spoiled).expect_err("refused");
        }
    }
}
