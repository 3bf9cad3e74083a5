//! One JSON document at a time: where it ends, the top-level fields of an object, the elements of an array.
//!
//! One pass of serde_json checks the syntax and notes where the top-level values lie. Values are skipped, not built,
//! and skipping does not recurse.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::limits;
use crate::rejection::{Reason, Rejection, Stage};

/// The most top-level fields that an envelope may have; what has more is an event.
///
/// The widest known, CloudTrail's digest, has 16.
const NUM_FIELDS_KEPT: usize = 20;

/// The top-level fields of an object, as far as envelopes need them.
#[derive(Default)]
pub(super) struct Object<'a> {
    fields: [Option<(&'a str, &'a RawValue)>; NUM_FIELDS_KEPT],
    num_fields: usize,
    has_envelope_key: bool,
}

impl<'a> Object<'a> {
    /// Reads the object that `text` begins with and returns where it ends.
    pub(super) fn read(&mut self, text: &'a str) -> serde_json::Result<usize> {
        let mut deserializer = Deserializer::from_str(text);
        deserializer.deserialize_map(self)?;
        Ok(deserializer.into_iter::<IgnoredAny>().byte_offset())
    }

    /// False for most events, and certain then: no envelope is without one of its keys.
    pub(super) fn may_be_envelope(&self) -> bool {
        self.has_envelope_key && self.num_fields <= NUM_FIELDS_KEPT
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.fields().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value of `key` if it is a JSON string.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
        self.fields.iter().flatten().copied()
    }

    pub(super) fn has_only(&self, keys: &[&str]) -> bool {
        self.num_fields <= NUM_FIELDS_KEPT && self.fields().all(|(name, _)| keys.contains(&name))
    }

    /// An envelope that says `Records` twice holds one thing for one reader and another for the next.
    pub(super) fn check_keys_are_distinct(&self) -> Result<(), Rejection> {
        for (index, (name, _)) in self.fields().enumerate() {
            if self.fields().take(index).any(|(earlier, _)| earlier == name) {
                let detail = format!("key {} of an envelope stands there twice", index + 1);
                return Err(Rejection::new(Stage::Envelope, Reason::Shape, detail));
            }
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for &mut Object<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            self.has_envelope_key |= is_envelope_key(key);
            match self.fields.get_mut(self.num_fields) {
                Some(field) => *field = Some((key, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            self.num_fields += 1;
        }
        Ok(())
    }
}

/// The keys of which every envelope has at least one.
fn is_envelope_key(key: &str) -> bool {
    matches!(
        key,
        "Records"
            | "records"
            | "value"
            | "items"
            | "data"
            | "entries"
            | "events"
            | "results"
            | "result"
            | "response"
            | "logs"
            | "audit_logs"
            | "authlogs"
            | "operation_logs"
            | "activity_logs"
            | "_embedded"
            | "activities"
            | "detail"
            | "logEvents"
            | "awslogs"
            | "message"
            | "event"
            | "logFiles"
    )
}

/// A key as it is written, or nothing if it is written with escapes, which no envelope does.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = &'a str;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<&'a str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<&'a str, E> {
        Ok(key)
    }

    fn visit_str<E>(self, _: &str) -> Result<&'a str, E> {
        Ok("")
    }
}

/// The elements of an array, as many as a record may have.
#[derive(Default)]
pub(super) struct Elements<'a> {
    pub(super) values: Vec<&'a RawValue>,
    /// Counts those beyond the limit too.
    pub(super) num_elements: usize,
}

impl<'a> Elements<'a> {
    /// Reads the array that `text` begins with, and returns where it ends.
    pub(super) fn read(text: &'a str) -> serde_json::Result<(Elements<'a>, usize)> {
        let mut elements = Elements::default();
        let mut deserializer = Deserializer::from_str(text);
        deserializer.deserialize_seq(&mut elements)?;
        Ok((elements, deserializer.into_iter::<IgnoredAny>().byte_offset()))
    }

    /// The elements of `value` if it is an array of nothing but objects.
    pub(super) fn of_objects(value: &'a RawValue) -> Option<Elements<'a>> {
        if !value.get().starts_with('[') {
            return None;
        }
        let (elements, _) = Elements::read(value.get()).ok()?;
        elements.values.iter().all(|element| element.get().starts_with('{')).then_some(elements)
    }
}

impl<'a> Visitor<'a> for &mut Elements<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        loop {
            if self.values.len() < limits::NUM_EVENTS_MAX {
                let Some(value) = seq.next_element()? else { return Ok(()) };
                self.values.push(value);
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
            self.num_elements += 1;
        }
    }
}

/// The first byte that is not JSON's white space.
pub(super) fn first_byte(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// What is wrong with the document that begins at `start` of `text`.
pub(super) fn syntax(text: &str, start: usize, error: &serde_json::Error) -> Rejection {
    let document = &text.as_bytes()[start..];
    let at = position(document, error);
    // Deep nesting without an end is deep nesting first.
    let levels_max = limits::DEPTH_MAX + limits::NUM_ENVELOPES_MAX * 2;
    if let Some(too_deep) = limits::first_deeper_than(&document[..at], levels_max) {
        return limits::too_deep(start + too_deep);
    }
    let message = error.to_string().replace("EOF", "end of text");
    let what = message.split(" at line ").next().unwrap_or_default();
    Rejection::new(Stage::Envelope, Reason::Syntax, format!("{what} at byte {}", start + at))
}

/// What stands at `at` of `text` begins neither an object nor an array.
pub(super) fn not_an_object(text: &str, at: usize) -> Rejection {
    match serde_json::from_str::<IgnoredAny>(&text[at..]) {
        Err(error) if !error.to_string().starts_with("trailing characters") => syntax(text, at, &error),
        _ => Rejection::new(
            Stage::Envelope,
            Reason::Syntax,
            format!("wanted an object, found {} at byte {at}", kind_of(&text[at..])),
        ),
    }
}

/// The kind of JSON value that `json` begins with.
pub(super) fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The byte of `document` that an error names by line and column, both from one.
fn position(document: &[u8], error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return document.len();
    }
    let start_of_line = match error.line().checked_sub(2) {
        None => 0,
        Some(nth) => memchr::memchr_iter(b'\n', document).nth(nth).map_or(0, |newline| newline + 1),
    };
    (start_of_line + error.column().saturating_sub(1)).min(document.len())
}
