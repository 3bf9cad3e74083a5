//! `actorline query` as scripts see it: exit codes, formats in a pipe, and a pipe that is closed early.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use actorline::sink::lake::Lake;

use crate::lake::rows::{commit_range, folder};

fn command(lake: &str, sql: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actorline"));
    command.args(["query", "--lake", lake, sql]);
    command
}

fn run(lake: &str, sql: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(lake, sql).output().expect("the command");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

async fn lake_with_rows() -> (tempfile::TempDir, String) {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    commit_range(&lake, 0, 0, 3).await.expect("a commit");
    (folder, location.url)
}

#[tokio::test]
async fn rows_come_as_ndjson_in_a_pipe() {
    let (_folder, lake) = lake_with_rows().await;
    let (code, stdout, _) =
        run(&lake, "SELECT actor_id, asn, input_offset FROM activities ORDER BY input_offset LIMIT 2");
    assert_eq!(code, Some(0));
    assert_eq!(stdout, "{\"actor_id\":\"u-1\",\"input_offset\":0}\n{\"actor_id\":\"u-1\",\"input_offset\":1}\n");
}

#[tokio::test]
async fn a_bad_query_exits_2_and_says_what_is_wrong() {
    let (_folder, lake) = lake_with_rows().await;
    for (sql, said) in
        [("SELEC 1", "SELEC"), ("SELECT actor FROM activities", "actor"), ("DROP TABLE activities", "DDL")]
    {
        let (code, stdout, stderr) = run(&lake, sql);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{sql}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[tokio::test]
async fn a_lake_in_trouble_exits_4() {
    let (folder, lake) = lake_with_rows().await;
    let (code, _, stderr) = run(&format!("{lake}/elsewhere"), "SELECT 1");
    assert_eq!(code, Some(4), "{stderr}");

    for day in std::fs::read_dir(folder.path().join("activities")).expect("the table") {
        let day = day.expect("a folder").path();
        if !day.ends_with("_delta_log") {
            std::fs::remove_dir_all(day).expect("removable");
        }
    }
    let (code, _, stderr) = run(&lake, "SELECT actor_id FROM activities");
    assert_eq!(code, Some(4), "{stderr}");
}

#[tokio::test]
async fn a_lake_that_cannot_be_exits_3() {
    let (code, _, stderr) = run("ftp://example.com/lake", "SELECT 1");
    assert_eq!(code, Some(3));
    assert!(stderr.contains("`ftp://`"), "{stderr}");
}

#[tokio::test]
async fn a_pipe_closed_early_ends_the_query_quietly() {
    let (_folder, lake) = lake_with_rows().await;
    // Far more than a pipe holds, so that the command has to notice.
    let sql = "SELECT value, 'some more text in every row' AS text FROM generate_series(1, 200000)";
    let mut query = command(&lake, sql).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
    let mut first = String::new();
    let mut stdout = BufReader::new(query.stdout.take().expect("stdout"));
    stdout.read_line(&mut first).expect("a line");
    drop(stdout);
    let ended = query.wait_with_output().expect("the command");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
    assert!(first.starts_with("{\"value\":1,"), "{first}");
}
