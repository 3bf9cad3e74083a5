//! A commit of the table's log against its seal: the same bytes, and nothing in them that the seal does not name.

use std::collections::BTreeMap;

use object_store::ObjectStore;
use object_store::path::Path;

use super::chain::read;
use super::report::{Check, Report};
use super::{Options, Signatures};
use crate::checkpoint::{Advance, NextOffset, TopicPartition};
use crate::seal::{CommitEntry, Digest, Kind, Seal, SealedBy, Statement, name_of};
use crate::sink::lake::TABLE;

/// Reads the commit that `seal` is of. None if it is not as it was sealed, which is reported.
pub(super) async fn check(
    store: &dyn ObjectStore,
    seal: &Seal,
    options: &Options,
    report: &mut Report,
) -> Option<CommitEntry> {
    let statement = &seal.statement;
    let name = name_of(statement.version);
    let version = Some(statement.version);
    let path = Path::from_iter([TABLE, "_delta_log", &name]);
    let bytes = match read(store, &path).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            report.finding(Check::Log, version, Some(path.as_ref()), "the commit is gone");
            return None;
        }
        Err(error) => {
            report.unchecked(Check::Log, version, Some(path.as_ref()), error);
            return None;
        }
    };
    let found = Digest::of(&bytes);
    if found != statement.commit.sha256 || bytes.len() as u64 != statement.commit.bytes {
        let detail = format!("the commit has the sha256 `{found}`, not `{}`", statement.commit.sha256);
        report.finding(Check::Log, version, Some(path.as_ref()), detail);
        return None;
    }
    if statement.kind == Kind::Foreign {
        return None;
    }
    let commit = match CommitEntry::parse(&bytes) {
        Ok(commit) => commit,
        Err(why) => {
            report.finding(Check::Log, version, Some(path.as_ref()), format!("the commit cannot be read: {why}"));
            return None;
        }
    };
    for difference in differences(statement, &commit) {
        report.finding(Check::Log, version, Some(path.as_ref()), difference);
    }
    // Its writer signed the seal of its own commit. Of another's commit only its claim says that it was a writer's.
    if statement.sealed_by == SealedBy::Successor
        && let Signatures::By { keys, since } = &options.signatures
        && statement.version >= *since
    {
        let is_signed = commit.signed_claim.as_ref().is_some_and(|claim| {
            let signature = claim.signature.as_ref();
            signature.is_some_and(|signature| signature.is_by_any(keys, claim.statement.as_bytes()))
        });
        if !is_signed && statement.kind != Kind::Heartbeat {
            let detail =
                "was sealed by another than its writer, and no given key signed what it claims: it may be planted";
            report.finding(Check::Signatures, version, Some(path.as_ref()), detail);
        }
    }
    Some(commit)
}

/// In what a commit and its seal say different things, though the seal is of these very bytes.
fn differences(statement: &Statement, commit: &CommitEntry) -> Vec<String> {
    let mut differences = Vec::new();
    if commit.kind() != Some(statement.kind) {
        let actions = commit.unknown.join(", ");
        differences.push(format!("is no commit of kind {:?} {actions}", statement.kind));
    }
    if commit.sealed_files().as_ref() != Some(&statement.files) {
        differences.push("does not add the files that its seal names".to_string());
    }
    if commit.sealed_removals() != statement.removed {
        differences.push("does not remove the files that its seal names".to_string());
    }
    if commit.claim.as_ref().and_then(|claim| claim.change.as_ref()) != statement.change.as_ref() {
        differences.push("does not claim the change that its seal names".to_string());
    }
    if let Some(claim) = &commit.claim {
        if claim.ranges != statement.ranges || Some(claim.commit_id) != statement.commit_id {
            differences.push("does not claim the rows that its seal names".to_string());
        }
        if Some(claim.actions) != commit.actions {
            differences.push("has other actions than it claims".to_string());
        }
    }
    let sealed: BTreeMap<TopicPartition, Advance> = statement
        .ranges
        .iter()
        .filter_map(|range| {
            let span = range.advance.as_ref()?;
            let (from, to) = (NextOffset(span.from), NextOffset(span.to));
            let (gap, undelivered) = (span.gap.map(NextOffset), span.undelivered.clone());
            Some((range.partition(), Advance { from, to, gap, undelivered }))
        })
        .collect();
    if sealed != commit.advances || commit.group != statement.group {
        differences.push("does not advance the partitions as its seal says".to_string());
    }
    if !commit.moves_as_it_says() {
        differences.push("leaves the table at other positions than its seal says".to_string());
    }
    differences
}
