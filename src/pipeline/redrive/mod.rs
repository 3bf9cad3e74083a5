//! `redrive`: dead letters through the program, the mappings and the limits of today.
//!
//! What can be cut into events by now goes to the SIEM topic and, in the place of its rejected row, into the lake: once to each,
//! at its original position, however often a redrive is killed. A batch of letters is
//!
//! 1. kept beside the table under a number of its own: the very rows that it brings,
//! 2. sent to the SIEM in one transaction, which sets the number and the rows' digest beside a group's positions,
//! 3. brought into the lake in one commit, whose seal has the same number.
//!
//! A redrive first takes the transactional id over, which ends whatever an earlier one left open. If the SIEM then has a
//! number that the table lacks, it brings that batch from what was kept; everything else that was kept is void or done.
//! So at most one batch is in one sink alone, and no transaction begins while one is. A letter is done when the lake's row
//! at its position is rejected no more. What still fails stays a dead letter, and the next redrive counts the attempt.
//! Memory: one batch, one data file, and a kilobyte for each version and file of the lake.

mod letter;
mod rows;
mod sinks;
mod summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;

use self::letter::Letter;
use self::rows::Found;
use self::sinks::{Built, Sinks};
pub use self::summary::{Fate, Letters, Summary};
use super::normalize::{Normalizer, Scratch};
use super::run::{RunError, setup};
use crate::activity::taxonomy::Status;
use crate::activity::{Activity, Column};
use crate::config::{Config, DeadLetters};
use crate::input::kafka::{InputError, WholeTopic};
use crate::record::{Position, RawRecord};
use crate::rejection::Rejection;
use crate::seal::{Digest, Redriver};
use crate::sink::lake::{Kept, Lake, LakeError, Redrive, Tried};
use crate::sink::siem::{Encoding, SiemError};

/// Bytes of the letters of one batch. Its records fit into one transaction with room below its timeout, and its rows into
/// memory several times.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of rows and records that are built before they go. Letters may be compressed, and become much more than they are.
const BUILT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The name of the instance that redrives, in the transactional id. No configured instance has a `~` in its name.
const INSTANCE: &str = "~redrive";

#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("a redrive needs `{0}` in the configuration")]
    Lacks(&'static str),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("failed to use the lake")]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Siem(#[from] SiemError),
    #[error("the transaction of a batch did not go through; nothing of it is there: redrive again")]
    Aborted(#[source] KafkaError),
    #[error("what became of a batch's transaction is not known: redrive again, which finds out first")]
    Unclear(#[source] KafkaError),
    #[error("another redrive of the same group is at work: nothing of this batch was sent")]
    Rival,
    #[error("others rewrote the same files of the lake again and again: redrive again, which finishes the batch first")]
    Conflicts,
    #[error(
        "the group `{group}` has no positions any more, and batch `{number}` of a redrive is not in the lake: whether the SIEM \
         has it cannot be told; look there for `{position}`, then redrive with --unfinished siem-has-it or siem-lacks-it"
    )]
    Forgotten { group: String, number: i64, position: String },
    #[error(
        "the SIEM has batch `{number}` of a redrive, the lake lacks it, and its rows are not kept any more: look who deleted below \
         `redrives/` in the lake, and put them back"
    )]
    Lost { number: i64 },
    #[error("failed to build rows")]
    Rows(#[from] arrow::error::ArrowError),
}

/// What the operator found out about a batch of which the brokers know nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    SiemHasIt,
    SiemLacksIt,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Without it nothing is written.
    pub apply: bool,
    pub unfinished: Option<Unfinished>,
    /// Letters of one batch.
    pub batch_letters: usize,
}

/// Puts every dead letter through `normalizer`.
///
/// # Errors
/// For whatever stops it. What was done until then is done once in both sinks, or is finished by the next redrive.
pub fn redrive(
    config: &Config,
    normalizer: &Normalizer,
    runtime: &Handle,
    order: Order,
) -> Result<Summary, RedriveError> {
    let dead_letters = config.dead_letters.as_ref().ok_or(RedriveError::Lacks("dead_letters"))?;
    let client = setup::client(&config.kafka);
    let lake = open_lake(config, runtime, order.apply)?;
    let mut run = Run::new(config, dead_letters, normalizer, runtime, &client, &lake)?;
    if order.apply {
        run.start_writing(&client, order.unfinished)?;
    }
    let (mut letters, mut num_bytes) = (Vec::new(), 0);
    while let Some(stored) = run.topic.read()? {
        run.summary.num_read += 1;
        num_bytes += num_bytes_of(&stored);
        let Some(letter) = Letter::read(stored) else {
            run.summary.add(Fate::NoLetter, None, 0);
            continue;
        };
        letters.push(letter);
        if num_bytes >= BATCH_BYTES_MAX || letters.len() >= order.batch_letters {
            run.batch(std::mem::take(&mut letters))?;
            num_bytes = 0;
        }
    }
    run.batch(letters)?;
    Ok(run.summary)
}

/// A plan changes nothing, not even the table's columns.
fn open_lake(config: &Config, runtime: &Handle, apply: bool) -> Result<Lake, RedriveError> {
    let location = setup::lake_location(config)?.ok_or(RedriveError::Lacks("lake"))?;
    if !apply {
        return Ok(runtime.block_on(Lake::open_existing(&location))?);
    }
    runtime.block_on(setup::lake_once(config))?.ok_or(RedriveError::Lacks("lake"))
}

struct Run<'a> {
    config: &'a Config,
    normalizer: &'a Normalizer,
    topic: WholeTopic,
    dead_letter_topic: &'a str,
    encoding: Encoding,
    /// Earlier batches, whose letters are tried again.
    kept: Kept,
    sinks: Sinks<'a>,
    writes: bool,
    scratch: Scratch,
    summary: Summary,
}

/// Where letters stood that were tried, by partition of their topic.
type Stretches = BTreeMap<i32, Tried>;

/// A letter whose record can be cut by now.
struct Cut {
    record: RawRecord,
    attempt: u64,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a Config,
        dead_letters: &'a DeadLetters,
        normalizer: &'a Normalizer,
        runtime: &'a Handle,
        client: &ClientConfig,
        lake: &'a Lake,
    ) -> Result<Run<'a>, RedriveError> {
        let group = &config.kafka.group;
        let topic = WholeTopic::open(client, &group_of(group), &dead_letters.topic)?;
        let by = Redriver { group: group.clone(), cluster: topic.cluster()? };
        Ok(Run {
            config,
            normalizer,
            topic,
            dead_letter_topic: &dead_letters.topic,
            encoding: setup::encoding(config, client, runtime)?,
            // Before the producer: those that kept what is found here can send none of it once there is another.
            kept: runtime.block_on(lake.redrives(&by))?,
            sinks: Sinks::new(runtime, lake, by)?,
            writes: false,
            scratch: Scratch::default(),
            summary: Summary::default(),
        })
    }

    /// Ends what an earlier redrive left open, and finishes what it left half done.
    fn start_writing(&mut self, client: &ClientConfig, unfinished: Option<Unfinished>) -> Result<(), RedriveError> {
        let settings = setup::siem_settings(self.config, client, INSTANCE).filter(|_| self.config.siem.is_some());
        self.summary.finished = self.sinks.start_writing(settings, &self.topic, &self.kept, unfinished)?;
        self.writes = true;
        Ok(())
    }

    fn batch(&mut self, letters: Vec<Letter>) -> Result<(), RedriveError> {
        if letters.is_empty() {
            return Ok(());
        }
        let (mut tried, mut built) = (Stretches::new(), Built::default());
        for Cut { record, attempt } in self.cut(letters, &mut tried)? {
            let route = setup::route(&self.config.topics, &record.position.topic);
            let (encoding, summary) = (&self.encoding, &mut self.summary);
            let mut emit = |row: &Activity<'_>, _: Option<&Rejection>| {
                built.rows.append(row);
                let status = row.text(Column::Status).unwrap_or_default();
                let source = row.text(Column::Source).unwrap_or_default();
                *summary.rows.entry((source.to_string(), status.to_string())).or_default() += 1;
                if status != Status::Empty.as_str() {
                    built.siem.push_redriven(encoding, &record, row, Some(attempt));
                }
            };
            self.normalizer.normalize_again(&record, &route, Some(attempt), &mut self.scratch, &mut emit);
            if built.num_bytes() >= BUILT_BYTES_MAX {
                self.write(std::mem::take(&mut tried), std::mem::take(&mut built))?;
            }
        }
        self.write(tried, built)
    }

    fn write(&mut self, tried: Stretches, built: Built) -> Result<(), RedriveError> {
        if !self.writes || (tried.is_empty() && built.rows.num_rows() == 0) {
            return Ok(());
        }
        let redrive = Redrive {
            number: 0,
            topic: self.dead_letter_topic.to_string(),
            tried: tried.into_values().collect(),
            rows: built.rows.num_rows(),
            generation: self.normalizer.generation().to_string(),
        };
        self.sinks.write(redrive, built, &self.topic, self.normalizer)
    }

    /// Which letters can be cut by now, as the records that they were. What becomes of the others is added to the summary,
    /// and of all but those that were done before the place to `tried`.
    fn cut(&mut self, letters: Vec<Letter>, tried: &mut Stretches) -> Result<Vec<Cut>, RedriveError> {
        let mut candidates = Vec::new();
        for letter in letters {
            // The lake is asked only for what can be cut, or has to be completed first.
            let fate = match self.rejection_of(&letter.record) {
                _ if letter.lacks_headers => Some(Fate::LacksHeaders),
                Some(rejection) if letter.shed.is_none() => Some(stays_dead(&rejection)),
                _ => None,
            };
            match fate {
                Some(fate) => self.settle(fate, &letter, tried),
                None => candidates.push(letter),
            }
        }
        let positions: BTreeSet<Position> = candidates.iter().map(|letter| letter.record.position.clone()).collect();
        let mut found = if positions.is_empty() { HashMap::new() } else { self.sinks.find(&positions)? };
        let mut cut = Vec::new();
        for letter in candidates {
            let at_position = found.entry(letter.record.position.clone()).or_default();
            let record = complete(&letter, at_position);
            let rejection = record.as_ref().ok().and_then(|record| self.rejection_of(record));
            match (record, rejection) {
                (Ok(record), None) => {
                    self.settle(Fate::Redriven, &letter, tried);
                    cut.push(Cut { record, attempt: self.attempt(&letter) });
                }
                (Ok(_), Some(rejection)) => self.settle(stays_dead(&rejection), &letter, tried),
                (Err(fate), _) => self.settle(fate, &letter, tried),
            }
        }
        Ok(cut)
    }

    /// Says what becomes of a letter.
    fn settle(&mut self, fate: Fate, letter: &Letter, tried: &mut Stretches) {
        if fate == Fate::DoneBefore {
            return self.summary.add(fate, Some(&letter.record.position), 0);
        }
        let (partition, offset, attempt) = (letter.partition, letter.offset, self.attempt(letter));
        let stretch = tried.entry(partition).or_insert(Tried { partition, from: offset, to: offset + 1 });
        stretch.from = stretch.from.min(offset);
        stretch.to = stretch.to.max(offset + 1);
        self.summary.add(fate, Some(&letter.record.position), attempt);
    }

    /// The first, second … time that this letter is tried.
    fn attempt(&self, letter: &Letter) -> u64 {
        let has_tried = |redrive: &&Redrive| redrive.has_tried(self.dead_letter_topic, letter.partition, letter.offset);
        1 + self.kept.redrives.iter().filter(has_tried).count() as u64
    }

    fn rejection_of(&mut self, record: &RawRecord) -> Option<Rejection> {
        let route = setup::route(&self.config.topics, &record.position.topic);
        let mut rejection = None;
        let mut emit = |_: &Activity<'_>, rejected: Option<&Rejection>| rejection = rejected.cloned();
        self.normalizer.normalize(record, &route, &mut self.scratch, &mut emit);
        rejection
    }
}

/// The record of a letter with what only the lake knows of it, or why it is not to be had.
fn complete(letter: &Letter, at_position: &mut [Found]) -> Result<RawRecord, Fate> {
    if at_position.is_empty() {
        return Err(Fate::NotInLake);
    }
    let value = letter.record.value.as_deref().unwrap_or_default();
    let is_same = |found: &Found| match &letter.shed {
        None => found.value == value,
        Some((sha256, size)) => found.value.len() as u64 == *size && Digest::of(&found.value).to_string() == *sha256,
    };
    let is_free = |found: &Found| found.is_rejected && !found.is_taken && is_same(found);
    let Some(index) = at_position.iter().position(is_free) else {
        // Rows of events hold other bytes than their record did.
        let is_done = at_position.iter().any(|found| !found.is_rejected || (found.is_taken && is_same(found)));
        return Err(if is_done { Fate::DoneBefore } else { Fate::OtherBytes });
    };
    let found = &mut at_position[index];
    // Each row is for one letter: two with one position are of two topics of one name.
    found.is_taken = true;
    Ok(RawRecord {
        topic_id: found.topic_id.as_deref().map(Into::into),
        timestamp: found.received_time,
        value: Some(found.value.clone()),
        ..letter.record.clone()
    })
}

fn stays_dead(rejection: &Rejection) -> Fate {
    Fate::StaysDead { stage: rejection.stage.as_str(), reason: rejection.reason.as_str() }
}

/// The consumer group whose positions say how far letters of `group` were redriven.
fn group_of(group: &str) -> String {
    format!("{group}.redrive")
}

/// What a stored record holds in memory.
fn num_bytes_of(record: &RawRecord) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|header| header.name.len() + len(&header.value)).sum();
    len(&record.key) + len(&record.value) + headers
}
