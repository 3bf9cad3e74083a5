//! The lake side of the run: rows that wait for the next commit, by partition, and the task that writes and commits
//! them.
//!
//! One commit is under way while the next batch fills. Trouble that may pass is tried again for as long as the run
//! lasts: the rows stay in memory up to the run's limit, and behind that in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::warn;

use super::partitions::{Cursor, Epoch, holes_after};
use crate::checkpoint::{Advance, NextOffset, TopicPartition};
use crate::failpoint;
use crate::input::kafka::{TopicCheck, TopicCheckError};
use crate::sink::lake::{Commit, Lake, LakeError, Positions, Proven};

/// Batches with fewer rows are joined, once there are this many of them in a partition: an Arrow batch of few rows
/// weighs mostly what surrounds them.
const SMALL_BATCH_ROWS: usize = 1_024;
const NUM_SMALL_BATCHES_MAX: usize = 64;

/// How long to wait before trying again, and at most after several failures.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long the last heartbeat of a run may take. Without it the archive says that a seal is overdue, which is true.
const LAST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a commit takes a partition to.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub id: Arc<TopicPartition>,
    pub epoch: Epoch,
    pub to: NextOffset,
}

pub(super) enum Report {
    /// It is still trying.
    Trouble(String),
    Committed {
        partitions: Vec<Stay>,
        duration: Duration,
    },
    /// Somebody else moved the table on: the batch is void, and this is where the table stands.
    Fenced {
        partitions: Vec<Stay>,
        positions: Positions,
        why: String,
    },
    Failed(LakeError),
    /// What was read is not of the topics that were assigned.
    FailedTopic(TopicCheckError),
}

pub(super) struct LakeWriter {
    lake: Lake,
    topics: TopicCheck,
    group: Arc<str>,
    interval: Duration,
    /// How long the lake may go without a seal.
    heartbeat_interval: Option<Duration>,
    sealed: Instant,
    beating: Option<JoinHandle<()>>,
    target_bytes: usize,
    runtime: Handle,
    buffers: BTreeMap<Arc<TopicPartition>, Buffer>,
    buffered_bytes: usize,
    oldest: Option<Instant>,
    in_flight_bytes: usize,
    outgoing: Sender<Report>,
    reports: Receiver<Report>,
}

/// The rows of one partition that no commit has yet.
struct Buffer {
    epoch: Epoch,
    advance: Advance,
    rows: Vec<RecordBatch>,
    num_small: usize,
}

impl LakeWriter {
    pub fn new(
        lake: Lake,
        topics: TopicCheck,
        group: &str,
        config: &crate::config::Lake,
        runtime: Handle,
    ) -> LakeWriter {
        let (outgoing, reports) = channel();
        LakeWriter {
            lake,
            topics,
            group: group.into(),
            interval: config.commit_interval,
            heartbeat_interval: config.seal.as_ref().map(|seal| seal.heartbeat_interval),
            sealed: Instant::now(),
            beating: None,
            // A buffer that reached its limit must be on its way out: waiting for more would wait for ever.
            target_bytes: config.target_file_bytes.min(config.max_buffer_bytes / 2),
            runtime,
            buffers: BTreeMap::new(),
            buffered_bytes: 0,
            oldest: None,
            in_flight_bytes: 0,
            outgoing,
            reports,
        }
    }

    /// Takes the rows that bring the partition from where `cursor` has it up to `to`.
    pub fn push(
        &mut self,
        id: &Arc<TopicPartition>,
        cursor: &mut Cursor,
        to: NextOffset,
        undelivered: &[(i64, i64)],
        rows: Option<RecordBatch>,
    ) {
        let from = cursor.taken;
        let buffer = self.buffers.entry(Arc::clone(id)).or_insert_with(|| {
            let gap_from = cursor.gap_from.take();
            let gap = gap_from.map(|_| from);
            Buffer {
                epoch: cursor.epoch,
                advance: Advance { from: gap_from.unwrap_or(from), to: from, gap, undelivered: Vec::new() },
                rows: Vec::new(),
                num_small: 0,
            }
        });
        buffer.advance.undelivered.extend(holes_after(undelivered, from));
        buffer.advance.to = to;
        cursor.taken = to;
        if let Some(rows) = rows {
            self.buffered_bytes += rows.get_array_memory_size();
            buffer.num_small += usize::from(rows.num_rows() < SMALL_BATCH_ROWS);
            buffer.rows.push(rows);
            if buffer.num_small >= NUM_SMALL_BATCHES_MAX {
                self.buffered_bytes -= buffer.num_bytes();
                buffer.join_small();
                self.buffered_bytes += buffer.num_bytes();
            }
        }
        self.oldest.get_or_insert_with(Instant::now);
    }

    /// Drops the rows of `id`: whoever has the partition next reads them again.
    pub fn forget(&mut self, id: &TopicPartition) {
        self.buffers.retain(|buffered, _| **buffered != *id);
        self.buffered_bytes = self.buffers.values().map(Buffer::num_bytes).sum();
    }

    pub fn num_bytes(&self) -> usize {
        self.buffered_bytes + self.in_flight_bytes
    }

    pub fn is_idle(&self) -> bool {
        self.buffers.is_empty() && self.in_flight_bytes == 0
    }

    /// Starts a heartbeat if the lake has had no commit for so long. Trouble with it is told and passes with the next.
    pub fn beat_if_due(&mut self) {
        let Some(interval) = self.heartbeat_interval else { return };
        let is_beating = self.beating.as_ref().is_some_and(|beating| !beating.is_finished());
        if self.in_flight_bytes > 0 || is_beating || self.sealed.elapsed() < interval {
            return;
        }
        self.sealed = Instant::now();
        let lake = self.lake.clone();
        self.beating = Some(self.runtime.spawn(async move {
            if let Err(error) = lake.heartbeat(false).await {
                warn!(error = &error as &dyn std::error::Error, "failed to write a heartbeat to the lake");
            }
        }));
    }

    /// Seals the end of this run, after which nothing is promised. Waits for it.
    pub fn say_last_heartbeat(&self) {
        let last = async { tokio::time::timeout(LAST_HEARTBEAT_TIMEOUT, self.lake.heartbeat(true)).await };
        match self.runtime.block_on(last) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "failed to write the last heartbeat to the lake");
            }
            Err(_) => warn!("the last heartbeat to the lake took too long"),
        }
    }

    /// How far seals and anchors have come.
    pub fn proven(&self) -> Proven {
        self.lake.proven()
    }

    /// Starts the next commit if it is time for one, or `at_once`.
    pub fn commit_if_due(&mut self, at_once: bool) {
        let Some(oldest) = self.oldest else { return };
        let is_due = at_once || oldest.elapsed() >= self.interval || self.buffered_bytes >= self.target_bytes;
        if !is_due || self.in_flight_bytes > 0 || self.buffers.is_empty() {
            return;
        }
        let mut batch = LakeBatch { partitions: Vec::new(), advances: BTreeMap::new(), rows: Vec::new() };
        for (id, buffer) in std::mem::take(&mut self.buffers) {
            batch.partitions.push(Stay { id: Arc::clone(&id), epoch: buffer.epoch, to: buffer.advance.to });
            batch.advances.insert((*id).clone(), buffer.advance);
            batch.rows.extend(buffer.rows);
        }
        // At least one, so that a commit of positions alone counts as under way.
        self.in_flight_bytes = self.buffered_bytes.max(1);
        self.buffered_bytes = 0;
        self.oldest = None;
        let (lake, topics) = (self.lake.clone(), self.topics.clone());
        let (group, reports) = (Arc::clone(&self.group), self.outgoing.clone());
        self.runtime.spawn(async move {
            match confirm(topics, &batch, &reports).await {
                Some(Ok(())) => commit(lake, group, batch, reports).await,
                Some(Err(error)) => drop(reports.send(Report::FailedTopic(error))),
                None => {}
            }
        });
    }

    /// What happened since the last call.
    pub fn reports(&mut self) -> Vec<Report> {
        let reports: Vec<Report> = self.reports.try_iter().collect();
        if reports.iter().any(|report| !matches!(report, Report::Trouble(_))) {
            self.in_flight_bytes = 0;
            self.sealed = Instant::now();
        }
        reports
    }
}

impl Buffer {
    fn num_bytes(&self) -> usize {
        self.rows.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    fn join_small(&mut self) {
        let (small, mut large): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rows).into_iter().partition(|rows| rows.num_rows() < SMALL_BATCH_ROWS);
        match small.first().map(|first| concat_batches(&first.schema(), &small)) {
            Some(Ok(joined)) => {
                self.num_small = usize::from(joined.num_rows() < SMALL_BATCH_ROWS);
                large.push(joined);
            }
            // Too much for one batch: they stay as they are.
            _ => {
                self.num_small = 0;
                large.extend(small);
            }
        }
        self.rows = large;
    }
}

struct LakeBatch {
    partitions: Vec<Stay>,
    advances: BTreeMap<TopicPartition, Advance>,
    rows: Vec<RecordBatch>,
}

/// Asks until it is known whether the batch is of the topics that were assigned. None if nobody waits any more.
async fn confirm(
    topics: TopicCheck,
    batch: &LakeBatch,
    reports: &Sender<Report>,
) -> Option<Result<(), TopicCheckError>> {
    let mut pause = PAUSE_MIN;
    loop {
        let topics = topics.clone();
        let partitions: Vec<TopicPartition> = batch.advances.keys().cloned().collect();
        // The client blocks, which a worker thread of the runtime must not.
        let asked = tokio::task::spawn_blocking(move || topics.confirm(&partitions)).await;
        match asked {
            Ok(Err(error @ TopicCheckError::Unanswered(_))) => {
                warn!(error = &error as &dyn std::error::Error, "cannot commit to the lake yet");
                if !tell(error.to_string(), &mut pause, reports).await {
                    return None;
                }
            }
            Ok(answer) => return Some(answer),
            // The runtime goes down.
            Err(_) => return None,
        }
    }
}

async fn commit(lake: Lake, group: Arc<str>, batch: LakeBatch, reports: Sender<Report>) {
    let begun = Instant::now();
    let partitions = batch.partitions;
    // What was written once is not written again: every try would leave files behind.
    let mut files = None;
    let mut pause = PAUSE_MIN;
    let report = loop {
        let attempt = async {
            if files.is_none() {
                files = Some(lake.write_files(&batch.rows).await?);
                failpoint::hit("lake.files_written");
            }
            lake.commit(&group, files.clone().unwrap_or_default(), &batch.advances).await
        };
        match attempt.await {
            Ok(Commit::Committed { .. }) => {
                failpoint::hit("lake.commit_done");
                break Report::Committed { partitions, duration: begun.elapsed() };
            }
            Ok(Commit::Fenced { partition, expected, found }) => {
                failpoint::hit("lake.fenced");
                let found = found.map_or("nothing".to_string(), |found| found.to_string());
                let why = format!("`{}/{}` stands at {found}, not {expected}", partition.topic, partition.partition);
                match positions(&lake, &group, &reports).await {
                    Some(Ok(positions)) => break Report::Fenced { partitions, positions, why },
                    Some(Err(error)) => break Report::Failed(error),
                    None => return,
                }
            }
            Err(error) if error.is_transient() => {
                if !outlast(&error, &mut pause, &reports).await {
                    return;
                }
            }
            Err(error) => break Report::Failed(error),
        }
    };
    let _ = reports.send(report);
}

/// Where the table stands, asked for until it answers. None if nobody waits for the answer any more.
async fn positions(lake: &Lake, group: &str, reports: &Sender<Report>) -> Option<Result<Positions, LakeError>> {
    let mut pause = PAUSE_MIN;
    loop {
        match lake.positions(group).await {
            Err(error) if error.is_transient() => {
                if !outlast(&error, &mut pause, reports).await {
                    return None;
                }
            }
            result => return Some(result),
        }
    }
}

/// Tells of trouble that may pass and gives it time to. False if nobody hears of it any more: then the run is over.
async fn outlast(error: &LakeError, pause: &mut Duration, reports: &Sender<Report>) -> bool {
    warn!(error = error as &dyn std::error::Error, "failed to commit to the lake, trying again");
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    tell(format!("{error}{cause}"), pause, reports).await
}

/// Says why nothing goes on and waits a little. False if nobody hears of it any more.
async fn tell(why: String, pause: &mut Duration, reports: &Sender<Report>) -> bool {
    if reports.send(Report::Trouble(why)).is_err() {
        return false;
    }
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(PAUSE_MAX);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::lake::LakeLocation;

    fn batch(from: i64, to: i64) -> LakeBatch {
        let id = TopicPartition { topic: "t".into(), topic_id: None, partition: 0 };
        let advance = Advance { from: NextOffset(from), to: NextOffset(to), gap: None, undelivered: Vec::new() };
        LakeBatch { partitions: Vec::new(), advances: BTreeMap::from([(id, advance)]), rows: Vec::new() }
    }

    #[tokio::test]
    async fn a_void_batch_says_where_the_table_stands() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = LakeLocation::new(folder.path().to_string_lossy());
        let lake = Lake::open(&location).await.expect("a lake");
        let (outgoing, reports) = channel();
        commit(lake.clone(), "g".into(), batch(0, 10), outgoing.clone()).await;
        assert!(matches!(reports.recv(), Ok(Report::Committed { .. })));
        commit(lake, "g".into(), batch(5, 12), outgoing).await;
        let Ok(Report::Fenced { positions, .. }) = reports.recv() else { panic!("not fenced") };
        let id = TopicPartition { topic: "t".into(), topic_id: None, partition: 0 };
        assert_eq!(positions.get(&id), Some(NextOffset(10)));
    }

    #[tokio::test]
    async fn trouble_while_asking_where_the_table_stands_passes_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, away) = (folder.path().join("lake"), folder.path().join("away"));
        let lake = Lake::open(&LakeLocation::new(path.to_string_lossy())).await.expect("a lake");
        // A file where the folder was: every request fails, as on a store that is away.
        std::fs::rename(&path, &away).expect("moved away");
        std::fs::write(&path, "").expect("a file in its place");
        let (outgoing, reports) = channel();
        let asked = tokio::spawn(async move { positions(&lake, "g", &outgoing).await });
        let report = tokio::task::spawn_blocking(move || (reports.recv(), reports)).await.expect("no panic");
        assert!(matches!(report.0, Ok(Report::Trouble(_))));
        std::fs::remove_file(&path).expect("removed");
        std::fs::rename(&away, &path).expect("moved back");
        assert!(matches!(asked.await.expect("no panic"), Some(Ok(positions)) if positions.is_empty()));
    }
}
