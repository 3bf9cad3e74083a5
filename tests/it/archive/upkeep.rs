//! `archive compact` and `vacuum`, and all upkeep that is killed: the rows stay what they are, and `archive verify` tells
//! everything else.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use actorline::archive::compact::{self, compact};
use actorline::archive::hold::Hold;
use actorline::archive::retain::{self, retain};
use actorline::archive::vacuum::{self, VacuumError, Why, vacuum};
use actorline::seal::{Anchor, Change, Digest, Kind, SealedBy};
use actorline::sink::lake::{Lake, LiveFile, Rewrite, Rewritten};

use super::place::{Archive, Verified};
use crate::lake::rows::{Row, advance, ask, at, batch, commit_range, is_committed};

pub(super) const ALL: &str = "SELECT * FROM activities ORDER BY input_partition, input_offset, input_index";

pub(super) const SMALL: compact::Options = compact::Options { target_file_bytes: 134_217_728 };

/// A long time after the rows and the seals of an aged archive.
pub(super) const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

pub(super) fn assert_valid(archive: &Archive) -> Verified {
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    verified
}

pub(super) fn assert_told(verified: &Verified, checks: &[&str]) {
    let told = verified.checks("finding");
    assert_eq!(verified.code(), 1, "{}", verified.lines());
    assert!(told.iter().any(|check| checks.contains(&check.as_str())), "{checks:?}: {}", verified.lines());
}

/// The command with the archive's key and place of anchors.
pub(super) fn run(archive: &Archive, command: &str, arguments: &[&str]) -> Output {
    start(archive, command, arguments).output().expect("actorline starts")
}

fn start(archive: &Archive, command: &str, arguments: &[&str]) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_actorline"));
    process.args(["archive", command, "--format", "ndjson", "--lake"]).arg(archive.lake());
    process.arg("--seal-key").arg(archive.lake().with_file_name("seal.pem"));
    process.arg("--anchor").arg(archive.anchors()).args(arguments);
    process
}

/// An archive whose seals were made soon after its rows came.
pub(super) async fn aged() -> Archive {
    let archive = Archive::new();
    archive.fill().await;
    for version in 0..=archive.newest() {
        archive.seal_anew(version, &archive.key, |statement| {
            statement.sealed_at = "2024-03-03T00:00:00Z".to_string();
            statement.next_within_ms = None;
        });
    }
    anchor_anew(&archive).await;
    archive
}

pub(super) fn older_than_a_year(holds: &[&str]) -> retain::Options {
    let holds = holds.iter().map(|hold| hold.parse::<Hold>().expect("a hold")).collect();
    retain::Options { older_than: A_YEAR, now: now(), holds, dry_run: false }
}

async fn live(lake: &Lake) -> Vec<LiveFile> {
    lake.history().await.expect("a history").live.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_leaves_the_same_rows_in_fewer_files() {
    let archive = Archive::new();
    archive.fill().await;
    let lake = archive.open().await;
    let before = ask(&lake, ALL).await;
    assert_eq!(live(&lake).await.len(), 8);
    let done = compact(&lake, &SMALL).await.expect("compacted");
    assert_eq!(done.iter().map(|it| (it.num_files_before, it.num_files_after)).collect::<Vec<_>>(), [(7, 1)]);
    assert_eq!(ask(&archive.open().await, ALL).await, before);
    assert_eq!(live(&lake).await.len(), 2);
    let sealed = archive.statement(9);
    assert_eq!((sealed.kind, sealed.sealed_by, sealed.removed.len()), (Kind::Rewrite, SealedBy::Committer, 7));
    assert_valid(&archive);
    assert_eq!(compact(&lake, &SMALL).await.expect("compacted"), [], "a second time nothing is left to do");
    // Later commits and a later compaction go on from there.
    commit_range(&lake, 0, 41, 44).await.expect("a commit");
    compact(&lake, &SMALL).await.expect("compacted");
    assert_eq!(live(&lake).await.len(), 2);
    assert_valid(&archive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_after_a_compaction_is_as_the_log_says() {
    let archive = Archive::new();
    archive.fill().await;
    let lake = archive.open().await;
    let before = ask(&lake, ALL).await;
    compact(&lake, &SMALL).await.expect("compacted");
    while archive.newest() < 101 {
        lake.heartbeat(false).await.expect("a heartbeat");
    }
    assert!(archive.lake().join("activities/_delta_log/00000000000000000100.checkpoint.parquet").exists());
    assert_valid(&archive);
    assert_eq!(ask(&archive.open().await, ALL).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_two_groups_never_share_a_file() {
    let archive = Archive::new();
    let lake = archive.open().await;
    for group in ["one", "two"] {
        for from in [0, 5] {
            let rows: Vec<Row<'_>> = (from..from + 5).map(at).collect();
            let files = lake.write_files(&[batch(&rows)]).await.expect("files");
            assert!(is_committed(&lake.commit(group, files, &advance(0, from, from + 5)).await.expect("a commit")));
        }
    }
    // Nor do files that were read twice, which have no positions.
    for _ in 0..2 {
        let files = lake.write_files(&[batch(&[at(0), at(90)])]).await.expect("files");
        lake.commit("", files, &BTreeMap::new()).await.expect("a commit");
    }
    let before = ask(&lake, ALL).await;
    let done = compact(&lake, &SMALL).await.expect("compacted");
    assert_eq!(done.iter().map(|it| it.num_files_before).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(live(&lake).await.len(), 4);
    assert_eq!(ask(&lake, ALL).await, before);
    assert_valid(&archive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_goes_on_beside_a_writer_and_beside_another_one() {
    let archive = Archive::new();
    archive.fill().await;
    let (location, settings) = (archive.location(), archive.settings());
    let writer = tokio::spawn(async move {
        let settings = actorline::sink::lake::SealSettings { patience: Duration::from_secs(10), ..settings };
        let lake = Lake::open_with(&location, settings).await.expect("a lake");
        for from in (41..141).step_by(4) {
            assert!(is_committed(&commit_range(&lake, 0, from, from + 4).await.expect("a commit")));
        }
    });
    while !writer.is_finished() {
        let (one, other) = (run_compact(&archive), run_compact(&archive));
        let (one, other) = tokio::join!(one, other);
        assert!(one && other);
    }
    writer.await.expect("no panic");
    assert!(run_compact(&archive).await);
    let lake = archive.open().await;
    assert_eq!(live(&lake).await.len(), 2);
    assert_eq!(
        ask(&lake, "SELECT count(*), count(DISTINCT input_offset) FROM activities WHERE input_partition = 0").await,
        "141,139"
    );
    assert_valid(&archive);
}

async fn run_compact(archive: &Archive) -> bool {
    let mut process = start(archive, "compact", &[]);
    let output =
        tokio::task::spawn_blocking(move || process.output().expect("actorline starts")).await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    output.status.success()
}

/// Wherever it dies, the archive is valid, and the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upkeep_that_is_killed_leaves_a_valid_archive() {
    for (command, arguments) in [
        ("compact", &[][..]),
        ("retain", &["--older-than", "365d", "--hold", "time=2024-03-02.."][..]),
        ("vacuum", &["--older-than", "1d"][..]),
    ] {
        let archive = aged().await;
        if command == "vacuum" {
            compact(&archive.open().await, &SMALL).await.expect("compacted");
            make_old(&archive).await;
        }
        let before = ask(&archive.open().await, ALL).await;
        for delay_ms in (0..200).step_by(8) {
            let mut process = start(&archive, command, arguments).spawn().expect("actorline starts");
            std::thread::sleep(Duration::from_millis(delay_ms));
            process.kill().expect("killed");
            process.wait().expect("ended");
            let verified = archive.verify_anchored();
            assert_eq!(verified.code(), 0, "{command} after {delay_ms} ms: {}", verified.lines());
        }
        let output = run(&archive, command, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_valid(&archive);
        let after = ask(&archive.open().await, ALL).await;
        match command {
            "retain" => assert_eq!(after.split(';').count(), 10, "{after}"),
            _ => assert_eq!(after, before),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_whose_writer_died_before_its_seal_is_sealed_by_the_next() {
    let archive = aged().await;
    let lake = archive.open().await;
    compact(&lake, &SMALL).await.expect("compacted");
    retain(&lake, &older_than_a_year(&["time=2024-03-02.."])).await.expect("deleted");
    for version in [9, 10] {
        std::fs::remove_file(archive.seal(version)).expect("a seal");
    }
    std::fs::remove_dir_all(archive.anchors()).expect("anchors");
    commit_range(&archive.open().await, 0, 41, 44).await.expect("a commit");
    let sealed = [9, 10].map(|version| (archive.statement(version).kind, archive.statement(version).sealed_by));
    assert_eq!(sealed, [(Kind::Rewrite, SealedBy::Successor), (Kind::Deletion, SealedBy::Successor)]);
    assert_valid(&archive);
}

/// The checks of which one must tell it, and what is done.
type Spoil = (&'static [&'static str], fn(&Archive));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_is_told_after_a_compaction_too() {
    let clean = Archive::new();
    clean.fill().await;
    compact(&clean.open().await, &SMALL).await.expect("compacted");
    let spoil: [Spoil; 5] = [
        (&["files"], |a| alter(&a.data_file(9))),
        (&["files"], |a| std::fs::remove_file(a.data_file(9)).expect("removed")),
        (&["log"], |a| alter(&a.commit(9))),
        (&["seals"], |a| std::fs::remove_file(a.seal(3)).expect("removed")),
        (&["log", "rows"], |a| {
            a.seal_anew(9, &a.key, |statement| {
                statement.files[0].origins.pop();
            });
        }),
    ];
    for (checks, spoil) in spoil {
        let archive = clean.copy();
        spoil(&archive);
        assert_told(&archive.verify(&[]), checks);
    }
}

pub(super) fn alter(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[100] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// A name, and what is done to rows.
type Other = (&'static str, fn(&mut Vec<Row<'static>>));

/// Who holds the key can commit and seal anything, and still not make other rows those that were sealed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_with_other_rows_is_told_though_it_is_signed() {
    let changes: [Other; 3] = [
        ("a row less", |rows| {
            rows.pop();
        }),
        ("another actor", |rows| rows[0].actor = "u-2"),
        ("another row in its place", |rows| rows[0].offset = 3),
    ];
    for (what, change) in changes {
        let archive = Archive::new();
        let lake = archive.open().await;
        commit_range(&lake, 0, 0, 5).await.expect("a commit");
        let history = lake.history().await.expect("a history");
        let mut rows: Vec<Row<'_>> = (0..5).map(at).collect();
        change(&mut rows);
        let added = lake.write_files(&[batch(&rows)]).await.expect("files").into_iter().map(|file| (file, vec![1]));
        let removed = history.live.values().cloned().collect();
        let rewrite = Rewrite { operation: "OPTIMIZE", removed, added: added.collect(), change: Change::default() };
        assert_eq!(lake.rewrite(&history, rewrite).await.expect("a commit"), Rewritten::Committed { version: 2 });
        let verified = archive.verify_anchored();
        assert!(
            verified.code() == 1 && verified.checks("finding").contains(&"rows".to_string()),
            "{what}: {}",
            verified.lines()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_rewritten_of_an_archive_that_is_not_as_it_was_sealed() {
    let clean = Archive::new();
    clean.fill().await;
    let spoil: [fn(&Archive); 5] = [
        |a| {
            let commit = std::fs::read_to_string(a.commit(3)).expect("a commit");
            let other = commit.replacen("\"dataChange\":true", "\"dataChange\":false", 1);
            std::fs::write(a.commit(3), other).expect("written");
        },
        |a| alter(&a.data_file(3)),
        |a| alter(&a.commit(3)),
        |a| alter(&a.seal(3)),
        |a| std::fs::remove_file(a.data_file(3)).expect("removed"),
    ];
    for spoil in spoil {
        let archive = clean.copy();
        spoil(&archive);
        assert!(!run(&archive, "compact", &[]).status.success());
        assert_eq!(archive.newest(), 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_of_two_rewrites_of_a_file_gives_way() {
    let archive = Archive::new();
    archive.fill().await;
    let lake = archive.open().await;
    let stale = lake.history().await.expect("a history");
    compact(&archive.open().await, &SMALL).await.expect("compacted");
    let removed = stale.live.values().cloned().collect();
    let rewrite = Rewrite { operation: "DELETE", removed, added: Vec::new(), change: Change::default() };
    assert!(matches!(lake.rewrite(&stale, rewrite).await.expect("an answer"), Rewritten::Overtaken { .. }));
    assert_valid(&archive);
}

/// Forgets the anchors of the seals that there were, and anchors the newest of those that are there.
async fn anchor_anew(archive: &Archive) {
    std::fs::remove_dir_all(archive.anchors()).expect("anchors");
    let newest = archive.newest();
    let seal = Digest::of(&std::fs::read(archive.seal(newest)).expect("a seal"));
    let anchor = Anchor::new(&archive.statement(newest).table, newest, seal);
    archive.settings().anchor.expect("a place").publish(&anchor).await.expect("published");
}

/// Makes every object ten days older, and the seals' times too.
async fn make_old(archive: &Archive) {
    let then = std::time::SystemTime::now() - Duration::from_secs(10 * 86_400);
    let mut folders = vec![archive.lake()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                std::fs::File::options().append(true).open(path).expect("a file").set_modified(then).expect("older");
            }
        }
    }
    for version in 9..=archive.newest() {
        archive.seal_anew(version, &archive.key, |statement| {
            statement.sealed_at = jiff::Timestamp::try_from(then).expect("a time").to_string();
        });
    }
    anchor_anew(archive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_no_reader_sees_and_nobody_waits_for_is_vacuumed() {
    let archive = aged().await;
    let lake = archive.open().await;
    compact(&lake, &SMALL).await.expect("compacted");
    let before = ask(&lake, ALL).await;
    let orphan = lake.write_files(&[batch(&[at(90)])]).await.expect("files").remove(0).path;
    let options = |now| vacuum::Options {
        older_than: Duration::from_secs(86_400),
        now,
        anchor: archive.settings().anchor,
        dry_run: false,
    };
    assert_eq!(vacuum(&lake, &options(now())).await.expect("nothing"), [], "all of it is young");

    // A commit that is there and not sealed yet names its files as well.
    commit_range(&lake, 0, 41, 44).await.expect("a commit");
    let unsealed = archive.data_file(10);
    std::fs::remove_file(archive.seal(10)).expect("a seal");
    std::fs::remove_dir_all(archive.anchors()).expect("anchors");
    let later = now() + jiff::SignedDuration::from_hours(48);
    let gone = vacuum(&lake, &options(later)).await.expect("vacuumed");
    let orphans: Vec<_> = gone.iter().filter(|it| it.why == Why::Orphan).map(|it| it.path.clone()).collect();
    assert_eq!(orphans, [format!("activities/{orphan}")]);
    assert_eq!(gone.iter().filter(|it| it.why == Why::Replaced).count(), 7);
    assert!(unsealed.exists());
    let after =
        ask(&archive.open().await, &ALL.replace(" ORDER", " WHERE input_offset < 41 OR input_partition > 0 ORDER"))
            .await;
    assert_eq!(after, before);
    commit_range(&archive.open().await, 0, 44, 45).await.expect("a commit");
    assert_valid(&archive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_vacuumed_where_the_anchors_know_another_chain() {
    let archive = Archive::new();
    archive.fill().await;
    let lake = archive.open().await;
    compact(&lake, &SMALL).await.expect("compacted");
    archive.seal_anew(9, &archive.key, |statement| statement.writer = "actorline/9".to_string());
    let later = now() + jiff::SignedDuration::from_hours(48);
    let options = vacuum::Options {
        older_than: Duration::from_secs(86_400),
        now: later,
        anchor: archive.settings().anchor,
        dry_run: false,
    };
    assert!(matches!(vacuum(&archive.open().await, &options).await, Err(VacuumError::OtherChain(9))));
    assert!(archive.data_file(1).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_without_the_key_of_a_signed_lake_is_refused() {
    let archive = Archive::new();
    archive.fill().await;
    for command in [&["compact"][..], &["retain", "--older-than", "1d"], &["vacuum"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
            .args(["archive", command[0], "--lake"])
            .arg(archive.lake())
            .args(&command[1..])
            .output()
            .expect("actorline starts");
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let nowhere = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(["archive", "compact", "--lake"])
        .arg(archive.lake().join("none"))
        .output();
    assert_eq!(nowhere.expect("actorline starts").status.code(), Some(3));
    assert!(!archive.lake().join("none").exists());
}
