//! Cuts a record into raw events.
//!
//! A record is decoded (gzip, zstd, UTF-8), its JSON documents are taken apart, and what wraps events is unwrapped:
//! arrays, CloudTrail's `Records`, EventBridge, CloudWatch Logs, Pub/Sub and the like, one file a wire shape, known by
//! their structure and not by the source. Each event keeps the bytes that it came with; what the envelope said beside
//! it becomes its context.
//!
//! A record is cut whole or not at all: one broken document rejects the record. Same bytes, same events. Nothing here
//! does I/O, reads a clock or looks at what an event means, and no nesting of the input makes it recurse but that of
//! envelopes, which are few.

mod cloudtrail_digest;
mod cloudwatch_logs;
mod decode;
mod document;
mod event_bridge;
mod event_list;
mod firehose;
mod inflate;
mod limits;
mod okta_hook;
mod pub_sub;
mod splunk_hec;
mod syslog_prefix;

use std::borrow::Cow;

use bumpalo::Bump;
use serde_json::value::RawValue;

use crate::event::{Context, RawEvent};
use crate::record::RawRecord;
use crate::rejection::{Reason, Rejection, Stage};
use decode::{Decoded, Decoder};
use document::{Elements, Object};

/// The events of a record in their order; none if it holds none, such as an empty `Records` or a probe.
///
/// Events borrow from the record, or from `arena` where their text had to be decoded.
///
/// # Errors
/// The reason why no events can be cut from this record.
pub fn cut<'a>(record: &'a RawRecord, arena: &'a Bump) -> Result<Vec<RawEvent<'a>>, Rejection> {
    let mut decoder = Decoder::new(arena);
    let Decoded { text, was_packed } = decoder.record(record)?;
    let mut cutter = Cutter { decoder, events: Vec::with_capacity(1), num_context_bytes: 0 };
    cutter.cut_text(text, &Surroundings { was_packed, ..Surroundings::default() })?;
    Ok(cutter.events)
}

/// What an envelope holds.
struct Contents<'a> {
    parts: Vec<Part<'a>>,
    /// What the envelope says beside its events, under the envelope's name.
    context: Context,
}

enum Part<'a> {
    /// A value of the document itself.
    Value(&'a RawValue),
    /// Text that stood in a JSON string.
    Text(Cow<'a, str>),
    /// Bytes that stood in a JSON string, perhaps compressed.
    Bytes(Vec<u8>),
}

/// A wire shape: what `object` holds if it is an envelope of this shape, none if it is not.
type Unwrap = for<'a> fn(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection>;

/// Every shape of an object that wraps events. What vendors send fits one of them or none: each asks for a key, or for
/// a closed set of keys, that the others do not have. Of a forgery that fits two, the first counts.
const SHAPES: [Unwrap; 8] = [
    event_list::unwrap,
    event_bridge::unwrap,
    cloudwatch_logs::unwrap,
    pub_sub::unwrap,
    splunk_hec::unwrap,
    okta_hook::unwrap,
    firehose::unwrap,
    cloudtrail_digest::unwrap,
];

/// Where a text or value stands: what its envelopes said, how many they are, and whether one was compressed.
#[derive(Clone, Default)]
struct Surroundings {
    context: Context,
    num_envelopes: usize,
    was_packed: bool,
}

struct Cutter<'a> {
    decoder: Decoder<'a>,
    events: Vec<RawEvent<'a>>,
    num_context_bytes: usize,
}

impl<'a> Cutter<'a> {
    /// Takes a text of JSON documents apart, with or without white space between them.
    fn cut_text(&mut self, text: &'a str, around: &Surroundings) -> Result<(), Rejection> {
        let mut at = 0;
        while let Some(skipped) = document::first_byte(&text.as_bytes()[at..]) {
            at += skipped;
            let rest = &text[at..];
            at += match rest.as_bytes()[0] {
                b'{' => {
                    let mut object = Object::default();
                    let end = object.read(rest).map_err(|error| document::syntax(text, at, &error))?;
                    self.cut_object(&rest[..end], &object, around)?;
                    end
                }
                b'[' => {
                    let (elements, end) = Elements::read(rest).map_err(|error| document::syntax(text, at, &error))?;
                    self.cut_array(&elements, around)?;
                    end
                }
                _ => match syslog_prefix::length(rest) {
                    Some(end) => end,
                    None => return Err(document::not_an_object(text, at)),
                },
            };
        }
        Ok(())
    }

    /// The elements of a top-level array. An array in an array is no envelope of anybody's.
    fn cut_array(&mut self, elements: &Elements<'a>, around: &Surroundings) -> Result<(), Rejection> {
        limits::check_num_events(self.events.len() + elements.num_elements)?;
        self.events.reserve(elements.values.len());
        let around = self.enter(around, Context::new())?;
        for value in &elements.values {
            self.cut_value(value, &around)?;
        }
        Ok(())
    }

    /// One element or field that should be an event, or an envelope again.
    fn cut_value(&mut self, value: &'a RawValue, around: &Surroundings) -> Result<(), Rejection> {
        let raw = value.get();
        if !raw.starts_with('{') {
            limits::check_event(raw)?;
            return Err(Rejection::new(
                Stage::Envelope,
                Reason::Syntax,
                format!("event {}: wanted an object, found {}", self.events.len(), document::kind_of(raw)),
            ));
        }
        let mut object = Object::default();
        object.read(raw).map_err(|error| document::syntax(raw, 0, &error))?;
        self.cut_object(raw, &object, around)
    }

    /// An object is an envelope or an event. Most are events, and most of those have no key that envelopes have.
    fn cut_object(&mut self, raw: &'a str, object: &Object<'a>, around: &Surroundings) -> Result<(), Rejection> {
        if object.may_be_envelope() {
            for unwrap in SHAPES {
                if let Some(contents) = unwrap(object)? {
                    object.check_keys_are_distinct()?;
                    return self.cut_contents(contents, around);
                }
            }
        }
        self.push(raw, &around.context)
    }

    fn cut_contents(&mut self, contents: Contents<'a>, outer: &Surroundings) -> Result<(), Rejection> {
        limits::check_num_events(self.events.len() + contents.parts.len())?;
        let mut around = self.enter(outer, contents.context)?;
        for part in contents.parts {
            match part {
                Part::Value(value) => self.cut_value(value, &around)?,
                Part::Text(text) => {
                    let text = self.decoder.text(text)?;
                    self.cut_text(text, &around)?;
                }
                Part::Bytes(bytes) => {
                    let Decoded { text, was_packed } = self.decoder.bytes(bytes, around.was_packed)?;
                    let was_packed_before = std::mem::replace(&mut around.was_packed, was_packed);
                    self.cut_text(text, &around)?;
                    around.was_packed = was_packed_before;
                }
            }
        }
        Ok(())
    }

    /// What surrounds the contents of an envelope that itself stands in `outer`.
    fn enter(&mut self, outer: &Surroundings, context: Context) -> Result<Surroundings, Rejection> {
        limits::check_num_envelopes(outer.num_envelopes + 1)?;
        let mut around = outer.clone();
        around.num_envelopes += 1;
        around.context.extend(context);
        self.spend_context(&around.context)?;
        Ok(around)
    }

    fn push(&mut self, raw: &'a str, context: &Context) -> Result<(), Rejection> {
        limits::check_num_events(self.events.len() + 1)?;
        limits::check_event(raw)?;
        self.spend_context(context)?;
        self.events.push(RawEvent { raw, context: context.clone() });
        Ok(())
    }

    /// Counts one more copy of `context`: many small events under a large one would take memory without bound.
    fn spend_context(&mut self, context: &Context) -> Result<(), Rejection> {
        self.num_context_bytes += limits::context_bytes(context);
        limits::check_context(self.num_context_bytes)
    }
}

#[cfg(test)]
mod tests;
