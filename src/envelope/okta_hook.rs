//! Okta event hooks: System Log events in `data.events`.
//!
//! The events do not name their organisation; the hook's `source`, the address of what sent it, does.
//! <https://developer.okta.com/docs/concepts/event-hooks/>

use super::document::{Elements, Object};
use super::limits;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

const KEYS: [&str; 8] =
    ["eventType", "eventTypeVersion", "cloudEventsVersion", "source", "eventId", "eventTime", "contentType", "data"];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    let Some(data) = object.get("data").filter(|data| data.get().starts_with('{')) else { return Ok(None) };
    if !object.has_only(&KEYS) {
        return Ok(None);
    }
    let mut inner = Object::default();
    if inner.read(data.get()).is_err() || !inner.has_only(&["events"]) {
        return Ok(None);
    }
    let Some(events) = inner.get("events").and_then(Elements::of_objects) else { return Ok(None) };
    inner.check_keys_are_distinct()?;
    limits::check_num_events(events.num_elements)?;
    let context: Context =
        object.text("source").map(|source| ("okta_hook.source".to_string(), source)).into_iter().collect();
    Ok(Some(Contents { parts: events.values.into_iter().map(Part::Value).collect(), context }))
}
