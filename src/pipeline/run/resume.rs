//! Where partitions start when they are assigned: at the lower of what the two sinks have, each of which keeps its own
//! position.
//!
//! A position that should be there and is not is never made up: going on would lose records or double them, so the
//! run stops and says what was found.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::warn;

use super::partitions::Starts;
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::input::kafka::{Candidate, Committed, Resume, Watermarks};
use crate::sink::lake::{Lake, LakeError};

/// How long a rebalance waits for the transaction that is being committed.
///
/// A transaction takes milliseconds. One that hangs is fenced by the group's generation, so waiting longer would only
/// hold up the group.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the lake is asked for its positions. Each try has the store's own retries inside.
const NUM_ATTEMPTS_MAX: u32 = 3;

/// Why a partition cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResumeError {
    #[error(
        "the lake has `{partition}` up to {lake}, but group `{group}` has no position for it any more: set the group's \
         offset to where the siem topic ends, or start a new group"
    )]
    GroupPositionLost { group: String, partition: String, lake: NextOffset },
    #[error(
        "`{partition}` is to be read from {position}, but the broker holds {low} to {high}: records are gone or the \
         topic was made anew; set the group's offset by hand to go on without them"
    )]
    OutOfRange { partition: String, position: NextOffset, low: i64, high: i64 },
    #[error("failed to ask the broker for the range of `{partition}`")]
    Watermarks { partition: String, source: rdkafka::error::KafkaError },
    #[error("failed to read the lake's positions")]
    Lake(#[source] LakeError),
}

/// What the rebalance decided, until the loop asks for it.
#[derive(Clone, Default)]
pub(super) struct Decisions {
    starts: Arc<Mutex<HashMap<TopicPartition, Starts>>>,
}

impl Decisions {
    pub fn take(&self, partition: &TopicPartition) -> Option<Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).remove(partition)
    }

    fn put(&self, partition: TopicPartition, starts: Starts) {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, starts);
    }
}

/// Whether a transaction is being committed, for those who must wait until none is.
#[derive(Clone, Default)]
pub(super) struct InFlight {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl InFlight {
    pub fn set(&self, is_in_flight: bool) {
        let (state, changed) = &*self.state;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = is_in_flight;
        changed.notify_all();
    }

    /// Waits until nothing is in flight, at most `timeout`. Says whether it came to that.
    fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (state, changed) = &*self.state;
        let mut is_in_flight = state.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_in_flight {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            is_in_flight = changed.wait_timeout(is_in_flight, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Reads the positions of both sinks during a rebalance.
pub(super) struct SinkPositions {
    pub group: String,
    pub has_siem: bool,
    pub lake: Option<Lake>,
    pub runtime: Handle,
    pub decisions: Decisions,
    pub in_flight: InFlight,
}

impl Resume for SinkPositions {
    fn resume(
        &self,
        candidates: &[Candidate],
        watermarks: &Watermarks<'_>,
    ) -> Result<Vec<NextOffset>, Box<dyn std::error::Error + Send + Sync>> {
        let in_lake = match &self.lake {
            Some(lake) => Some(self.lake_positions(lake).map_err(ResumeError::Lake)?),
            None => None,
        };
        let mut starts = Vec::with_capacity(candidates.len());
        for Candidate { partition, committed } in candidates {
            let (low, high) = watermarks(partition)
                .map_err(|source| ResumeError::Watermarks { partition: name(partition), source })?;
            let lake = in_lake.as_ref().map(|positions| positions.get(partition));
            let decided = decide(&self.group, partition, self.has_siem, committed.as_ref(), lake, (low, high))?;
            starts.push(decided.read());
            self.decisions.put(partition.clone(), decided);
        }
        Ok(starts)
    }

    fn before_revoke(&self) {
        if !self.in_flight.wait(REVOKE_TIMEOUT) {
            warn!("a transaction is still open while partitions are given up: the group's generation will refuse it");
        }
    }
}

impl SinkPositions {
    fn lake_positions(&self, lake: &Lake) -> Result<crate::sink::lake::Positions, LakeError> {
        let mut attempt = 1;
        loop {
            match self.runtime.block_on(lake.positions(&self.group)) {
                Err(error) if error.is_transient() && attempt < NUM_ATTEMPTS_MAX => {
                    warn!(error = &error as &dyn std::error::Error, attempt, "failed to read the lake's positions");
                    attempt += 1;
                    std::thread::sleep(Duration::from_secs(1));
                }
                result => return result,
            }
        }
    }
}

/// Where the sinks start with a partition. `lake` is none without a lake, and holds none where it has nothing yet.
fn decide(
    group: &str,
    partition: &TopicPartition,
    has_siem: bool,
    committed: Option<&Committed>,
    lake: Option<Option<NextOffset>>,
    (low, high): (i64, i64),
) -> Result<Starts, ResumeError> {
    let begun = match (committed, lake.flatten()) {
        (None, Some(lake)) if has_siem => {
            return Err(ResumeError::GroupPositionLost { group: group.to_string(), partition: name(partition), lake });
        }
        // Without a siem the group's position is only a note of where reading began.
        (None, Some(lake)) => lake,
        (None, None) => NextOffset(low),
        // A position without a note was set by another tool: by an operator, as the place to begin.
        (Some(committed), _) => committed.start.unwrap_or(committed.next),
    };
    let starts = Starts {
        begun,
        siem: has_siem.then(|| committed.map_or(begun, |committed| committed.next)),
        lake: lake.map(|position| position.unwrap_or(begun)),
        is_new: committed.is_none(),
    };
    let position = starts.read();
    if !(low..=high).contains(&position.0) {
        return Err(ResumeError::OutOfRange { partition: name(partition), position, low, high });
    }
    Ok(starts)
}

fn name(partition: &TopicPartition) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(
        has_siem: bool,
        committed: Option<(i64, Option<i64>)>,
        lake: Option<Option<i64>>,
    ) -> Result<Starts, ResumeError> {
        let partition = TopicPartition { topic: "t".into(), topic_id: None, partition: 0 };
        let committed =
            committed.map(|(next, start)| Committed { next: NextOffset(next), start: start.map(NextOffset) });
        decide("g", &partition, has_siem, committed.as_ref(), lake.map(|lake| lake.map(NextOffset)), (10, 100))
    }

    fn sinks(starts: &Starts) -> (Option<i64>, Option<i64>, bool) {
        (starts.siem.map(|next| next.0), starts.lake.map(|next| next.0), starts.is_new)
    }

    #[test]
    fn a_fresh_group_begins_with_what_the_broker_holds() {
        assert_eq!(sinks(&decided(true, None, Some(None)).expect("fresh")), (Some(10), Some(10), true));
    }

    #[test]
    fn each_sink_goes_on_where_it_is() {
        let starts = decided(true, Some((50, Some(10))), Some(Some(40))).expect("resumed");
        assert_eq!((sinks(&starts), starts.read()), ((Some(50), Some(40), false), NextOffset(40)));
    }

    #[test]
    fn a_lake_without_a_position_begins_where_the_group_began() {
        let starts = decided(true, Some((50, Some(20))), Some(None)).expect("resumed");
        assert_eq!(sinks(&starts), (Some(50), Some(20), false));
    }

    #[test]
    fn an_operators_offset_is_where_both_sinks_begin() {
        let starts = decided(true, Some((50, None)), Some(None)).expect("resumed");
        assert_eq!(sinks(&starts), (Some(50), Some(50), false));
    }

    #[test]
    fn a_group_position_that_is_gone_beside_a_lake_is_refused() {
        let error = decided(true, None, Some(Some(40))).expect_err("refused").to_string();
        assert!(error.starts_with("the lake has `t/0` up to 40, but group `g` has no position"), "{error}");
    }

    #[test]
    fn without_a_siem_the_lakes_position_is_enough() {
        assert_eq!(sinks(&decided(false, None, Some(Some(40))).expect("resumed")), (None, Some(40), true));
    }

    #[test]
    fn what_the_broker_does_not_hold_any_more_or_never_did_is_refused() {
        assert!(decided(true, Some((50, None)), Some(Some(9))).is_err(), "deleted before it was read");
        assert!(decided(true, Some((101, None)), None).is_err(), "beyond the end");
        assert!(decided(true, Some((100, None)), None).is_ok(), "at the end");
    }
}
