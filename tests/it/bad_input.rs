//! Bad input as producers really send it: each is rejected with its reason and place, and never more than its record.
//!
//! Each rejection is looked at twice: as what goes to the dead letters, and as the row that the lake keeps. The numbers are those of the catalogue of bad input. Rows about what events say, not how they arrive (duplicate
//! keys, numbers), only have to leave the bytes as they are here.

use std::io::Write;
use std::path::PathBuf;

use actorline::activity::{Column, Value};
use actorline::envelope::cut;
use actorline::input::files::Files;
use actorline::pipeline::normalize::{Route, Scratch};
use actorline::record::{Header, Position, RawRecord};
use actorline::rejection::{Reason, Rejection, Stage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bumpalo::Bump;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::rows;

fn record(value: impl Into<Vec<u8>>) -> RawRecord {
    RawRecord {
        position: Position { topic: "audit.example".into(), partition: 3, offset: 42 },
        topic_id: None,
        timestamp: Some(0),
        key: None,
        headers: Vec::new(),
        value: Some(value.into()),
    }
}

fn header(name: &str, value: &[u8]) -> Header {
    Header { name: name.to_string(), value: Some(value.to_vec()) }
}

fn events_of(record: &RawRecord) -> Result<Vec<String>, Rejection> {
    let arena = Bump::new();
    cut(record, &arena).map(|events| events.iter().map(|event| event.raw.to_string()).collect())
}

#[track_caller]
fn assert_rejected(record: &RawRecord, stage: Stage, reason: Reason) -> String {
    let value = record.value.clone();
    let rejection = events_of(record).expect_err("the record is bad");
    assert_eq!((rejection.stage, rejection.reason), (stage, reason), "{rejection}");
    assert!(rejection.detail.len() < 200, "a detail is for people: {}", rejection.detail);
    assert_eq!(record.value, value, "the original bytes stay what they are");
    assert_row_of(record, &rejection);
    rejection.detail
}

/// The lake keeps one row with the position, the reason and every byte, and the next record is not touched by it.
#[track_caller]
fn assert_row_of(bad: &RawRecord, rejection: &Rejection) {
    let normalizer = rows::acme();
    let mut scratch = Scratch::default();
    let mut seen = Vec::new();
    for record in [bad, &rows::record(r#"{"acme_id":"1","op":"read"}"#)] {
        normalizer.normalize(record, &Route::default(), &mut scratch, &mut |row, rejected| {
            let column = |column| row.text(column).unwrap_or_default().to_string();
            seen.push((column(Column::Status), column(Column::Raw), column(Column::RawEncoding), rejected.cloned()));
            if rejected.is_some() {
                assert_eq!(row.text(Column::InputTopic), Some(&*bad.position.topic));
                assert_eq!(row.get(Column::InputOffset), Value::Int(bad.position.offset));
                assert_eq!((row.get(Column::InputIndex), row.get(Column::InputCount)), (Value::Int(0), Value::Int(1)));
                let Value::TextList([issue]) = row.get(Column::Issues) else { panic!("one issue says why") };
                assert!(issue.starts_with(&format!("{}:{}:", rejection.reason.as_str(), rejection.stage.as_str())));
            }
        });
    }
    let [(status, raw, encoding, rejected), (next_status, ..)] = seen.as_slice() else { panic!("{} rows", seen.len()) };
    assert_eq!((status.as_str(), rejected.as_ref()), ("rejected", Some(rejection)));
    let kept = if encoding == "base64" { BASE64.decode(raw).expect("base64") } else { raw.clone().into_bytes() };
    assert!(kept == bad.value.clone().unwrap_or_default(), "the lake keeps every byte");
    assert_eq!(next_status, "mapped");
}

#[track_caller]
fn assert_kept(value: &str) {
    assert_eq!(events_of(&record(value)).expect("the record is good"), [value]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("a vector takes everything")
}

#[test]
fn row_01_a_tombstone_is_rejected_as_empty() {
    let tombstone = RawRecord { value: None, ..record("") };
    assert_rejected(&tombstone, Stage::Decode, Reason::Empty);
}

#[test]
fn row_01_no_bytes_and_only_white_space_are_rejected_as_empty() {
    for value in ["", " \n", "\u{feff}"] {
        assert_rejected(&record(value), Stage::Decode, Reason::Empty);
    }
    assert_rejected(&record(gzip(b"")), Stage::Decode, Reason::Empty);
}

#[test]
fn row_02_invalid_utf_8_is_rejected_as_encoding_with_its_byte() {
    let detail = assert_rejected(&record(b"{\"a\":\"\xff\"}".as_slice()), Stage::Decode, Reason::Encoding);
    assert_eq!(detail, "not UTF-8 at byte 6");
    assert_rejected(&record(gzip(b"{\"a\":\"\xe9\"}")), Stage::Decode, Reason::Encoding);
}

#[test]
fn row_02_a_lone_surrogate_is_rejected_as_encoding_wherever_it_stands() {
    for value in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"[{"a":[{"b":"x\ud83d\u0041"}]}]"#] {
        assert_rejected(&record(value), Stage::Decode, Reason::Encoding);
    }
    assert_kept(r#"{"a":"\ud83d\ude00"}"#);
}

#[test]
fn row_02_nul_bytes_and_utf_16_are_rejected_as_encoding() {
    let utf_16 = |mark: &[u8], text: &str| {
        mark.iter().copied().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect::<Vec<u8>>()
    };
    for value in [b"{\"a\":\"\0\"}".to_vec(), b"{}\0".to_vec(), utf_16(b"\xff\xfe", "{}"), utf_16(b"", "{}")] {
        assert_rejected(&record(value), Stage::Decode, Reason::Encoding);
    }
}

#[test]
fn row_02_a_byte_order_mark_is_skipped() {
    assert_eq!(events_of(&record("\u{feff}{\"a\":1}")).expect("the record is good"), ["{\"a\":1}"]);
}

#[test]
fn row_03_truncated_json_and_trailing_garbage_are_rejected_as_syntax_with_their_byte() {
    for (value, at) in
        [("{\"a\":1", 6), ("{\"a\":1}\n\n}", 9), ("{\"a\":1} garbage", 8), ("[{\"a\":1},", 9), ("{\"a\" 1}", 5)]
    {
        let detail = assert_rejected(&record(value), Stage::Envelope, Reason::Syntax);
        assert!(detail.ends_with(&format!(" at byte {at}")), "{value}: {detail}");
    }
}

#[test]
fn row_03_several_documents_are_cut_apart() {
    assert_eq!(events_of(&record("{\"a\":1}{\"a\":2}\n{\"a\":3}")).expect("the record is good").len(), 3);
}

#[test]
fn row_03_a_broken_line_of_a_file_is_its_own_record_and_the_rest_goes_on() {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(b"{\"a\":1}\n{\"a\":\n{\"a\":3}\n{\"a\":4} x\n{\"a\":5}\n").expect("a file can be written");
    let outcomes: Vec<_> = Files::new(&[PathBuf::from(file.path())])
        .map(|record| {
            let record = record.expect("the file can be read");
            (record.position.offset, events_of(&record).map_err(|rejection| rejection.reason))
        })
        .collect();
    let good = |event: &str| Ok(vec![event.to_string()]);
    let expected = [
        (0, good("{\"a\":1}")),
        (8, Err(Reason::Syntax)),
        (14, good("{\"a\":3}")),
        (22, Err(Reason::Syntax)),
        (32, good("{\"a\":5}")),
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn row_04_nesting_100_000_deep_is_rejected_as_depth() {
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let arrays = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for value in [
        objects.clone(),
        arrays.clone(),
        format!("{{\"a\":{arrays}}}"),
        format!("{{\"Records\":[{{\"a\":1}},{objects}]}}"),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
    ] {
        assert_rejected(&record(value), Stage::Envelope, Reason::Depth);
    }
}

/// Each of an item's events keeps the whole item, so a small record could fill gigabytes.
#[test]
fn row_05_an_item_that_would_be_multiplied_without_bound_is_rejected_as_shape() {
    let mapping = r"
source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id] }
split: events
columns: { event_uid: acme_id, action: item.op }
actor_type: [{ case: person, is: human, basis: declared, when: { kind: person } }]
cannot_tell: []
";
    let normalizer = rows::normalizer("acme", mapping);
    let item = |num_events: usize, num_bytes: usize| {
        let events = vec![r#"{"op":"read"}"#; num_events].join(",");
        format!(r#"{{"acme_id":"1","events":[{events}],"pad":"{}"}}"#, "x".repeat(num_bytes))
    };
    let bad = item(9_000, 100_000);
    let mut seen = Vec::new();
    for value in [bad.clone(), item(1_000, 10_000), format!("{bad}{bad}")] {
        normalizer.normalize(&record(value), &Route::default(), &mut Scratch::default(), &mut |row, rejection| {
            seen.push((row.text(Column::Status).map(str::to_string), rejection.map(|found| found.reason)));
        });
    }
    assert_eq!(seen.len(), 1 + 1_000 + 1);
    for number in [0, 1_001] {
        assert_eq!(seen[number], (Some("rejected".to_string()), Some(Reason::Shape)));
    }
    assert_eq!(seen[1], (Some("mapped".to_string()), None));
}

#[test]
fn row_05_a_million_keys_are_rejected_as_shape() {
    let fields: Vec<String> = (0..1_000_000).map(|n| format!("\"k{n}\":1")).collect();
    assert_rejected(&record(format!("{{\"a\":{{{}}}}}", fields.join(","))), Stage::Envelope, Reason::Shape);
}

#[test]
fn row_05_a_key_of_10_mb_is_rejected_as_shape() {
    assert_rejected(&record(format!("{{\"{}\":1}}", "k".repeat(10_000_000))), Stage::Envelope, Reason::Shape);
}

#[test]
fn row_05_a_million_events_in_one_record_are_rejected_as_shape() {
    let events = "{\"a\":1},".repeat(999_999) + "{\"a\":1}";
    assert_rejected(&record(format!("[{events}]")), Stage::Envelope, Reason::Shape);
    assert_rejected(&record(format!("{{\"Records\":[{events}]}}")), Stage::Envelope, Reason::Shape);
    assert_rejected(&record("{\"a\":1}\n".repeat(1_000_000)), Stage::Envelope, Reason::Shape);
}

#[test]
fn row_05_a_hundred_thousand_events_are_not_too_many() {
    let events = "{\"a\":1},".repeat(99_999) + "{\"a\":1}";
    assert_eq!(events_of(&record(format!("[{events}]"))).expect("the record is good").len(), 100_000);
}

#[test]
fn row_06_duplicate_keys_are_left_for_the_mapping_to_flag() {
    assert_kept("{\"user\":\"a\",\"user\":\"b\"}");
}

#[test]
fn row_06_duplicate_keys_of_an_envelope_are_rejected_as_shape() {
    let value = "{\"Records\":[{\"a\":1}],\"Records\":[]}";
    assert_rejected(&record(value), Stage::Envelope, Reason::Shape);
}

#[test]
fn row_07_numbers_of_any_size_keep_their_digits() {
    assert_kept("{\"a\":[9223372036854775808,18446744073709551616,1e400,-0,0.1,123456789012345678901234567890.5]}");
}

#[test]
fn row_07_what_is_no_number_in_json_is_rejected_as_syntax() {
    for number in ["NaN", "Infinity", "-", "01", ".5", "1."] {
        assert_rejected(&record(format!("{{\"a\":{number}}}")), Stage::Envelope, Reason::Syntax);
    }
}

#[test]
fn row_08_an_event_of_20_mb_is_rejected_as_oversize() {
    let value = format!("{{\"a\":\"{}\"}}", "a".repeat(20_000_000));
    assert_rejected(&record(value), Stage::Envelope, Reason::Oversize);
}

#[test]
fn row_08_a_record_above_the_limit_is_rejected_as_oversize_before_it_is_looked_at() {
    assert_rejected(&record(vec![b'x'; 64 * 1024 * 1024 + 1]), Stage::Decode, Reason::Oversize);
}

#[test]
fn row_09_a_compression_bomb_is_rejected_as_bomb() {
    let value = format!("{{\"a\":\"{}\"}}", "a".repeat(8_000_000));
    assert_rejected(&record(gzip(value.as_bytes())), Stage::Decode, Reason::Bomb);
    assert_rejected(&record(zstd(value.as_bytes())), Stage::Decode, Reason::Bomb);
}

#[test]
fn row_09_a_bomb_in_a_file_is_one_record_and_rejected_as_bomb() {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(&gzip(&vec![b'a'; 8_000_000])).expect("a file can be written");
    let records: Vec<_> = Files::new(&[PathBuf::from(file.path())]).collect();
    assert_eq!(records.len(), 1);
    assert_rejected(records[0].as_ref().expect("the file can be read"), Stage::Decode, Reason::Bomb);
}

#[test]
fn row_09_gzip_in_gzip_is_rejected_as_bomb() {
    let mut value = b"{\"a\":1}".to_vec();
    for _ in 0..20 {
        value = gzip(&value);
    }
    assert_rejected(&record(value), Stage::Decode, Reason::Bomb);
    assert_rejected(&record(gzip(&zstd(b"{}"))), Stage::Decode, Reason::Bomb);
}

#[test]
fn row_09_a_zstd_window_of_2_gb_is_rejected_as_bomb() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("the level exists");
    encoder.window_log(31).expect("the window exists");
    encoder.write_all(b"{\"a\":1}").expect("a vector takes everything");
    let value = encoder.finish().expect("a vector takes everything");
    assert_rejected(&record(value), Stage::Decode, Reason::Bomb);
}

#[test]
fn row_10_a_codec_that_differs_from_the_declared_one_is_rejected_as_codec() {
    for (declared, value) in [("gzip", b"{\"a\":1}".to_vec()), ("zstd", gzip(b"{}")), ("br", b"{}".to_vec())] {
        let record = RawRecord { headers: vec![header("Content-Encoding", declared.as_bytes())], ..record(value) };
        assert_rejected(&record, Stage::Decode, Reason::Codec);
    }
    let right = RawRecord { headers: vec![header("content-encoding", b"GZIP")], ..record(gzip(b"{\"a\":1}")) };
    assert_eq!(events_of(&right).expect("the record is good"), ["{\"a\":1}"]);
}

#[test]
fn row_10_a_truncated_or_damaged_frame_is_rejected_as_codec() {
    for packed in [gzip(b"{\"a\":1}"), zstd(b"{\"a\":1}")] {
        assert_rejected(&record(&packed[..packed.len() - 3]), Stage::Decode, Reason::Codec);
        assert_rejected(&record([packed.as_slice(), b"{}"].concat()), Stage::Decode, Reason::Codec);
    }
    let mut damaged = gzip(b"{\"a\":1}");
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    assert_rejected(&record(damaged), Stage::Decode, Reason::Codec);
}

#[test]
fn row_18_more_than_256_headers_are_rejected_as_headers() {
    let with_headers = |num_headers| RawRecord { headers: vec![header("x", b"y"); num_headers], ..record("{\"a\":1}") };
    assert_rejected(&with_headers(257), Stage::Decode, Reason::Headers);
    assert_rejected(&with_headers(10_000), Stage::Decode, Reason::Headers);
    assert!(events_of(&with_headers(256)).is_ok());
}

#[test]
fn row_18_forged_and_unreadable_headers_change_nothing() {
    let forged = RawRecord {
        headers: vec![
            header("actorline-position", b"other/0/0/0"),
            header("x", b"\xff\xfe"),
            header("x-src-topic", b"o"),
        ],
        ..record("{\"a\":1}")
    };
    let arena = Bump::new();
    let events = cut(&forged, &arena).expect("the record is good");
    assert_eq!((events.len(), events[0].context.len()), (1, 0));
}
