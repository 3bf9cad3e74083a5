//! The settling half of the loop: what a sink's commit came to moves its cursors on, or takes them back to where the
//! sink's own position says that it stands.

use tracing::{debug, info, warn};

use super::partitions::Side;
use super::siem::{Fate, Report as SiemReport, Taken};
use super::{Run, RunError};
use crate::checkpoint::NextOffset;
use crate::failpoint;
use crate::telemetry::Sink;

/// After how many failures in a row the siem objects to readiness. One or two come with every rebalance.
const NUM_FAILURES_BEFORE_TROUBLE: u32 = 3;

impl Run<'_> {
    pub(super) fn settle_siem(&mut self) -> Result<(), RunError> {
        let Some(siem) = &mut self.siem else { return Ok(()) };
        let reports = siem.reports();
        let is_in_trouble = siem.num_failures() >= NUM_FAILURES_BEFORE_TROUBLE;
        for report in reports {
            match report {
                SiemReport::Trouble(why) => self.readiness.not_ready("siem", why),
                SiemReport::Failed(error) => return Err(error.into()),
                SiemReport::Settled { partitions, fate: Fate::Committed, duration } => {
                    self.metrics.committed(Sink::Siem, duration);
                    self.readiness.ready("siem");
                    for Taken { id, epoch, to, .. } in partitions {
                        if let Some(partition) = self.partitions.staying(&id, Side::Siem, epoch)
                            && let Some(cursor) = &mut partition.siem
                        {
                            cursor.stored = to;
                            // The transaction wrote the group's position too.
                            partition.is_new = false;
                        }
                    }
                    failpoint::hit("siem.settled");
                }
                SiemReport::Settled { partitions, fate: Fate::Aborted(error), .. } => {
                    self.metrics.commit_failed(Sink::Siem);
                    info!(%error, "a transaction was aborted, its records are read again");
                    if is_in_trouble {
                        self.readiness.not_ready("siem", format!("transactions fail: {error}"));
                    }
                    let mut is_tried_again = false;
                    for Taken { id, epoch, .. } in partitions {
                        let stored = self
                            .partitions
                            .staying(&id, Side::Siem, epoch)
                            .and_then(|partition| partition.siem)
                            .map(|cursor| cursor.stored);
                        if let Some(stored) = stored {
                            self.rewind(&id, Side::Siem, stored);
                            is_tried_again = true;
                        }
                    }
                    self.clear_siem_unless(is_tried_again);
                }
                SiemReport::Settled { partitions, fate: Fate::Unclear(error), .. } => {
                    self.metrics.commit_failed(Sink::Siem);
                    warn!(%error, "the outcome of a transaction was unclear, asking the group for its positions");
                    self.readiness.not_ready("siem", format!("transactions fail: {error}"));
                    let is_tried_again = self.ask_group(partitions)?;
                    self.clear_siem_unless(is_tried_again);
                }
            }
        }
        Ok(())
    }

    /// Takes the siem's objection to readiness back if nothing of a transaction that failed is left to try again: it is
    /// there after all, or its partitions have gone to others. No later transaction might come to say so.
    fn clear_siem_unless(&mut self, is_tried_again: bool) {
        if !is_tried_again {
            self.readiness.ready("siem");
        }
    }

    /// Finds out from the group's positions whether a transaction is there. Says whether any of it is read again.
    fn ask_group(&mut self, mut partitions: Vec<Taken>) -> Result<bool, RunError> {
        partitions.retain(|taken| self.partitions.staying(&taken.id, Side::Siem, taken.epoch).is_some());
        let ids: Vec<_> = partitions.iter().map(|taken| &*taken.id).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let mut is_read_again = false;
        let committed = self.input.committed(&ids)?;
        failpoint::hit("siem.asked");
        for (taken, committed) in partitions.iter().zip(committed) {
            let found = committed.map(|committed| committed.next);
            debug!(topic = %taken.id.topic, partition = taken.id.partition, ?found, "the group stands");
            let partition = self.partitions.staying(&taken.id, Side::Siem, taken.epoch);
            if !partition.is_some_and(|partition| partition.is_in_siem(taken.to, found)) {
                self.rewind(&taken.id, Side::Siem, found.unwrap_or(taken.begun));
                is_read_again = true;
            }
        }
        Ok(is_read_again)
    }

    pub(super) fn settle_lake(&mut self) -> Result<(), RunError> {
        use super::lake::Report;
        let Some(lake) = &mut self.lake else { return Ok(()) };
        for report in lake.reports() {
            match report {
                Report::Trouble(why) => {
                    self.metrics.commit_failed(Sink::Lake);
                    self.readiness.not_ready("lake", why);
                }
                Report::Failed(error) => return Err(RunError::Lake(error)),
                Report::FailedTopic(error) => return Err(RunError::Topic(error)),
                Report::Committed { partitions, duration } => {
                    self.metrics.committed(Sink::Lake, duration);
                    self.readiness.ready("lake");
                    for stay in partitions {
                        if let Some(partition) = self.partitions.staying(&stay.id, Side::Lake, stay.epoch)
                            && let Some(cursor) = &mut partition.lake
                        {
                            cursor.stored = stay.to;
                        }
                    }
                    failpoint::hit("lake.settled");
                }
                Report::Fenced { partitions, positions, why } => {
                    self.metrics.commit_failed(Sink::Lake);
                    self.readiness.ready("lake");
                    info!(why, "the lake stands elsewhere than this batch began, its records are read again");
                    for stay in partitions {
                        let Some(partition) = self.partitions.staying(&stay.id, Side::Lake, stay.epoch) else {
                            continue;
                        };
                        let position = positions.get(&stay.id).unwrap_or(partition.begun);
                        self.rewind(&stay.id, Side::Lake, position);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes one sink back to `position` in a partition and forgets what waits for it there.
    fn rewind(&mut self, id: &crate::checkpoint::TopicPartition, side: Side, position: NextOffset) {
        match side {
            Side::Siem => {
                if let Some(siem) = &mut self.siem {
                    siem.forget(id);
                }
            }
            Side::Lake => {
                if let Some(lake) = &mut self.lake {
                    lake.forget(id);
                }
            }
        }
        self.partitions.rewind(id, side, position);
        failpoint::hit("run.rewound");
        // What was forgotten may have been the only word of where reading began.
        if let (Side::Siem, Some(siem), Some(partition)) = (side, &mut self.siem, self.partitions.get_mut(id))
            && partition.is_new
        {
            siem.announce(partition);
        }
    }
}
