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
use crate::failpoint;
use crate::input::kafka::{Candidate, Committed, Resume, Watermarks};
use crate::sink::lake::{Lake, LakeError, Positions};

/// How long a rebalance waits for the transaction that is being committed.
///
/// A transaction takes milliseconds. One that hangs is fenced by the group's generation, so waiting longer would only
/// hold up the group.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the lake is asked for its positions. Each try has the store's own retries inside.
const NUM_ATTEMPTS_MAX: u32 = 3;

/// Why a partition cannot be resumed. Each says what was found and the command that resolves it, which is to be run while
/// no instance of the group runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResumeError {
    #[error(
        "the lake has `{partition}` up to {lake}, but group `{group}` has no position for it any more; `actorline positions \
         --config …` finds where the siem topic ends and prints the command that sets the group's position there"
    )]
    GroupPositionLost { group: String, partition: String, lake: NextOffset },
    #[error(
        "`{partition}` is to be read from {position}, but the broker holds {low} to {high}: records were deleted before \
         they were read; to go on without them, which the lake's next commit will name as a gap: `{command}`"
    )]
    Gone { partition: String, position: NextOffset, low: i64, high: i64, command: String },
    #[error(
        "`{partition}` is to be read from {position}, but the broker holds {low} to {high}: it has lost records that \
         were read already; to go on with what it has: `{command}`"
    )]
    BeyondEnd { partition: String, position: NextOffset, low: i64, high: i64, command: String },
    #[error(
        "the lake has `{partition}` up to {lake}, but the broker holds {low} to {high}: it has lost records that are in \
         the lake, and their offsets will be given to others; to go on with what it has, set `kafka.group` to \
         `{group}-anew`, and: `{command}`"
    )]
    LakeBeyondEnd { group: String, partition: String, lake: NextOffset, low: i64, high: i64, command: String },
    #[error(
        "topic `{topic}` was deleted and made anew: its id was `{was}` and is `{is}`; to read the new one from its \
         first record: `{command}`"
    )]
    MadeAnew { topic: String, was: String, is: String, command: String },
    #[error("failed to ask the broker for the range of `{partition}`")]
    Watermarks { partition: String, source: rdkafka::error::KafkaError },
    #[error("failed to read the lake's positions")]
    Lake(#[source] LakeError),
    #[error("failed to read or keep the topics' ids beside the lake's table")]
    TopicIds(#[source] LakeError),
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
    /// As an operator's command names them.
    pub brokers: String,
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
            Some(lake) => Some(self.ask_lake(|| lake.positions(&self.group)).map_err(ResumeError::Lake)?),
            None => None,
        };
        failpoint::hit("group.lake_read");
        let operator = Operator { brokers: &self.brokers, group: &self.group };
        let mut starts = Vec::with_capacity(candidates.len());
        let mut topics = HashMap::new();
        for Candidate { partition, committed } in candidates {
            if let (Some(lake), Some(positions), Some(topic_id)) = (&self.lake, &in_lake, &partition.topic_id) {
                if !topics.contains_key(&partition.topic) {
                    let ids = self.ask_lake(|| lake.topic_ids(&partition.topic)).map_err(ResumeError::TopicIds)?;
                    topics.insert(Arc::clone(&partition.topic), ids);
                }
                let known = topics.get(&partition.topic).map_or(&[][..], Vec::as_slice);
                refuse_another_topic(&operator, partition, topic_id, committed.as_ref(), known, positions)?;
            }
            let (low, high) = watermarks(partition)
                .map_err(|source| ResumeError::Watermarks { partition: name(partition), source })?;
            let lake = in_lake.as_ref().map(|positions| positions.get(partition));
            let decided = decide(&operator, partition, self.has_siem, committed.as_ref(), lake, (low, high))?;
            starts.push(decided.read());
            self.decisions.put(partition.clone(), decided);
        }
        // Before the first row of a topic that is new to the lake, and only once nothing was refused.
        for Candidate { partition: TopicPartition { topic, topic_id, .. }, .. } in candidates {
            if let (Some(lake), Some(topic_id), Some(known)) = (&self.lake, topic_id, topics.get_mut(topic))
                && !known.iter().any(|id| **id == **topic_id)
            {
                self.ask_lake(|| lake.keep_topic_id(topic, topic_id)).map_err(ResumeError::TopicIds)?;
                known.push(topic_id.to_string());
                failpoint::hit("lake.topic_kept");
            }
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
    fn ask_lake<T, F>(&self, request: impl Fn() -> F) -> Result<T, LakeError>
    where
        F: Future<Output = Result<T, LakeError>>,
    {
        let mut attempt = 1;
        loop {
            match self.runtime.block_on(request()) {
                Err(error) if error.is_transient() && attempt < NUM_ATTEMPTS_MAX => {
                    warn!(error = &error as &dyn std::error::Error, attempt, "the lake did not answer, trying again");
                    attempt += 1;
                    std::thread::sleep(Duration::from_secs(1));
                }
                result => return result,
            }
        }
    }
}

/// Refuses a topic that has the name of one that was read, and another id.
///
/// A group position without a note was set by an operator, who thereby takes the topic for what it is now.
fn refuse_another_topic(
    operator: &Operator<'_>,
    partition: &TopicPartition,
    topic_id: &str,
    committed: Option<&Committed>,
    known: &[String],
    in_lake: &Positions,
) -> Result<(), ResumeError> {
    let was = match committed {
        Some(committed) => committed.topic_id.as_deref().filter(|id| *id != topic_id),
        // A partition that was added to a topic has no position either.
        None if in_lake.know_topic(topic_id) => None,
        None => known.iter().map(String::as_str).find(|id| *id != topic_id && in_lake.know_topic(id)),
    };
    let Some(was) = was else { return Ok(()) };
    let topic = partition.topic.to_string();
    let command = operator.reset(operator.group, &topic, "--to-earliest");
    Err(ResumeError::MadeAnew { topic, was: was.to_string(), is: topic_id.to_string(), command })
}

/// Who can set the group's position, and how.
pub(super) struct Operator<'a> {
    pub brokers: &'a str,
    pub group: &'a str,
}

impl Operator<'_> {
    fn reset(&self, group: &str, topic: &str, to: &str) -> String {
        let brokers = self.brokers;
        format!(
            "kafka-consumer-groups.sh --bootstrap-server {brokers} --group {group} --topic {topic} --reset-offsets {to} \
             --execute"
        )
    }

    pub fn reset_to(&self, group: &str, partition: &TopicPartition, next: i64) -> String {
        let topic = format!("{}:{}", partition.topic, partition.partition);
        self.reset(group, &topic, &format!("--to-offset {next}"))
    }
}

/// Where the sinks start with a partition. `lake` is none without a lake, and holds none where it has nothing yet.
fn decide(
    operator: &Operator<'_>,
    partition: &TopicPartition,
    has_siem: bool,
    committed: Option<&Committed>,
    lake: Option<Option<NextOffset>>,
    (low, high): (i64, i64),
) -> Result<Starts, ResumeError> {
    let group = operator.group.to_string();
    let begun = match (committed, lake.flatten()) {
        (None, Some(lake)) if has_siem => {
            return Err(ResumeError::GroupPositionLost { group, partition: name(partition), lake });
        }
        // Without a siem the group's position is only a note of where reading began.
        (None, Some(lake)) => lake,
        (None, None) => NextOffset(low),
        // A position without a note was set by another tool: by an operator, as the place to begin.
        (Some(committed), _) => committed.start.unwrap_or(committed.next),
    };
    // Reading begins before everything that the lake has, unless an operator made it begin later. Who does that goes on
    // without what the broker does not hold any more; what it does hold, the lake still takes.
    let gap_from = lake.flatten().filter(|lake| lake.0 < low && *lake < begun && low <= begun.0);
    let starts = Starts {
        begun,
        siem: has_siem.then(|| committed.map_or(begun, |committed| committed.next)),
        lake: lake.map(|position| if gap_from.is_some() { NextOffset(low) } else { position.unwrap_or(begun) }),
        lake_gap_from: gap_from,
        is_new: committed.is_none(),
    };
    let position = starts.read();
    let partition_name = name(partition);
    if let Some(lake) = starts.lake.filter(|lake| lake.0 > high) {
        let command = operator.reset_to(&format!("{group}-anew"), partition, high);
        return Err(ResumeError::LakeBeyondEnd { group, partition: partition_name, lake, low, high, command });
    }
    if position.0 < low {
        // What the siem has is not to be sent again.
        let next = starts.siem.map_or(low, |siem| siem.0.clamp(low, high));
        let command = operator.reset_to(&group, partition, next);
        return Err(ResumeError::Gone { partition: partition_name, position, low, high, command });
    }
    if let Some(position) = starts.siem.filter(|siem| siem.0 > high) {
        let command = operator.reset_to(&group, partition, high);
        return Err(ResumeError::BeyondEnd { partition: partition_name, position, low, high, command });
    }
    Ok(starts)
}

fn name(partition: &TopicPartition) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: Operator<'_> = Operator { brokers: "b:9092", group: "g" };

    fn decided(
        has_siem: bool,
        committed: Option<(i64, Option<i64>)>,
        lake: Option<Option<i64>>,
    ) -> Result<Starts, ResumeError> {
        let committed = committed.map(|(next, start)| Committed {
            next: NextOffset(next),
            start: start.map(NextOffset),
            topic_id: None,
        });
        decide(&OPERATOR, &partition(), has_siem, committed.as_ref(), lake.map(|lake| lake.map(NextOffset)), (10, 100))
    }

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), topic_id: None, partition: 0 }
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

    fn refusal(committed: (i64, Option<i64>), lake: Option<i64>) -> String {
        decided(true, Some(committed), Some(lake)).expect_err("refused").to_string()
    }

    #[test]
    fn what_the_broker_does_not_hold_any_more_is_refused_with_the_command_that_goes_on_without_it() {
        let lake_behind = refusal((50, Some(0)), Some(9));
        assert!(lake_behind.contains("is to be read from 9, but the broker holds 10 to 100"), "{lake_behind}");
        let command = "`kafka-consumer-groups.sh --bootstrap-server b:9092 --group g --topic t:0 --reset-offsets \
                       --to-offset 50 --execute`";
        assert!(lake_behind.ends_with(command), "the siem is not taken back: {lake_behind}");
        assert!(refusal((7, Some(0)), Some(7)).contains("--to-offset 10 "), "to what there is");
    }

    #[test]
    fn what_the_broker_never_had_is_refused() {
        assert!(refusal((101, None), Some(60)).contains("--group g --topic t:0 --reset-offsets --to-offset 100 "));
        assert!(refusal((101, Some(0)), Some(101)).contains("--group g-anew --topic t:0 "), "the lake cannot go back");
        assert!(decided(true, Some((100, None)), None).is_ok(), "at the end");
    }

    #[test]
    fn an_operators_offset_beyond_the_lakes_goes_on_without_what_is_gone_and_with_all_that_is_not() {
        let gap = |committed, lake| {
            let starts = decided(true, Some(committed), Some(Some(lake))).expect("resumed");
            (starts.siem.map(|next| next.0), starts.lake.map(|next| next.0), starts.lake_gap_from.map(|from| from.0))
        };
        assert_eq!(gap((50, None), 5), (Some(50), Some(10), Some(5)), "just set");
        assert_eq!(gap((60, Some(50)), 5), (Some(60), Some(10), Some(5)), "the siem went on, the lake did not yet");
        assert_eq!(gap((50, None), 20), (Some(50), Some(20), None), "the broker still has all that the lake lacks");
    }

    #[test]
    fn records_that_go_after_the_operator_spoke_are_another_loss() {
        assert!(refusal((8, None), Some(5)).contains("--to-offset 10 "), "set to 8, and now the broker begins at 10");
    }
}
