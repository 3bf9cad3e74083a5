//! The table: created once, widened, refused when it is not a lake, read by SQL, and checkpointed.

use std::path::Path;

use actorline::checkpoint::NextOffset;
use actorline::query::{self, QueryError};
use actorline::sink::lake::{Lake, LakeError, LakeLocation};
use futures::future::join_all;

use super::rows::{GROUP, ask, commit_range, folder, partition};

fn log_entry(lake: &Path, version: u64) -> std::path::PathBuf {
    lake.join(format!("activities/_delta_log/{version:020}.json"))
}

/// Changes the first commit, as if the table had been made otherwise.
fn edit_creation(lake: &Path, from: &str, to: &str) {
    let entry = std::fs::read_to_string(log_entry(lake, 0)).expect("the first commit");
    assert!(entry.contains(from), "{entry}");
    std::fs::write(log_entry(lake, 0), entry.replace(from, to)).expect("writable");
}

async fn refusal(location: &LakeLocation) -> String {
    match Lake::open(location).await {
        Err(LakeError::Refused(why)) => why,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_together_make_one_table() {
    let (folder, location) = folder();
    let opened = join_all((0..8).map(|_| {
        let location = location.clone();
        tokio::spawn(async move { Lake::open(&location).await.map(drop) })
    }));
    for lake in opened.await {
        lake.expect("no panic").expect("a lake");
    }
    assert!(log_entry(folder.path(), 0).exists() && !log_entry(folder.path(), 1).exists());
}

#[tokio::test]
async fn every_engine_can_read_the_table() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    let entry = std::fs::read_to_string(log_entry(folder.path(), 0)).expect("the first commit");
    assert!(entry.contains(r#""minReaderVersion":1,"minWriterVersion":2"#), "{entry}");
    assert!(entry.contains(r#""partitionColumns":["received_date"]"#), "{entry}");
    assert!(!entry.contains("Features") && !entry.contains(r#"\"nullable\":false"#), "{entry}");
}

#[tokio::test]
async fn nothing_cleans_up_the_log_or_forgets_positions() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    let entry = std::fs::read_to_string(log_entry(folder.path(), 0)).expect("the first commit");
    assert!(entry.contains(r#""delta.enableExpiredLogCleanup":"false""#), "{entry}");
    assert!(!entry.contains("setTransactionRetentionDuration"), "{entry}");
}

#[tokio::test]
async fn a_lake_is_not_made_by_reading_it() {
    let (folder, location) = folder();
    assert!(matches!(Lake::open_existing(&location).await, Err(LakeError::Absent(_))));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[tokio::test]
async fn positions_survive_checkpoints() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 7, 0, 5).await.expect("a commit");
    for offset in 0..105 {
        commit_range(&lake, 0, offset, offset + 1).await.expect("a commit");
    }
    let log = folder.path().join("activities/_delta_log");
    assert!(log.join("00000000000000000100.checkpoint.parquet").exists());
    // What the checkpoint sums up is kept, but must not be needed.
    for version in 1..=99 {
        std::fs::remove_file(log_entry(folder.path(), version)).expect("a commit");
    }
    let positions = Lake::open(&location).await.expect("a lake").positions(GROUP).await.expect("positions");
    assert_eq!(positions.get(&partition(7)), Some(NextOffset(5)));
    assert_eq!(positions.get(&partition(0)), Some(NextOffset(105)));
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_time_only() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 5).await.expect("a commit");
    std::fs::write(folder.path().join("activities/_delta_log/_last_checkpoint"), b"{").expect("writable");
    let positions = Lake::open(&location).await.expect("a lake").positions(GROUP).await.expect("positions");
    assert_eq!(positions.get(&partition(0)), Some(NextOffset(5)));
}

#[tokio::test]
async fn columns_that_an_older_table_lacks_are_added() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 1).await.expect("a commit");
    let column = r#"{\"name\":\"asn\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},"#;
    edit_creation(folder.path(), column, "");

    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 1, 2).await.expect("a commit");
    assert_eq!(ask(&lake, "SELECT count(*), count(asn) FROM activities").await, "2,0");
}

#[tokio::test]
async fn columns_of_a_newer_version_stay() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    let column = r#"{\"name\":\"asn\","#;
    let newer = r#"{\"name\":\"newer\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"#;
    edit_creation(folder.path(), column, &format!("{newer}{column}"));

    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 2).await.expect("a commit");
    assert!(!log_entry(folder.path(), 2).exists(), "the schema is not written again");
    assert_eq!(ask(&lake, "SELECT count(*), count(newer) FROM activities").await, "2,0");
}

#[tokio::test]
async fn a_column_of_another_type_is_refused() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    edit_creation(folder.path(), r#"{\"name\":\"asn\",\"type\":\"long\""#, r#"{\"name\":\"asn\",\"type\":\"string\""#);
    let why = refusal(&location).await;
    assert!(why.contains("`asn`") && why.contains("`string`") && why.contains("`long`"), "{why}");
}

#[tokio::test]
async fn a_table_with_features_is_refused() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    edit_creation(folder.path(), r#""minWriterVersion":2"#, r#""minWriterVersion":4"#);
    assert!(refusal(&location).await.contains("writer version 4"));
}

#[tokio::test]
async fn a_table_that_forgets_positions_is_refused() {
    let (folder, location) = folder();
    Lake::open(&location).await.expect("a lake");
    let property = r#""delta.setTransactionRetentionDuration":"interval 7 days","#;
    edit_creation(folder.path(), r#""configuration":{"#, &format!(r#""configuration":{{{property}"#));
    assert!(refusal(&location).await.contains("forget positions"));
}

#[tokio::test]
async fn a_lake_that_vanished_is_not_written_on() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 1).await.expect("a commit");
    std::fs::remove_dir_all(folder.path().join("activities/_delta_log")).expect("removable");
    let refused = commit_range(&lake, 0, 1, 2).await;
    assert!(matches!(refused, Err(LakeError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn nested_columns_and_days_can_be_asked_for() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 3).await.expect("a commit");
    let sql = "SELECT scope[1], received_date FROM activities WHERE event_uid = 'okta_system:t:1' AND received_date = DATE '2024-03-01'";
    assert_eq!(ask(&lake, sql).await, "read,2024-03-01");
}

#[tokio::test]
async fn a_query_cannot_change_anything() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let session = query::open(&lake).await.expect("a session");
    let stolen = folder.path().join("stolen.csv");
    let forbidden = [
        "CREATE TABLE t AS SELECT 1".to_string(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_string(),
        "DROP TABLE activities".to_string(),
        "INSERT INTO activities SELECT * FROM activities".to_string(),
        "DELETE FROM activities".to_string(),
        format!("COPY (SELECT 1) TO '{}'", stolen.display()),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'", stolen.display()),
        "SET datafusion.catalog.location = '/'".to_string(),
        "SELECT * FROM '/etc/passwd'".to_string(),
        "SELECT 1; SELECT 2".to_string(),
    ];
    for sql in forbidden {
        match query::run(&session, &sql).await {
            Err(QueryError::Query(_)) => {}
            Err(other) => panic!("{sql}: {other:?}"),
            Ok(_) => panic!("{sql} was allowed"),
        }
    }
    assert!(!stolen.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_is_kept_once_and_never_overwritten() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    for document in [b"first".as_slice(), b"second"] {
        lake.keep_generation("0123456789ab", document.to_vec()).await.expect("kept");
    }
    let kept = std::fs::read(folder.path().join("generations/0123456789ab")).expect("it lies beside the table");
    assert_eq!(kept, b"first");
}
