//! Reads from the output topics how far each input partition has come: for an operator whose group has lost its own
//! position, which otherwise is the only one that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::batch::{POSITION_HEADER, TOPIC_ID_HEADER};
use crate::checkpoint::{NextOffset, TopicPartition};

/// How long a broker may give nothing before it is taken for away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where each input partition ends in `topics`, as a reader of committed records sees them. Reads all of them.
///
/// A record's rows all lie in one transaction, so the offset after the greatest is where the group stood, or a little
/// before if what followed left nothing on these topics; reading that again sends nothing twice.
///
/// # Errors
/// If the brokers do not answer.
pub fn last_positions(
    base: &ClientConfig,
    group: &str,
    topics: &[&str],
) -> Result<BTreeMap<TopicPartition, NextOffset>, KafkaError> {
    let mut config = base.clone();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create()?;
    let mut positions = BTreeMap::new();
    for topic in topics {
        read(&consumer, topic, &mut positions)?;
    }
    Ok(positions)
}

/// Reads one topic, because the end of a partition is told without its topic's name.
fn read(
    consumer: &BaseConsumer,
    topic: &str,
    positions: &mut BTreeMap<TopicPartition, NextOffset>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for found in consumer.fetch_metadata(Some(topic), PATIENCE)?.topics() {
        for partition in found.partitions() {
            list.add_partition_offset(found.name(), partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    let (mut ended, mut heard) = (BTreeSet::new(), Instant::now());
    while ended.len() < list.count() {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some((partition, offset)) = position_of(&message) {
                    let next = positions.entry(partition).or_insert(NextOffset(0));
                    *next = (*next).max(NextOffset::after(offset));
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) if heard.elapsed() > PATIENCE => return Err(error),
            None if heard.elapsed() > PATIENCE => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The input partition and offset that a record of ours stands for.
fn position_of(message: &BorrowedMessage<'_>) -> Option<(TopicPartition, i64)> {
    #[derive(Deserialize)]
    struct Activity<'a> {
        #[serde(borrow)]
        input_topic_id: Option<&'a str>,
    }
    // The first of a name is ours: what came with the record follows.
    let header = |name: &str| {
        let found = message.headers()?.iter().find(|header| header.key == name)?;
        std::str::from_utf8(found.value?).ok()
    };
    let mut parts = header(POSITION_HEADER)?.rsplitn(4, '/');
    let (_index, offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let in_value = || serde_json::from_slice::<Activity<'_>>(message.payload()?).ok()?.input_topic_id;
    let topic_id = header(TOPIC_ID_HEADER).or_else(in_value).map(Into::into);
    let partition = TopicPartition { topic: topic.into(), topic_id, partition: partition.parse().ok()? };
    Some((partition, offset.parse().ok()?))
}
