//! The reading half of the loop: records are gathered, what happened to the assignment is taken in, and chunks go to
//! the mapping workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::mapping::{Chunk, Mapped};
use super::partitions::Starts;
use super::{Run, RunError, setup};
use crate::checkpoint::TopicPartition;
use crate::failpoint;
use crate::input::kafka::{Notice, Polled};
use crate::record::RawRecord;

/// Records and bytes gathered before they go to the workers, unless less is there.
///
/// Enough that handing them over costs nothing beside mapping them, little enough that the SIEM's cadence holds.
const GATHER_RECORDS_MAX: usize = 4_096;
const GATHER_BYTES_MAX: usize = 2 * 1024 * 1024;
const GATHER_TIME: Duration = Duration::from_millis(10);

/// Records of one chunk: a partition that has all the traffic is still mapped on every core.
const CHUNK_RECORDS_MAX: usize = 512;

/// Most bytes at the mapping workers. Beyond it nothing is read until some come back.
const UNDER_WAY_BYTES_MAX: usize = 32 * 1024 * 1024;

type Gathered = BTreeMap<(Arc<str>, i32), Vec<RawRecord>>;

impl Run<'_> {
    /// Reads for a moment and hands what came to the workers.
    pub(super) fn read(&mut self) -> Result<(), RunError> {
        let mut gathered = Gathered::new();
        let (mut num_records, mut num_bytes) = (0, 0);
        let begun = Instant::now();
        let is_full = self.workers.num_bytes_under_way() >= UNDER_WAY_BYTES_MAX;
        loop {
            // A client whose records are not wanted now is still polled: rebalances happen in there. With paused reading
            // this is where the loop rests.
            let wait = if is_full && self.paused_for.is_empty() {
                Duration::ZERO
            } else {
                GATHER_TIME.saturating_sub(begun.elapsed())
            };
            let polled = self.input.poll(wait)?;
            self.take_notices(&mut gathered)?;
            match polled {
                Polled::Record(record) => {
                    num_records += 1;
                    num_bytes += record.value.as_ref().map_or(0, Vec::len);
                    let key = (Arc::clone(&record.position.topic), record.position.partition);
                    gathered.entry(key).or_default().push(record);
                }
                Polled::Nothing => {}
                Polled::Trouble(error) => warn!(%error, "the kafka client reports trouble"),
            }
            let is_enough = num_records >= GATHER_RECORDS_MAX || num_bytes >= GATHER_BYTES_MAX;
            if is_full || is_enough || begun.elapsed() >= GATHER_TIME {
                break;
            }
        }
        if !gathered.is_empty() {
            failpoint::hit("read.polled");
        }
        self.dispatch(gathered);
        self.seek();
        Ok(())
    }

    /// Gives mapped rows to the sinks' buffers, as long as those have room: what waits here holds up the mapping.
    pub(super) fn take_mapped(&mut self) -> Result<(), RunError> {
        let is_full = self.workers.num_bytes_under_way() >= UNDER_WAY_BYTES_MAX;
        let mut wait = if is_full { GATHER_TIME } else { Duration::ZERO };
        while !self.is_full() {
            let Some(mapped) = self.workers.next(wait)? else { break };
            wait = Duration::ZERO;
            self.metrics.count(&mapped.tally);
            self.take_rows(mapped);
        }
        Ok(())
    }

    fn take_rows(&mut self, mapped: Mapped) {
        let Mapped { id, epoch, to, undelivered, siem: records, lake: rows, .. } = mapped;
        // Rows of an older reading, or of a partition that went, are read again by whoever has it now.
        let Some(partition) = self.partitions.get_mut(&id).filter(|partition| partition.epoch == epoch) else { return };
        if let (Some(writer), Some(cursor)) = (&mut self.siem, &mut partition.siem)
            && to > cursor.taken
        {
            cursor.taken = to;
            let taken = super::siem::Taken { id: Arc::clone(&id), epoch: cursor.epoch, begun: partition.begun, to };
            writer.push(taken, records);
        }
        if let (Some(writer), Some(cursor)) = (&mut self.lake, &mut partition.lake)
            && to > cursor.taken
        {
            writer.push(&id, cursor, to, &undelivered, rows);
        }
        failpoint::hit("read.taken");
    }

    fn dispatch(&mut self, gathered: Gathered) {
        for ((topic, number), mut records) in gathered {
            let id = TopicPartition { topic, topic_id: None, partition: number };
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            if partition.must_seek {
                continue;
            }
            records.retain(|record| record.position.offset >= partition.read.0);
            while !records.is_empty() {
                let rest = records.split_off(records.len().min(CHUNK_RECORDS_MAX));
                self.workers.send(Chunk::of(partition, records));
                records = rest;
            }
        }
    }

    /// Sends the input to where partitions that were taken back go on.
    fn seek(&mut self) {
        // What is read while stopping is not kept anyway.
        if self.stopping_since.is_some() {
            return;
        }
        for partition in self.partitions.iter_mut().filter(|partition| partition.must_seek) {
            match self.input.seek(&partition.id, partition.read) {
                Ok(()) => {
                    partition.must_seek = false;
                    failpoint::hit("read.sought");
                }
                Err(error) => {
                    let (topic, number) = (&partition.id.topic, partition.id.partition);
                    warn!(%error, %topic, partition = number, "failed to go back in a partition, trying again");
                }
            }
        }
    }

    /// Takes in what happened to the assignment. What was gathered from partitions that changed is forgotten: it was
    /// read from where they stood before.
    fn take_notices(&mut self, gathered: &mut Gathered) -> Result<(), RunError> {
        for notice in self.input.notices() {
            match notice {
                Notice::Assigned { partitions, generation } => {
                    self.generation = generation;
                    self.readiness.ready("input");
                    for (id, start) in partitions {
                        gathered.remove(&(Arc::clone(&id.topic), id.partition));
                        let route = Arc::new(setup::route(&self.config.topics, &id.topic));
                        // The decision was made for this very assignment, just before the notice.
                        let starts = self.decisions.take(&id).unwrap_or(Starts {
                            begun: start,
                            siem: self.siem.as_ref().map(|_| start),
                            lake: self.lake.as_ref().map(|_| start),
                            lake_gap_from: None,
                            is_new: false,
                        });
                        let partition = self.partitions.assign(id, route, starts);
                        if let Some(siem) = self.siem.as_mut().filter(|_| partition.is_new) {
                            siem.announce(partition);
                        }
                    }
                    // Partitions that were added are not paused yet.
                    if self.is_paused {
                        self.is_paused = false;
                        self.set_paused(true);
                    }
                }
                Notice::Revoked(partitions) => {
                    for (topic, number) in partitions {
                        gathered.remove(&(Arc::clone(&topic), number));
                        let Some(partition) = self.partitions.revoke(&topic, number) else { continue };
                        self.metrics.forget(&partition.id);
                        if let Some(siem) = &mut self.siem {
                            siem.forget(&partition.id);
                        }
                        if let Some(lake) = &mut self.lake {
                            lake.forget(&partition.id);
                        }
                    }
                }
                Notice::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
