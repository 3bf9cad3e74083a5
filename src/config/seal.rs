//! `lake.seal`: with which key commits are sealed, how often while nothing comes, and where seals are anchored.

use std::sync::Arc;
use std::time::Duration;

use super::read::{INLINE_SECRET, is_topic, lake_url, refuse_inline_secrets};
use super::section::{Reader, Section};
use super::{Anchor, Seal};
use crate::seal::SealKey;

/// A cut-off end shows within a quarter of an hour, at a commit of a kilobyte every five minutes.
const HEARTBEAT_INTERVAL_MS: u64 = 300_000;

pub(super) fn seal(reader: &Reader<'_>, mut section: Section<'_>) -> Option<Seal> {
    let key = section.required_text("key").and_then(|found| {
        if !found.is_reference {
            reader.mistake(&found.key, found.line, INLINE_SECRET);
            return None;
        }
        // What it yielded is never shown, whatever is wrong with it.
        let key = SealKey::from_pem(&found.text);
        key.map_err(|error| reader.mistake(&found.key, found.line, format!("is no private key: {error}"))).ok()
    });
    // More often than a commit takes would be a table of nothing but heartbeats.
    let heartbeat_interval_ms = section.number("heartbeat_interval_ms", HEARTBEAT_INTERVAL_MS, 100..=86_400_000);
    let anchor = section.section("anchor").map(|section| anchor(reader, section));
    section.finish();
    Some(Seal {
        key: Arc::new(key?),
        heartbeat_interval: Duration::from_millis(heartbeat_interval_ms),
        anchor: anchor.flatten(),
    })
}

fn anchor(reader: &Reader<'_>, mut section: Section<'_>) -> Option<Anchor> {
    let (path, line) = (section.path_of("topic"), section.line);
    let topic = section.text("topic").filter(|found| is_topic(reader, found));
    let url = section.text("url");
    let options = section.named_texts("options");
    section.finish();
    refuse_inline_secrets(reader, &options);
    match (topic, url) {
        (Some(topic), None) => Some(Anchor::Topic(topic.text)),
        (None, Some(url)) => Some(Anchor::Url {
            url: lake_url(reader, &url)?,
            options: options.into_iter().map(|(name, found)| (name, found.text)).collect(),
        }),
        _ => {
            reader.mistake(&path, line, "name either a `topic` or a `url`");
            None
        }
    }
}
