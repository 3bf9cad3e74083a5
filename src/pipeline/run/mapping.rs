//! The mapping workers: records in, rows for both sinks out, on every core, in the order of the records.
//!
//! Chunks are numbered when they are handed over and given back in that order, whichever worker was faster. What is
//! under way is bounded by the caller, who asks [`Workers::num_bytes_under_way`] before reading on; the rows that wait for
//! the caller are bounded here.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};

use super::partitions::{Epoch, Partition, holes};
use super::room::Room;
use crate::activity::arrow::RowBuilder;
use crate::activity::taxonomy::Status;
use crate::activity::{Activity, Column};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::failpoint;
use crate::pipeline::normalize::{Normalizer, Route, Scratch};
use crate::record::RawRecord;
use crate::rejection::Rejection;
use crate::sink::siem;
use crate::telemetry::Tally;

/// Most bytes of rows that wait to be taken. A few parts for each core, and little beside what the sinks may hold.
const ROOM_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of rows after which the rows of a chunk so far are handed over.
///
/// It bounds a transaction, which takes parts whole, and it keeps Arrow's arrays below the 2 GiB of text that they can
/// hold: what the rows of one record hold is bounded well below that.
const PART_BYTES: usize = 8 * 1024 * 1024;

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

/// The rows of a chunk, or of a part of it.
pub(super) struct Mapped {
    pub id: Arc<TopicPartition>,
    pub epoch: Epoch,
    pub to: NextOffset,
    /// Offsets inside its range that were not delivered.
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
    results: Receiver<(u64, Said)>,
    /// What workers said of chunks whose rows were not all taken yet, by the number of the chunk.
    said: BTreeMap<u64, VecDeque<Said>>,
    room: Arc<Room>,
    num_sent: u64,
    num_taken: u64,
    num_bytes: usize,
    threads: Vec<JoinHandle<()>>,
}

/// What a worker says of a chunk.
enum Said {
    Rows {
        mapped: Box<Mapped>,
        num_bytes: usize,
    },
    /// That was all of it; `num_bytes` are those of its records.
    Done {
        num_bytes: usize,
        result: Result<(), WorkerPanicked>,
    },
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

    fn panicked(&self) -> WorkerPanicked {
        WorkerPanicked { topic: self.id.topic.to_string(), partition: self.id.partition, from: self.from }
    }
}

impl Workers {
    /// Starts one worker a core.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(normalizer: &Arc<Normalizer>, encoding: &siem::Encoding) -> std::io::Result<Workers> {
        Workers::start_within(ROOM_BYTES, normalizer, encoding)
    }

    fn start_within(
        room_bytes: usize,
        normalizer: &Arc<Normalizer>,
        encoding: &siem::Encoding,
    ) -> std::io::Result<Workers> {
        let (chunks, incoming) = channel();
        let (outgoing, results) = channel();
        let incoming = Arc::new(Mutex::new(incoming));
        let room = Arc::new(Room::new(room_bytes));
        // Two at least, so that mapping goes on while one record takes long.
        let num_workers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let threads = (0..num_workers)
            .map(|index| {
                let mut worker = Worker {
                    normalizer: Arc::clone(normalizer),
                    encoding: encoding.clone(),
                    scratch: Scratch::default(),
                    rows: RowBuilder::default(),
                    room: Arc::clone(&room),
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
            said: BTreeMap::new(),
            room,
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

    /// The next rows in the order of sending, waiting up to `timeout` for them.
    ///
    /// # Errors
    /// If their worker panicked.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Mapped>, WorkerPanicked> {
        loop {
            match self.said.get_mut(&self.num_taken).and_then(VecDeque::pop_front) {
                Some(Said::Rows { mapped, num_bytes }) => {
                    self.room.take(self.num_taken, num_bytes);
                    return Ok(Some(*mapped));
                }
                Some(Said::Done { num_bytes, result }) => {
                    self.said.remove(&self.num_taken);
                    self.num_taken += 1;
                    self.num_bytes -= num_bytes;
                    self.room.begin_turn(self.num_taken);
                    result?;
                    continue;
                }
                None => {}
            }
            if self.is_idle() {
                return Ok(None);
            }
            match self.results.recv_timeout(timeout) {
                Ok((sequence, said)) => self.said.entry(sequence).or_default().push_back(said),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.chunks = None;
        self.room.close();
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
    room: Arc<Room>,
}

impl Worker {
    fn run(&mut self, incoming: &Mutex<Receiver<(u64, usize, Chunk)>>, outgoing: &Sender<(u64, Said)>) {
        loop {
            let next = incoming.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((sequence, num_bytes, chunk)) = next else { return };
            let panicked = chunk.panicked();
            let room = Arc::clone(&self.room);
            if !room.wait(sequence) {
                return;
            }
            let mut hand_over = |mapped: Mapped| {
                failpoint::hit("mapping.mapped");
                let num_bytes = mapped.num_bytes();
                room.add(sequence, num_bytes);
                // Without anybody to take them the run is over, which the next wait shows.
                let _ = outgoing.send((sequence, Said::Rows { mapped: Box::new(mapped), num_bytes }));
                room.wait(sequence)
            };
            // Mapping does not panic. Should it, the run must hear of it instead of waiting for ever.
            let result = catch_unwind(AssertUnwindSafe(|| self.map(&chunk, &mut hand_over))).unwrap_or(Err(panicked));
            if outgoing.send((sequence, Said::Done { num_bytes, result })).is_err() {
                return;
            }
        }
    }

    /// Maps the records of `chunk` and hands their rows over in parts, until `hand_over` wants no more.
    fn map(&mut self, chunk: &Chunk, hand_over: &mut dyn FnMut(Mapped) -> bool) -> Result<(), WorkerPanicked> {
        let mut siem = siem::Batch::default();
        let mut tally = Tally::new();
        let (mut from, mut first) = (chunk.from, 0);
        for (index, record) in chunk.records.iter().enumerate() {
            let offset = NextOffset(record.position.offset);
            let for_siem = chunk.siem_from.is_some_and(|from| offset >= from);
            let for_lake = chunk.lake_from.is_some_and(|from| offset >= from);
            tally.record(record.value.as_ref().map_or(0, Vec::len));
            if for_siem || for_lake {
                let Worker { normalizer, encoding, scratch, rows, .. } = self;
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
            let is_last = index + 1 == chunk.records.len();
            if !is_last && siem.num_bytes() + self.rows.num_bytes() < PART_BYTES {
                continue;
            }
            let part = Mapped {
                id: Arc::clone(&chunk.id),
                epoch: chunk.epoch,
                to: NextOffset::after(record.position.offset),
                undelivered: holes(from, chunk.records[first..=index].iter().map(|record| record.position.offset)),
                siem: std::mem::take(&mut siem),
                lake: self.take_rows().map_err(|_| chunk.panicked())?,
                tally: std::mem::take(&mut tally),
            };
            (from, first) = (part.to, index + 1);
            if !hand_over(part) {
                break;
            }
        }
        Ok(())
    }

    fn take_rows(&mut self) -> Result<Option<RecordBatch>, arrow::error::ArrowError> {
        if self.rows.num_rows() == 0 {
            return Ok(None);
        }
        self.rows.finish().and_then(without_spare_room).map(Some)
    }
}

impl Mapped {
    /// Memory that the rows take.
    fn num_bytes(&self) -> usize {
        self.siem.num_bytes() + self.lake.as_ref().map_or(0, RecordBatch::get_array_memory_size)
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::checkpoint::TopicPartition;
    use crate::identity::Registry;
    use crate::mapping::Library;
    use crate::pipeline::normalize::SourceChoice;
    use crate::pipeline::run::partitions::{Partitions, Starts};
    use crate::record::Position;

    /// More than any of these tests needs.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn record(offset: i64, num_bytes: usize) -> RawRecord {
        RawRecord {
            position: Position { topic: "t".into(), partition: 0, offset },
            topic_id: None,
            timestamp: None,
            key: None,
            headers: Vec::new(),
            value: Some(format!(r#"{{"a":"{}"}}"#, "x".repeat(num_bytes)).into_bytes()),
        }
    }

    fn workers(room_bytes: usize) -> Workers {
        let mapping = "source: acme\ntitle: Acme\ndocumentation: https://docs.example.com\nrecognise: { has: [acme_id] }\n\
                       columns: { event_uid: acme_id, action: op }\nactor_type: [{ case: x, is: human, basis: declared, when: { op: x } }]\ncannot_tell: []\n";
        let files = BTreeMap::from([("acme/mapping.yaml".to_string(), mapping.to_string())]);
        let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let normalizer = Arc::new(Normalizer::new(Arc::new(library), Arc::new(Registry::empty())));
        let encoding = siem::Encoding {
            activities: true,
            dead_letters: true,
            include_raw: false,
            activity_bytes_max: 1_000_000,
            dead_letter_bytes_max: 1_000_000,
            dead_letter_value_max: 900_000,
        };
        Workers::start_within(room_bytes, &normalizer, &encoding).expect("threads")
    }

    fn partitions() -> Partitions {
        let start = NextOffset(0);
        let id = TopicPartition { topic: "t".into(), topic_id: None, partition: 0 };
        let route = Arc::new(Route { source: SourceChoice::Auto, set: Vec::new() });
        let mut partitions = Partitions::default();
        let starts = Starts { begun: start, siem: Some(start), lake: Some(start), lake_gap_from: None, is_new: false };
        partitions.assign(id, route, starts);
        partitions
    }

    fn next(workers: &mut Workers) -> Mapped {
        workers.next(PATIENCE).expect("no panic").expect("rows")
    }

    #[test]
    fn a_chunk_whose_rows_are_many_comes_in_parts_that_join() {
        let (mut workers, mut partitions) = (workers(ROOM_BYTES), partitions());
        let partition = partitions.iter_mut().next().expect("assigned");
        let offsets = [0, 1, 4, 5, 9];
        workers.send(Chunk::of(partition, offsets.map(|offset| record(offset, PART_BYTES / 2)).into()));
        let mut seen = Vec::new();
        for _ in 0..3 {
            let part = next(&mut workers);
            seen.push((part.to.0, part.siem.len(), part.lake.map_or(0, |rows| rows.num_rows()), part.undelivered));
        }
        assert_eq!(seen, [(2, 2, 2, vec![]), (6, 2, 2, vec![(2, 4)]), (10, 1, 1, vec![(6, 9)])]);
        assert!(workers.next(PATIENCE).expect("no panic").is_none() && workers.is_idle());
        assert_eq!(workers.num_bytes_under_way(), 0);
    }

    #[test]
    fn mapping_waits_for_room_and_goes_on_when_rows_are_taken() {
        let (mut workers, mut partitions) = (workers(1_000_000), partitions());
        let partition = partitions.iter_mut().next().expect("assigned");
        let num_records = 20;
        for offset in 0..num_records {
            workers.send(Chunk::of(partition, vec![record(offset, 250_000)]));
        }
        let begun = Instant::now();
        while workers.room.num_bytes() < 1_000_000 && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        // Each worker may go on with one more record, and the builders double their room.
        let num_bytes_max = 1_000_000 * (1 + workers.threads.len());
        for expected in 1..=num_records {
            assert!(workers.room.num_bytes() <= num_bytes_max);
            assert_eq!(next(&mut workers).to, NextOffset(expected));
        }
        assert!(workers.next(PATIENCE).expect("no panic").is_none() && workers.is_idle());
        assert_eq!(workers.room.num_bytes(), 0);
    }
}
