//! Splunk's HTTP event collector: `event` is the event, the rest says where Splunk should put it.
//!
//! Several of them follow each other in one body. An `event` beside other keys, or beside none, is a vendor's own
//! field and no envelope.
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector>

use super::document::Object;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "fields", "event"];

/// Nobody but Splunk needs these; `time` and `source` alone could be anybody's.
const TELLING_KEYS: [&str; 3] = ["host", "sourcetype", "index"];

const CONTEXT_KEYS: [(&str, &str); 5] = [
    ("time", "splunk.time"),
    ("host", "splunk.host"),
    ("source", "splunk.source"),
    ("sourcetype", "splunk.sourcetype"),
    ("index", "splunk.index"),
];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    if !object.has_only(&KEYS) || TELLING_KEYS.iter().all(|key| object.get(key).is_none()) {
        return Ok(None);
    }
    let Some(event) = object.get("event").filter(|event| event.get().starts_with('{')) else { return Ok(None) };
    // `time` is a number or a string; both read the same as text.
    let text = |key| object.text(key).or_else(|| object.get(key).map(|value| value.get().to_string()));
    let context: Context = CONTEXT_KEYS.iter().filter_map(|(key, name)| Some((name.to_string(), text(key)?))).collect();
    Ok(Some(Contents { parts: vec![Part::Value(event)], context }))
}
