//! The records for the SIEM topic and the dead-letter topic as bytes, ready to be sent.
//!
//! All keys, values and headers of a batch lie in one buffer, so that a record costs no allocation of its own. What
//! is too large for its topic is made smaller here, before anything is sent: a record that the broker refuses would
//! fail its transaction again and again.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::shed;
use crate::activity::{Activity, Column};
use crate::record::RawRecord;
use crate::rejection::Rejection;

/// Names of headers that are ours. An incoming header that starts so is somebody else's claim.
pub const OWN_HEADERS: &str = "actorline-";

/// What stands before the name of such a header in a dead letter.
pub const RENAMED: &str = "original-";
pub(super) const POSITION_HEADER: &str = "actorline-position";
/// The topic's UUID, beside dead letters. Activities have it in their value.
pub(super) const TOPIC_ID_HEADER: &str = "actorline-topic-id";

/// What a record weighs beside its key, value and headers, with room for the batch around it.
///
/// Kafka's record needs up to 35 bytes and its batch 61.
const RECORD_OVERHEAD: usize = 128;
/// What a header weighs beside its name and value: two lengths as varints.
const HEADER_OVERHEAD: usize = 10;

/// How activities and dead letters become records.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Whether there is a SIEM topic; without one, activities leave nothing.
    pub activities: bool,
    /// Whether there is a dead-letter topic; without one, rejections leave nothing.
    pub dead_letters: bool,
    pub include_raw: bool,
    /// Largest record that the SIEM topic takes.
    pub activity_bytes_max: usize,
    /// Largest record that the dead-letter topic takes.
    pub dead_letter_bytes_max: usize,
    /// Largest value of a dead letter, as configured.
    pub dead_letter_value_max: usize,
}

/// Records in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    headers: Vec<HeaderRange>,
    outgoing: Vec<Outgoing>,
}

/// Which topic a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Siem,
    DeadLetters,
}

#[derive(Debug)]
struct Outgoing {
    destination: Destination,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

#[derive(Debug)]
struct HeaderRange {
    name: HeaderName,
    value: Option<Range<usize>>,
}

#[derive(Debug)]
enum HeaderName {
    Own(&'static str),
    Theirs(Range<usize>),
}

/// One record of a batch.
pub struct Record<'a> {
    pub destination: Destination,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    batch: &'a Batch,
    headers: Range<usize>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    pub fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// Memory that the batch takes.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len() + self.outgoing.len() * size_of::<Outgoing>() + self.headers.len() * size_of::<HeaderRange>()
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.outgoing.iter().map(|outgoing| Record {
            destination: outgoing.destination,
            key: outgoing.key.clone().map(|range| &self.bytes[range]),
            value: outgoing.value.clone().map(|range| &self.bytes[range]),
            batch: self,
            headers: outgoing.headers.clone(),
        })
    }

    /// Appends the record of one activity of `record`.
    pub fn push_activity(&mut self, encoding: &Encoding, record: &RawRecord, activity: &Activity<'_>) {
        self.push_redriven(encoding, record, activity, None);
    }

    /// As [`Batch::push_activity`]; of a dead letter's activity a header says at which attempt it came to be.
    pub fn push_redriven(
        &mut self,
        encoding: &Encoding,
        record: &RawRecord,
        activity: &Activity<'_>,
        attempt: Option<u64>,
    ) {
        if !encoding.activities {
            return;
        }
        let first_header = self.headers.len();
        let index = match activity.get(Column::InputIndex) {
            crate::activity::Value::Int(index) => index,
            _ => 0,
        };
        self.header("actorline-kind", "activity");
        self.header(POSITION_HEADER, &format!("{}/{index}", record.position));
        self.header("actorline-source", activity.text(Column::Source).unwrap_or_default());
        self.header("actorline-mapping-version", activity.text(Column::MappingVersion).unwrap_or_default());
        if let Some(attempt) = attempt {
            self.header("actorline-attempt", &attempt.to_string());
        }
        let key = activity
            .text(Column::ActorId)
            .filter(|id| !id.is_empty() && id.len() <= shed::KEY_BYTES_MAX)
            .or_else(|| activity.text(Column::Source))
            .unwrap_or_default();
        let key = self.store(key.as_bytes());
        let beside_value = RECORD_OVERHEAD + key.len() + self.headers_size(first_header);
        let start = self.bytes.len();
        let value_max = encoding.activity_bytes_max.saturating_sub(beside_value);
        shed::write_within(&mut self.bytes, activity, encoding.include_raw, value_max);
        self.outgoing.push(Outgoing {
            destination: Destination::Siem,
            key: Some(key),
            value: Some(start..self.bytes.len()),
            headers: first_header..self.headers.len(),
        });
    }

    /// Appends the dead letter of `record`: its own bytes, key and headers, with ours beside them.
    pub fn push_dead_letter(&mut self, encoding: &Encoding, record: &RawRecord, rejection: &Rejection) {
        if !encoding.dead_letters {
            return;
        }
        let first_header = self.headers.len();
        self.header(POSITION_HEADER, &format!("{}/0", record.position));
        if let Some(topic_id) = &record.topic_id {
            self.header(TOPIC_ID_HEADER, topic_id);
        }
        self.header("actorline-stage", rejection.stage.as_str());
        self.header("actorline-reason", rejection.reason.as_str());
        self.header("actorline-detail", &rejection.detail);

        let mut room = encoding.dead_letter_bytes_max.saturating_sub(RECORD_OVERHEAD + self.headers_size(first_header));
        // Room for saying what had to be left out, whichever parts that turns out to be.
        room = room.saturating_sub(512);
        let value = record.value.as_deref();
        let num_value_bytes = value.map_or(0, <[u8]>::len);
        let key_size = record.key.as_ref().map_or(0, Vec::len);
        let headers_size = incoming_headers_size(record);

        // The value is what a reader wants most, but the lake has it too; so it goes first, then headers, then key.
        let keeps_value =
            num_value_bytes <= encoding.dead_letter_value_max && num_value_bytes + key_size + headers_size <= room;
        if keeps_value {
            room -= num_value_bytes;
        }
        let keeps_headers = headers_size + key_size <= room;
        let keeps_key = key_size <= room;
        if keeps_headers {
            self.incoming_headers(record);
        } else {
            self.header("actorline-left-out", if keeps_key { "headers" } else { "headers, key" });
        }
        if !keeps_value {
            let digest = Sha256::digest(value.unwrap_or_default());
            self.header("actorline-sha256", &hex(&digest));
            self.header("actorline-size", &num_value_bytes.to_string());
        }
        let key = record.key.as_deref().filter(|_| keeps_key).map(|key| self.store(key));
        let value = value.map(|value| self.store(if keeps_value { value } else { &[] }));
        self.outgoing.push(Outgoing {
            destination: Destination::DeadLetters,
            key,
            value,
            headers: first_header..self.headers.len(),
        });
    }

    fn incoming_headers(&mut self, record: &RawRecord) {
        for header in &record.headers {
            let start = self.bytes.len();
            if header.name.starts_with(OWN_HEADERS) {
                self.bytes.extend_from_slice(RENAMED.as_bytes());
            }
            self.bytes.extend_from_slice(header.name.as_bytes());
            let name = HeaderName::Theirs(start..self.bytes.len());
            let value = header.value.as_deref().map(|value| self.store(value));
            self.headers.push(HeaderRange { name, value });
        }
    }

    fn header(&mut self, name: &'static str, value: &str) {
        let value = self.store(value.as_bytes());
        self.headers.push(HeaderRange { name: HeaderName::Own(name), value: Some(value) });
    }

    fn headers_size(&self, first: usize) -> usize {
        self.headers[first..]
            .iter()
            .map(|header| {
                let name = match &header.name {
                    HeaderName::Own(name) => name.len(),
                    HeaderName::Theirs(range) => range.len(),
                };
                HEADER_OVERHEAD + name + header.value.as_ref().map_or(0, Range::len)
            })
            .sum()
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

impl<'a> Record<'a> {
    pub fn num_headers(&self) -> usize {
        self.headers.len()
    }

    /// Names and values in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let batch = self.batch;
        batch.headers[self.headers.clone()].iter().map(move |header| {
            let name = match &header.name {
                HeaderName::Own(name) => name,
                // Stored from a `str` above, whole.
                HeaderName::Theirs(range) => std::str::from_utf8(&batch.bytes[range.clone()]).unwrap_or_default(),
            };
            (name, header.value.clone().map(|range| &batch.bytes[range]))
        })
    }
}

fn incoming_headers_size(record: &RawRecord) -> usize {
    let longer_name = RENAMED.len();
    record
        .headers
        .iter()
        .map(|header| HEADER_OVERHEAD + longer_name + header.name.len() + header.value.as_ref().map_or(0, Vec::len))
        .sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::{Target, Value};
    use crate::record::{Header, Position};
    use crate::rejection::{Reason, Stage};

    fn encoding() -> Encoding {
        Encoding {
            activities: true,
            dead_letters: true,
            include_raw: false,
            activity_bytes_max: 100_000,
            dead_letter_bytes_max: 100_000,
            dead_letter_value_max: 50_000,
        }
    }

    fn record(value: Option<&[u8]>) -> RawRecord {
        RawRecord {
            position: Position { topic: "audit.okta".into(), partition: 3, offset: 7 },
            topic_id: None,
            timestamp: None,
            key: Some(b"k-1".to_vec()),
            headers: vec![
                Header { name: "actorline-stage".into(), value: Some(b"forged".to_vec()) },
                Header { name: "tenant".into(), value: None },
            ],
            value: value.map(<[u8]>::to_vec),
        }
    }

    fn headers<'a>(record: &Record<'a>) -> Vec<(&'a str, Option<&'a str>)> {
        record.headers().map(|(name, value)| (name, value.map(|v| std::str::from_utf8(v).unwrap_or("?")))).collect()
    }

    fn rejection() -> Rejection {
        Rejection::new(Stage::Decode, Reason::Syntax, "expected `{`")
    }

    #[test]
    fn an_activity_is_keyed_by_its_actor_and_names_its_position() {
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text("okta_system"));
        activity.set(Column::ActorId, Value::Text("u-1"));
        activity.set(Column::InputIndex, Value::Int(2));
        activity.set(Column::MappingVersion, Value::Text("abc"));
        activity.set(Column::Raw, Value::Text("{}"));
        let mut batch = Batch::default();
        batch.push_activity(&encoding(), &record(None), &activity);
        let sent = batch.records().next().expect("one record");
        assert_eq!(sent.key, Some(&b"u-1"[..]));
        assert_eq!(
            headers(&sent),
            [
                ("actorline-kind", Some("activity")),
                ("actorline-position", Some("audit.okta/3/7/2")),
                ("actorline-source", Some("okta_system")),
                ("actorline-mapping-version", Some("abc")),
            ]
        );
        let value: serde_json::Value = serde_json::from_slice(sent.value.expect("a value")).expect("JSON");
        assert_eq!(value["actor_id"], "u-1");
        assert!(value.get("raw").is_none());
    }

    #[test]
    fn without_an_actor_the_key_is_the_source() {
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text("unrecognised"));
        let mut batch = Batch::default();
        batch.push_activity(&encoding(), &record(None), &activity);
        assert_eq!(batch.records().next().and_then(|sent| sent.key), Some(&b"unrecognised"[..]));
    }

    #[test]
    fn a_dead_letter_is_the_original_with_forged_headers_renamed() {
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding(), &record(Some(b"oops")), &rejection());
        let sent = batch.records().next().expect("one record");
        assert_eq!(
            (sent.destination, sent.key, sent.value),
            (Destination::DeadLetters, Some(&b"k-1"[..]), Some(&b"oops"[..]))
        );
        assert_eq!(
            headers(&sent),
            [
                ("actorline-position", Some("audit.okta/3/7/0")),
                ("actorline-stage", Some("decode")),
                ("actorline-reason", Some("syntax")),
                ("actorline-detail", Some("expected `{`")),
                ("original-actorline-stage", Some("forged")),
                ("tenant", None),
            ]
        );
    }

    #[test]
    fn a_tombstone_stays_a_tombstone() {
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding(), &record(None), &rejection());
        assert!(batch.records().next().is_some_and(|sent| sent.value.is_none()));
    }

    #[test]
    fn a_dead_letter_above_the_limit_says_its_hash_and_size_instead() {
        let value = vec![b'x'; 50_001];
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding(), &record(Some(&value)), &rejection());
        let sent = batch.records().next().expect("one record");
        assert_eq!(sent.value, Some(&b""[..]));
        let found = headers(&sent);
        assert!(found.contains(&("actorline-size", Some("50001"))));
        assert!(found.iter().any(|(name, value)| *name == "actorline-sha256" && value.is_some_and(|v| v.len() == 64)));
        assert!(found.contains(&("original-actorline-stage", Some("forged"))), "headers still fit");
    }

    #[test]
    fn a_dead_letter_whose_headers_do_not_fit_says_so() {
        let mut record = record(Some(b"oops"));
        record.headers.push(Header { name: "huge".into(), value: Some(vec![b'x'; 100_000]) });
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding(), &record, &rejection());
        let sent = batch.records().next().expect("one record");
        assert_eq!(sent.key, Some(&b"k-1"[..]));
        assert!(headers(&sent).contains(&("actorline-left-out", Some("headers"))));
    }

    #[test]
    fn an_activity_too_large_for_the_topic_sheds_targets_and_attributes_and_says_so() {
        let name = "n".repeat(200);
        let targets: Vec<Target<'_>> = (0..1_000).map(|_| Target { name: Some(&name), ..Target::default() }).collect();
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text("okta_system"));
        activity.set(Column::ActorName, Value::Text("kept"));
        activity.set(Column::Targets, Value::Targets(&targets));
        activity.set(Column::Attributes, Value::TextMap(&[("tool", "x")]));
        activity.set(Column::Issues, Value::TextList(&["missing:event_time:no time"]));
        let mut batch = Batch::default();
        batch.push_activity(&encoding(), &record(None), &activity);
        let sent = batch.records().next().expect("one record");
        let value: serde_json::Value = serde_json::from_slice(sent.value.expect("a value")).expect("JSON");
        assert!(value.get("targets").is_none() && value.get("attributes").is_none());
        assert_eq!(value["actor_name"], "kept");
        assert_eq!(value["issues"][0], "missing:event_time:no time");
        assert_eq!(value["issues"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn whatever_an_activity_holds_it_fits() {
        let huge = "\u{202e}".repeat(200_000);
        let mut activity = Activity::default();
        for column in [Column::Action, Column::ActorName, Column::UserAgent, Column::ResultReason, Column::EventUid] {
            activity.set(column, Value::Text(&huge));
        }
        activity.set(Column::Raw, Value::Text(&huge));
        activity.set(Column::ActorId, Value::Text(&huge));
        activity.set(Column::Source, Value::Text("okta_system"));
        let mut batch = Batch::default();
        batch.push_activity(&Encoding { include_raw: true, ..encoding() }, &record(None), &activity);
        let sent = batch.records().next().expect("one record");
        assert!(sent.value.is_some_and(|value| value.len() < 100_000));
        assert_eq!(sent.key, Some(&b"okta_system"[..]));
    }
}
