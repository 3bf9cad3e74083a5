//! What a record and an event may be at most, each limit with its reason, and the checks of one event.
//!
//! The checks never recurse and never allocate. Most events are small and flat, which is seen in a few nanoseconds;
//! only the others are walked byte by byte.

use crate::event::Context;
use crate::rejection::{Reason, Rejection, Stage};

/// The most bytes that a record may have, as delivered and again when unpacked.
///
/// CloudTrail delivers files of up to 50 MB unpacked; brokers are rarely set above 20 MB.
pub(super) const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most bytes of one event.
///
/// Vendors cap theirs at 256 KB to 1.5 MB. A row of more than this is a trouble to every engine that reads the lake.
pub(super) const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most that compressed data may grow by. Audit logs compress 10 to 30 times, repeated ones up to 100 times.
pub(super) const INFLATION_MAX: usize = 200;

/// Up to here the ratio does not matter: a small record of one repeated event is no attack.
pub(super) const INFLATION_FREE_BYTES: usize = 1024 * 1024;

/// The largest zstd window, as a power of two: 8 MB, what RFC 8878 asks every decoder to support.
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The most headers of a record. Producers and tracing add a dozen.
pub(super) const NUM_HEADERS_MAX: usize = 256;

/// The deepest nesting of an event, its outermost object counting as one. Kubernetes objects reach about 20.
pub(super) const DEPTH_MAX: usize = 64;

/// The most keys of one object.
pub(super) const NUM_KEYS_MAX: u32 = 10_000;

/// The longest key in bytes, as written.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// The most events of one record. Vendors send thousands; far more is a broken producer, and cutting it would hold
/// all of it in memory at once.
pub(super) const NUM_EVENTS_MAX: usize = 100_000;

/// The most envelopes around one event. Pub/Sub around EventBridge around a batch around `Records` is already odd.
pub(super) const NUM_ENVELOPES_MAX: usize = 4;

/// The most bytes of context that the events of one record hold together, as each has its own copy.
pub(super) const CONTEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An object of [`NUM_KEYS_MAX`] keys takes at least this: each key needs two quotes, a colon, a value and a comma.
const BYTES_OF_TOO_MANY_KEYS: usize = NUM_KEYS_MAX as usize * 5;

/// Checks one event, which is valid JSON, against the limits.
pub(super) fn check_event(raw: &str) -> Result<(), Rejection> {
    if raw.len() > EVENT_BYTES_MAX {
        return Err(reject(Reason::Oversize, format!("an event of {} bytes, {EVENT_BYTES_MAX} allowed", raw.len())));
    }
    if is_plainly_within_limits(raw.as_bytes()) {
        return Ok(());
    }
    walk(raw.as_bytes())
}

pub(super) fn check_num_events(num_events: usize) -> Result<(), Rejection> {
    if num_events > NUM_EVENTS_MAX {
        return Err(reject(Reason::Shape, format!("more than {NUM_EVENTS_MAX} events in one record")));
    }
    Ok(())
}

pub(super) fn check_num_envelopes(num_envelopes: usize) -> Result<(), Rejection> {
    if num_envelopes > NUM_ENVELOPES_MAX {
        return Err(reject(Reason::Shape, format!("more than {NUM_ENVELOPES_MAX} envelopes around an event")));
    }
    Ok(())
}

pub(super) fn check_context(num_bytes: usize) -> Result<(), Rejection> {
    if num_bytes > CONTEXT_BYTES_MAX {
        return Err(reject(Reason::Shape, "too much beside the events in their envelope"));
    }
    Ok(())
}

pub(super) fn context_bytes(context: &Context) -> usize {
    context.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Whether no limit can be exceeded, judged without following the structure. False means only: look closer.
fn is_plainly_within_limits(json: &[u8]) -> bool {
    // Nesting takes an opening bracket a level, so no more brackets than levels are allowed cannot nest too deep;
    // brackets inside strings only make this say "look closer" too often.
    json.len() < BYTES_OF_TOO_MANY_KEYS
        && memchr::memchr2_iter(b'{', b'[', json).nth(DEPTH_MAX).is_none()
        && !may_have_long_string(json)
}

/// A string of more than [`KEY_BYTES_MAX`] bytes covers one aligned block of half that size, in which no quote can
/// then stand without a backslash before it. Blocks usually show their first quote within a few bytes.
fn may_have_long_string(json: &[u8]) -> bool {
    json.chunks_exact(KEY_BYTES_MAX / 2)
        .any(|block| !memchr::memchr_iter(b'"', block).any(|at| at == 0 || block[at - 1] != b'\\'))
}

/// Follows the structure of valid JSON and counts levels, keys and their length.
fn walk(json: &[u8]) -> Result<(), Rejection> {
    // Keys of the objects that are open, by level.
    let mut num_keys = [0_u32; DEPTH_MAX];
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'{' | b'[' => {
                if depth == DEPTH_MAX {
                    return Err(too_deep(at));
                }
                num_keys[depth] = 0;
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = end_of_string(json, at);
                if is_key(json, end) {
                    let level = depth.saturating_sub(1);
                    num_keys[level] += 1;
                    if num_keys[level] > NUM_KEYS_MAX {
                        return Err(reject(
                            Reason::Shape,
                            format!("more than {NUM_KEYS_MAX} keys in one object at byte {at} of the event"),
                        ));
                    }
                    let num_bytes = end.saturating_sub(at + 2);
                    if num_bytes > KEY_BYTES_MAX {
                        return Err(reject(
                            Reason::Shape,
                            format!("a key of {num_bytes} bytes at byte {at} of the event, {KEY_BYTES_MAX} allowed"),
                        ));
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Where nesting exceeds `levels`, in JSON that may be broken.
pub(super) fn first_deeper_than(json: &[u8], levels: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'{' | b'[' => {
                if depth == levels {
                    return Some(at);
                }
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                at = end_of_string(json, at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

pub(super) fn too_deep(at: usize) -> Rejection {
    reject(Reason::Depth, format!("nested more than {DEPTH_MAX} deep at byte {at}"))
}

/// The index after the string that begins at `start`.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

fn is_key(json: &[u8], end: usize) -> bool {
    json[end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn reject(reason: Reason, detail: impl Into<String>) -> Rejection {
    Rejection::new(Stage::Envelope, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(json: &str) -> Option<Reason> {
        check_event(json).err().map(|rejection| rejection.reason)
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn the_deepest_allowed_event_passes_and_one_level_more_does_not() {
        assert_eq!(reason(&nested(DEPTH_MAX)), None);
        assert_eq!(reason(&nested(DEPTH_MAX + 1)), Some(Reason::Depth));
    }

    #[test]
    fn brackets_in_strings_and_beside_each_other_are_not_nesting() {
        assert_eq!(reason(&format!("{{\"a\":\"{}\"}}", "[".repeat(500))), None);
        assert_eq!(reason(&format!("{{\"a\":[{}{{}}]}}", "{},".repeat(500))), None);
        assert_eq!(reason(&format!("{{\"a\":\"\\\"{}\"}}", "{".repeat(500))), None);
    }

    #[test]
    fn the_longest_allowed_key_passes_and_one_byte_more_does_not() {
        for offset in 0..600 {
            let pad = " ".repeat(offset);
            let key = "k".repeat(KEY_BYTES_MAX);
            assert_eq!(reason(&format!("{pad}{{\"{key}\":1}}")), None);
            assert_eq!(reason(&format!("{pad}{{\"{key}k\" : 1}}")), Some(Reason::Shape), "offset {offset}");
        }
    }

    #[test]
    fn a_long_key_cannot_hide_behind_escaped_quotes() {
        let key = "\\\"".repeat(KEY_BYTES_MAX);
        assert_eq!(reason(&format!("{{\"{key}\":1}}")), Some(Reason::Shape));
    }

    #[test]
    fn a_long_value_is_no_long_key() {
        assert_eq!(reason(&format!("{{\"a\":\"{}\"}}", "v".repeat(5000))), None);
    }

    #[test]
    fn keys_are_counted_for_each_object_by_itself() {
        let object = |num_keys: u32| {
            let fields: Vec<String> = (0..num_keys).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert_eq!(reason(&object(NUM_KEYS_MAX)), None);
        assert_eq!(reason(&format!("{{\"a\":{0},\"b\":{0}}}", object(NUM_KEYS_MAX))), None);
        assert_eq!(reason(&format!("{{\"a\":{}}}", object(NUM_KEYS_MAX + 1))), Some(Reason::Shape));
    }

    #[test]
    fn an_event_too_large_is_named_so() {
        assert_eq!(reason(&format!("{{\"a\":\"{}\"}}", "v".repeat(EVENT_BYTES_MAX))), Some(Reason::Oversize));
    }
}
