//! CloudWatch Logs subscriptions: each `logEvents[].message` is a text, of an event or of an envelope again.
//!
//! Lambda receives the same as base64 of gzip under `awslogs.data`. A control message only probes the destination.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>

use std::borrow::Cow;

use serde::Deserialize;

use super::decode;
use super::document::{Elements, Object, syntax};
use super::limits;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

const CONTEXT_KEYS: [(&str, &str); 3] =
    [("owner", "cloudwatch.owner"), ("logGroup", "cloudwatch.log_group"), ("logStream", "cloudwatch.log_stream")];

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct LambdaData<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    if let Some(lambda) = object.get("awslogs").filter(|_| object.has_only(&["awslogs"])) {
        let Ok(LambdaData { data }) = serde_json::from_str(lambda.get()) else { return Ok(None) };
        let parts = vec![Part::Bytes(decode::base64(data.as_bytes())?)];
        return Ok(Some(Contents { parts, context: Context::new() }));
    }
    let Some(log_events) = object.get("logEvents").and_then(Elements::of_objects) else { return Ok(None) };
    let parts = match object.text("messageType").as_deref() {
        Some("DATA_MESSAGE") => {
            limits::check_num_events(log_events.num_elements)?;
            let mut messages = Vec::with_capacity(log_events.values.len());
            for log_event in log_events.values {
                let LogEvent { message } =
                    serde_json::from_str(log_event.get()).map_err(|error| syntax(log_event.get(), 0, &error))?;
                messages.push(Part::Text(message));
            }
            messages
        }
        Some("CONTROL_MESSAGE") => Vec::new(),
        _ => return Ok(None),
    };
    let context = CONTEXT_KEYS.iter().filter_map(|(key, name)| Some((name.to_string(), object.text(key)?))).collect();
    Ok(Some(Contents { parts, context }))
}
