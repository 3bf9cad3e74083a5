//! Input of every kind: plain events, arrays, records without events, records that cannot be read, and offsets that are
//! missing because of transactions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer};

use crate::kafka::Topic;
use crate::run::instance::event;
use crate::run::kills::Random;

const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

pub struct Feed<'a> {
    topic: &'a Topic<'a>,
    plain: BaseProducer,
    transactional: BaseProducer,
    random: Random,
    num_sent: usize,
}

impl<'a> Feed<'a> {
    pub fn of(topic: &'a Topic<'a>, seed: u64) -> Feed<'a> {
        let id = format!("feed-{}", topic.name);
        Feed {
            topic,
            plain: topic.producer(None),
            transactional: topic.producer(Some(&id)),
            random: Random(seed),
            num_sent: 0,
        }
    }

    /// Sends some records to every partition.
    pub fn burst(&mut self) {
        for partition in 0..self.topic.num_partitions {
            let values: Vec<String> = (0..1 + self.random.below(12)).map(|_| self.next()).collect();
            if self.random.below(4) > 0 {
                self.topic.send(&self.plain, partition, &values);
                continue;
            }
            self.transactional.begin_transaction().expect("begun");
            self.topic.send(&self.transactional, partition, &values);
            if self.random.below(3) == 0 {
                self.transactional.abort_transaction(TRANSACTION_TIMEOUT).expect("aborted");
            } else {
                self.transactional.commit_transaction(TRANSACTION_TIMEOUT).expect("committed");
            }
        }
    }

    /// Sends bursts until `is_over`.
    pub fn until(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            self.burst();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends records that make a file of the lake larger than one part of an upload, however it is compressed.
    pub fn large(&mut self) {
        const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for _ in 0..24 {
            let noise = (0..48_000).flat_map(|_| {
                let bits = self.random.below(u64::MAX);
                (0..10).map(move |place| char::from(SYMBOLS[(bits >> (6 * place) & 63) as usize]))
            });
            let noise: String = noise.collect();
            self.num_sent += 1;
            let value = format!(r#"{{"acme_id":"{}","op":"read","actor":"a-1","pad":"{noise}"}}"#, self.num_sent);
            self.topic.send(&self.plain, 0, [value]);
        }
    }

    fn next(&mut self) -> String {
        self.num_sent += 1;
        let event = event(self.num_sent);
        match self.random.below(12) {
            0 => format!("broken {}", self.num_sent),
            1 => format!("[{event},{event},{event}]"),
            2 => format!("{{\"unmapped\":{}}}", self.num_sent),
            3 => "[]".to_string(),
            _ => event,
        }
    }
}
