//! The mapping workers: records in, rows for both sinks out, on every core, in the order of the records.
//!
//! Chunks are numbered when they are handed over and given back in that order, whichever worker was faster. What is
//! under way is bounded by the caller, who asks [`Workers::num_bytes_under_way`] before reading on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};

use super::partitions::{Epoch, Partition, holes};
use crate::activity::arrow::RowBuilder;
use crate::activity::taxonomy::Status;
use crate::activity::{Activity, Column};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::pipeline::normalize::{Normalizer, Route, Scratch};
use crate::record::RawRecord;
use crate::rejection::Rejection;
use crate::sink::siem;
use crate::telemetry::Tally;

/// Records of one partition that follow each other.
pub(super) struct Chunk {
    id: Arc<TopicPartition>,
    epoch: Epoch,
    route: Arc<Route>,
    from: NextOffset,
    records: Vec<RawRecord>,
    /// Each sink takes only what lies at or after its own; without that sink nothing does.
    siem_from: Option<NextOffset>,
    lake_from: Option<NextOffset>,
}

/// The rows of a chunk.
pub(super) struct Mapped {
    pub id: Arc<TopicPartition>,
    pub epoch: Epoch,
    pub to: NextOffset,
    /// Offsets inside the chunk's range that were not delivered.
    pub undelivered: Vec<(i64, i64)>,
    pub siem: siem::Batch,
    pub lake: Option<RecordBatch>,
    pub tally: Tally,
}

/// A worker could not go on. The records that it held are in neither sink.
#[derive(Debug, thiserror::Error)]
#[error("a mapping worker panicked on records of `{topic}/{partition}` from offset {from}: please report it")]
pub struct WorkerPanicked {
    topic: String,
    partition: i32,
    from: NextOffset,
}

pub(super) struct Workers {
    chunks: Option<Sender<(u64, usize, Chunk)>>,
    results: Receiver<Finished>,
    /// Results that came before their turn.
    early: BTreeMap<u64, Finished>,
    num_sent: u64,
    num_taken: u64,
    num_bytes: usize,
    threads: Vec<JoinHandle<()>>,
}

struct Finished {
    sequence: u64,
    num_bytes: usize,
    result: Result<Mapped, WorkerPanicked>,
}

impl Chunk {
    /// The next `records` of `partition`, which is then read up to their end.
    pub fn of(partition: &mut Partition, records: Vec<RawRecord>) -> Chunk {
        let from = partition.read;
        if let Some(last) = records.last() {
            partition.read = NextOffset::after(last.position.offset);
        }
        Chunk {
            id: Arc::clone(&partition.id),
            epoch: partition.epoch,
            route: Arc::clone(&partition.route),
            from,
            records,
            siem_from: partition.siem.map(|cursor| cursor.base),
            lake_from: partition.lake.map(|cursor| cursor.base),
        }
    }
}

impl Workers {
    /// Starts one worker a core.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(normalizer: &Arc<Normalizer>, encoding: &siem::Encoding) -> std::io::Result<Workers> {
        let (chunks, incoming) = channel();
        let (outgoing, results) = channel();
        let incoming = Arc::new(Mutex::new(incoming));
        // Two at least, so that mapping goes on while one record takes long.
        let num_workers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let threads = (0..num_workers)
            .map(|index| {
                let mut worker = Worker {
                    normalizer: Arc::clone(normalizer),
                    encoding: encoding.clone(),
                    scratch: Scratch::default(),
                    rows: RowBuilder::default(),
                };
                let (incoming, outgoing) = (Arc::clone(&incoming), outgoing.clone());
                std::thread::Builder::new()
                    .name(format!("mapping-{index}"))
                    .spawn(move || worker.run(&incoming, &outgoing))
            })
            .collect::<Result<_, _>>()?;
        Ok(Workers {
            chunks: Some(chunks),
            results,
            early: BTreeMap::new(),
            num_sent: 0,
            num_taken: 0,
            num_bytes: 0,
            threads,
        })
    }

    pub fn send(&mut self, chunk: Chunk) {
        let num_bytes = chunk.records.iter().map(record_bytes).sum();
        let Some(chunks) = &self.chunks else { return };
        // Workers live as long as this sender, so there is always one to take it.
        if chunks.send((self.num_sent, num_bytes, chunk)).is_ok() {
            self.num_sent += 1;
            self.num_bytes += num_bytes;
        }
    }

    pub fn num_bytes_under_way(&self) -> usize {
        self.num_bytes
    }

    pub fn is_idle(&self) -> bool {
        self.num_sent == self.num_taken
    }

    /// The next chunk in the order of sending, waiting up to `timeout` for it.
    ///
    /// # Errors
    /// If its worker panicked.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Mapped>, WorkerPanicked> {
        loop {
            if let Some(finished) = self.early.remove(&self.num_taken) {
                self.num_taken += 1;
                self.num_bytes -= finished.num_bytes;
                return finished.result.map(Some);
            }
            if self.is_idle() {
                return Ok(None);
            }
            match self.results.recv_timeout(timeout) {
                Ok(finished) => {
                    self.early.insert(finished.sequence, finished);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.chunks = None;
        for thread in self.threads.drain(..) {
            // A worker's panic was caught and has been reported.
            let _ = thread.join();
        }
    }
}

struct Worker {
    normalizer: Arc<Normalizer>,
    encoding: siem::Encoding,
    scratch: Scratch,
    rows: RowBuilder,
}

impl Worker {
    fn run(&mut self, incoming: &Mutex<Receiver<(u64, usize, Chunk)>>, outgoing: &Sender<Finished>) {
        loop {
            let next = incoming.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((sequence, num_bytes, chunk)) = next else { return };
            let panicked =
                WorkerPanicked { topic: chunk.id.topic.to_string(), partition: chunk.id.partition, from: chunk.from };
            // Mapping does not panic. Should it, the run must hear of it instead of waiting for ever.
            let result = catch_unwind(AssertUnwindSafe(|| self.map(chunk))).unwrap_or(Err(panicked));
            if outgoing.send(Finished { sequence, num_bytes, result }).is_err() {
                return;
            }
        }
    }

    fn map(&mut self, chunk: Chunk) -> Result<Mapped, WorkerPanicked> {
        let Worker { normalizer, encoding, scratch, rows } = self;
        let mut siem = siem::Batch::default();
        let mut tally = Tally::new();
        for record in &chunk.records {
            let offset = NextOffset(record.position.offset);
            let for_siem = chunk.siem_from.is_some_and(|from| offset >= from);
            let for_lake = chunk.lake_from.is_some_and(|from| offset >= from);
            tally.record(record.value.as_ref().map_or(0, Vec::len));
            if !for_siem && !for_lake {
                continue;
            }
            normalizer.normalize(record, &chunk.route, scratch, &mut |activity, rejection| {
                count(&mut tally, activity, rejection);
                if for_lake {
                    rows.append(activity);
                }
                if for_siem {
                    republish(&mut siem, encoding, record, activity, rejection);
                }
            });
        }
        let mut lake = None;
        if rows.num_rows() > 0 {
            let panicked = |_| WorkerPanicked {
                topic: chunk.id.topic.to_string(),
                partition: chunk.id.partition,
                from: chunk.from,
            };
            let batch = rows.finish().map_err(panicked)?;
            lake = Some(without_spare_room(batch).map_err(panicked)?);
        }
        Ok(Mapped {
            to: chunk.records.last().map_or(chunk.from, |last| NextOffset::after(last.position.offset)),
            undelivered: holes(chunk.from, chunk.records.iter().map(|record| record.position.offset)),
            id: chunk.id,
            epoch: chunk.epoch,
            siem,
            lake,
            tally,
        })
    }
}

fn count(tally: &mut Tally, activity: &Activity<'_>, rejection: Option<&Rejection>) {
    tally.activity(activity);
    if let Some(rejection) = rejection {
        tally.dead_letter(rejection.stage, rejection.reason);
    }
}

/// Rows without events stay in the lake; everything else has one place outside of it.
fn republish(
    siem: &mut siem::Batch,
    encoding: &siem::Encoding,
    record: &RawRecord,
    activity: &Activity<'_>,
    rejection: Option<&Rejection>,
) {
    if let Some(rejection) = rejection {
        siem.push_dead_letter(encoding, record, rejection);
    } else if activity.text(Column::Status) != Some(Status::Empty.as_str()) {
        siem.push_activity(encoding, record, activity);
    }
}

/// The batch with arrays as large as what they hold.
///
/// Builders reserve room for a thousand rows in every column. At low rates a chunk has a few rows, and what is
/// reserved would be a hundred times what is used, for as long as the lake's interval lasts.
fn without_spare_room(batch: RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let (schema, mut columns, _) = batch.into_parts();
    for column in &mut columns {
        column.shrink_to_fit();
    }
    RecordBatch::try_new(schema, columns)
}

fn record_bytes(record: &RawRecord) -> usize {
    let headers: usize =
        record.headers.iter().map(|header| header.name.len() + header.value.as_ref().map_or(0, Vec::len)).sum();
    size_of::<RawRecord>()
        + record.value.as_ref().map_or(0, Vec::len)
        + record.key.as_ref().map_or(0, Vec::len)
        + headers
}
