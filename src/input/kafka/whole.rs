//! A topic read once, from its first committed record to what is its end when reading begins, and what a group keeps of it.
//!
//! Joins no group: partitions are assigned by hand. The group's positions carry a number beside them, which a transaction
//! sets together with its output. Never commits on its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Generation, InputError, REQUEST_TIMEOUT, consumer_config, own};
use crate::checkpoint::TopicPartition;
use crate::record::RawRecord;

/// How long the brokers may have nothing to say before reading is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What stands beside a position: a number, and of what was sent under it the digest.
const NUMBER: &str = "redrive=";
const DIGEST: &str = " sha256=";

/// How far a group has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub number: i64,
    /// The digest of what was sent, if it has to arrive somewhere else as well.
    pub sha256: Option<String>,
}

pub struct WholeTopic {
    consumer: BaseConsumer,
    topic: Arc<str>,
    /// Partitions that are not read to their end, with that end.
    open: BTreeMap<i32, i64>,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
}

impl WholeTopic {
    /// # Errors
    /// If the brokers do not answer, or there is no such topic.
    pub fn open(base: &ClientConfig, group: &str, topic: &str) -> Result<WholeTopic, InputError> {
        let mut config = consumer_config(base, group);
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().map_err(InputError::Create)?;
        let request = |source| InputError::Request { doing: "ask where the topic begins and ends", source };
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT).map_err(request)?;
        let found = metadata.topics().iter().find(|found| found.error().is_none() && !found.partitions().is_empty());
        let found = found.ok_or_else(|| InputError::NoTopic(topic.to_string()))?;
        let (mut open, mut next) = (BTreeMap::new(), BTreeMap::new());
        let mut list = TopicPartitionList::new();
        for partition in found.partitions() {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), REQUEST_TIMEOUT).map_err(request)?;
            next.insert(partition.id(), low);
            if low < high {
                open.insert(partition.id(), high);
                list.add_partition_offset(topic, partition.id(), Offset::Offset(low)).map_err(request)?;
            }
        }
        consumer.assign(&list).map_err(request)?;
        Ok(WholeTopic { consumer, topic: topic.into(), open, next })
    }

    /// The next record; None at the end. Partitions come as the brokers deliver them.
    ///
    /// # Errors
    /// If the brokers deliver nothing for a minute, or what cannot be trusted.
    pub fn read(&mut self) -> Result<Option<RawRecord>, InputError> {
        let mut heard = Instant::now();
        while !self.open.is_empty() {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let id = TopicPartition { topic: Arc::clone(&self.topic), topic_id: None, partition };
                    // Some that came since may be delivered before the end is noticed.
                    let is_wanted = self.open.get(&partition).is_some_and(|end| offset < *end);
                    if self.open.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                        self.open.remove(&partition);
                    }
                    if is_wanted {
                        self.next.insert(partition, offset + 1);
                        return Ok(Some(own(&message, &id)));
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.open.remove(&partition);
                    heard = Instant::now();
                }
                Some(Err(error)) if is_final(&error) => return Err(InputError::Fatal(error)),
                Some(Err(source)) if heard.elapsed() > SILENCE_MAX => {
                    return Err(InputError::Request { doing: "read the topic", source });
                }
                None if heard.elapsed() > SILENCE_MAX => {
                    let source = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(InputError::Request { doing: "read the topic", source });
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(None)
    }

    /// The mark that the group keeps, once transactions that touch it have ended; None if it keeps no position.
    ///
    /// # Errors
    /// If the broker does not answer in time.
    pub fn mark(&self) -> Result<Option<Mark>, InputError> {
        let mut list = TopicPartitionList::new();
        for partition in self.next.keys() {
            list.add_partition(&self.topic, *partition);
        }
        let request = |source| InputError::Request { doing: "read the group's positions", source };
        let found = self.consumer.committed_offsets(list, REQUEST_TIMEOUT).map_err(request)?;
        let mut mark = None;
        for element in found.elements() {
            element.error().map_err(request)?;
            if matches!(element.offset(), Offset::Offset(_)) {
                mark = mark.max(Some(Mark::read(element.metadata()).unwrap_or_default()));
            }
        }
        Ok(mark)
    }

    /// How far the topic was read, with `mark` beside it, for a transaction.
    ///
    /// # Errors
    /// If the topic's name is none.
    pub fn positions(&self, mark: &Mark) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.next {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*next))?;
            element.set_metadata(mark.to_text());
        }
        Ok(list)
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// If the brokers do not tell it.
    pub fn cluster(&self) -> Result<String, InputError> {
        let source = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        let id = self.consumer.client().fetch_cluster_id(REQUEST_TIMEOUT);
        id.ok_or(InputError::Request { doing: "ask for the cluster's id", source })
    }

    /// That of a group without members.
    pub fn generation(&self) -> Option<Generation> {
        self.consumer.group_metadata().map(Arc::new)
    }
}

impl Mark {
    fn read(text: &str) -> Option<Mark> {
        let text = text.strip_prefix(NUMBER)?;
        let (number, sha256) = text.split_once(DIGEST).map_or((text, None), |(number, sha256)| (number, Some(sha256)));
        Some(Mark { number: number.parse().ok()?, sha256: sha256.map(str::to_string) })
    }

    fn to_text(&self) -> String {
        let number = format!("{NUMBER}{}", self.number);
        self.sha256.iter().fold(number, |text, sha256| text + DIGEST + sha256)
    }
}

fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error,
        KafkaError::MessageConsumptionFatal(_)
            | KafkaError::MessageConsumption(
                Code::AutoOffsetReset
                    | Code::OffsetOutOfRange
                    | Code::BadMessage
                    | Code::BadCompression
                    | Code::Fatal
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
            )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for mark in [Mark::default(), Mark { number: 7, sha256: Some("0f".to_string()) }] {
            assert_eq!(Mark::read(&mark.to_text()), Some(mark));
        }
        assert_eq!(Mark::read("somebody else's"), None);
    }
}
