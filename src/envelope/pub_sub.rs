//! Google Pub/Sub push: `message.data` is base64 of an event, a log entry for instance.
//!
//! `messageId` names the delivery, not the event.
//! <https://cloud.google.com/pubsub/docs/push#receive_push>

use std::collections::BTreeMap;

use super::decode;
use super::document::Object;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::{Reason, Rejection, Stage};

/// The most attributes of a message, as Pub/Sub itself allows.
const NUM_ATTRIBUTES_MAX: usize = 100;

/// Pushes write each field in camel case, in snake case, or in both.
const CONTEXT_KEYS: [([&str; 2], &str); 2] =
    [(["messageId", "message_id"], "pubsub.message_id"), (["publishTime", "publish_time"], "pubsub.publish_time")];

/// All that a push has. Many vendors' events have a `subscription` or a `message`, and more beside them.
const KEYS: [&str; 3] = ["message", "subscription", "deliveryAttempt"];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    if !object.has_only(&KEYS) {
        return Ok(None);
    }
    let Some(subscription) = object.text("subscription") else { return Ok(None) };
    let Some(message) = object.get("message").filter(|message| message.get().starts_with('{')) else {
        return Ok(None);
    };
    let mut fields = Object::default();
    if fields.read(message.get()).is_err() {
        return Ok(None);
    }
    let Some(data) = fields.text("data") else { return Ok(None) };
    let mut context = Context::new();
    for (spellings, name) in CONTEXT_KEYS {
        if let Some(value) = spellings.iter().find_map(|key| fields.text(key)) {
            context.push((name.to_string(), value));
        }
    }
    context.push(("pubsub.subscription".to_string(), subscription));
    if let Some(attributes) = fields.get("attributes") {
        let Ok(attributes) = serde_json::from_str::<BTreeMap<String, String>>(attributes.get()) else {
            return Ok(None);
        };
        if attributes.len() > NUM_ATTRIBUTES_MAX {
            let detail = format!("{} attributes of a message, {NUM_ATTRIBUTES_MAX} allowed", attributes.len());
            return Err(Rejection::new(Stage::Envelope, Reason::Shape, detail));
        }
        context.extend(attributes.into_iter().map(|(name, value)| (format!("pubsub.attribute.{name}"), value)));
    }
    fields.check_keys_are_distinct()?;
    let parts = vec![Part::Bytes(decode::base64(data.as_bytes())?)];
    Ok(Some(Contents { parts, context }))
}
