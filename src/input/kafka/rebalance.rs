//! Assignment: what happens while the group hands partitions to this member or takes them away.
//!
//! Runs inside [`super::KafkaInput::poll`], on its thread. A partition gets its start offset before the client may
//! fetch from it, and is given up only after [`Resume::before_revoke`] has returned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tracing::{info, warn};

use super::{Committed, Generation, InputError, REQUEST_TIMEOUT, native};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::failpoint;

/// How often a group's positions are asked for before the run gives up.
///
/// A transaction of an instance that was killed keeps them unsettled until it expires (15 seconds) and the broker
/// notices (10 more). With ten seconds a request, six outlast that twice.
const NUM_ATTEMPTS_MAX: usize = 6;

/// Decides where partitions start. Called while the group waits, so it must come back well within
/// `max.poll.interval.ms`.
pub trait Resume: Send + Sync {
    /// The offset from which each of `candidates` is read, in their order.
    ///
    /// # Errors
    /// Anything; it ends the run.
    fn resume(
        &self,
        candidates: &[Candidate],
        watermarks: &Watermarks<'_>,
    ) -> Result<Vec<NextOffset>, Box<dyn std::error::Error + Send + Sync>>;

    /// Ends within bounded time whatever is being committed for partitions that are about to go.
    fn before_revoke(&self);
}

/// A partition that is being assigned.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub partition: TopicPartition,
    /// The group's position, if it has one.
    pub committed: Option<Committed>,
}

/// Asks the broker for the first offset that a partition holds, and the one after its last.
pub type Watermarks<'a> = dyn Fn(&TopicPartition) -> Result<(i64, i64), KafkaError> + 'a;

/// What happened to the assignment.
pub enum Notice {
    /// The group settled. Partitions are those added, each with its start; `generation` holds until the next
    /// rebalance, and a transaction that carries it fails once another has begun.
    Assigned {
        partitions: Vec<(TopicPartition, NextOffset)>,
        generation: Option<Generation>,
    },
    Revoked(Vec<(Arc<str>, i32)>),
    Failed(InputError),
}

pub(super) struct Context {
    resume: Box<dyn Resume>,
    notices: Mutex<Vec<Notice>>,
}

impl Context {
    pub fn new(resume: Box<dyn Resume>) -> Context {
        Context { resume, notices: Mutex::new(Vec::new()) }
    }

    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, added: &TopicPartitionList) -> Result<(), InputError> {
        if added.count() == 0 {
            consumer.incremental_assign(added).map_err(assigning)?;
            self.tell(Notice::Assigned { partitions: Vec::new(), generation: generation(consumer) });
            return Ok(());
        }
        let committed = committed(consumer, added.clone())?;
        failpoint::hit("group.positions_read");
        let partitions = with_topic_ids(consumer, added)?;
        let candidates: Vec<Candidate> = partitions
            .into_iter()
            .zip(committed)
            .map(|(partition, committed)| Candidate { partition, committed })
            .collect();
        let watermarks = |partition: &TopicPartition| {
            consumer.fetch_watermarks(&partition.topic, partition.partition, REQUEST_TIMEOUT)
        };
        let starts = self.resume.resume(&candidates, &watermarks).map_err(InputError::Resume)?;
        let partitions: Vec<_> = candidates.into_iter().map(|candidate| candidate.partition).zip(starts).collect();
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, start) in &partitions {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(start.0))
                .map_err(assigning)?;
            info!(topic = %partition.topic, partition = partition.partition, start = start.0, "partition assigned");
        }
        failpoint::hit("group.decided");
        consumer.incremental_assign(&list).map_err(assigning)?;
        failpoint::hit("group.assigned");
        self.tell(Notice::Assigned { partitions, generation: generation(consumer) });
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, removed: &TopicPartitionList) {
        if consumer.assignment_lost() {
            warn!("the group gave this instance's partitions away: it did not answer in time");
        }
        failpoint::hit("group.revoking");
        self.resume.before_revoke();
        let partitions: Vec<(Arc<str>, i32)> =
            removed.elements().iter().map(|element| (element.topic().into(), element.partition())).collect();
        for (topic, partition) in &partitions {
            info!(%topic, partition, "partition revoked");
        }
        if let Err(source) = consumer.incremental_unassign(removed) {
            self.tell(Notice::Failed(assigning(source)));
        }
        self.tell(Notice::Revoked(partitions));
        failpoint::hit("group.revoked");
    }
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if let Err(error) = self.assign(consumer, partitions) {
                    // The client waits for an answer, and without one it could not even be closed.
                    let _ = consumer.incremental_assign(&TopicPartitionList::new());
                    self.tell(Notice::Failed(error));
                }
            }
            _ => self.revoke(consumer, partitions),
        }
    }
}

/// The group's positions for `partitions`, in their order. Waits for transactions that touch them to end.
pub(super) fn committed(
    consumer: &BaseConsumer<Context>,
    partitions: TopicPartitionList,
) -> Result<Vec<Option<Committed>>, InputError> {
    let mut attempt = 1;
    loop {
        let answer = consumer.committed_offsets(partitions.clone(), REQUEST_TIMEOUT).and_then(|answer| {
            let found =
                answer.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error);
            found.map(|()| answer)
        });
        match answer {
            Ok(answer) => {
                // The answer's order is the broker's.
                return Ok(partitions
                    .elements()
                    .iter()
                    .map(|asked| {
                        let found = answer.find_partition(asked.topic(), asked.partition())?;
                        let Offset::Offset(next) = found.offset() else { return None };
                        let (start, topic_id) = parse_metadata(found.metadata());
                        Some(Committed { next: NextOffset(next), start, topic_id })
                    })
                    .collect());
            }
            Err(source) if attempt < NUM_ATTEMPTS_MAX && passes(&source) => {
                warn!(error = %source, attempt, "failed to read the group's positions, trying again");
                attempt += 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(source) => return Err(InputError::Request { doing: "read the group's positions", source }),
        }
    }
}

fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        error.rdkafka_error_code(),
        Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed | Code::Fatal | Code::FencedInstanceId)
    )
}

const METADATA_START: &str = "start=";
const METADATA_TOPIC_ID: &str = "topic=";

/// What stands beside a position at the broker.
pub(super) fn metadata(start: NextOffset, topic_id: Option<&str>) -> String {
    let topic_id = topic_id.map(|id| format!(" {METADATA_TOPIC_ID}{id}")).unwrap_or_default();
    format!("{METADATA_START}{start}{topic_id}")
}

/// Where reading began, and the topic's id. Positions that another tool set say neither.
fn parse_metadata(text: &str) -> (Option<NextOffset>, Option<Arc<str>>) {
    let value = |name: &str| text.split(' ').find_map(|part| part.strip_prefix(name));
    (
        value(METADATA_START).and_then(|start| start.parse().ok()).map(NextOffset),
        value(METADATA_TOPIC_ID).map(Arc::from),
    )
}

fn generation(consumer: &BaseConsumer<Context>) -> Option<Generation> {
    consumer.group_metadata().map(Arc::new)
}

fn assigning(source: KafkaError) -> InputError {
    InputError::Request { doing: "take over partitions", source }
}

fn with_topic_ids(
    consumer: &BaseConsumer<Context>,
    list: &TopicPartitionList,
) -> Result<Vec<TopicPartition>, InputError> {
    let elements = list.elements();
    let mut names: Vec<&str> =
        elements.iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::topic).collect();
    names.sort_unstable();
    names.dedup();
    let mut ids: HashMap<String, Option<Arc<str>>> = HashMap::new();
    for attempt in 0..NUM_ATTEMPTS_MAX {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !ids.contains_key(*name)).collect();
        if missing.is_empty() {
            break;
        }
        let metadata = consumer.fetch_metadata(missing.first().copied(), REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|source| InputError::Request { doing: "ask for the brokers", source })?;
        // Another one each time, should one be away.
        let Some(broker) = metadata.brokers().iter().cycle().nth(attempt) else { continue };
        let described = native::topic_ids(consumer.client(), &missing, broker.id(), REQUEST_TIMEOUT);
        ids.extend(described.into_iter().filter_map(|(topic, described)| match described {
            native::Described::Id(id) => Some((topic, id)),
            native::Described::Absent => None,
        }));
    }
    let mut topics: HashMap<&str, Arc<str>> = HashMap::new();
    elements
        .iter()
        .map(|element| {
            let topic = element.topic();
            let topic_id = ids.get(topic).ok_or_else(|| InputError::Request {
                doing: "learn the topics' ids",
                source: KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition),
            })?;
            Ok(TopicPartition {
                topic: Arc::clone(topics.entry(topic).or_insert_with(|| topic.into())),
                topic_id: topic_id.clone(),
                partition: element.partition(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_reading_began_survives_the_broker() {
        let start = Some(NextOffset(42));
        assert_eq!(parse_metadata(&metadata(NextOffset(42), Some("t-1"))), (start, Some("t-1".into())));
        assert_eq!(parse_metadata(&metadata(NextOffset(42), None)), (start, None));
        assert_eq!(parse_metadata(""), (None, None));
        assert_eq!(parse_metadata("start=soon"), (None, None));
    }
}
