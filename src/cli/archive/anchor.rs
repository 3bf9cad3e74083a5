//! Anchors as arguments: the digest of a seal that somebody wrote down, or a place that holds such digests.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use super::super::Failure;
use crate::seal::Digest;
use crate::sink::lake::LakeLocation;
use crate::sink::lake::anchor::AnchorPlace;

#[derive(Clone, Debug)]
pub(super) enum AnchorArgument {
    Digest(u64, Digest),
    Topic { brokers: String, topic: String },
    Url(String),
}

impl AnchorArgument {
    /// The place, reached with `options`: librdkafka's for a topic, object_store's for a URL. None for a digest.
    pub fn open(&self, options: &BTreeMap<String, String>) -> Result<Option<AnchorPlace>, Failure> {
        match self {
            AnchorArgument::Digest(..) => Ok(None),
            AnchorArgument::Url(url) => {
                let place = AnchorPlace::url(&LakeLocation { url: url.clone(), options: options.clone() });
                place.map(Some).map_err(|error| Failure::BadConfiguration(error.into()))
            }
            AnchorArgument::Topic { brokers, topic } => {
                let mut client = ClientConfig::new();
                for (name, value) in options {
                    client.set(name, value);
                }
                client.set("bootstrap.servers", brokers).set("client.id", "actorline");
                let place = AnchorPlace::topic(&client, topic);
                place.map(Some).map_err(|error| Failure::BadConfiguration(error.into()))
            }
        }
    }
}

pub(super) fn parse_anchor(text: &str) -> Result<AnchorArgument, String> {
    if let Some(rest) = text.strip_prefix("kafka://") {
        return match rest.split_once('/') {
            Some((brokers, topic)) if !brokers.is_empty() && !topic.is_empty() => {
                Ok(AnchorArgument::Topic { brokers: brokers.to_string(), topic: topic.to_string() })
            }
            _ => Err("expected kafka://BROKERS/TOPIC".to_string()),
        };
    }
    match text.split_once(':') {
        Some((version, digest)) if version.bytes().all(|byte| byte.is_ascii_digit()) && !version.is_empty() => {
            let version = version.parse().map_err(|_| "that is no version of a table".to_string())?;
            Ok(AnchorArgument::Digest(version, digest.parse()?))
        }
        _ => Ok(AnchorArgument::Url(text.to_string())),
    }
}

/// A place, and no digest.
pub(super) fn parse_place(text: &str) -> Result<AnchorArgument, String> {
    match parse_anchor(text)? {
        AnchorArgument::Digest(..) => Err("expected kafka://BROKERS/TOPIC, or the URL of a folder".to_string()),
        place => Ok(place),
    }
}
