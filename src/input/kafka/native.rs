//! What librdkafka offers and its Rust binding does not: topic ids, watermarks without a request, and headers whose
//! names are not UTF-8, on which the binding panics.
//!
//! The only unsafe code of the program. Every block says why it is sound; every pointer that librdkafka hands out is
//! checked for null, and nothing it owns outlives the call.
#![allow(unsafe_code, reason = "the binding lacks these calls; each block argues why it is sound")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::message::BorrowedMessage;

use crate::record::Header;

/// What the broker says of a topic.
pub(super) enum Described {
    /// None where the broker has no ids.
    Id(Option<Arc<str>>),
    Absent,
}

/// The UUIDs of `topics` in Kafka's own text form, none where the broker has no ids (before Kafka 2.8).
///
/// A topic of which nothing could be learnt is missing. That is no small thing: positions are kept under the id, so
/// taking "unknown" for "has none" would look for them in the wrong place.
///
/// Asks `broker`. Left to itself the client would wait for the controller, which has no part in this and may be away.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    broker: i32,
    timeout: Duration,
) -> HashMap<String, Described> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut ids = HashMap::new();
    // SAFETY: the client outlives the block and so does every name behind `pointers`. Collection, options, queue and
    // event are created here, checked for null where librdkafka may return it, and destroyed once, in the order that
    // its examples use. The request copies names and options, so both may go before the answer is there.
    unsafe {
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let queue = rd::rd_kafka_queue_new(client.native_ptr());
        let options = rd::rd_kafka_AdminOptions_new(
            client.native_ptr(),
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        if !options.is_null() {
            let mut reason: [c_char; 256] = [0; 256];
            // A timeout out of range leaves the default, which is finite too.
            rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, reason.as_mut_ptr(), reason.len());
            rd::rd_kafka_AdminOptions_set_broker(options, broker, reason.as_mut_ptr(), reason.len());
        }
        rd::rd_kafka_DescribeTopics(client.native_ptr(), collection, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms);
        if !event.is_null() {
            collect_topic_ids(event, &mut ids);
            rd::rd_kafka_event_destroy(event);
        }
        if !options.is_null() {
            rd::rd_kafka_AdminOptions_destroy(options);
        }
        rd::rd_kafka_TopicCollection_destroy(collection);
        rd::rd_kafka_queue_destroy(queue);
    }
    ids
}

/// # Safety
/// `event` must be a live event. What is read from it belongs to it and is copied.
unsafe fn collect_topic_ids(event: *mut rd::rd_kafka_event_t, ids: &mut HashMap<String, Described>) {
    // SAFETY: librdkafka returns null for an event of another type, and its array has as many entries as it says;
    // name and id belong to the description, which lives as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return;
        }
        let mut count = 0;
        let descriptions = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if descriptions.is_null() {
            return;
        }
        for index in 0..count {
            let description = *descriptions.add(index);
            let name = rd::rd_kafka_TopicDescription_name(description);
            if name.is_null() {
                continue;
            }
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            let error = rd::rd_kafka_TopicDescription_error(description);
            let code = if error.is_null() {
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            } else {
                rd::rd_kafka_error_code(error)
            };
            let id = rd::rd_kafka_TopicDescription_topic_id(description);
            match code {
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR if !id.is_null() => {
                    let high = rd::rd_kafka_Uuid_most_significant_bits(id);
                    let low = rd::rd_kafka_Uuid_least_significant_bits(id);
                    ids.insert(name, Described::Id(topic_id_text(high, low)));
                }
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => {
                    ids.insert(name, Described::Absent);
                }
                _ => {}
            }
        }
    }
}

/// The id as Kafka's tools print it. Zero is how brokers without ids say so.
fn topic_id_text(high: i64, low: i64) -> Option<Arc<str>> {
    if (high, low) == (0, 0) {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    Some(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// Where the partition ended when it was last fetched from, without asking the broker.
pub(super) fn known_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client outlives the call, the name is terminated, and the two places are ours.
    let error = unsafe {
        rd::rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (error == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// The headers of `message` in order. A name that is not UTF-8 has its odd bytes replaced.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut found = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: the message is borrowed for the whole function and owns its headers. Names are terminated strings and
    // values as long as librdkafka says; both are copied before the next call. A null value is a header without one.
    unsafe {
        let error = rd::rd_kafka_message_headers(message.ptr(), &raw mut headers);
        if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return found;
        }
        for index in 0..rd::rd_kafka_header_cnt(headers) {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let error = rd::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size);
            if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                break;
            }
            let value = if value.is_null() {
                None
            } else {
                Some(std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec())
            };
            found.push(Header { name: CStr::from_ptr(name).to_string_lossy().into_owned(), value });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_kafkas_tools_print_it() {
        assert_eq!(topic_id_text(0, 0), None);
        // Kafka's own Uuid.METADATA_TOPIC_ID is (0, 1).
        assert_eq!(topic_id_text(0, 1).as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
        assert!(topic_id_text(-1, -1).is_some_and(|id| !id.contains('/') && !id.contains('+')));
    }
}
