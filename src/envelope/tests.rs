//! Shapes cut as vendors send them, with invented values, and cut against arbitrary bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bumpalo::Bump;
use proptest::prelude::*;

use super::*;
use crate::record::Position;

/// The events of `value`: their bytes and their context.
fn cut_all(value: impl Into<Vec<u8>>) -> Result<Vec<(String, Context)>, Rejection> {
    let record = record(value.into());
    let arena = Bump::new();
    let events = cut(&record, &arena)?;
    Ok(events.into_iter().map(|event| (event.raw.to_string(), event.context)).collect())
}

/// The bytes of the events of `value`.
fn raws(value: impl Into<Vec<u8>>) -> Vec<String> {
    cut_all(value).expect("the record can be cut").into_iter().map(|(raw, _)| raw).collect()
}

fn context(value: impl Into<Vec<u8>>) -> Vec<(String, String)> {
    cut_all(value).expect("the record can be cut").remove(0).1
}

fn rejection(value: impl Into<Vec<u8>>) -> Rejection {
    cut_all(value).expect_err("the record cannot be cut")
}

fn record(value: Vec<u8>) -> RawRecord {
    RawRecord {
        position: Position { topic: "t".into(), partition: 0, offset: 0 },
        topic_id: None,
        timestamp: None,
        key: None,
        headers: Vec::new(),
        value: Some(value),
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

#[test]
fn a_plain_event_keeps_its_bytes_without_the_white_space_around_it() {
    assert_eq!(raws(" \r\n{ \"b\" : 1.0,\"a\":\"\\u00e9\" }\n"), ["{ \"b\" : 1.0,\"a\":\"\\u00e9\" }"]);
}

#[test]
fn a_plain_event_is_borrowed_from_the_record() {
    let record = record(b"{\"a\":1}".to_vec());
    let arena = Bump::new();
    let events = cut(&record, &arena).expect("the record can be cut");
    assert_eq!(events[0].raw.as_ptr(), record.value.as_deref().expect("set above").as_ptr());
}

#[test]
fn documents_are_cut_apart_with_and_without_lines_between_them() {
    assert_eq!(raws("{\"a\":1}\n\n{\"a\":2}{\"a\":3} {\"a\":4}"), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
}

#[test]
fn one_broken_document_rejects_the_whole_record_and_says_where() {
    let rejection = rejection("{\"a\":1}\n{\"a\":x}\n{\"a\":3}");
    assert_eq!((rejection.stage, rejection.reason), (Stage::Envelope, Reason::Syntax));
    assert_eq!(rejection.detail, "expected value at byte 13");
}

#[test]
fn an_array_gives_its_elements() {
    assert_eq!(raws("[{\"a\":1}, {\"a\":2}]"), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(raws("[]"), [""; 0]);
}

#[test]
fn what_is_not_an_object_is_no_event() {
    for text in ["1", "\"a\"", "null", "true", "[1]", "[[{\"a\":1}]]", "[{\"a\":1},null]", "hello", "{\"a\":1} x"] {
        assert_eq!(rejection(text).reason, Reason::Syntax, "{text}");
    }
    assert_eq!(rejection("[{},7]").detail, "event 1: wanted an object, found a number");
}

#[test]
fn lists_of_events_are_unwrapped() {
    for list in [
        "{\"Records\":[{\"a\":1},{\"a\":2}]}",
        "{\"records\":[{\"a\":1},{\"a\":2}]}",
        "{\"@odata.context\":\"c\",\"value\":[{\"a\":1},{\"a\":2}],\"@odata.nextLink\":\"n\"}",
        "{\"kind\":\"admin#reports#activities\",\"etag\":\"e\",\"items\":[{\"a\":1},{\"a\":2}],\"nextPageToken\":\"n\"}",
        "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[{\"a\":1},{\"a\":2}]}",
        "{\"object\":\"list\",\"data\":[{\"a\":1},{\"a\":2}],\"first_id\":\"1\",\"last_id\":\"2\",\"has_more\":false}",
        "{\"entries\":[{\"a\":1},{\"a\":2}],\"response_metadata\":{\"next_cursor\":\"\"}}",
        "{\"events\":[{\"a\":1},{\"a\":2}],\"cursor\":\"c\",\"has_more\":true}",
        "{\"results\":[{\"a\":1},{\"a\":2}],\"totalCount\":2,\"links\":[]}",
        "{\"audit_logs\":[{\"a\":1},{\"a\":2}],\"next_page\":null}",
    ] {
        assert_eq!(raws(list), ["{\"a\":1}", "{\"a\":2}"], "{list}");
    }
}

#[test]
fn an_empty_list_is_a_record_without_events() {
    assert_eq!(raws("{\"Records\":[]}"), [""; 0]);
    assert_eq!(raws("{\"value\":[],\"@odata.context\":\"c\"}"), [""; 0]);
}

#[test]
fn an_event_with_a_list_of_its_own_stays_whole() {
    for event in [
        // A Google Workspace activity.
        "{\"kind\":\"admin#reports#activity\",\"id\":{\"time\":\"t\"},\"actor\":{\"email\":\"a@example.com\"},\"events\":[{\"name\":\"n\"}]}",
        "{\"kind\":\"admin#reports#activity\",\"events\":[{\"name\":\"n\"}]}",
        "{\"id\":\"1\",\"data\":[{\"a\":1}]}",
        "{\"Records\":[1,2]}",
        "{\"items\":[{\"a\":1}],\"events\":[{\"a\":2}]}",
        "{\"data\":{\"a\":1}}",
        "{\"count\":1,\"cursor\":\"c\"}",
        "{\"event\":{\"a\":1}}",
        "{\"event\":{\"a\":1},\"source\":\"s\",\"time\":1}",
        "{\"event\":\"login\",\"host\":\"h\"}",
        "{\"detail\":{\"a\":1},\"source\":\"s\"}",
        "{\"message\":{\"data\":\"e30=\"}}",
        "{\"timestamp\":1,\"records\":[{\"data\":\"e30=\"}]}",
        "{\"id\":\"1\",\"data\":{\"events\":[{\"a\":1}]}}",
    ] {
        assert_eq!(raws(event), [event]);
    }
}

#[test]
fn an_object_with_more_fields_than_any_envelope_is_an_event() {
    let more: Vec<String> = (0..18).map(|n| format!("\"k{n}\":0")).collect();
    let with = |more: &[String]| format!(r#"{{"detail-type":"t","source":"s","detail":{{}},{}}}"#, more.join(","));
    assert_eq!(raws(with(&more[..17])), ["{}"]);
    assert_eq!(raws(with(&more)), [with(&more)]);
}

#[test]
fn an_envelope_that_says_the_same_thing_twice_is_refused() {
    for twice in [
        r#"{"Records":[{"a":1}],"Records":[{"a":2}]}"#,
        r#"{"data":{"events":[{"a":1}],"events":[{"a":2}]}}"#,
        r#"{"message":{"data":"e30=","data":""},"subscription":"s"}"#,
        r#"{"sourcetype":"t","event":{"a":1},"event":{"a":2}}"#,
    ] {
        assert_eq!(rejection(twice).reason, Reason::Shape, "{twice}");
    }
}

#[test]
fn event_bridge_gives_its_detail_and_its_own_fields_beside_it() {
    let event = r#"{"version":"0","id":"d-1","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":[],"detail":{"eventName":"CreateUser"}}"#;
    assert_eq!(raws(event), [r#"{"eventName":"CreateUser"}"#]);
    assert_eq!(
        context(event),
        pairs(&[
            ("eventbridge.id", "d-1"),
            ("eventbridge.source", "aws.iam"),
            ("eventbridge.account", "111122223333"),
            ("eventbridge.region", "eu-west-1"),
            ("eventbridge.detail-type", "AWS API Call via CloudTrail"),
            ("eventbridge.time", "2026-01-02T03:04:05Z"),
        ])
    );
}

const SUBSCRIPTION: &str = r#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1,"message":"{\"a\":\"\\\"\"}"},{"id":"2","timestamp":2,"message":"{\"Records\":[{\"a\":2}]}"}]}"#;

#[test]
fn cloudwatch_messages_are_unescaped_and_cut_again() {
    assert_eq!(raws(SUBSCRIPTION), [r#"{"a":"\""}"#, r#"{"a":2}"#]);
    assert_eq!(
        context(SUBSCRIPTION),
        pairs(&[("cloudwatch.owner", "111122223333"), ("cloudwatch.log_group", "g"), ("cloudwatch.log_stream", "s")])
    );
}

#[test]
fn cloudwatch_data_may_be_gzip_or_base64_of_it_or_lambdas_input() {
    let packed = gzip(SUBSCRIPTION);
    let text = BASE64_STANDARD.encode(&packed);
    assert_eq!(raws(packed).len(), 2);
    assert_eq!(raws(text.clone() + "\n").len(), 2);
    assert_eq!(raws(format!("{{\"awslogs\":{{\"data\":\"{text}\"}}}}")).len(), 2);
}

#[test]
fn a_control_message_holds_no_events() {
    let probe = SUBSCRIPTION.replace("DATA_MESSAGE", "CONTROL_MESSAGE");
    assert_eq!(raws(probe), [""; 0]);
}

#[test]
fn an_event_that_has_a_subscription_and_a_message_of_its_own_is_no_push() {
    let data = BASE64_STANDARD.encode(r#"{"a":1}"#);
    for data in ["thanks!", &data] {
        let event = format!(r#"{{"id":"e-1","actor":"u-1","subscription":"sub-1","message":{{"data":"{data}"}}}}"#);
        assert_eq!(raws(event.as_str()), [event.as_str()]);
    }
}

#[test]
fn a_push_that_is_tried_again_is_a_push() {
    let data = BASE64_STANDARD.encode(r#"{"a":1}"#);
    let push = format!(
        r#"{{"deliveryAttempt":5,"message":{{"data":"{data}","messageId":"7"}},"subscription":"projects/p/subscriptions/s"}}"#
    );
    assert_eq!(raws(push), [r#"{"a":1}"#]);
}

#[test]
fn pub_sub_data_is_decoded_and_its_message_named_beside_it() {
    let data = BASE64_STANDARD.encode("{\"insertId\":\"i\"}");
    let push = format!(
        r#"{{"message":{{"attributes":{{"k":"v"}},"data":"{data}","messageId":"7","message_id":"7","publishTime":"2026-01-02T03:04:05Z"}},"subscription":"projects/p/subscriptions/s"}}"#
    );
    assert_eq!(raws(push.clone()), ["{\"insertId\":\"i\"}"]);
    assert_eq!(
        context(push),
        pairs(&[
            ("pubsub.message_id", "7"),
            ("pubsub.publish_time", "2026-01-02T03:04:05Z"),
            ("pubsub.subscription", "projects/p/subscriptions/s"),
            ("pubsub.attribute.k", "v"),
        ])
    );
    assert_eq!(
        rejection(r#"{"message":{"data":"?"},"subscription":"s"}"#).reason,
        Reason::Codec,
        "what is not base64 does not unpack"
    );
}

#[test]
fn splunk_events_follow_each_other_in_one_body() {
    let body = r#"{"time":1.5,"host":"h","sourcetype":"st","event":{"a":1}}{"sourcetype":"st","event":{"a":2}}"#;
    assert_eq!(raws(body), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(context(body), pairs(&[("splunk.time", "1.5"), ("splunk.host", "h"), ("splunk.sourcetype", "st")]));
}

#[test]
fn okta_hooks_give_their_events_and_the_organisation() {
    let hook = r#"{"eventType":"com.okta.event_hook","eventTypeVersion":"1.0","cloudEventsVersion":"0.1","source":"https://acme.example.com/api/v1/eventHooks/h","eventId":"e","data":{"events":[{"uuid":"1"},{"uuid":"2"}]},"eventTime":"t","contentType":"application/json"}"#;
    assert_eq!(raws(hook), [r#"{"uuid":"1"}"#, r#"{"uuid":"2"}"#]);
    assert_eq!(context(hook), pairs(&[("okta_hook.source", "https://acme.example.com/api/v1/eventHooks/h")]));
}

#[test]
fn firehose_batches_are_decoded_each_by_itself() {
    let plain = BASE64_STANDARD.encode("{\"a\":1}{\"a\":2}");
    let packed = BASE64_STANDARD.encode(gzip(SUBSCRIPTION));
    let batch = format!(
        r#"{{"requestId":"r","timestamp":1,"records":[{{"data":"{packed}"}},{{"data":"{plain}"}},{{"data":"{packed}"}}]}}"#
    );
    assert_eq!(raws(batch).len(), 6);
}

#[test]
fn what_was_compressed_is_not_unpacked_again() {
    let lambda = format!("{{\"awslogs\":{{\"data\":\"{}\"}}}}", BASE64_STANDARD.encode(gzip(SUBSCRIPTION)));
    assert_eq!(raws(lambda.clone()).len(), 2);
    assert_eq!(rejection(gzip(&lambda)).reason, Reason::Bomb);
}

#[test]
fn a_digest_of_cloudtrail_holds_no_events() {
    let digest = r#"{"awsAccountId":"111122223333","digestStartTime":"a","digestEndTime":"b","digestS3Object":"c","previousDigestSignature":null,"logFiles":[{"s3Object":"o"}]}"#;
    assert_eq!(raws(digest), [""; 0]);
}

#[test]
fn syslog_headers_are_left_out() {
    assert_eq!(
        raws("<134>1 2026-01-02T03:04:05Z h a - - - {\"a\":1}\n<134>Jan  2 03:04:05 h a: {\"a\":2}"),
        ["{\"a\":1}", "{\"a\":2}"]
    );
}

#[test]
fn envelopes_nest_and_their_context_adds_up() {
    let data =
        BASE64_STANDARD.encode(format!(r#"[{{"detail-type":"t","source":"s","id":"d-1","detail":{SUBSCRIPTION}}}]"#));
    let push = format!(r#"{{"message":{{"data":"{data}","messageId":"7"}},"subscription":"s"}}"#);
    assert_eq!(rejection(push).reason, Reason::Shape, "five envelopes are too many");
    let four = SUBSCRIPTION.replace(r#"{\"Records\":[{\"a\":2}]}"#, r#"{\"a\":2}"#);
    let data = BASE64_STANDARD.encode(format!(r#"[{{"detail-type":"t","source":"s","id":"d-1","detail":{four}}}]"#));
    let push = format!(r#"{{"message":{{"data":"{data}","messageId":"7"}},"subscription":"s"}}"#);
    assert_eq!(raws(push.clone()), [r#"{"a":"\""}"#, r#"{"a":2}"#]);
    let names: Vec<String> = context(push).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["pubsub.message_id", "pubsub.subscription"]);
    assert!(names.contains(&"eventbridge.id".to_string()) && names.contains(&"cloudwatch.owner".to_string()));
}

#[test]
fn a_message_has_no_more_attributes_than_pub_sub_allows() {
    let push = |num_attributes: usize| {
        let attributes: Vec<String> = (0..num_attributes).map(|n| format!("\"k{n}\":\"v\"")).collect();
        let attributes = attributes.join(",");
        format!(r#"{{"message":{{"data":"e30=","attributes":{{{attributes}}}}},"subscription":"s"}}"#)
    };
    assert_eq!(raws(push(100)), ["{}"]);
    assert_eq!(rejection(push(101)).reason, Reason::Shape);
}

#[test]
fn a_large_context_cannot_be_multiplied_without_bound() {
    let data = BASE64_STANDARD.encode("{\"a\":1}".repeat(700));
    let large = "v".repeat(100_000);
    let push = format!(
        r#"{{"message":{{"data":"{data}","messageId":"7","attributes":{{"k":"{large}"}}}},"subscription":"s"}}"#
    );
    assert_eq!(rejection(push).reason, Reason::Shape);
}

#[test]
fn the_text_that_an_envelope_holds_is_checked_as_the_record_is() {
    let message = |text: &str| SUBSCRIPTION.replace(r#"{\"Records\":[{\"a\":2}]}"#, text);
    assert_eq!(rejection(message(r#"{\"a\":\"\\ud800\"}"#)).reason, Reason::Encoding);
    assert_eq!(rejection(message(r#"{\"a\":\"\u0000\"}"#)).reason, Reason::Encoding);
    assert_eq!(rejection(message("START RequestId: 1")).reason, Reason::Syntax);
    assert_eq!(rejection(message(&format!("{}1{}", r#"{\"a\":"#.repeat(70), "}".repeat(70)))).reason, Reason::Depth);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = cut_all(bytes);
    }

    #[test]
    fn arbitrary_pieces_of_json_never_panic(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud800", "\\u00", "\"a\"", "\"Records\"", "\"records\"",
            "\"data\"", "\"message\"", "\"event\"", "\"logEvents\"", "\"detail\"", "{\"a\":1}", "1", "null", "<13>",
            " ", "\n", "é", "\u{feff}", "\0", "H4sI",
        ]), 0..40)) {
        let _ = cut_all(pieces.concat());
    }

    #[test]
    fn damaged_gzip_never_panics(at in 0usize..1000, byte in any::<u8>(), length in 0usize..1000) {
        let mut packed = gzip(SUBSCRIPTION);
        let num_bytes = packed.len();
        packed[at % num_bytes] = byte;
        packed.truncate(length);
        let _ = cut_all(packed);
    }

    #[test]
    fn objects_come_back_in_order_and_byte_for_byte(
        objects in prop::collection::vec(object(), 1..20),
        separator in prop::sample::select(vec!["", "\n", "\r\n", " \n\n\t"]),
    ) {
        prop_assert_eq!(raws(objects.join(separator)), objects.clone());
        prop_assert_eq!(raws(format!("[{}]", objects.join(","))), objects.clone());
        prop_assert_eq!(raws(format!("{{\"Records\":[{}]}}", objects.join(" , "))), objects.clone());
        prop_assert_eq!(raws(gzip(&objects.join(separator))), objects);
    }
}

/// An object with fields that no envelope has.
fn object() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        ".{0,20}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let value = scalar.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec(inner, 0..5).prop_map(|values| fields(&values)),
        ]
    });
    prop::collection::vec(value, 0..6).prop_map(|values| fields(&values))
}

fn fields(values: &[String]) -> String {
    let fields: Vec<String> = values.iter().enumerate().map(|(n, value)| format!("\"k{n}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
