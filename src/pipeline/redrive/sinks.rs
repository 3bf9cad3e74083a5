//! Both sinks of a redrive, and the number that says how far each of them is.
//!
//! The lake's is in its seals. The SIEM's stands beside the positions of a group that is there for nothing else, and is set
//! before the first batch is kept: that it is gone means that brokers forgot it, never that nothing was sent. With it stands
//! the digest of what was sent, so that nobody can slip other rows under a batch that is finished later.

use std::collections::{BTreeSet, HashMap};

use arrow::array::RecordBatch;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tracing::warn;

use super::rows::{self, Found};
use super::{RedriveError, Unfinished, group_of};
use crate::activity::arrow::RowBuilder;
use crate::failpoint;
use crate::input::kafka::{Mark, WholeTopic};
use crate::pipeline::normalize::Normalizer;
use crate::record::Position;
use crate::seal::Redriver;
use crate::sink::lake::{History, Kept, Lake, LakeError, Redrive};
use crate::sink::siem::{Batch, Outcome, Settings, SiemSink};

/// Numbers that others may take first. One that was fenced takes at most one before it notices.
const NUM_RIVALS_MAX: i64 = 20;

/// What a batch brings.
#[derive(Default)]
pub(super) struct Built {
    pub rows: RowBuilder,
    pub siem: Batch,
}

impl Built {
    pub fn num_bytes(&self) -> usize {
        self.rows.num_bytes() + self.siem.num_bytes()
    }
}

pub(super) struct Sinks<'a> {
    runtime: &'a Handle,
    lake: &'a Lake,
    by: Redriver,
    history: History,
    /// None in a plan, and where the configuration has no SIEM.
    siem: Option<SiemSink>,
    /// The largest number that is known to be taken.
    newest: i64,
}

impl<'a> Sinks<'a> {
    pub fn new(runtime: &'a Handle, lake: &'a Lake, by: Redriver) -> Result<Sinks<'a>, RedriveError> {
        Ok(Sinks { runtime, lake, by, history: runtime.block_on(lake.history())?, siem: None, newest: 0 })
    }

    /// What the lake has at `positions` now.
    pub fn find(&mut self, positions: &BTreeSet<Position>) -> Result<HashMap<Position, Vec<Found>>, LakeError> {
        self.runtime.block_on(async {
            self.lake.read_history_on(&mut self.history).await?;
            rows::find(self.lake, &self.history, &self.by.group, positions).await
        })
    }

    /// Takes the SIEM's side over and makes both even. `kept` was read before. The batch that was finished, if one was.
    pub fn start_writing(
        &mut self,
        settings: Option<Settings>,
        topic: &WholeTopic,
        kept: &Kept,
        unfinished: Option<Unfinished>,
    ) -> Result<Option<i64>, RedriveError> {
        // From here on nobody else can end a transaction, and the SIEM's number stands still.
        self.siem = settings.map(SiemSink::connect).transpose()?;
        let (lake, history) = (self.lake, &mut self.history);
        self.runtime.block_on(async {
            lake.seal_what_others_left().await?;
            lake.read_history_on(history).await
        })?;
        let in_lake = self.history.redriven.get(&self.by).copied().unwrap_or(0);
        self.newest = kept.newest.max(in_lake);
        if self.siem.is_none() {
            return Ok(None);
        }
        let stored = topic.mark()?;
        let pending = kept.with_rows.range(in_lake + 1..).next_back().copied();
        let in_siem = match (&stored, pending, unfinished) {
            (Some(mark), ..) => mark.clone(),
            (None, None, _) | (None, Some(_), Some(Unfinished::SiemLacksIt)) => Mark { number: in_lake, sha256: None },
            (None, Some(pending), Some(Unfinished::SiemHasIt)) => {
                self.finish(topic, &Mark { number: pending, sha256: None })?;
                Mark { number: pending, sha256: None }
            }
            (None, Some(pending), None) => return Err(self.forgotten(pending)?),
        };
        let mut finished = None;
        if in_siem.number > in_lake && in_siem.sha256.is_some() && self.finish(topic, &in_siem)? {
            finished = Some(in_siem.number);
        }
        if stored.is_none() {
            self.send(topic, &Mark { sha256: None, ..in_siem.clone() }, Batch::default())?;
        }
        self.newest = self.newest.max(in_siem.number);
        kept.with_rows.iter().for_each(|number| self.forget(*number));
        Ok(finished)
    }

    /// Brings a batch that the SIEM has into the lake, from what was kept. False if somebody else has since.
    fn finish(&mut self, topic: &WholeTopic, mark: &Mark) -> Result<bool, RedriveError> {
        let rows = self.lake.redrive_rows(&self.by, mark.number, mark.sha256.as_deref());
        if let Some(rows) = self.runtime.block_on(rows)? {
            self.bring(topic, mark.number, &rows)?;
            return Ok(true);
        }
        // Whoever sent it may have brought it, and took its rows away. But nobody else may.
        self.runtime.block_on(self.lake.read_history_on(&mut self.history))?;
        let is_there = self.history.redriven.get(&self.by).is_some_and(|newest| *newest >= mark.number);
        if is_there { Ok(false) } else { Err(RedriveError::Lost { number: mark.number }) }
    }

    fn forgotten(&self, number: i64) -> Result<RedriveError, RedriveError> {
        let rows = self.runtime.block_on(self.lake.redrive_rows(&self.by, number, None))?;
        let position = rows.as_ref().and_then(rows::first_position).map(|position| format!("{position}/0"));
        Ok(RedriveError::Forgotten { group: group_of(&self.by.group), number, position: position.unwrap_or_default() })
    }

    /// Brings a batch into both sinks.
    pub fn write(
        &mut self,
        mut redrive: Redrive,
        mut built: Built,
        topic: &WholeTopic,
        normalizer: &Normalizer,
    ) -> Result<(), RedriveError> {
        let rows = built.rows.finish()?;
        if redrive.rows > 0 {
            let document = normalizer.generation_document();
            self.runtime.block_on(self.lake.keep_generation(normalizer.generation(), document))?;
        }
        // Without a SIEM there is nothing to make even.
        let kept = Some(&rows).filter(|_| redrive.rows > 0 && self.siem.is_some());
        redrive.number = self.newest + 1;
        // A number may be taken by a redrive that was fenced since: what it kept is void.
        let last_number = redrive.number + NUM_RIVALS_MAX;
        let sha256 = loop {
            match self.runtime.block_on(self.lake.keep_redrive(&self.by, &redrive, kept))? {
                Some(sha256) => break sha256,
                None if redrive.number == last_number => return Err(RedriveError::Rival),
                None => redrive.number += 1,
            }
        };
        failpoint::hit("redrive.kept");
        self.newest = redrive.number;
        if redrive.rows == 0 {
            return Ok(());
        }
        let mark = Mark { number: redrive.number, sha256: Some(sha256.to_string()) };
        self.send(topic, &mark, built.siem)?;
        failpoint::hit("redrive.sent");
        self.bring(topic, redrive.number, &rows)?;
        failpoint::hit("redrive.brought");
        self.forget(redrive.number);
        failpoint::hit("redrive.forgotten");
        Ok(())
    }

    fn bring(&mut self, topic: &WholeTopic, number: i64, rows: &RecordBatch) -> Result<(), RedriveError> {
        let bring = rows::bring(self.lake, &mut self.history, &self.by, number, rows);
        if self.runtime.block_on(bring)? {
            return Ok(());
        }
        // The lake will never say that it has this batch, so the SIEM's side says that nobody waits for it.
        self.send(topic, &Mark { number, sha256: None }, Batch::default())
    }

    /// The next redrive tries again.
    fn forget(&self, number: i64) {
        if let Err(error) = self.runtime.block_on(self.lake.forget_redrive_rows(&self.by, number)) {
            warn!(number, error = &error as &dyn std::error::Error, "left the rows of a batch that is done");
        }
    }

    /// Sends a batch in one transaction and finds out what became of it.
    fn send(&mut self, topic: &WholeTopic, mark: &Mark, batch: Batch) -> Result<(), RedriveError> {
        let Some(sink) = &mut self.siem else { return Ok(()) };
        let positions = topic.positions(mark).map_err(RedriveError::Aborted)?;
        let generation = topic.generation().ok_or(RedriveError::Aborted(KafkaError::Canceled))?;
        match sink.commit(&[batch], &positions, &generation) {
            // Now, and not with the next commit: that must not fence somebody who redrove the same letters since.
            Outcome::Committed => match sink.replace_if_due()? && topic.mark()?.as_ref() != Some(mark) {
                true => Err(RedriveError::Rival),
                false => Ok(()),
            },
            Outcome::Aborted(error) => Err(RedriveError::Aborted(error)),
            Outcome::Unclear(error) if is_fenced(&error) => Err(RedriveError::Rival),
            Outcome::Unclear(error) => {
                // Afterwards nothing of it can arrive any more, and the mark says whether it did.
                sink.replace_producer()?;
                if topic.mark()?.as_ref() == Some(mark) { Ok(()) } else { Err(RedriveError::Unclear(error)) }
            }
        }
    }
}

fn is_fenced(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
}
