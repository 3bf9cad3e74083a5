//! Commits over a store that fails: before it wrote, after it wrote, and by writing late.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use super::super::location::Place;
use super::super::{Commit, Lake, LakeError, SealSettings};
use super::{NUM_FAILURES_MAX, PAUSE_MAX, PAUSE_MIN, pause};
use crate::checkpoint::{Advance, NextOffset, TopicPartition};
use crate::seal::{self, Kind, Seal, SealedBy};

const GROUP: &str = "audit";

/// What happens to one commit on its way into the log.
enum Fault {
    /// It is written, and the answer is lost.
    AnswerLost,
    /// It is not written.
    NotWritten,
    /// It is not written yet, but arrives before the next one.
    ArrivesBeforeNext,
    /// It is not written yet, but would arrive after the next one.
    ArrivesAfterNext,
    /// The store says no.
    Denied,
    /// Another writer takes the version with this commit, and the store tells the truth.
    Overtaken(String),
}

/// A store that keeps everything in memory and whose log fails as told, one fault a commit.
#[derive(Default)]
struct FaultyStore {
    memory: InMemory,
    faults: Mutex<VecDeque<Fault>>,
    late: Mutex<Option<(Path, PutPayload, bool)>>,
    seals_are_away: AtomicBool,
}

impl FaultyStore {
    async fn lake(self: &Arc<Self>) -> Lake {
        let url = Url::parse("memory:///lake/").expect("a url");
        let store: Arc<dyn ObjectStore> = Arc::clone(self) as _;
        let mut lake =
            Lake::open_place(Place { store, url, prefix: Path::from("lake") }, Some(at_once())).await.expect("a lake");
        Arc::get_mut(&mut lake.inner).expect("the only clone").pause_max = Duration::ZERO;
        lake
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("no panic").extend(faults);
    }

    /// How many commits the log has after the one that made the table.
    async fn num_commits(&self) -> u64 {
        let mut version = 1;
        while self.memory.head(&Path::from(format!("lake/activities/_delta_log/{version:020}.json"))).await.is_ok() {
            version += 1;
        }
        version - 1
    }

    async fn put_late(&self) {
        let late = self.late.lock().expect("no panic").take();
        if let Some((path, payload, _)) = late {
            // Somebody may stand there by now; then it is too late for ever.
            let _ = self.memory.put_opts(&path, payload, PutMode::Create.into()).await;
        }
    }
}

/// Waits for nobody's seal.
fn at_once() -> SealSettings {
    SealSettings { patience: Duration::ZERO, ..SealSettings::default() }
}

fn no_answer() -> Error {
    Error::Generic { store: "faulty", source: "timed out".into() }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if path.as_ref().contains("/seals/") && self.seals_are_away.load(Ordering::Relaxed) {
            return Err(no_answer());
        }
        if path.extension() != Some("json") || path.as_ref().contains("/seals/") {
            return self.memory.put_opts(path, payload, options).await;
        }
        assert!(matches!(options.mode, PutMode::Create), "commits are put only where none is");
        let arrives_after = matches!(&*self.late.lock().expect("no panic"), Some((_, _, true)));
        if !arrives_after {
            self.put_late().await;
        }
        let fault = self.faults.lock().expect("no panic").pop_front();
        let answer = match fault {
            None => self.memory.put_opts(path, payload, options).await,
            Some(Fault::AnswerLost) => {
                self.memory.put_opts(path, payload, options).await?;
                Err(no_answer())
            }
            Some(Fault::NotWritten) => Err(no_answer()),
            Some(Fault::Denied) => Err(Error::PermissionDenied { path: path.to_string(), source: "403".into() }),
            Some(fault @ (Fault::ArrivesBeforeNext | Fault::ArrivesAfterNext)) => {
                let after = matches!(fault, Fault::ArrivesAfterNext);
                *self.late.lock().expect("no panic") = Some((path.clone(), payload, after));
                return Err(no_answer());
            }
            Some(Fault::Overtaken(commit)) => {
                self.memory.put_opts(path, commit.into(), PutMode::Create.into()).await?;
                self.memory.put_opts(path, payload, options).await
            }
        };
        self.put_late().await;
        answer
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.memory.get_opts(path, options).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        panic!("a commit deletes nothing")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "audit.okta".into(), topic_id: None, partition: 0 }
}

async fn commit(lake: &Lake, from: i64, to: i64) -> std::result::Result<Commit, LakeError> {
    let advance = Advance { from: NextOffset(from), to: NextOffset(to), gap: None, undelivered: Vec::new() };
    lake.commit(GROUP, Vec::new(), &[(partition(), advance)].into()).await
}

async fn position(lake: &Lake) -> Option<NextOffset> {
    lake.positions(GROUP).await.expect("positions").get(&partition())
}

/// One commit over `faults` ends as version 1 of the table, and as nothing else.
async fn ends_committed_once(faults: impl IntoIterator<Item = Fault>) {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail(faults);
    assert_eq!(commit(&lake, 0, 5).await.expect("a commit"), Commit::Committed { version: 1 });
    assert_eq!((store.num_commits().await, position(&lake).await), (1, Some(NextOffset(5))));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_and_not_repeated() {
    ends_committed_once([Fault::AnswerLost]).await;
}

#[tokio::test]
async fn a_commit_that_was_not_written_is_tried_again() {
    ends_committed_once([Fault::NotWritten, Fault::NotWritten]).await;
}

#[tokio::test]
async fn a_commit_that_arrives_late_is_not_doubled() {
    ends_committed_once([Fault::ArrivesBeforeNext]).await;
    ends_committed_once([Fault::ArrivesAfterNext]).await;
}

#[tokio::test]
async fn files_without_positions_are_not_doubled_by_a_lost_answer() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail([Fault::AnswerLost]);
    let commit = lake.commit(GROUP, Vec::new(), &Default::default()).await.expect("a commit");
    assert_eq!((commit, store.num_commits().await), (Commit::Committed { version: 1 }, 1));
}

#[tokio::test]
async fn a_rival_for_another_partition_is_stepped_over() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail([Fault::Overtaken(r#"{"txn":{"appId":"audit/audit.okta/1","version":9}}"#.to_string())]);
    assert_eq!(commit(&lake, 0, 5).await.expect("a commit"), Commit::Committed { version: 2 });
}

#[tokio::test]
async fn a_rival_for_the_same_partition_fences() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail([Fault::Overtaken(r#"{"txn":{"appId":"audit/audit.okta/0","version":3}}"#.to_string())]);
    let fenced = Commit::Fenced { partition: partition(), expected: NextOffset(0), found: Some(NextOffset(3)) };
    assert_eq!((commit(&lake, 0, 5).await.expect("an answer"), store.num_commits().await), (fenced, 1));
}

#[tokio::test]
async fn a_store_that_stays_away_ends_the_commit_as_transient() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail((0..=NUM_FAILURES_MAX).map(|_| Fault::NotWritten));
    let error = commit(&lake, 0, 5).await.expect_err("no commit");
    assert!(error.is_transient(), "{error:?}");
    // The store is back: the same batch goes through.
    assert_eq!(commit(&lake, 0, 5).await.expect("a commit"), Commit::Committed { version: 1 });
}

#[tokio::test]
async fn a_batch_that_arrived_after_its_call_gave_up_is_seen_by_the_next_call() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    let last = [Fault::AnswerLost];
    store.fail((0..NUM_FAILURES_MAX).map(|_| Fault::NotWritten).chain(last));
    commit(&lake, 0, 5).await.expect_err("no answer");
    assert_eq!(commit(&lake, 0, 5).await.expect("a commit"), Commit::Committed { version: 1 });
    assert_eq!(store.num_commits().await, 1);
}

#[tokio::test]
async fn a_store_that_says_no_is_not_asked_again() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail([Fault::Denied]);
    let error = commit(&lake, 0, 5).await.expect_err("no commit");
    assert!(matches!(error, LakeError::Permanent { .. }), "{error:?}");
}

#[tokio::test]
async fn features_that_somebody_adds_stop_the_commit() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.fail([Fault::Overtaken(r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}"#.to_string())]);
    let error = commit(&lake, 0, 5).await.expect_err("no commit");
    assert!(matches!(error, LakeError::Refused(_)), "{error:?}");
}

impl FaultyStore {
    async fn seal(&self, version: u64) -> Option<Seal> {
        let path = Path::from(format!("lake/seals/{}", seal::name_of(version)));
        let found = self.memory.get(&path).await.ok()?.bytes().await.expect("memory answers");
        Some(seal::decode(&found).expect("a seal"))
    }
}

#[tokio::test]
async fn a_commit_counts_as_done_with_its_seal_and_is_not_repeated_for_it() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    store.seals_are_away.store(true, Ordering::Relaxed);
    let error = commit(&lake, 0, 5).await.expect_err("no seal");
    assert!(error.is_transient(), "{error:?}");
    assert_eq!((store.num_commits().await, store.seal(1).await.is_none()), (1, true));
    store.seals_are_away.store(false, Ordering::Relaxed);
    assert_eq!(commit(&lake, 0, 5).await.expect("a commit"), Commit::Committed { version: 1 });
    assert_eq!(store.num_commits().await, 1);
    assert!(store.seal(1).await.is_some());
}

#[tokio::test]
async fn who_comes_after_a_crash_seals_what_was_left_unsealed() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    commit(&lake, 0, 5).await.expect("a commit");
    store.seals_are_away.store(true, Ordering::Relaxed);
    commit(&lake, 5, 7).await.expect_err("no seal");
    drop(lake);
    store.seals_are_away.store(false, Ordering::Relaxed);

    let next = store.lake().await;
    commit(&next, 7, 9).await.expect("a commit");
    let [healed, own] = [store.seal(2).await.expect("a seal"), store.seal(3).await.expect("a seal")];
    assert_eq!((healed.statement.kind, healed.statement.sealed_by), (Kind::Append, SealedBy::Successor));
    assert_eq!((own.statement.kind, own.statement.sealed_by), (Kind::Append, SealedBy::Committer));
}

#[tokio::test]
async fn a_commit_that_no_writer_made_is_sealed_as_foreign() {
    let store = Arc::new(FaultyStore::default());
    let lake = store.lake().await;
    for planted in [
        r#"{"txn":{"appId":"audit/audit.okta/1","version":9}}"#,
        r#"{"remove":{"path":"received_date=2024-03-01/a.parquet","dataChange":true}}"#,
        r#"{"metaData":{"id":"x"}}"#,
    ] {
        store.fail([Fault::Overtaken(planted.to_string())]);
        let version = store.num_commits().await + 1;
        let from = position(&lake).await.map_or(0, |position| position.0);
        commit(&lake, from, from + 1).await.expect("a commit");
        let seal = store.seal(version).await.expect("a seal").statement;
        let is_table = planted.contains("metaData");
        assert_eq!(seal.kind == Kind::Foreign, !is_table, "{planted}: {seal:?}");
        assert_eq!(seal.sealed_by, SealedBy::Successor);
    }
}

#[test]
fn pauses_grow_to_a_limit() {
    assert!(pause(1, 0) >= PAUSE_MIN && pause(NUM_FAILURES_MAX, 0) > pause(1, 0));
    assert!(pause(1000, 1000) <= PAUSE_MAX);
}
