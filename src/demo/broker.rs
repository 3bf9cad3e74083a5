//! The embedded broker: librdkafka's mock cluster, which speaks Kafka's protocol on a local port.
//!
//! It serves one run. Records are dropped beyond 5 MB a partition and positions of a transaction are not kept, so
//! nothing can be resumed from it, and transactions have no markers: what was sent is there, whatever became of it.
//! That is why the demo compares what both sinks hold instead of trusting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{DemoError, Topic};

pub(super) const SIEM: &str = "siem.activities";
pub(super) const DEAD_LETTERS: &str = "siem.dead_letters";

/// Partitions of the two topics that are written.
const NUM_SIEM_PARTITIONS: i32 = 3;
const NUM_DEAD_LETTER_PARTITIONS: i32 = 1;

/// When the records arrived, in milliseconds since 1970: 2025-03-11T22:00:00Z, after the day that they tell of. A
/// fixed time, so that the lake is the same whenever the demo runs.
const ARRIVED_MS: i64 = 1_741_730_400_000;

/// How long the broker may take for anything. It is in the same process; only a machine that is very busy needs more.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// What went to the broker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub num_records: usize,
    pub num_topics: usize,
    pub num_partitions: i32,
}

/// A record of one of the topics that the pipeline wrote, as far as the demo looks at it.
pub(super) struct Read {
    pub position: String,
    pub headers: BTreeMap<String, String>,
}

impl EmbeddedBroker {
    pub fn start(topics: &[Topic]) -> Result<EmbeddedBroker, DemoError> {
        let failed = |source| DemoError::Broker { doing: "start", source };
        let cluster = MockCluster::new(1).map_err(failed)?;
        for topic in topics {
            cluster.create_topic(&topic.name(), topic.num_partitions(), 1).map_err(failed)?;
        }
        cluster.create_topic(SIEM, NUM_SIEM_PARTITIONS, 1).map_err(failed)?;
        cluster.create_topic(DEAD_LETTERS, NUM_DEAD_LETTER_PARTITIONS, 1).map_err(failed)?;
        Ok(EmbeddedBroker { cluster })
    }

    pub fn addresses(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Sends every record, each to the next partition of its topic in turn.
    pub async fn send(&self, topics: &[Topic]) -> Result<Sent, DemoError> {
        let failed = |source| DemoError::Broker { doing: "send events to", source };
        let producer: FutureProducer = self
            .client()
            // Without it a retry could change the order.
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
            .create()
            .map_err(failed)?;
        let mut sent = Sent { num_topics: topics.len(), ..Sent::default() };
        let mut deliveries = Vec::new();
        for topic in topics {
            sent.num_records += topic.records.len();
            sent.num_partitions += topic.num_partitions();
            let name = topic.name();
            for (partition, value) in (0..topic.num_partitions()).cycle().zip(&topic.records) {
                let record =
                    FutureRecord::<(), [u8]>::to(&name).partition(partition).payload(value).timestamp(ARRIVED_MS);
                deliveries.push(producer.send_result(record).map_err(|(source, _)| failed(source))?);
            }
        }
        let delivered = try_join_all(deliveries).await.map_err(|_| failed(KafkaError::Canceled))?;
        delivered.into_iter().try_for_each(|result| result.map(drop)).map_err(|(source, _)| failed(source))?;
        Ok(sent)
    }

    /// Everything that `topic` holds for a reader of committed records, ordered by position.
    pub fn read_back(&self, topic: &str) -> Result<Vec<Read>, DemoError> {
        self.read_all(topic).map_err(|source| DemoError::Broker { doing: "read back from", source })
    }

    fn read_all(&self, topic: &str) -> Result<Vec<Read>, KafkaError> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "actorline-demo-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let mut ends = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
            if low < high {
                ends.insert(partition.id(), high);
                list.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
            }
        }
        consumer.assign(&list)?;

        let mut found = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        while !ends.is_empty() {
            let Some(polled) = consumer.poll(Duration::from_millis(100)) else {
                if Instant::now() > deadline {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                continue;
            };
            let message = polled?;
            if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                ends.remove(&message.partition());
            }
            let mut headers = BTreeMap::new();
            for header in message.headers().iter().flat_map(|headers| headers.iter()) {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
                headers.insert(header.key.to_string(), value);
            }
            let position = headers.get("actorline-position").cloned().unwrap_or_default();
            found.push(Read { position, headers });
        }
        found.sort_by(|a, b| a.position.cmp(&b.position));
        Ok(found)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.addresses());
        client
    }
}
