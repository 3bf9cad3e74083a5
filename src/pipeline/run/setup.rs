//! From the configuration to running parts: clients, topics and what they take, the lake.
//!
//! Everything that can be wrong outside shows here, before the first record is read.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tracing::warn;

use super::RunError;
use crate::config::{self, Config, TopicName};
use crate::input::kafka;
use crate::pipeline::normalize::{Route, SourceChoice};
use crate::sink::lake::anchor::AnchorPlace;
use crate::sink::lake::{Lake, LakeLocation, SealSettings};
use crate::sink::siem;

/// librdkafka's own limit for a record to send, unless `message.max.bytes` says otherwise.
const CLIENT_RECORD_BYTES_MAX: usize = 1_000_000;

/// How long the broker may take to say what its topics are like.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What `kafka` of the configuration says for every client.
pub(in crate::pipeline) fn client(kafka: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (name, value) in &kafka.properties {
        client.set(name, value);
    }
    client.set("bootstrap.servers", &kafka.brokers).set("client.id", "actorline");
    client
}

/// Checks that topics are there and how large their records may be.
pub(in crate::pipeline) fn encoding(
    config: &Config,
    client: &ClientConfig,
    runtime: &Handle,
) -> Result<siem::Encoding, RunError> {
    let outputs = output_topics(config);
    let inputs = config.topics.iter().map(|topic| &topic.name).filter(|name| !name.is_pattern());
    let topics: Vec<&str> = inputs.map(TopicName::as_str).chain(outputs.iter().copied()).collect();
    kafka::check_topics(client, &config.kafka.group, &topics)?;

    let limits = match runtime.block_on(record_limits(client, &outputs)) {
        Ok(limits) => limits,
        Err(error) => {
            // It takes a permission of its own, and without it the client's limit is the safer one.
            warn!(%error, "failed to learn the largest record that the output topics take, using the client's limit");
            Vec::new()
        }
    };
    let client_limit =
        client.get("message.max.bytes").and_then(|value| value.parse().ok()).unwrap_or(CLIENT_RECORD_BYTES_MAX);
    let limit_of = |topic: Option<&str>| -> Result<usize, RunError> {
        let found = limits.iter().find(|(name, _)| Some(name.as_str()) == topic).map(|(_, limit)| *limit);
        let limit = found.map_or(client_limit, |limit| limit.min(client_limit));
        match topic {
            Some(topic) if limit < siem::RECORD_BYTES_MIN => {
                Err(RunError::TopicTooSmall { topic: topic.to_string(), limit })
            }
            _ => Ok(limit),
        }
    };
    let siem_topic = config.siem.as_ref().map(|siem| siem.topic.as_str());
    let dead_letter_topic = config.dead_letters.as_ref().map(|dead_letters| dead_letters.topic.as_str());
    Ok(siem::Encoding {
        activities: siem_topic.is_some(),
        dead_letters: dead_letter_topic.is_some(),
        include_raw: config.siem.as_ref().is_some_and(|siem| siem.include_raw),
        activity_bytes_max: limit_of(siem_topic)?,
        dead_letter_bytes_max: limit_of(dead_letter_topic)?,
        dead_letter_value_max: config.dead_letters.as_ref().map_or(0, |dead_letters| dead_letters.max_bytes),
    })
}

/// Where the lake lies, checked as far as that goes without asking anybody.
///
/// Mistakes show before any connection is made, also where the brokers are away.
pub(in crate::pipeline) fn lake_location(config: &Config) -> Result<Option<LakeLocation>, RunError> {
    let Some(lake) = &config.lake else { return Ok(None) };
    let location = LakeLocation { url: lake.url.to_string(), options: lake.options.clone() };
    location.check().map_err(RunError::Lake)?;
    Ok(Some(location))
}

/// Opens the lake, and makes it if there is none.
pub(super) fn lake(config: &Config, runtime: &Handle) -> Result<Option<Lake>, RunError> {
    let Some(location) = lake_location(config)? else { return Ok(None) };
    let seal = seal_settings(config)?;
    runtime.block_on(Lake::open_with(&location, seal)).map(Some).map_err(RunError::Lake)
}

/// Opens the lake, which has to be there, for a command that ends by itself, after which nobody may beat.
pub(in crate::pipeline) async fn lake_once(config: &Config) -> Result<Option<Lake>, RunError> {
    let Some(location) = lake_location(config)? else { return Ok(None) };
    let seal = SealSettings { heartbeat_interval: None, ..seal_settings(config)? };
    // One that is not there would be made, empty.
    let existing = Lake::open_existing(&location).await.map_err(RunError::Lake)?;
    existing.refuse_unsigned(&seal).await.map_err(RunError::Lake)?;
    Lake::open_with(&location, seal).await.map(Some).map_err(RunError::Lake)
}

fn seal_settings(config: &Config) -> Result<SealSettings, RunError> {
    let Some(seal) = config.lake.as_ref().and_then(|lake| lake.seal.as_ref()) else {
        return Ok(SealSettings::default());
    };
    let anchor = match &seal.anchor {
        None => None,
        Some(config::Anchor::Topic(topic)) => {
            Some(AnchorPlace::topic(&client(&config.kafka), topic).map_err(RunError::Anchor)?)
        }
        Some(config::Anchor::Url { url, options }) => {
            let location = LakeLocation { url: url.to_string(), options: options.clone() };
            Some(AnchorPlace::url(&location).map_err(RunError::Lake)?)
        }
    };
    Ok(SealSettings {
        key: Some(Arc::clone(&seal.key)),
        anchor: anchor.map(Arc::new),
        heartbeat_interval: Some(seal.heartbeat_interval),
        ..SealSettings::default()
    })
}

pub(in crate::pipeline) fn siem_settings(
    config: &Config,
    client: &ClientConfig,
    instance: &str,
) -> Option<siem::Settings> {
    if config.siem.is_none() && config.dead_letters.is_none() {
        return None;
    }
    Some(siem::Settings {
        client: client.clone(),
        transactional_id: format!("{}-{instance}", config.kafka.group),
        siem_topic: config.siem.as_ref().map(|siem| siem.topic.clone()),
        dead_letter_topic: config.dead_letters.as_ref().map(|dead_letters| dead_letters.topic.clone()),
    })
}

/// The topics as librdkafka subscribes to them: names, and patterns as regular expressions.
pub(super) fn subscription(topics: &[config::Topic]) -> Vec<String> {
    let expression = |name: &TopicName| {
        if name.is_pattern() {
            // Topic names hold letters, digits, `.`, `_` and `-`, of which the dot alone means something here.
            format!("^{}$", name.as_str().replace('.', "\\.").replace('*', ".*"))
        } else {
            name.as_str().to_string()
        }
    };
    topics.iter().map(|topic| expression(&topic.name)).collect()
}

/// What the configuration says of `topic`: under its own name, else under the first pattern that fits.
pub(in crate::pipeline) fn route(topics: &[config::Topic], topic: &str) -> Route {
    let exact = topics.iter().find(|candidate| candidate.name.as_str() == topic);
    let found = exact.or_else(|| topics.iter().find(|candidate| candidate.name.matches(topic)));
    found.map_or(Route { source: SourceChoice::Auto, set: Vec::new() }, |found| Route {
        source: match found.source.as_str() {
            config::AUTO => SourceChoice::Auto,
            name => SourceChoice::Named(name.to_string()),
        },
        set: found.set.clone(),
    })
}

pub(super) fn output_topics(config: &Config) -> Vec<&str> {
    let siem = config.siem.as_ref().map(|siem| siem.topic.as_str());
    let dead_letters = config.dead_letters.as_ref().map(|dead_letters| dead_letters.topic.as_str());
    siem.into_iter().chain(dead_letters).collect()
}

async fn record_limits(client: &ClientConfig, topics: &[&str]) -> Result<Vec<(String, usize)>, KafkaError> {
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    // Any broker knows. The client alone would wait for the controller, which may be away.
    let brokers = admin.inner().fetch_metadata(topics.first().copied(), DESCRIBE_TIMEOUT)?;
    let broker = brokers.brokers().first().map(|broker| broker.id());
    let options = AdminOptions::new().request_timeout(Some(DESCRIBE_TIMEOUT)).broker_id(broker);
    let answers = admin.describe_configs(&resources, &options).await?;
    let mut limits = Vec::new();
    for (topic, answer) in topics.iter().zip(answers) {
        let answer = answer.map_err(KafkaError::AdminOp)?;
        let limit = answer.get("max.message.bytes").and_then(|entry| entry.value.as_deref()?.parse().ok());
        limits.extend(limit.map(|limit| ((*topic).to_string(), limit)));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(topics: &str) -> Config {
        let text = format!("kafka: {{ brokers: b, group: g }}\nlake: {{ url: file:///x }}\ntopics: {{ {topics} }}\n");
        config::parse(&text, &|_| None).expect("a configuration")
    }

    #[test]
    fn a_pattern_is_subscribed_to_as_an_expression() {
        let config = config("audit.okta: auto, audit.*: auto");
        assert_eq!(subscription(&config.topics), ["audit.okta", "^audit\\..*$"]);
    }

    #[test]
    fn a_topics_own_entry_counts_before_any_pattern() {
        let config = config("audit.*: auto, audit.okta: okta_system, '*': github_audit");
        assert_eq!(route(&config.topics, "audit.okta").source, SourceChoice::Named("okta_system".to_string()));
        assert_eq!(route(&config.topics, "audit.x").source, SourceChoice::Auto);
        assert_eq!(route(&config.topics, "other").source, SourceChoice::Named("github_audit".to_string()));
    }
}
