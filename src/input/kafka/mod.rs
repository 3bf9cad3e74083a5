//! The Kafka input: a member of a consumer group that reads committed records, from positions that its caller decides.
//!
//! Promises: a partition starts exactly where [`Resume`] says, set while it is being assigned, so that no record is
//! read from anywhere else; what happened to the assignment is told before any record that follows it. Never commits
//! on its own, never resets an offset, never skips what is corrupt.

mod native;
mod rebalance;
mod topic_check;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::rebalance::Context;
pub use self::rebalance::{Candidate, Notice, Resume, Watermarks};
pub use self::topic_check::{TopicCheck, TopicCheckError};
pub use self::whole::{Mark, WholeTopic};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::record::{Position, RawRecord};

/// How long a request that the run waits for may take.
///
/// Longer than a leader election, and far below `max.poll.interval.ms`, after which the group would take the
/// partitions away.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Trouble with the input after which reading cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("failed to start the kafka consumer: check `kafka.properties`")]
    Create(#[source] KafkaError),
    #[error("failed to {doing}: check that the brokers can be reached and that the group may read")]
    Request { doing: &'static str, source: KafkaError },
    #[error("topic `{0}` does not exist: create it, or name another in the configuration")]
    NoTopic(String),
    #[error("a position lies outside of what the broker holds: {0}")]
    OutOfRange(String),
    #[error("the broker delivered what cannot be trusted or refused to deliver: look at the broker's log")]
    Fatal(#[source] KafkaError),
    /// What the caller's own [`Resume`] said.
    #[error(transparent)]
    Resume(Box<dyn std::error::Error + Send + Sync>),
}

/// What one poll gave.
pub enum Polled {
    Record(RawRecord),
    /// Nothing in time, or something for [`KafkaInput::notices`].
    Nothing,
    /// Trouble that passes by itself: the client keeps trying.
    Trouble(KafkaError),
}

/// A group position as it is kept at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub next: NextOffset,
    /// Where the group began to read this partition, which a sink without a position of its own starts from.
    pub start: Option<NextOffset>,
    /// The id that the topic had when this was written.
    pub topic_id: Option<Arc<str>>,
}

/// A running consumer.
pub struct KafkaInput {
    consumer: BaseConsumer<Context>,
    assigned: HashMap<(String, i32), Arc<TopicPartition>>,
    /// Where the last record came from: records come in runs of one partition.
    last: Option<Arc<TopicPartition>>,
}

impl KafkaInput {
    /// Joins the group and subscribes to `topics`: names, and regular expressions that start with `^`.
    ///
    /// # Errors
    /// If the configuration does not fit librdkafka. Brokers that cannot be reached show in [`KafkaInput::poll`].
    pub fn subscribe(
        base: &ClientConfig,
        group: &str,
        static_instance: Option<&str>,
        topics: &[&str],
        resume: Box<dyn Resume>,
    ) -> Result<KafkaInput, InputError> {
        let mut config = consumer_config(base, group);
        if let Some(instance) = static_instance {
            config.set("group.instance.id", instance);
        }
        let consumer: BaseConsumer<Context> =
            config.create_with_context(Context::new(resume)).map_err(InputError::Create)?;
        consumer.subscribe(topics).map_err(InputError::Create)?;
        Ok(KafkaInput { consumer, assigned: HashMap::new(), last: None })
    }

    /// Waits up to `timeout` for one record. Rebalances happen in here; look at [`KafkaInput::notices`] after each call.
    ///
    /// # Errors
    /// For whatever must stop the run: a position that the broker no longer has, corrupt records, refused access.
    pub fn poll(&mut self, timeout: Duration) -> Result<Polled, InputError> {
        match self.consumer.poll(timeout) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => {
                let partition = partition_of(&mut self.last, &self.assigned, &message);
                Ok(Polled::Record(own(&message, &partition)))
            }
            Some(Err(error)) => self.sort_error(error),
        }
    }

    /// What happened to the assignment since the last call, in order.
    pub fn notices(&mut self) -> Vec<Notice> {
        let notices = self.consumer.context().take_notices();
        if !notices.is_empty() {
            self.last = None;
        }
        for notice in &notices {
            match notice {
                Notice::Assigned { partitions, .. } => {
                    for (partition, _) in partitions {
                        let key = (partition.topic.to_string(), partition.partition);
                        self.assigned.insert(key, Arc::new(partition.clone()));
                    }
                }
                Notice::Revoked(partitions) => {
                    for (topic, partition) in partitions {
                        self.assigned.remove(&(topic.to_string(), *partition));
                    }
                }
                Notice::Failed(_) => {}
            }
        }
        notices
    }

    /// Goes on reading `partition` from `next`. What was fetched from elsewhere is not delivered any more.
    ///
    /// # Errors
    /// If the client is not in a state to seek; try again later.
    pub fn seek(&self, partition: &TopicPartition, next: NextOffset) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(next.0))?;
        let answered = self.consumer.seek_partitions(list, REQUEST_TIMEOUT)?;
        answered.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
    }

    /// Stops or resumes the delivery of records from every assigned partition; polling goes on.
    ///
    /// # Errors
    /// If the client refuses; the state is then as before.
    pub fn set_paused(&self, paused: bool) -> Result<(), KafkaError> {
        let assignment = self.consumer.assignment()?;
        if paused { self.consumer.pause(&assignment) } else { self.consumer.resume(&assignment) }
    }

    /// The group's positions at the broker, once transactions that touch them have ended.
    ///
    /// # Errors
    /// If the broker does not answer in time.
    pub fn committed(&self, partitions: &[&TopicPartition]) -> Result<Vec<Option<Committed>>, InputError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        rebalance::committed(&self.consumer, list)
    }

    /// Writes down where the group begins to read `partitions`, outside of any transaction.
    ///
    /// # Errors
    /// If the broker refuses, for example in the middle of a rebalance.
    pub fn announce(&self, partitions: &[(&TopicPartition, NextOffset)]) -> Result<(), KafkaError> {
        let positions = offsets(partitions.iter().map(|(partition, start)| (*partition, *start, *start)))?;
        self.consumer.commit(&positions, CommitMode::Sync)
    }

    /// Where `partition` ended when it was last read from.
    pub fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        native::known_end(self.consumer.client(), &partition.topic, partition.partition)
    }

    fn sort_error(&self, error: KafkaError) -> Result<Polled, InputError> {
        use RDKafkaErrorCode as Code;
        match error {
            KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                Err(InputError::OutOfRange(self.describe_range()))
            }
            // A batch that does not check is skipped by the client once it was reported: going on would lose it.
            KafkaError::MessageConsumptionFatal(_)
            | KafkaError::MessageConsumption(
                Code::BadMessage
                | Code::BadCompression
                | Code::Fatal
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::FencedInstanceId,
            ) => Err(InputError::Fatal(error)),
            _ => Ok(Polled::Trouble(error)),
        }
    }

    /// The assigned partitions whose positions the broker does not have. The error itself does not name any.
    fn describe_range(&self) -> String {
        let Ok(positions) = self.consumer.position() else { return "the partition could not be found out".to_string() };
        let mut found = Vec::new();
        for element in positions.elements() {
            let Offset::Offset(next) = element.offset() else { continue };
            let watermarks = self.consumer.fetch_watermarks(element.topic(), element.partition(), REQUEST_TIMEOUT);
            if let Ok((low, high)) = watermarks
                && !(low..=high).contains(&next)
            {
                found.push(format!(
                    "`{}/{}` was read up to {next} and the broker holds {low} to {high}",
                    element.topic(),
                    element.partition()
                ));
            }
        }
        if found.is_empty() { "records were deleted before they were read".to_string() } else { found.join(", ") }
    }
}

/// Checks that the brokers answer and that every topic of `topics` exists.
///
/// # Errors
/// With the first topic that does not.
pub fn check_topics(base: &ClientConfig, group: &str, topics: &[&str]) -> Result<(), InputError> {
    let consumer: BaseConsumer = consumer_config(base, group).create().map_err(InputError::Create)?;
    for topic in topics {
        let metadata = consumer
            .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
            .map_err(|source| InputError::Request { doing: "ask for the topics", source })?;
        let found = metadata.topics().iter().any(|found| found.error().is_none() && !found.partitions().is_empty());
        if !found {
            return Err(InputError::NoTopic((*topic).to_string()));
        }
    }
    Ok(())
}

/// The UUID that `topic` has now; none where the broker has no ids, or no such topic.
///
/// # Errors
/// If the brokers do not answer.
pub fn topic_id(base: &ClientConfig, group: &str, topic: &str) -> Result<Option<Arc<str>>, InputError> {
    let consumer: BaseConsumer = consumer_config(base, group).create().map_err(InputError::Create)?;
    let failed = |source| InputError::Request { doing: "learn the topics' ids", source };
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT).map_err(failed)?;
    let broker = metadata.brokers().first().map_or(-1, |broker| broker.id());
    match native::topic_ids(consumer.client(), &[topic], broker, REQUEST_TIMEOUT).remove(topic) {
        Some(native::Described::Id(id)) => Ok(id),
        Some(native::Described::Absent) => Ok(None),
        None => Err(failed(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))),
    }
}

/// The positions of `partitions` as the broker keeps them: next offset, and in the metadata where reading began and the
/// topic's id.
///
/// # Errors
/// If a topic's name is none.
pub fn offsets<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, NextOffset, NextOffset)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, next, start) in partitions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(next.0))?;
        element.set_metadata(rebalance::metadata(start, partition.topic_id.as_deref()));
    }
    Ok(list)
}

/// The generation under which positions are committed; see [`Notice::Assigned`].
pub type Generation = Arc<ConsumerGroupMetadata>;

fn consumer_config(base: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = base.clone();
    // An instance that died is noticed in ten seconds, whatever the client's default becomes.
    set_default(&mut config, "session.timeout.ms", "10000");
    // What is fetched ahead of reading, per partition. The default of 64 MiB would dwarf the run's own buffers.
    set_default(&mut config, "queued.max.messages.kbytes", "8192");
    set_default(&mut config, "queued.min.messages", "10000");
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("allow.auto.create.topics", "false")
        // A pattern never reaches the broker's own topics.
        .set("topic.blacklist", "^__");
    config
}

fn set_default(config: &mut ClientConfig, name: &str, value: &str) {
    if config.get(name).is_none() {
        config.set(name, value);
    }
}

/// The partition of `message` under its topic's id.
fn partition_of(
    last: &mut Option<Arc<TopicPartition>>,
    assigned: &HashMap<(String, i32), Arc<TopicPartition>>,
    message: &BorrowedMessage<'_>,
) -> Arc<TopicPartition> {
    let (topic, partition) = (message.topic(), message.partition());
    if let Some(last) = last
        && &*last.topic == topic
        && last.partition == partition
    {
        return Arc::clone(last);
    }
    let found = assigned.get(&(topic.to_string(), partition)).map(Arc::clone);
    let found = found.unwrap_or_else(|| Arc::new(TopicPartition { topic: topic.into(), topic_id: None, partition }));
    *last = Some(Arc::clone(&found));
    found
}

fn own(message: &BorrowedMessage<'_>, partition: &TopicPartition) -> RawRecord {
    RawRecord {
        position: Position {
            topic: Arc::clone(&partition.topic),
            partition: partition.partition,
            offset: message.offset(),
        },
        topic_id: partition.topic_id.clone(),
        timestamp: message.timestamp().to_millis().and_then(|millis| millis.checked_mul(1000)),
        key: message.key().map(<[u8]>::to_vec),
        headers: native::headers(message),
        value: message.payload().map(<[u8]>::to_vec),
    }
}
