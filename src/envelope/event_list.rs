//! Objects that hold many events in one array: CloudTrail's `Records`, Event Hub's `records`, the pages of REST
//! interfaces (`value`, `items`, `data` …), Kubernetes' `EventList`.
//!
//! Such an object has the array and beside it nothing but what pages have: cursors, counts, links. An event that has
//! an array of its own, as Google Workspace's activities have `events`, also says who and when, and so stays whole.

use serde_json::value::RawValue;

use super::document::{Elements, Object};
use super::limits;
use super::{Contents, Part};
use crate::event::Context;
use crate::rejection::Rejection;

/// The keys under which vendors put their events.
const LIST_KEYS: [&str; 17] = [
    "Records",
    "records",
    "value",
    "items",
    "data",
    "entries",
    "events",
    "results",
    "result",
    "response",
    "logs",
    "audit_logs",
    "authlogs",
    "operation_logs",
    "activity_logs",
    "_embedded",
    "activities",
];

/// What pages say of themselves, and events do not.
const PAGING_KEYS: [&str; 53] = [
    "_links",
    "chunk_size",
    "continuationToken",
    "count",
    "cursor",
    "endCursor",
    "end_cursor",
    "errors",
    "first_id",
    "from",
    "hasMore",
    "hasNextPage",
    "has_more",
    "has_next_page",
    "jsonapi",
    "last_id",
    "length",
    "limit",
    "links",
    "messages",
    "meta",
    "metadata",
    "next",
    "nextCursor",
    "nextLink",
    "nextPageToken",
    "next_cursor",
    "next_page",
    "next_page_token",
    "next_stream_position",
    "ok",
    "offset",
    "page",
    "pageSize",
    "page_count",
    "page_number",
    "page_size",
    "pagination",
    "paging",
    "per_page",
    "prev",
    "previous",
    "previous_page",
    "response_metadata",
    "result_info",
    "size",
    "start",
    "stat",
    "success",
    "to",
    "total",
    "totalCount",
    "total_count",
];

/// OData's own keys: `@odata.context`, `@odata.nextLink` and more.
const ODATA_PREFIX: &str = "@odata.";

/// What a list of a named kind says of itself: Kubernetes' and Google's `items`, OpenAI's `object`.
const KIND_KEYS: [&str; 4] = ["apiVersion", "etag", "kind", "object"];

/// What a kind of list ends in.
const LIST_KINDS: [&str; 3] = ["List", "admin#reports#activities", "list"];

pub(super) fn unwrap<'a>(object: &Object<'a>) -> Result<Option<Contents<'a>>, Rejection> {
    let Some(list) = list_of(object) else { return Ok(None) };
    if let Some(elements) = Elements::of_objects(list) {
        return contents(elements).map(Some);
    }
    // Some put the page into an object of its own: Duo's `response` with `authlogs`, Snyk's `data` with `items`.
    let mut page = Object::default();
    if !list.get().starts_with('{') || page.read(list.get()).is_err() {
        return Ok(None);
    }
    page.check_keys_are_distinct()?;
    list_of(&page).and_then(Elements::of_objects).map(contents).transpose()
}

fn contents(elements: Elements<'_>) -> Result<Contents<'_>, Rejection> {
    limits::check_num_events(elements.num_elements)?;
    let parts = elements.values.into_iter().map(Part::Value).collect();
    Ok(Contents { parts, context: Context::new() })
}

/// What stands under the one key of a list, if beside it there is only what pages have.
fn list_of<'a>(object: &Object<'a>) -> Option<&'a RawValue> {
    let mut list = None;
    for (key, value) in object.fields() {
        if PAGING_KEYS.contains(&key) || KIND_KEYS.contains(&key) || key.starts_with(ODATA_PREFIX) {
            continue;
        }
        // Twice the same key is for the caller to refuse; two different lists are no page.
        if !LIST_KEYS.contains(&key) || list.is_some_and(|(name, _)| name != key) {
            return None;
        }
        list = Some((key, value));
    }
    list.filter(|_| is_kind_of_list(object)).map(|(_, value)| value)
}

/// `kind` and `object` may be missing, but if they are there, they must name a list.
fn is_kind_of_list(object: &Object<'_>) -> bool {
    ["kind", "object"].into_iter().all(|key| match object.get(key) {
        None => true,
        Some(_) => object.text(key).is_some_and(|kind| LIST_KINDS.iter().any(|list| kind.ends_with(list))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn num_events(text: &str) -> Option<usize> {
        let mut object = Object::default();
        object.read(text).expect("is JSON");
        unwrap(&object).expect("is small").map(|contents| contents.parts.len())
    }

    #[test]
    fn pages_as_vendors_number_them() {
        assert_eq!(num_events(r#"{"object":"list","data":[{"a":1}],"continuationToken":null}"#), Some(1));
        assert_eq!(num_events(r#"{"start":0,"limit":50,"length":1,"total":1,"logs":[{"a":1}]}"#), Some(1));
        assert_eq!(num_events(r#"{"_links":{},"_embedded":{"activities":[{"a":1}]},"count":1,"size":1}"#), Some(1));
    }

    #[test]
    fn a_page_inside_of_an_object_is_unwrapped() {
        assert_eq!(num_events(r#"{"data":{"items":[{"a":1},{"a":2}]},"links":{}}"#), Some(2));
        assert_eq!(num_events(r#"{"response":{"authlogs":[{"a":1}],"metadata":{}},"stat":"OK"}"#), Some(1));
        assert_eq!(num_events(r#"{"data":{"items":[{"a":1}],"actor":"x"}}"#), None);
        assert_eq!(num_events(r#"{"data":{"data":{"items":[{"a":1}]}}}"#), None);
    }

    #[test]
    fn every_list_key_is_looked_at_and_unwrapped() {
        for key in LIST_KEYS {
            let text = format!("{{\"{key}\":[{{\"a\":1}}]}}");
            let mut object = Object::default();
            object.read(&text).expect("is JSON");
            assert!(object.may_be_envelope(), "{key}");
            assert!(unwrap(&object).expect("is small").is_some_and(|contents| contents.parts.len() == 1), "{key}");
        }
    }
}
