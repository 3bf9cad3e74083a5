//! Makes sure that what was read came from the topics that were assigned.
//!
//! Records are asked for by the topic's name. When a topic is deleted and made anew, a reader that goes on in it gets the
//! new topic's records from the old one's position on, without a word. Kafka never gives an id twice, so if a topic still
//! has its id after records were read, they came from it. Hence this is asked before every commit, after the records
//! that it covers; it is one small request.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::native::{self, Described};
use super::{InputError, REQUEST_TIMEOUT, consumer_config};
use crate::checkpoint::TopicPartition;

/// No broker was asked yet. Kafka's own numbers are never negative.
const NO_BROKER: i32 = -1;

/// Asks with a client of its own, from any thread. Clones share it.
#[derive(Clone)]
pub struct TopicCheck {
    inner: Arc<Inner>,
}

struct Inner {
    consumer: BaseConsumer,
    /// Who answered last.
    broker: AtomicI32,
}

/// Why what was read must not be committed.
#[derive(Debug, thiserror::Error)]
pub enum TopicCheckError {
    #[error("failed to ask whether the topics are still those that were read")]
    Unanswered(#[source] KafkaError),
    #[error(
        "topic `{topic}` was deleted and made anew while it was read: its id was `{was}` and is `{is}`; start again to be \
         told how to go on"
    )]
    MadeAnew { topic: String, was: String, is: String },
}

impl TopicCheck {
    /// # Errors
    /// If the configuration does not fit librdkafka.
    pub fn new(base: &ClientConfig, group: &str) -> Result<TopicCheck, InputError> {
        let consumer = consumer_config(base, group).create().map_err(InputError::Create)?;
        Ok(TopicCheck { inner: Arc::new(Inner { consumer, broker: AtomicI32::new(NO_BROKER) }) })
    }

    /// Says that the topics of `partitions` have had the same ids since they were assigned.
    ///
    /// A topic that is gone has not been replaced either. Brokers without topic ids cannot be asked.
    ///
    /// # Errors
    /// If one has not, or if the brokers do not answer; then ask again before anything is committed.
    pub fn confirm<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<(), TopicCheckError> {
        let with_id = |partition: &'a TopicPartition| Some((&*partition.topic, partition.topic_id.as_deref()?));
        let mut read: Vec<(&str, &str)> = partitions.into_iter().filter_map(with_id).collect();
        read.sort_unstable();
        read.dedup();
        let names: Vec<&str> = read.iter().map(|(topic, _)| *topic).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let Inner { consumer, broker } = &*self.inner;
        if broker.load(Ordering::Relaxed) == NO_BROKER {
            let metadata =
                consumer.fetch_metadata(Some(first), REQUEST_TIMEOUT).map_err(TopicCheckError::Unanswered)?;
            let found = metadata.brokers().first().map_or(NO_BROKER, |broker| broker.id());
            broker.store(found, Ordering::Relaxed);
        }
        let now = native::topic_ids(consumer.client(), &names, broker.load(Ordering::Relaxed), REQUEST_TIMEOUT);
        for (topic, was) in read {
            match now.get(topic) {
                Some(Described::Id(Some(is))) if **is != *was => {
                    return Err(TopicCheckError::MadeAnew {
                        topic: topic.to_string(),
                        was: was.to_string(),
                        is: is.to_string(),
                    });
                }
                Some(_) => {}
                None => {
                    // Another one next time, should this one be away.
                    broker.store(NO_BROKER, Ordering::Relaxed);
                    let error = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
                    return Err(TopicCheckError::Unanswered(error));
                }
            }
        }
        Ok(())
    }
}
