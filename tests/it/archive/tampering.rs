//! Archives that somebody altered, deleted from, truncated, reordered, replayed or signed anew: each is told.

use std::path::Path;

use actorline::seal::{Digest, SealKey};

use super::place::{Archive, Verified};
use crate::lake::rows::commit_range;

/// What is done to an archive, and the checks of which at least one must tell it.
type Kind = (&'static str, &'static [&'static str], fn(&Archive));

/// Told without any anchor.
const TOLD: [Kind; 38] = [
    ("a byte of a data file is altered", &["files"], |a| alter(&a.data_file(3), 100)),
    ("a data file is longer", &["files"], |a| append(&a.data_file(3), b"x")),
    ("a data file is cut off", &["files"], |a| cut_off(&a.data_file(3), 10)),
    ("a data file is empty", &["files"], |a| std::fs::write(a.data_file(3), b"").expect("written")),
    ("a data file is gone", &["files"], |a| remove(&a.data_file(4))),
    ("two data files have changed places", &["files"], |a| swap(&a.data_file(1), &a.data_file(6))),
    ("a data file is an older one", &["files"], |a| replay(&a.data_file(3), &a.data_file(5))),
    ("a generation is altered", &["files"], |a| alter(&a.lake().join("generations/0123456789ab"), 3)),
    ("a generation is gone", &["files"], |a| remove(&a.lake().join("generations/0123456789ab"))),
    ("a byte of a commit is altered", &["log"], |a| alter(&a.commit(3), 30)),
    ("a commit names another file", &["log"], |a| edit(&a.commit(3), "parquet", "parquex")),
    ("a commit moves another position", &["log"], |a| edit(&a.commit(3), r#""version":4"#, r#""version":9"#)),
    ("a commit has one more line", &["log"], |a| append(&a.commit(3), b"{\"remove\":{\"path\":\"x\"}}\n")),
    ("a commit is cut off", &["log"], |a| cut_off(&a.commit(3), 5)),
    ("a commit is gone", &["log"], |a| remove(&a.commit(3))),
    ("the first commit is gone", &["log"], |a| remove(&a.commit(0))),
    ("two commits have changed places", &["log"], |a| swap(&a.commit(3), &a.commit(5))),
    ("a commit is an older one", &["log"], |a| replay(&a.commit(3), &a.commit(5))),
    ("a byte of a statement is altered", &["seals", "signatures"], |a| alter(&a.seal(3), 200)),
    ("a statement says other rows", &["signatures"], |a| edit(&a.seal(3), r#""rows":4"#, r#""rows":3"#)),
    ("a byte of a signature is altered", &["signatures"], |a| alter_signature(&a.seal(3))),
    ("the newest signature is taken away", &["signatures"], |a| take_signature(&a.seal(a.newest()))),
    ("a seal is longer", &["seals"], |a| append(&a.seal(8), b"\n")),
    ("a seal is cut off", &["seals"], |a| cut_off(&a.seal(8), 1)),
    ("a seal is gone", &["seals"], |a| remove(&a.seal(3))),
    ("two seals that follow each other are gone", &["seals"], |a| {
        remove(&a.seal(3));
        remove(&a.seal(4));
    }),
    ("all seals are gone", &["seals"], |a| {
        std::fs::remove_dir_all(a.lake().join("seals")).expect("removed");
    }),
    ("a version is gone, with its seal and its commit", &["seals"], |a| {
        remove(&a.seal(3));
        remove(&a.commit(3));
    }),
    ("two seals have changed places", &["seals"], |a| swap(&a.seal(3), &a.seal(5))),
    ("a seal is an older one", &["seals"], |a| replay(&a.seal(3), &a.seal(8))),
    ("something else lies among the seals", &["seals"], |a| {
        std::fs::write(a.lake().join("seals/00000000000000000003.json.bak"), b"").expect("written");
    }),
    ("a seal is signed with another key", &["signatures"], |a| a.seal_anew(8, &stranger(), |_| {})),
    ("the whole chain is signed with another key", &["signatures"], |a| a.seal_anew(0, &stranger(), |_| {})),
    ("a seal of another lake stands in", &["seals"], |a| {
        a.seal_anew(8, &a.key, |statement| statement.table = "another".to_string());
    }),
    ("a version is sealed in a chain of its own", &["seals"], |a| {
        let mut statement = a.statement(8);
        statement.previous = Some(Digest::of(b"elsewhere"));
        write_seal(a, &statement);
    }),
    ("rows are taken out and sealed anew with the true key", &["log", "completeness", "files", "rows"], |a| {
        a.seal_anew(4, &a.key, |statement| {
            statement.files.pop();
        });
    }),
    (
        "a commit is taken out of the chain, and all after it are sealed anew with the true key",
        &["completeness"],
        |a| {
            take_out(a, 6);
        },
    ),
    ("a shortcut past the log is planted", &["shortcuts"], |a| {
        let log = a.lake().join("activities/_delta_log");
        std::fs::write(log.join("00000000000000000000.00000000000000000008.compacted.json"), b"{}").expect("written");
    }),
];

/// Told by an anchor alone: who has the key and the lake can do these.
const TOLD_BY_ANCHOR: [Kind; 4] = [
    ("the end is cut off", &["anchor"], |a| {
        for version in [7, 8] {
            remove(&a.seal(version));
            remove(&a.commit(version));
        }
    }),
    ("only the newest version is cut off", &["anchor"], |a| {
        remove(&a.seal(8));
        remove(&a.commit(8));
    }),
    ("the chain is sealed anew with the true key", &["anchor"], |a| {
        a.seal_anew(1, &a.key, |statement| statement.writer = "actorline/9".to_string());
    }),
    ("the newest seal is sealed anew with the true key", &["anchor"], |a| {
        a.seal_anew(8, &a.key, |statement| statement.sealed_at = "2024-03-01T00:00:00Z".to_string());
        a.seal_anew(8, &a.key, |statement| statement.next_within_ms = None);
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_tampering_is_told() {
    let clean = Archive::new();
    clean.fill().await;
    assert_eq!(clean.verify(&[]).code(), 0, "{}", clean.verify(&[]).lines());
    for (what, checks, tamper) in TOLD {
        let archive = clean.copy();
        tamper(&archive);
        assert_told(what, checks, &archive.verify(&[]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_an_anchor_tells_is_told_with_one() {
    let clean = Archive::new();
    clean.fill().await;
    for (what, checks, tamper) in TOLD_BY_ANCHOR {
        let archive = clean.copy();
        tamper(&archive);
        // What the docs say of it: without an anchor nothing shows.
        let plain = archive.verify(&[]);
        assert_eq!(plain.code(), 0, "{what} shows without an anchor, so say so: {}", plain.lines());
        assert_told(what, checks, &archive.verify_anchored());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_cut_off_shows_once_a_heartbeat_is_overdue() {
    let archive = Archive::new();
    archive.fill().await;
    // Three hours have passed since.
    archive.seal_anew(8, &archive.key, |statement| statement.sealed_at = "2024-03-01T00:00:00Z".to_string());
    assert_told("an overdue heartbeat", &["end"], &archive.verify(&[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_planted_beside_a_running_writer_are_told() {
    let archive = Archive::new();
    archive.fill().await;
    // Somebody without the key commits as a writer would, and leaves the sealing to the next one who has it.
    let stranger = Archive::new();
    let mut settings = archive.settings();
    settings.key = Some(std::sync::Arc::clone(&stranger.key));
    settings.anchor = None;
    let planter = actorline::sink::lake::Lake::open_with(&archive.location(), settings).await.expect("a lake");
    commit_range(&planter, 0, 41, 45).await.expect("a commit");
    remove(&archive.seal(9));
    commit_range(&archive.open().await, 0, 45, 46).await.expect("a commit");
    assert_told("a planted commit", &["signatures"], &archive.verify_anchored());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_hides_rows_is_told() {
    let clean = Archive::new();
    clean.fill().await;
    let lake = clean.open().await;
    while clean.newest() < 100 {
        lake.heartbeat(false).await.expect("a heartbeat");
    }
    let checkpoint =
        |archive: &Archive| archive.lake().join("activities/_delta_log/00000000000000000100.checkpoint.parquet");
    // One of a lake that never had the rows of version 8.
    let other = Archive::new();
    let lake = other.open().await;
    while other.newest() < 100 {
        lake.heartbeat(false).await.expect("a heartbeat");
    }
    let archive = clean.copy();
    replay(&checkpoint(&other), &checkpoint(&archive));
    assert_told("another lake's checkpoint", &["shortcuts"], &archive.verify(&[]));
    let archive = clean.copy();
    cut_off(&checkpoint(&archive), 100);
    assert_told("a checkpoint cut off", &["shortcuts"], &archive.verify(&[]));
    let archive = clean.copy();
    let last = archive.lake().join("activities/_delta_log/_last_checkpoint");
    edit(&last, r#""version":100"#, r#""version":50"#);
    assert_told("a hint to nowhere", &["shortcuts"], &archive.verify(&[]));
}

fn assert_told(what: &str, checks: &[&str], verified: &Verified) {
    assert_eq!(verified.code(), 1, "{what}: {}", verified.lines());
    let found = verified.checks("finding");
    assert!(found.iter().any(|check| checks.contains(&check.as_str())), "{what}: {}", verified.lines());
}

fn stranger() -> SealKey {
    SealKey::generate().expect("a key").0
}

/// Makes the versions after `version` follow the one before it, as somebody with the key can.
fn take_out(archive: &Archive, version: u64) {
    for version in version..archive.newest() {
        std::fs::rename(archive.commit(version + 1), archive.commit(version)).expect("moved");
        let mut statement = archive.statement(version + 1);
        statement.version = version;
        let before = std::fs::read(archive.seal(version - 1)).expect("a seal");
        statement.previous = Some(Digest::of(&before));
        write_seal(archive, &statement);
    }
    remove(&archive.seal(archive.newest()));
}

fn write_seal(archive: &Archive, statement: &actorline::seal::Statement) {
    let seal = actorline::seal::encode(statement, Some(&archive.key)).expect("a seal");
    std::fs::write(archive.seal(statement.version), seal).expect("written");
}

fn alter(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

fn append(path: &Path, more: &[u8]) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes.extend_from_slice(more);
    std::fs::write(path, bytes).expect("written");
}

fn cut_off(path: &Path, num_bytes: usize) {
    let bytes = std::fs::read(path).expect("readable");
    std::fs::write(path, &bytes[..bytes.len() - num_bytes]).expect("written");
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("removed");
}

fn swap(one: &Path, other: &Path) {
    let (first, second) = (std::fs::read(one).expect("readable"), std::fs::read(other).expect("readable"));
    std::fs::write(one, second).expect("written");
    std::fs::write(other, first).expect("written");
}

fn replay(older: &Path, newer: &Path) {
    std::fs::copy(older, newer).expect("copied");
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("readable");
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

fn alter_signature(path: &Path) {
    let text = std::fs::read_to_string(path).expect("readable");
    let at = text.find(r#""signature":""#).expect("a signature") + 20;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    std::fs::write(path, format!("{}{other}{}", &text[..at], &text[at + 1..])).expect("written");
}

fn take_signature(path: &Path) {
    let text = std::fs::read_to_string(path).expect("readable");
    let statement = text.split_inclusive('\n').next().expect("a statement");
    std::fs::write(path, statement).expect("written");
}
