//! Clean archives are never reported, however they came to be; what cannot be checked is never called valid.

use std::time::Duration;

use actorline::seal::{Kind, SealedBy};
use actorline::sink::lake::{Commit, Lake, LakeError, SealSettings};
use futures::future::join_all;

use super::place::Archive;
use crate::lake::rows::{at, batch, commit_range, is_committed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_archive_is_valid_with_and_without_its_anchors() {
    let archive = Archive::new();
    archive.fill().await;
    let anchored = archive.verify_anchored();
    assert_eq!(anchored.code(), 0, "{}", anchored.lines());
    assert!(anchored.lines().contains("the newest seal is anchored"), "{}", anchored.lines());
    assert!(!anchored.lines().contains("by another than its writer"), "{}", anchored.lines());
    let plain = archive.verify(&[]);
    assert_eq!(plain.code(), 0, "{}", plain.lines());
    let said =
        "who holds the signing key can have written the whole chain anew, and the newest seals can have been cut off";
    assert!(plain.lines().contains(said), "{}", plain.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_was_written_down_is_an_anchor() {
    let archive = Archive::new();
    archive.fill().await;
    let lines = archive.verify(&[]).lines();
    let (_, rest) = lines.split_once("the newest is ").expect("the newest seal is told");
    let anchor = rest.split('"').next().expect("an anchor");
    commit_range(&archive.open().await, 1, 8, 9).await.expect("a commit");
    let verified = archive.verify(&["--anchor", anchor]);
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    assert!(verified.lines().contains("the 1 after it are not covered"), "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_were_not_checked_are_not_called_valid() {
    let archive = Archive::new();
    archive.fill().await;
    let verified = archive.verify_with(&[]);
    assert_eq!((verified.code(), verified.checks("unchecked")), (4, vec!["signatures".to_string()]));
    let verified = archive.verify_with(&["--unsigned"]);
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_not_called_valid() {
    let archive = Archive::new();
    archive.fill().await;
    let nowhere = archive.verify(&["--anchor", "/nowhere/at/all"]);
    assert_eq!((nowhere.code(), nowhere.checks("unchecked")), (4, vec!["anchor".to_string()]), "{}", nowhere.lines());
    // A folder where a file should be gives an error of its own kind, and not that there is none.
    let file = archive.data_file(3);
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder");
    let verified = archive.verify(&[]);
    assert_ne!(verified.code(), 0, "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_seals_become_signed_ones_from_a_version_on() {
    let archive = Archive::new();
    let unsigned = Lake::open(&archive.location()).await.expect("a lake");
    commit_range(&unsigned, 0, 0, 5).await.expect("a commit");
    commit_range(&archive.open().await, 0, 5, 6).await.expect("a commit");
    let verified = archive.verify(&[]);
    assert_eq!((verified.code(), verified.checks("finding")), (1, vec!["signatures".to_string(); 2]));
    let verified = archive.verify(&["--signed-since", "2"]);
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_commit_and_seal_is_healed_by_the_next_writer() {
    let archive = Archive::new();
    archive.fill().await;
    // As after a crash: the last commits are there, their seals are not.
    for version in [7, 8] {
        std::fs::remove_file(archive.seal(version)).expect("a seal");
    }
    std::fs::remove_dir_all(archive.anchors()).expect("anchors");
    let lake = archive.open().await;
    assert_eq!(commit_range(&lake, 0, 41, 45).await.expect("a commit"), Commit::Committed { version: 9 });
    let healed = archive.statement(8);
    assert_eq!((healed.kind, healed.sealed_by), (Kind::Append, SealedBy::Successor));
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    assert!(verified.lines().contains("by another than its writer"), "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_before_it_could_be_healed_is_never_valid() {
    for spoil in [
        |archive: &Archive| std::fs::write(archive.data_file(8), b"other").expect("written"),
        |archive: &Archive| std::fs::remove_file(archive.data_file(8)).expect("removed"),
        |archive: &Archive| {
            let commit = std::fs::read_to_string(archive.commit(8)).expect("a commit");
            let signed = commit.replacen("\"dataChange\":true", "\"dataChange\":false", 1);
            std::fs::write(archive.commit(8), signed).expect("written");
        },
    ] {
        let archive = Archive::new();
        archive.fill().await;
        spoil(&archive);
        let statement = archive.statement(8);
        std::fs::remove_file(archive.seal(8)).expect("a seal");
        commit_range(&archive.open().await, 0, 41, 45).await.expect("a commit");
        assert_eq!(archive.statement(8).kind, Kind::Foreign, "{statement:?}");
        let verified = archive.verify(&[]);
        assert_eq!(verified.code(), 1, "{}", verified.lines());
        assert!(verified.checks("finding").contains(&"log".to_string()), "{}", verified.lines());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_sealed_is_not_called_valid() {
    let archive = Archive::new();
    archive.fill().await;
    std::fs::remove_file(archive.seal(8)).expect("a seal");
    let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let commit = std::fs::File::options().write(true).open(archive.commit(8)).expect("a commit");
    commit.set_modified(an_hour_ago).expect("made older");
    let verified = archive.verify(&[]);
    assert_eq!((verified.code(), verified.checks("unchecked")), (4, vec!["end".to_string()]), "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_commit_together_make_one_chain() {
    let archive = Archive::new();
    let settings = || SealSettings { patience: Duration::from_secs(10), ..archive.settings() };
    let writers = (0..8).map(|number| {
        let (location, settings) = (archive.location(), settings());
        tokio::spawn(async move {
            let lake = Lake::open_with(&location, settings).await.expect("a lake");
            for round in 0..5 {
                let commit = commit_range(&lake, number, round * 10, round * 10 + 10).await.expect("an answer");
                assert!(is_committed(&commit), "{commit:?}");
                lake.heartbeat(round == 4).await.expect("a heartbeat");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("no panic");
    }
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    assert!(verified.lines().contains("400 rows, all as sealed"), "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_positions_are_sealed_too_and_may_be_read_twice() {
    let archive = Archive::new();
    let lake = archive.open().await;
    for _ in 0..2 {
        let files = lake.write_files(&[batch(&[at(0), at(90)])]).await.expect("files");
        lake.commit("", files, &Default::default()).await.expect("a commit");
    }
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_lake_gets_heartbeats_and_the_last_one_promises_nothing() -> Result<(), LakeError> {
    let archive = Archive::new();
    let lake = archive.open().await;
    commit_range(&lake, 0, 0, 1).await?;
    lake.heartbeat(false).await?;
    assert_eq!((archive.statement(2).kind, archive.statement(2).next_within_ms), (Kind::Heartbeat, Some(10_810_000)));
    // Another instance is at work: that shows as much.
    commit_range(&archive.open().await, 1, 0, 1).await?;
    lake.heartbeat(false).await?;
    assert_eq!(archive.newest(), 3);
    lake.heartbeat(true).await?;
    assert_eq!((archive.newest(), archive.statement(4).next_within_ms), (4, None));
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_that_the_log_bears_out_are_no_findings() {
    let archive = Archive::new();
    archive.fill().await;
    let lake = archive.open().await;
    while archive.newest() < 101 {
        lake.heartbeat(false).await.expect("a heartbeat");
    }
    assert!(archive.lake().join("activities/_delta_log/00000000000000000100.checkpoint.parquet").exists());
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

#[test]
fn keys_are_made_for_their_owner_alone_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (private, public) = (folder.path().join("seal.pem"), folder.path().join("seal.pub.pem"));
    let make = || {
        let command =
            std::process::Command::new(env!("CARGO_BIN_EXE_actorline")).args(["archive", "key"]).arg(&private).output();
        command.expect("actorline starts").status.code()
    };
    assert_eq!(make(), Some(0));
    let made = std::fs::read_to_string(&private).expect("a key");
    let key = actorline::seal::SealKey::from_pem(&made).expect("a key");
    assert_eq!(std::fs::read_to_string(&public).expect("a key"), key.public().to_pem());
    assert_eq!(std::fs::metadata(&private).expect("a key").permissions().mode() & 0o777, 0o600);
    assert_eq!((make(), std::fs::read_to_string(&private).expect("a key")), (Some(4), made));
}
