//! Amazon Data Firehose to an HTTP endpoint: `records[].data` is base64 of whatever was put into the stream.
//!
//! <https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html>

use std::borrow::Cow;

use serde::Deserialize;

use super::decode;
use super::document::{Elements, Object};
use super::limits;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    if !object.has_only(&["requestId", "timestamp", "records"]) || object.get("requestId").is_none() {
        return Ok(None);
    }
    let Some(records) = object.get("records").and_then(Elements::of_objects) else { return Ok(None) };
    limits::check_num_events(records.num_elements)?;
    let mut parts = Vec::with_capacity(records.values.len());
    for record in records.values {
        let Ok(Item { data }) = serde_json::from_str(record.get()) else { return Ok(None) };
        parts.push(Part::Bytes(decode::base64(data.as_bytes())?));
    }
    Ok(Some(Contents { parts, context: Context::new() }))
}
