//! The SIEM sink: activities, dead letters and the group's positions in one Kafka transaction.
//!
//! Promises: a commit that says [`Outcome::Committed`] is there, whole and once; one that says [`Outcome::Aborted`] is
//! not and never will be; after anything else the producer has been replaced, so that nothing of it can arrive later,
//! and the group's position tells which of the two it was. Never retries a batch by itself, never waits without end.

mod batch;
mod positions;
mod shed;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::warn;

pub use self::batch::{Batch, Destination, Encoding, OWN_HEADERS, RENAMED, Record};
pub use self::positions::last_positions;
pub use self::shed::RECORD_BYTES_MIN;
use crate::failpoint;

/// When the broker aborts a transaction whose producer is gone. Until then readers of the touched partitions wait.
const TRANSACTION_TIMEOUT: &str = "15000";
/// How long one transaction may take from begin to end. Below [`TRANSACTION_TIMEOUT`], so that this side decides.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a new producer may take to fence the old one. An open transaction is aborted first, which takes a while.
const INIT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long aborting may take; what is not aborted by then is left to the next producer.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// A commit that took longer may have been sent more than once: the client repeats it by itself, at the earliest when a
/// request has timed out after five seconds.
const REPEATED_AFTER: Duration = Duration::from_secs(3);
/// How long to wait for the broker to take records before offering the next.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// Where the sink writes and under which name.
#[derive(Clone)]
pub struct Settings {
    pub client: ClientConfig,
    pub transactional_id: String,
    pub siem_topic: Option<String>,
    pub dead_letter_topic: Option<String>,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    Committed,
    /// Nothing of it is visible, nothing will be.
    Aborted(KafkaError),
    /// One of the two; the group's position says which. The producer must be replaced before it is asked for.
    Unclear(KafkaError),
}

/// Trouble after which the sink has no producer.
#[derive(Debug, thiserror::Error)]
pub enum SiemError {
    #[error("failed to create the kafka producer: check `kafka.properties`")]
    Create(#[source] KafkaError),
    #[error("failed to start transactions as `{transactional_id}`")]
    Init { transactional_id: String, source: KafkaError },
}

impl SiemError {
    /// Whether another try may go better.
    pub fn is_transient(&self) -> bool {
        match self {
            SiemError::Create(_) => false,
            SiemError::Init { source, .. } => !matches!(
                source.rdkafka_error_code(),
                Some(
                    RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                        | RDKafkaErrorCode::ClusterAuthorizationFailed
                        | RDKafkaErrorCode::SaslAuthenticationFailed
                        | RDKafkaErrorCode::InvalidTransactionTimeout
                )
            ),
        }
    }
}

/// A transactional producer.
pub struct SiemSink {
    settings: Settings,
    producer: BaseProducer,
    /// The last commit went through, but an earlier sending of it may still be under way.
    must_replace: bool,
}

impl SiemSink {
    /// Connects and fences whoever used the same transactional id; its open transaction is aborted.
    ///
    /// # Errors
    /// If the brokers do not answer in time or refuse.
    pub fn connect(settings: Settings) -> Result<SiemSink, SiemError> {
        let producer = connect(&settings)?;
        Ok(SiemSink { settings, producer, must_replace: false })
    }

    /// Replaces the producer, so that nothing of an unclear batch can arrive any more.
    ///
    /// librdkafka does not raise the epoch with every transaction (KIP-890), so a late end of one transaction could
    /// hit the next of the same producer. A new producer has a new epoch.
    ///
    /// # Errors
    /// As [`SiemSink::connect`]; the sink can be asked again.
    pub fn replace_producer(&mut self) -> Result<(), SiemError> {
        self.producer = connect(&self.settings)?;
        self.must_replace = false;
        Ok(())
    }

    /// Replaces the producer, if the next commit would have to. True if it did: whoever took the transactional id over in the
    /// meantime is fenced by it, and has maybe committed something.
    ///
    /// # Errors
    /// As [`SiemSink::connect`].
    pub fn replace_if_due(&mut self) -> Result<bool, SiemError> {
        let is_due = self.must_replace;
        if is_due {
            self.replace_producer()?;
        }
        Ok(is_due)
    }

    /// Commits `batches` in order together with `positions`, as of the group's `generation`.
    pub fn commit(
        &mut self,
        batches: &[Batch],
        positions: &TopicPartitionList,
        generation: &ConsumerGroupMetadata,
    ) -> Outcome {
        // In the same epoch what is under way would end this transaction, wherever it stands.
        if self.must_replace
            && let Err(SiemError::Create(error) | SiemError::Init { source: error, .. }) = self.replace_producer()
        {
            return Outcome::Unclear(error);
        }
        let deadline = Instant::now() + COMMIT_TIMEOUT;
        if let Err(error) = self.producer.begin_transaction() {
            return Outcome::Unclear(error);
        }
        failpoint::hit("siem.begun");
        let num_records: usize = batches.iter().map(Batch::len).sum();
        for (index, record) in batches.iter().flat_map(Batch::records).enumerate() {
            if index == num_records / 2 {
                failpoint::hit("siem.half_sent");
            }
            if let Err(error) = self.send(&record, deadline) {
                return self.abort(error);
            }
        }
        failpoint::hit("siem.all_sent");
        if let Err(error) = self.producer.send_offsets_to_transaction(positions, generation, remaining(deadline)) {
            return self.sort(error);
        }
        failpoint::hit("siem.positions_sent");
        let begun = Instant::now();
        match self.producer.commit_transaction(remaining(deadline)) {
            Ok(()) => {
                failpoint::hit("siem.committed");
                self.must_replace = begun.elapsed() > REPEATED_AFTER;
                Outcome::Committed
            }
            Err(error) => self.sort(error),
        }
    }

    fn send(&self, record: &Record<'_>, deadline: Instant) -> Result<(), KafkaError> {
        let topic = match record.destination {
            Destination::Siem => self.settings.siem_topic.as_deref(),
            Destination::DeadLetters => self.settings.dead_letter_topic.as_deref(),
        };
        // Batches are encoded for the topics that there are; see `Encoding`.
        let Some(topic) = topic else { return Ok(()) };
        let mut headers = OwnedHeaders::new_with_capacity(record.num_headers());
        for (key, value) in record.headers() {
            headers = headers.insert(Header { key, value });
        }
        let mut message = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
        if let Some(key) = record.key {
            message = message.key(key);
        }
        if let Some(value) = record.value {
            message = message.payload(value);
        }
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                    if Instant::now() < deadline =>
                {
                    self.producer.poll(QUEUE_PAUSE);
                    message = refused;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Aborts where the client says that this settles it; everything else is unclear.
    fn sort(&self, error: KafkaError) -> Outcome {
        match &error {
            KafkaError::Transaction(reason) if reason.txn_requires_abort() => self.abort(error),
            _ => Outcome::Unclear(error),
        }
    }

    fn abort(&self, error: KafkaError) -> Outcome {
        failpoint::hit("siem.aborting");
        match self.producer.abort_transaction(ABORT_TIMEOUT) {
            Ok(()) => {
                failpoint::hit("siem.aborted");
                Outcome::Aborted(error)
            }
            Err(abort_error) => {
                warn!(error = %abort_error, "failed to abort a transaction, replacing the producer");
                Outcome::Unclear(error)
            }
        }
    }
}

fn connect(settings: &Settings) -> Result<BaseProducer, SiemError> {
    let mut config = settings.client.clone();
    if config.get("transaction.timeout.ms").is_none() {
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT);
    }
    // A batch is handed over whole: waiting for more would only delay its end.
    if config.get("linger.ms").is_none() {
        config.set("linger.ms", "5");
    }
    config
        .set("transactional.id", &settings.transactional_id)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create().map_err(SiemError::Create)?;
    failpoint::hit("siem.connecting");
    producer
        .init_transactions(INIT_TIMEOUT)
        .map_err(|source| SiemError::Init { transactional_id: settings.transactional_id.clone(), source })?;
    failpoint::hit("siem.connected");
    Ok(producer)
}

/// What is left until `deadline`; at least a little, because zero means something else to the client.
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100))
}
