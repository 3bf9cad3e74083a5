//! `archive retain`: what is old enough goes and what is held stays, and `archive verify` tells a deletion that was lawful
//! from one that was not, and from a loss.

use std::collections::BTreeMap;

use actorline::archive::compact::compact;
use actorline::archive::retain::retain;
use actorline::seal::{Change, Deletion, Leaves};
use actorline::sink::lake::{Lake, LiveFile, Rewrite, reread};

use super::place::Archive;
use super::upkeep::{A_YEAR, SMALL, aged, alter, assert_told, assert_valid, now, older_than_a_year, run};
use crate::lake::rows::{ask, commit_range};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_enough_goes_lawfully_and_what_is_held_stays() {
    let kept: [(&[&str], usize); 6] = [
        (&[], 0),
        (&["source=okta_system"], 49),
        (&["source=another"], 0),
        (&["identity=u-1"], 49),
        (&["time=2024-03-02.."], 10),
        (&["time=..2024-03-01T00:00:03Z", "time=2024-03-02..", "source=another"], 16),
    ];
    for (holds, num_kept) in kept {
        let archive = aged().await;
        let lake = archive.open().await;
        retain(&lake, &older_than_a_year(holds)).await.expect("deleted");
        let rows = ask(&archive.open().await, "SELECT count(*) FROM activities").await;
        assert_eq!(rows, num_kept.to_string(), "{holds:?}");
        let verified = assert_valid(&archive);
        assert_eq!(verified.lines().contains("deleted lawfully"), num_kept < 49, "{}", verified.lines());
        // What stayed is compacted, what comes is appended, and once nothing holds it the rest goes.
        compact(&lake, &SMALL).await.expect("compacted");
        commit_range(&lake, 0, 41, 44).await.expect("a commit");
        assert_valid(&archive);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sealed_lately_stays_however_old_its_rows_say_that_they_are() {
    let archive = Archive::new();
    archive.fill().await;
    let output = run(&archive, "retain", &["--older-than", "365d"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(archive.newest(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let archive = aged().await;
    let output = run(&archive, "retain", &["--older-than", "365d", "--hold", "time=2024-03-02..", "--dry-run"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(r#""rows_deleted":39"#) && said.contains(r#""rows_held":10"#), "{said}");
    assert_eq!(archive.newest(), 8);
}

/// Deletes every file of `archive` with this reason, as somebody with the key can.
async fn delete_all(lake: &Lake, before: jiff::Timestamp, spare: usize) {
    let history = lake.history().await.expect("a history");
    let removed: Vec<LiveFile> = history.live.values().cloned().collect();
    let mut leaves: BTreeMap<u64, Leaves> = BTreeMap::new();
    for file in &removed {
        let (_, of_file) = reread::rows(lake.store().as_ref(), file).await.expect("rows");
        let known = leaves.entry(file.file.origins[0]).or_default();
        of_file.into_iter().for_each(|(partition, rows)| known.entry(partition).or_default().extend(rows));
    }
    let rows = leaves.values_mut().flat_map(Leaves::values_mut).next().expect("rows");
    rows.truncate(rows.len() - spare);
    let leaves = lake.keep_leaves(&leaves).await.expect("kept");
    let deletion = Deletion { before: before.to_string(), holds: Vec::new(), leaves };
    let change = Change { deletion: Some(deletion), ..Change::default() };
    lake.rewrite(&history, Rewrite { operation: "DELETE", removed, added: Vec::new(), change })
        .await
        .expect("a commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_no_lawful_one_is_told() {
    let a_year_ago = || now() - jiff::SignedDuration::try_from(A_YEAR).expect("a year");
    let in_a_day = || now() + jiff::SignedDuration::from_hours(24);
    let archive = aged().await;
    delete_all(&archive.open().await, a_year_ago(), 0).await;
    assert_valid(&archive);

    let young = Archive::new();
    young.fill().await;
    for before in [a_year_ago(), in_a_day()] {
        let archive = young.copy();
        delete_all(&archive.open().await, before, 0).await;
        assert_told(&archive.verify(&[]), &["completeness"]);
    }
    let archive = aged().await;
    delete_all(&archive.open().await, a_year_ago(), 1).await;
    assert_told(&archive.verify(&[]), &["rows"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_is_told_after_a_deletion_too() {
    let clean = aged().await;
    retain(&clean.open().await, &older_than_a_year(&["time=2024-03-02.."])).await.expect("deleted");
    let leaves = |archive: &Archive| {
        let change = archive.statement(9).change.expect("a change");
        archive.lake().join(change.deletion.expect("a deletion").leaves.path)
    };
    assert_valid(&clean);
    for spoil in [
        |leaves: &std::path::Path, _: &Archive| alter(leaves),
        |leaves: &std::path::Path, _: &Archive| std::fs::remove_file(leaves).expect("removed"),
        |_: &std::path::Path, archive: &Archive| {
            let held = std::fs::read_dir(archive.lake().join("activities/received_date=2024-03-02")).expect("a day");
            held.for_each(|file| std::fs::remove_file(file.expect("a file").path()).expect("removed"));
        },
    ] {
        let archive = clean.copy();
        spoil(&leaves(&archive), &archive);
        assert_told(&archive.verify(&[]), &["files"]);
    }
}
