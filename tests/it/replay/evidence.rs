//! What `archive verify` says of an archive whose past was redone.

use std::time::Duration;

use actorline::activity::Column;
use actorline::activity::arrow::index_of;
use actorline::archive::compact::{self, compact};
use actorline::archive::hold::Hold;
use actorline::archive::retain::{self, retain};
use actorline::pipeline::replay::{Applied, Selection};
use actorline::seal::Change;
use actorline::sink::lake::{Lake, Rewrite, Rewritten, reread};
use arrow::array::{RecordBatch, StringArray};

use super::place::{DAY, acme, after, append, apply, before, event, place, plan, record};
use crate::archive::place::Archive;
use crate::lake::rows::ask;

const BY_TYPE: &str = "SELECT actor_type, count(*) FROM activities GROUP BY ALL ORDER BY 1";

fn assert_valid(archive: &Archive) {
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

async fn replay(lake: &Lake, by: &actorline::pipeline::normalize::Normalizer) {
    let everything = Selection::default();
    let planned = plan(lake, by, &everything).await;
    let applied = apply(lake, by, &everything, planned).await;
    assert!(matches!(applied, Applied::Swapped { .. }), "{applied:?}");
}

/// Three days in one commit, of which one is rejected, and two further commits.
async fn filled() -> (Archive, Lake) {
    let archive = Archive::new();
    let lake = archive.open().await;
    let mut records: Vec<_> = (0..30).map(|offset| record(offset, &event(offset))).collect();
    records[7] = record(7, "{");
    append(&lake, &before(), &records).await;
    append(&lake, &before(), &[record(30, &event(30))]).await;
    append(&lake, &before(), &[record(31, &event(31))]).await;
    (archive, lake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_stays_valid_through_replay_compaction_and_retention_in_any_order() {
    let (archive, lake) = filled().await;
    replay(&lake, &after()).await;
    assert_eq!(ask(&lake, BY_TYPE).await, "service_account,31;unknown,1");
    assert_valid(&archive);
    let compacted = compact(&lake, &compact::Options { target_file_bytes: 1 << 27 }).await.expect("compacted");
    assert!(!compacted.is_empty());
    assert_valid(&archive);
    // Of a file that holds rows of several commits.
    replay(&lake, &before()).await;
    assert_valid(&archive);

    // A row stays of what goes, so that what is left of the others counts in the next replay.
    let hold: Hold = "identity=a-9".parse().expect("a hold");
    let options =
        retain::Options { older_than: Duration::ZERO, now: jiff::Timestamp::now(), holds: vec![hold], dry_run: false };
    retain(&lake, &options).await.expect("deleted");
    assert_eq!(ask(&lake, BY_TYPE).await, "human,1");
    assert_valid(&archive);
    replay(&lake, &after()).await;
    assert_eq!(ask(&lake, BY_TYPE).await, "service_account,1");
    assert_valid(&archive);
}

/// One seal without a signature among signed ones is a finding for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_lake_is_not_replayed_without_its_key() {
    let (archive, lake) = filled().await;
    let folder = archive.lake().with_file_name("mappings");
    std::fs::create_dir_all(folder.join("acme")).expect("a folder");
    std::fs::write(folder.join("acme/mapping.yaml"), acme("service_account", "")).expect("a mapping");
    let replay = |arguments: &[&std::ffi::OsStr]| {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_actorline"));
        process.args(["replay", "--apply", "--lake"]).arg(archive.lake()).arg("--mappings").arg(&folder);
        process.args(arguments).output().expect("actorline starts")
    };
    let refused = replay(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("--seal-key"), "{said}");
    let key = archive.lake().with_file_name("seal.pem");
    let replayed = replay(&["--seal-key".as_ref(), key.as_os_str()]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_eq!(ask(&lake, BY_TYPE).await, "service_account,31;unknown,1");
    let verified = archive.verify(&[]);
    assert_eq!(verified.code(), 0, "{}", verified.lines());
}

/// Who holds the key can commit anything, and still not make other rows those that the replay derived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_altered_after_a_replay_is_told() {
    for column in [Column::ActorId, Column::Raw] {
        let (archive, lake) = filled().await;
        replay(&lake, &after()).await;
        let history = lake.history().await.expect("a history");
        let live = history.live.values().find(|live| live.file.rows == 10).expect("a day").clone();
        let (rows, _) = reread::rows(lake.store().as_ref(), &live).await.expect("rows");
        let rows: Vec<RecordBatch> = rows.iter().map(|rows| with(rows, column)).collect();
        let files = lake.write_files(&rows).await.expect("files");
        let added = files.into_iter().map(|file| (file, live.file.origins.clone())).collect();
        let rewrite = Rewrite { operation: "OPTIMIZE", removed: vec![live], added, change: Change::default() };
        assert!(matches!(lake.rewrite(&history, rewrite).await, Ok(Rewritten::Committed { .. })));
        let verified = archive.verify_anchored();
        assert_eq!(
            (verified.code(), verified.checks("finding")),
            (1, vec!["rows".to_string()]),
            "{}",
            verified.lines()
        );
        // And no replay makes it true.
        let planned = plan(&lake, &before(), &Selection::default()).await;
        let deriving = actorline::pipeline::replay::Deriving { normalizer: &before(), route: None };
        let everything = Selection::default();
        let refused = actorline::pipeline::replay::apply(&lake, &deriving, &everything, planned, &|_, _| {}).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("run `archive verify`")), "{column:?}");
    }
}

/// The roots of a commit rest on all of its files.
#[tokio::test]
async fn two_replays_of_other_files_of_one_commit_stand_in_each_others_way() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let records: Vec<_> = (0..20).map(|offset| record(offset, &event(offset))).collect();
    append(&lake, &before(), &records).await;
    let second_day = DAY + 86_400_000_000;
    let (first, second) = (
        Selection { to: Some(second_day), ..Selection::default() },
        Selection { from: Some(second_day), ..Selection::default() },
    );
    let (of_first, of_second) = (plan(&lake, &after(), &first).await, plan(&lake, &after(), &second).await);
    let applied = apply(&lake, &after(), &first, of_first).await;
    assert!(matches!(applied, Applied::Swapped { num_files: 1, .. }), "{applied:?}");
    let applied = apply(&lake, &after(), &second, of_second).await;
    assert!(matches!(applied, Applied::Conflict { .. }), "{applied:?}");
    let again = plan(&lake, &after(), &second).await;
    assert!(matches!(apply(&lake, &after(), &second, again).await, Applied::Swapped { .. }));
    assert_eq!(ask(&lake, BY_TYPE).await, "service_account,20");
}

fn with(rows: &RecordBatch, column: Column) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[index_of(column)] = std::sync::Arc::new(StringArray::from(vec!["other"; rows.num_rows()]));
    RecordBatch::try_new(rows.schema(), columns).expect("rows")
}
