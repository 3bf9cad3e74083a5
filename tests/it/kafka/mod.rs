//! A real Apache Kafka for the tests: one broker for the whole test binary, started when first asked for.
//!
//! Its jars are resolved by Maven from `tests/kafka/pom.xml` into the target folder. Ports are free ones, logs lie in
//! a temporary folder. The broker is killed when the process that tests ends, however it ends.

mod broker;
mod client;
mod java;

pub use self::broker::{Behind, Broker};
pub use self::client::{Gauge, Sent, Topic, delete_group, group_positions};

use std::sync::OnceLock;

/// The shared broker.
pub fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}
