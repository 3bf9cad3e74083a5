//! The lake on a real S3 API: commits that race through conditional puts, and queries over what they left.
//!
//! Needs `versitygw` on the path (`go install github.com/versity/versitygw/cmd/versitygw@latest`), which the tests
//! start over a temporary folder. Without it they say so and pass.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use actorline::archive::compact::{self, compact};
use actorline::archive::vacuum::{self, vacuum};
use actorline::archive::verify::{Options, Progress, Signatures, Verdict, verify};
use actorline::seal::SealKey;
use actorline::sink::lake::{Commit, Lake, LakeLocation, SealSettings};
use futures::future::join_all;

use crate::lake::rows::{GROUP, ask, commit_range, is_committed, partition};

pub const BUCKET: &str = "audit";

/// A gateway that ends with the test.
pub struct Gateway {
    process: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Gateway {
    /// Starts the gateway; None, with a word why, if it is not installed.
    pub fn start() -> Option<Gateway> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A bucket is a folder to the gateway.
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a folder");
        let port = free_port();
        let process = Command::new("versitygw")
            .args(["--access", "example", "--secret", "example-secret", "--port", &format!("127.0.0.1:{port}")])
            .arg("posix")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match process {
            Ok(process) => {
                let gateway = Gateway { process, port, folder };
                gateway.wait();
                Some(gateway)
            }
            Err(error) => {
                eprintln!("skipped: no S3 API to test with, because `versitygw` does not start: {error}");
                None
            }
        }
    }

    /// The folder whose folders are the buckets.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Waits until the gateway listens. It is given many tries, and the test fails if it ends instead.
    fn wait(&self) {
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("the gateway does not listen on port {}", self.port);
    }

    pub fn lake(&self) -> LakeLocation {
        let options = [
            ("aws_endpoint", format!("http://127.0.0.1:{}", self.port)),
            ("aws_allow_http", "true".to_string()),
            ("aws_access_key_id", "example".to_string()),
            ("aws_secret_access_key", "example-secret".to_string()),
            ("aws_region", "us-east-1".to_string()),
        ];
        let options: BTreeMap<String, String> = options.map(|(name, value)| (name.to_string(), value)).into();
        LakeLocation { url: format!("s3://{BUCKET}/lake"), options }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_writers_of_one_partition_one_wins() {
    let Some(gateway) = Gateway::start() else { return };
    let attempts = (1..=8).map(|to| {
        let location = gateway.lake();
        tokio::spawn(async move {
            let lake = Lake::open(&location).await.expect("a lake");
            (to, commit_range(&lake, 0, 0, to).await.expect("an answer"))
        })
    });
    let outcomes: Vec<(i64, Commit)> = join_all(attempts).await.into_iter().map(|o| o.expect("no panic")).collect();
    let winners: Vec<i64> = outcomes.iter().filter(|(_, commit)| is_committed(commit)).map(|(to, _)| *to).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");

    let lake = Lake::open_existing(&gateway.lake()).await.expect("a lake");
    let position = lake.positions(GROUP).await.expect("positions").get(&partition(0)).expect("a position").0;
    assert_eq!(position, winners[0]);
    assert_eq!(ask(&lake, "SELECT count(*) FROM activities").await, position.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_different_partitions_all_get_through() {
    let Some(gateway) = Gateway::start() else { return };
    let (key, _) = SealKey::generate().expect("a key");
    let key = Arc::new(key);
    let writers = (0..4).map(|number| {
        let (location, key) = (gateway.lake(), Arc::clone(&key));
        tokio::spawn(async move {
            let seal = SealSettings { key: Some(key), ..SealSettings::default() };
            let lake = Lake::open_with(&location, seal).await.expect("a lake");
            for round in 0..3 {
                let commit = commit_range(&lake, number, round * 10, round * 10 + 10).await.expect("an answer");
                assert!(is_committed(&commit), "{commit:?}");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("no panic");
    }
    let lake = Lake::open_existing(&gateway.lake()).await.expect("a lake");
    assert_eq!(ask(&lake, "SELECT count(*), count(DISTINCT input_offset) FROM activities").await, "120,30");

    let signatures = Signatures::By { keys: vec![key.public().clone()], since: 0 };
    let options = Options { signatures, anchors: Vec::new(), known: Vec::new(), now: jiff::Timestamp::now() };
    let store = gateway.lake().store().expect("a store");
    let report = verify(&store, &options, &Quiet).await.expect("the lake is listed");
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    assert_eq!((report.counts.num_seals, report.counts.num_rows), (13, 120));

    // Put together, and the small files taken away.
    let seal = SealSettings { key: Some(key), ..SealSettings::default() };
    let lake = Lake::open_with(&gateway.lake(), seal).await.expect("a lake");
    let compacted = compact(&lake, &compact::Options { target_file_bytes: 1 << 27 }).await.expect("compacted");
    assert_eq!(compacted.iter().map(|it| (it.num_files_before, it.num_files_after)).collect::<Vec<_>>(), [(12, 1)]);
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48);
    let older_than = std::time::Duration::from_secs(86_400);
    let gone = vacuum(&lake, &vacuum::Options { older_than, now, anchor: None, dry_run: false }).await;
    assert_eq!(gone.expect("vacuumed").len(), 12);
    assert_eq!(ask(&lake, "SELECT count(*), count(DISTINCT input_offset) FROM activities").await, "120,30");
    let report = verify(&store, &options, &Quiet).await.expect("the lake is listed");
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    assert_eq!((report.counts.num_files, report.counts.num_rows), (1, 120));
}

struct Quiet;

impl Progress for Quiet {
    fn seals(&self, _: u64, _: u64) {}
    fn files(&self, _: u64, _: u64) {}
}
