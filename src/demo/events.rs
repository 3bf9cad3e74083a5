//! The events that the demo ships: one day of an invented company, at the fidelity of the vendors' own formats.
//!
//! One file a source, one Kafka record a line; some lines are envelopes with several events. `broken.ndjson` holds
//! records that no pipeline can read, as base64. The order is that of the files, always.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use include_dir::{Dir, include_dir};

use super::DemoError;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/demo/events");

/// The file of records that are broken on purpose.
const BROKEN: &str = "broken";

/// A topic with its records, in the order in which they are sent.
pub(super) struct Topic {
    pub source: String,
    pub records: Vec<Vec<u8>>,
}

impl Topic {
    pub fn name(&self) -> String {
        format!("audit.{}", self.source)
    }

    /// Busy sources have several partitions, so that order between them is nobody's promise, as in real life.
    pub fn num_partitions(&self) -> i32 {
        match self.records.len() {
            0..40 => 1,
            40..50 => 2,
            _ => 3,
        }
    }
}

/// One broken record as its file has it.
#[derive(serde::Deserialize)]
struct Broken {
    topic: String,
    base64: String,
}

/// Every source's topic in alphabetical order, broken records in the middle of the sound ones.
pub(super) fn shipped() -> Result<Vec<Topic>, DemoError> {
    let mut topics = Vec::new();
    for (name, text) in files().filter(|(name, _)| *name != BROKEN) {
        let records = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        topics.push(Topic { source: name.to_string(), records });
    }
    topics.sort_by(|a, b| a.source.cmp(&b.source));
    for (_, text) in files().filter(|(name, _)| *name == BROKEN) {
        for line in text.lines() {
            let broken: Broken = serde_json::from_str(line).map_err(|error| DemoError::Events(error.to_string()))?;
            let value = BASE64.decode(&broken.base64).map_err(|error| DemoError::Events(error.to_string()))?;
            let topic = topics
                .iter_mut()
                .find(|topic| topic.source == broken.topic)
                .ok_or_else(|| DemoError::Events(format!("no source is named `{}`", broken.topic)))?;
            let middle = topic.records.len() / 2;
            topic.records.insert(middle, value);
        }
    }
    Ok(topics)
}

/// The files by their names without extension.
pub(super) fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.files().filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_topic_and_a_broken_record_among_sound_ones() {
        let topics = shipped().expect("the files are whole");
        assert!(topics.len() >= 8);
        for topic in &topics {
            let broken = &topic.records[topic.records.len() / 2];
            let lines = files().find(|(name, _)| *name == topic.source).expect("its file").1;
            assert!(!lines.lines().any(|line| line.as_bytes() == broken), "{}", topic.source);
        }
    }

    #[test]
    fn all_records_fit_into_an_embedded_partition() {
        // librdkafka's mock drops the oldest beyond 5 MB a partition.
        for topic in shipped().expect("the files are whole") {
            assert!(topic.records.iter().map(Vec::len).sum::<usize>() < 4_000_000, "{}", topic.source);
        }
    }
}
