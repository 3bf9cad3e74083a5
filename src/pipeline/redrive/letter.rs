//! A dead letter read back: the record that it was, as far as the letter tells.

use crate::record::{Header, Position, RawRecord};
use crate::sink::siem::{OWN_HEADERS, RENAMED};

/// A dead letter.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Where it lies in the topic of dead letters.
    pub partition: i32,
    pub offset: i64,
    /// The record, at its own position. Its topic's id and its time the lake's row knows.
    pub record: RawRecord,
    /// SHA-256 and size of a value that was too large for the topic.
    pub shed: Option<(String, u64)>,
    /// Its headers were too large for the topic, and nothing else has them.
    pub lacks_headers: bool,
}

impl Letter {
    /// None if it is no dead letter of actorline.
    pub fn read(stored: RawRecord) -> Option<Letter> {
        let own = |name: &str| {
            let found = stored.headers.iter().find(|header| header.name == name)?;
            std::str::from_utf8(found.value.as_deref()?).ok().map(str::to_string)
        };
        let position = position(&own("actorline-position")?)?;
        let shed = match (own("actorline-sha256"), own("actorline-size")) {
            (Some(sha256), Some(size)) => Some((sha256, size.parse().ok()?)),
            _ => None,
        };
        let lacks_headers = own("actorline-left-out").is_some();
        let headers = stored.headers.iter().filter(|header| !header.name.starts_with(OWN_HEADERS)).cloned();
        let record = RawRecord {
            position,
            topic_id: None,
            timestamp: None,
            key: stored.key,
            headers: headers.map(as_it_came).collect(),
            value: stored.value,
        };
        let at = &stored.position;
        Some(Letter { partition: at.partition, offset: at.offset, record, shed, lacks_headers })
    }
}

/// A header that looked like one of ours got another name.
fn as_it_came(header: Header) -> Header {
    match header.name.strip_prefix(RENAMED) {
        Some(name) if name.starts_with(OWN_HEADERS) => Header { name: name.to_string(), value: header.value },
        _ => header,
    }
}

/// `topic/partition/offset/0`.
fn position(text: &str) -> Option<Position> {
    let mut parts = text.rsplitn(4, '/');
    let (index, offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let position = Position { topic: topic.into(), partition: partition.parse().ok()?, offset: offset.parse().ok()? };
    (index == "0").then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::{Reason, Rejection, Stage};
    use crate::sink::siem::{Batch, Encoding};

    fn sent(record: &RawRecord, value_max: usize, record_max: usize) -> RawRecord {
        let encoding = Encoding {
            activities: false,
            dead_letters: true,
            include_raw: false,
            activity_bytes_max: 0,
            dead_letter_bytes_max: record_max,
            dead_letter_value_max: value_max,
        };
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding, record, &Rejection::new(Stage::Decode, Reason::Syntax, "expected `{`"));
        let sent = batch.records().next().expect("a letter");
        let headers =
            sent.headers().map(|(name, value)| Header { name: name.to_string(), value: value.map(<[u8]>::to_vec) });
        RawRecord {
            position: Position { topic: "dead".into(), partition: 1, offset: 9 },
            topic_id: None,
            timestamp: Some(5),
            key: sent.key.map(<[u8]>::to_vec),
            headers: headers.collect(),
            value: sent.value.map(<[u8]>::to_vec),
        }
    }

    fn record() -> RawRecord {
        RawRecord {
            position: Position { topic: "audit.okta".into(), partition: 3, offset: 7 },
            topic_id: Some("t-1".into()),
            timestamp: Some(1),
            key: Some(b"k".to_vec()),
            headers: vec![
                Header { name: "actorline-stage".into(), value: Some(b"forged".to_vec()) },
                Header { name: "tenant".into(), value: None },
            ],
            value: Some(b"oops".to_vec()),
        }
    }

    #[test]
    fn a_letter_gives_the_record_that_it_was() {
        let letter = Letter::read(sent(&record(), 100, 100_000)).expect("a letter");
        let RawRecord { position, key, headers, value, .. } = record();
        assert_eq!(
            (letter.record.position, letter.record.key, letter.record.headers, letter.record.value),
            (position, key, headers, value)
        );
        assert_eq!((letter.partition, letter.offset, letter.lacks_headers), (1, 9, false));
        assert_eq!(letter.shed, None);
    }

    #[test]
    fn what_a_letter_had_to_leave_out_is_known() {
        let letter = Letter::read(sent(&record(), 3, 100_000)).expect("a letter");
        assert!(letter.shed.is_some_and(|(sha256, size)| sha256.len() == 64 && size == 4));
        let mut huge = record();
        huge.headers.push(Header { name: "huge".into(), value: Some(vec![b'x'; 100_000]) });
        assert!(Letter::read(sent(&huge, 100, 100_000)).expect("a letter").lacks_headers);
        assert!(Letter::read(record()).is_none(), "no dead letter");
    }
}
