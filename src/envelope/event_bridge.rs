//! AWS EventBridge: the event is `detail`. The `id` around it is the delivery's, not the event's.
//!
//! Partners use it too: Auth0 and Okta send their events as `detail`.
//! <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use super::document::Object;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

/// What a mapping may ask of the envelope.
const CONTEXT_KEYS: [(&str, &str); 6] = [
    ("id", "eventbridge.id"),
    ("source", "eventbridge.source"),
    ("account", "eventbridge.account"),
    ("region", "eventbridge.region"),
    ("detail-type", "eventbridge.detail-type"),
    ("time", "eventbridge.time"),
];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    let Some(detail) = object.get("detail").filter(|detail| detail.get().starts_with('{')) else { return Ok(None) };
    if object.text("detail-type").is_none() || object.text("source").is_none() {
        return Ok(None);
    }
    let context: Context =
        CONTEXT_KEYS.iter().filter_map(|(key, name)| Some((name.to_string(), object.text(key)?))).collect();
    Ok(Some(Contents { parts: vec![Part::Value(detail)], context }))
}
