//! Anchors as records of a Kafka topic: key the table's id, value the anchor.
//!
//! A compacted topic keeps the newest anchor of each lake, any other topic all of them; either will do.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::AnchorError;
use crate::seal::Anchor;

/// How long an anchor may take. The lake's commits wait for it, and the next anchor makes up for a lost one.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the broker may be silent while the topic is read.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub struct Topic {
    producer: FutureProducer,
    client: ClientConfig,
    name: String,
}

impl Topic {
    pub(super) fn new(client: &ClientConfig, name: &str) -> Result<Topic, AnchorError> {
        let mut settings = client.clone();
        settings
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", PUBLISH_TIMEOUT.as_millis().to_string())
            .set("allow.auto.create.topics", "false");
        let producer = settings.create().map_err(|error: KafkaError| failed("reach topic", name, error))?;
        Ok(Topic { producer, client: client.clone(), name: name.to_string() })
    }

    pub(super) async fn publish(&self, anchor: &Anchor) -> Result<(), AnchorError> {
        let failed = |source| AnchorError { doing: "write an anchor to topic", place: self.name.clone(), source };
        let value = serde_json::to_vec(anchor).map_err(|error| failed(error.into()))?;
        let record = FutureRecord::to(&self.name).key(&anchor.table).payload(&value);
        let sent = self.producer.send(record, PUBLISH_TIMEOUT).await;
        sent.map(|_| ()).map_err(|(error, _)| failed(error.into()))
    }

    pub(super) async fn read(&self, table: &str) -> Result<Vec<Anchor>, AnchorError> {
        let (client, name, table) = (self.client.clone(), self.name.clone(), table.to_string());
        // The client blocks, which a worker thread of the runtime must not.
        let read = tokio::task::spawn_blocking(move || read_all(client, &name, &table)).await;
        let failed = |source| AnchorError { doing: "read the anchors of topic", place: self.name.clone(), source };
        match read {
            Ok(read) => read.map_err(|error| failed(error.into())),
            Err(error) => Err(failed(error.into())),
        }
    }
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).finish_non_exhaustive()
    }
}

fn failed(doing: &'static str, place: &str, error: KafkaError) -> AnchorError {
    AnchorError { doing, place: place.to_string(), source: error.into() }
}

fn read_all(mut client: ClientConfig, topic: &str, table: &str) -> Result<Vec<Anchor>, KafkaError> {
    // No group is joined and no offset committed, but the client wants a name for one.
    client
        .set("group.id", "actorline-anchors")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), SILENCE_MAX)?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    if partitions.is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    consumer.assign(&list)?;
    let (mut anchors, mut num_ended, mut heard) = (Vec::new(), 0, Instant::now());
    while num_ended < partitions.len() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                // Other things may stand in the topic; they are no anchors of this table.
                let anchor = message.payload().and_then(|value| serde_json::from_slice::<Anchor>(value).ok());
                anchors.extend(anchor.filter(|anchor| anchor.table == table));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => num_ended += 1,
            // Said while it connects, and it tries again.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            )))
            | None => {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
            }
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(anchors)
}
