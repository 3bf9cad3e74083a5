//! What tests do with topics: make them, fill them, and read all that is committed in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Broker;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A record as a test sees it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Option<Vec<u8>>>,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_deref().and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A topic on the test's broker.
pub struct Topic<'a> {
    broker: &'a Broker,
    pub name: String,
    pub num_partitions: i32,
}

impl<'a> Topic<'a> {
    /// Makes a topic whose name starts with `name`, with `settings` of its own.
    pub fn create(broker: &'a Broker, name: &str, num_partitions: i32, settings: &[(&str, &str)]) -> Topic<'a> {
        let name = broker.unique(name);
        let admin: AdminClient<DefaultClientContext> = config(broker).create().expect("an admin client");
        let mut topic = NewTopic::new(&name, num_partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            topic = topic.set(setting, value);
        }
        let created = futures::executor::block_on(
            admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(TIMEOUT))),
        );
        created.expect("the broker answers").into_iter().for_each(|result| {
            result.expect("the topic is created");
        });
        Topic { broker, name, num_partitions }
    }

    /// A producer of plain records; `transactional_id` makes it one of transactions.
    pub fn producer(&self, transactional_id: Option<&str>) -> BaseProducer {
        let mut config = config(self.broker);
        config.set("linger.ms", "1");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        let producer: BaseProducer = config.create().expect("a producer");
        if transactional_id.is_some() {
            producer.init_transactions(TIMEOUT).expect("transactions");
        }
        producer
    }

    /// Sends `values` to `partition` and waits until they are there.
    pub fn send(&self, producer: &BaseProducer, partition: i32, values: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.offer(producer, partition, values);
        producer.flush(TIMEOUT).expect("the records are sent");
    }

    /// Sends `values` to `partition` in the producer's own time, but for what its queue has no room for.
    pub fn offer(&self, producer: &BaseProducer, partition: i32, values: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        for value in values {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.name).partition(partition).payload(value.as_ref());
            while let Err((error, refused)) = producer.send(record) {
                let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(is_full, "sending to `{}/{partition}`: {error}", self.name);
                producer.poll(Duration::from_millis(10));
                record = refused;
            }
        }
        producer.poll(Duration::ZERO);
    }

    /// Deletes the topic and makes it anew: it has another id, and begins at 0 again.
    pub fn make_anew(&self) {
        let admin: AdminClient<DefaultClientContext> = config(self.broker).create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let deleted = futures::executor::block_on(admin.delete_topics(&[&self.name], &options));
        deleted.expect("the broker answers").into_iter().for_each(|result| {
            result.expect("the topic is deleted");
        });
        let topic = NewTopic::new(&self.name, self.num_partitions, TopicReplication::Fixed(1));
        let begun = Instant::now();
        loop {
            let created = futures::executor::block_on(admin.create_topics([&topic], &options));
            match created.expect("the broker answers").into_iter().next() {
                Some(Ok(_)) => return,
                // The old one goes in its own time.
                other => assert!(begun.elapsed() < TIMEOUT, "`{}` was not made anew: {other:?}", self.name),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Where each partition ends.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = config(self.broker).create().expect("a consumer");
        let end = |partition| consumer.fetch_watermarks(&self.name, partition, TIMEOUT).expect("an answer").1;
        (0..self.num_partitions).map(|partition| (partition, end(partition))).collect()
    }

    /// Changes one of the topic's settings.
    pub fn alter(&self, setting: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = config(self.broker).create().expect("an admin client");
        let change = AlterConfig::new(ResourceSpecifier::Topic(&self.name)).set(setting, value);
        let answer = futures::executor::block_on(admin.alter_configs([&change], &AdminOptions::new()));
        answer.expect("the broker answers").into_iter().for_each(|result| {
            result.expect("the setting is changed");
        });
    }

    /// Deletes what stands before `offset`, as retention does.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = config(self.broker).create().expect("an admin client");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("a partition");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        futures::executor::block_on(admin.delete_records(&list, &options)).expect("deleted");
    }

    /// Everything that a reader of committed records sees, up to what is stable now.
    pub fn committed(&self) -> Vec<Sent> {
        let mut config = config(self.broker);
        config
            .set("group.id", "tests")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.num_partitions {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&list).expect("assigned");
        let (mut found, mut num_ended) = (Vec::new(), 0);
        let begun = Instant::now();
        while num_ended < self.num_partitions {
            assert!(begun.elapsed() < TIMEOUT, "`{}` could not be read to its end", self.name);
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => found.push(Sent {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message
                        .headers()
                        .map(|headers| {
                            headers
                                .iter()
                                .map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec)))
                                .collect()
                        })
                        .unwrap_or_default(),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => num_ended += 1,
                // A client that connects while the machine is busy says so, and connects again.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ))) => {}
                Some(Err(error)) => panic!("reading `{}`: {error}", self.name),
                None => {}
            }
        }
        found
    }
}

/// Deletes a group that has no members, with its positions. A member that just left may not be gone yet.
pub fn delete_group(broker: &Broker, group: &str) {
    let admin: AdminClient<DefaultClientContext> = config(broker).create().expect("an admin client");
    let begun = Instant::now();
    loop {
        let answer = futures::executor::block_on(admin.delete_groups(&[group], &AdminOptions::new()));
        if answer.expect("the broker answers").iter().all(Result::is_ok) {
            return;
        }
        assert!(begun.elapsed() < TIMEOUT, "`{group}` could not be deleted");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The group's positions in `topic`, once no transaction touches them any more.
pub fn group_positions(broker: &Broker, group: &str, topic: &Topic<'_>) -> BTreeMap<i32, i64> {
    let mut config = config(broker);
    config.set("group.id", group).set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..topic.num_partitions {
        list.add_partition(&topic.name, partition);
    }
    let begun = Instant::now();
    loop {
        match consumer.committed_offsets(list.clone(), TIMEOUT) {
            Ok(answer) => {
                let positions = answer.elements().into_iter().filter_map(|found| match found.offset() {
                    Offset::Offset(next) => Some((found.partition(), next)),
                    _ => None,
                });
                return positions.collect();
            }
            Err(error) => assert!(begun.elapsed() < TIMEOUT, "the positions of `{group}`: {error}"),
        }
    }
}

/// Looks again and again at how far a group is in a topic, also while transactions move it and while the broker is away.
pub struct Gauge {
    consumer: BaseConsumer,
    partitions: TopicPartitionList,
}

impl Gauge {
    pub fn of(broker: &Broker, group: &str, topic: &Topic<'_>) -> Gauge {
        let mut config = config(broker);
        // The positions of before are known while a transaction moves them.
        config.set("group.id", group).set("isolation.level", "read_uncommitted").set("reconnect.backoff.max.ms", "200");
        let mut partitions = TopicPartitionList::new();
        for partition in 0..topic.num_partitions {
            partitions.add_partition(&topic.name, partition);
        }
        Gauge { consumer: config.create().expect("a consumer"), partitions }
    }

    /// Where the topic ends and where the group stands, all partitions together; None if the broker does not answer.
    pub fn read(&self) -> Option<(i64, i64)> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut end = 0;
        for partition in self.partitions.elements() {
            end += self.consumer.fetch_watermarks(partition.topic(), partition.partition(), PATIENCE).ok()?.1;
        }
        let committed = self.consumer.committed_offsets(self.partitions.clone(), PATIENCE).ok()?;
        let elements = committed.elements();
        let positions = elements.iter().filter_map(|found| found.offset().to_raw()).filter(|next| *next > 0);
        Some((end, positions.sum()))
    }
}

fn config(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("client.id", "tests");
    config
}
