//! The swap: all of it or nothing of it, beside whoever else writes, and an archive that is as provable as before.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actorline::archive::verify::Verdict;
use actorline::checkpoint::NextOffset;
use actorline::pipeline::replay::{Applied, Selection};
use actorline::sink::lake::{Lake, LakeLocation, SealSettings};

use super::place::{GROUP, acme, after, append, apply, before, event, partition, place, plan, record, verified};
use crate::lake::rows::ask;
use crate::lake_s3::Gateway;

const EVERYTHING: &str = "SELECT count(*), count(DISTINCT input_offset), count(DISTINCT raw) FROM activities";
const NUM_ROUNDS: u32 = 8;

const BY_TYPE: &str = "SELECT actor_type, count(*) FROM activities GROUP BY ALL ORDER BY 1";

async fn replayed(location: &LakeLocation) {
    let lake = Lake::open(location).await.expect("a lake");
    let mut records: Vec<_> = (0..30).map(|offset| record(offset, &event(offset))).collect();
    records[7] = record(7, "{");
    append(&lake, &before(), &records).await;
    let evidence = "SELECT sum(input_offset), count(DISTINCT raw), min(received_time), max(received_time), \
                    count(DISTINCT input_topic_id) FROM activities";
    let evidence_before = ask(&lake, evidence).await;

    let everything = Selection::default();
    let planned = plan(&lake, &after(), &everything).await;
    let applied = apply(&lake, &after(), &everything, planned).await;
    assert!(matches!(applied, Applied::Swapped { version: 2, num_files: 3 }), "{applied:?}");
    assert_eq!(ask(&lake, BY_TYPE).await, "service_account,29;unknown,1");
    assert_eq!(ask(&lake, evidence).await, evidence_before);
    let generations = "SELECT count(DISTINCT mapping_version) FROM activities WHERE status <> 'rejected'";
    assert_eq!(ask(&lake, generations).await, "1");
    // Appends go on where they were.
    let again = Lake::open(location).await.expect("a lake");
    assert_eq!(again.positions(GROUP).await.expect("positions").get(&partition()), Some(NextOffset(30)));
    append(&again, &before(), &[record(30, &event(30))]).await;
    assert_eq!(ask(&again, EVERYTHING).await, "31,31,31");

    let report = verified(location).await;
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    // Once more, and nothing is left to do but the new row.
    let planned = plan(&again, &after(), &everything).await;
    assert_eq!((planned.changes.num_changed, planned.num_files_affected()), (1, 1));
}

#[tokio::test]
async fn what_was_derived_changes_and_what_arrived_stays() {
    let (folder, location) = place();
    replayed(&location).await;
    let kept = folder.path().join("lake/generations").join(after().generation());
    assert_eq!(fs::read(kept).expect("the generation is kept"), after().generation_document());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_object_store_as_well() {
    let Some(gateway) = Gateway::start() else { return };
    replayed(&gateway.lake()).await;
}

#[tokio::test]
async fn what_no_mapping_recognised_is_mapped() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let elsewhere = crate::rows::normalizer("other", &acme("human", "").replace("acme", "other"));
    append(&lake, &elsewhere, &[record(0, &event(0))]).await;
    assert_eq!(ask(&lake, "SELECT status, source FROM activities").await, "unmapped,unrecognised");
    let everything = Selection::default();
    let planned = plan(&lake, &after(), &everything).await;
    apply(&lake, &after(), &everything, planned).await;
    assert_eq!(ask(&lake, "SELECT status, source, issues IS NULL FROM activities").await, "mapped,acme,true");
}

#[tokio::test]
async fn appends_come_in_between_and_another_rewrite_does_not() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    append(&lake, &before(), &[record(0, &event(0))]).await;
    let everything = Selection::default();
    let (first, second) = (plan(&lake, &after(), &everything).await, plan(&lake, &after(), &everything).await);
    // Another instance, with a view of its own.
    let other = Lake::open(&location).await.expect("a lake");
    append(&other, &before(), &[record(1, &event(1))]).await;
    let applied = apply(&lake, &after(), &everything, first).await;
    assert!(matches!(applied, Applied::Swapped { .. }), "{applied:?}");
    assert_eq!(ask(&lake, BY_TYPE).await, "human,1;service_account,1");

    let applied = apply(&other, &after(), &everything, second).await;
    assert!(matches!(applied, Applied::Conflict { .. }), "{applied:?}");
    assert_eq!(ask(&lake, EVERYTHING).await, "2,2,2");
}

/// Whoever comes next reads both sides again before it vouches for them.
#[tokio::test]
async fn a_swap_that_was_not_sealed_is_sealed_by_the_next_writer() {
    for is_altered in [false, true] {
        let (folder, location) = place();
        let lake = Lake::open(&location).await.expect("a lake");
        append(&lake, &before(), &[record(0, &event(0))]).await;
        let everything = Selection::default();
        let planned = plan(&lake, &after(), &everything).await;
        apply(&lake, &after(), &everything, planned).await;
        fs::remove_file(folder.path().join("lake/seals/00000000000000000002.json")).expect("a seal");
        if is_altered {
            for file in data_files(&folder.path().join("lake/activities")) {
                let mut bytes = fs::read(&file).expect("a data file");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&file, bytes).expect("written");
            }
        }
        let seal = SealSettings { patience: Duration::ZERO, ..SealSettings::default() };
        let next = Lake::open_with(&location, seal).await.expect("a lake");
        append(&next, &before(), &[record(1, &event(1))]).await;
        let report = verified(&location).await;
        let wanted = if is_altered { Verdict::Findings } else { Verdict::Valid };
        assert_eq!(report.verdict(), wanted, "{:?}", report.lines());
        let seal = fs::read_to_string(folder.path().join("lake/seals/00000000000000000002.json")).expect("a seal");
        let kind = if is_altered { r#""kind":"foreign""# } else { r#""kind":"rewrite""# };
        assert!(seal.contains(kind) && seal.contains(r#""sealed_by":"successor""#), "{seal}");
    }
}

/// Somebody who writes to the lake without actorline swaps a file for one with other evidence.
#[tokio::test]
async fn a_file_that_is_not_what_was_committed_is_not_written_anew() {
    let (folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    append(&lake, &before(), &[record(0, &event(0))]).await;
    for file in data_files(&folder.path().join("lake/activities")) {
        let mut bytes = fs::read(&file).expect("a data file");
        bytes[100] ^= 1;
        fs::write(&file, bytes).expect("written");
    }
    let deriving = actorline::pipeline::replay::Deriving { normalizer: &after(), route: None };
    let refused = actorline::pipeline::replay::plan(&lake, &deriving, &Selection::default(), 1, &|_, _| {}).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("run `archive verify`")));
}

#[test]
fn a_replay_that_is_killed_leaves_the_table_as_it_was_or_as_it_should_be() {
    let (folder, location) = place();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let num_rows = 200;
    runtime.block_on(async {
        let lake = Lake::open(&location).await.expect("a lake");
        let records: Vec<_> = (0..num_rows).map(|offset| record(offset, &event(offset))).collect();
        append(&lake, &before(), &records).await;
    });
    // Each round wants what the round before did not.
    let wanted = ["service_account", "human"];
    for name in wanted {
        fs::create_dir_all(folder.path().join(name).join("acme")).expect("a folder");
        fs::write(folder.path().join(name).join("acme/mapping.yaml"), acme(name, "")).expect("a mapping");
    }
    let begun = Instant::now();
    assert!(replay_process(folder.path(), wanted[0]).wait().expect("ends").success());
    let duration = begun.elapsed();
    let mut num_swapped = 0;
    let mut now = wanted[0];
    for round in 0..NUM_ROUNDS {
        let next = wanted.into_iter().find(|name| *name != now).expect("the other");
        let mut process = replay_process(folder.path(), next);
        std::thread::sleep(duration * (30 + 70 * round / NUM_ROUNDS) / 100);
        process.kill().expect("killed");
        process.wait().expect("gone");
        runtime.block_on(async {
            let lake = Lake::open_existing(&location).await.expect("a lake");
            let found = ask(&lake, BY_TYPE).await;
            let [as_before, as_wanted] = [now, next].map(|name| format!("{name},{num_rows}"));
            assert!(found == as_before || found == as_wanted, "round {round}: {found}");
            if found == as_wanted {
                (now, num_swapped) = (next, num_swapped + 1);
            }
            let report = verified(&location).await;
            // A commit of a moment ago may still get its seal.
            assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
        });
    }
    println!("{num_swapped} of {NUM_ROUNDS} replays came to their swap before they were killed");
    assert!(replay_process(folder.path(), wanted[1]).wait().expect("ends").success());
    runtime.block_on(async {
        let lake = Lake::open_existing(&location).await.expect("a lake");
        assert_eq!(ask(&lake, BY_TYPE).await, format!("{},{num_rows}", wanted[1]));
        assert_eq!(verified(&location).await.verdict(), Verdict::Valid);
    });
}

fn replay_process(folder: &Path, mappings: &str) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(["replay", "--apply", "--lake"])
        .arg(folder.join("lake"))
        .arg("--mappings")
        .arg(folder.join(mappings))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("actorline starts")
}

fn data_files(table: &Path) -> Vec<std::path::PathBuf> {
    let days = fs::read_dir(table)
        .expect("a table")
        .flatten()
        .filter(|day| day.file_name().to_string_lossy().starts_with("received_date="));
    days.flat_map(|day| fs::read_dir(day.path()).expect("a day").flatten().map(|file| file.path())).collect()
}
