//! For a group that has lost its position beside a lake that has one: where the outputs say that it stood, and the
//! command that sets it there. Reads, and changes nothing.

use super::resume::Operator;
use super::{RunError, setup};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::config::Config;
use crate::input::kafka;
use crate::sink::siem;

/// Where the outputs end for one input partition.
pub struct Recovered {
    pub partition: TopicPartition,
    pub next: NextOffset,
    /// What sets the group there, while no instance runs.
    pub command: String,
}

/// Reads the SIEM topic and the dead letters for every partition of the configured topics that they name.
///
/// Records of a topic that was deleted and made anew since do not count for the new one.
///
/// # Errors
/// If the brokers do not answer.
pub fn recover(config: &Config) -> Result<Vec<Recovered>, RunError> {
    let client = setup::client(&config.kafka);
    let operator = Operator { brokers: &config.kafka.brokers, group: &config.kafka.group };
    let ended =
        siem::last_positions(&client, &config.kafka.group, &setup::output_topics(config)).map_err(RunError::Outputs)?;
    let is_read =
        |topic: &str| config.topics.iter().any(|read| read.name.matches(topic) || read.name.as_str() == topic);
    let mut found = Vec::new();
    for (partition, next) in ended.into_iter().filter(|(partition, _)| is_read(&partition.topic)) {
        let now = kafka::topic_id(&client, &config.kafka.group, &partition.topic)?;
        if now.is_none() || partition.topic_id.is_none() || now == partition.topic_id {
            let command = operator.reset_to(operator.group, &partition, next.0);
            found.push(Recovered { partition, next, command });
        }
    }
    Ok(found)
}
