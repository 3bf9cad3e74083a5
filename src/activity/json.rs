//! The native JSON form of an activity: the columns' names as keys, `null` left out, one line.
//!
//! Characters that could drive a terminal or turn text around on a screen (C0, C1, bidirectional controls,
//! zero-width) are written as `\u` escapes: a parser reads the same text, a screen shows it harmless.

use super::{Activity, Column, Hop, Target, Value};

/// Appends `activity` as one JSON object, without a line end. `wanted` says which columns to write.
pub fn write_object(out: &mut Vec<u8>, activity: &Activity<'_>, wanted: impl Fn(Column) -> bool) {
    out.push(b'{');
    let mut first = true;
    for (info, value) in activity.iter() {
        if value.is_null() || !wanted(info.column) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(info.name.as_bytes());
        out.extend_from_slice(b"\":");
        write_value(out, value);
    }
    out.push(b'}');
}

/// Appends one value as JSON.
pub fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => write_string(out, text),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Time(micros) => write_string(out, &format_time(micros)),
        Value::Date(days) => write_string(out, &format_date(days)),
        Value::TextList(items) => write_list(out, items, |out, item| write_string(out, item)),
        Value::Hops(hops) => write_list(out, hops, write_hop),
        Value::Targets(targets) => write_list(out, targets, write_target),
        Value::TextMap(entries) => {
            write_fields(out, entries.iter().map(|(key, value)| (*key, Some(*value))));
        }
    }
}

fn write_hop(out: &mut Vec<u8>, hop: &Hop<'_>) {
    write_fields(
        out,
        [
            ("type", hop.actor_type),
            ("id", hop.id),
            ("name", hop.name),
            ("relation", hop.relation),
            ("credential_id", hop.credential_id),
        ],
    );
}

fn write_target(out: &mut Vec<u8>, target: &Target<'_>) {
    write_fields(out, [("type", target.target_type), ("id", target.id), ("name", target.name)]);
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], write_item: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(out, item);
    }
    out.push(b']');
}

fn write_fields<'a>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
    out.push(b'{');
    let mut first = true;
    for (key, value) in fields {
        let Some(value) = value else { continue };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    // Most text is plain ASCII without quotes: the first look finds nothing and all of it is copied at once.
    while let Some(index) = rest.bytes().position(|byte| !is_plain(byte)) {
        let Some(character) = rest[index..].chars().next() else { break };
        let end = index + character.len_utf8();
        if needs_escape(character) {
            out.extend_from_slice(&rest.as_bytes()[..index]);
            write_escaped(out, character);
        } else {
            out.extend_from_slice(&rest.as_bytes()[..end]);
        }
        rest = &rest[end..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // Everything that is escaped here lies in the basic plane, so one `\u` is enough.
        other => out.extend_from_slice(format!("\\u{:04x}", other as u32).as_bytes()),
    }
}

/// A byte that stands for itself in a JSON string and on a screen.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn needs_escape(character: char) -> bool {
    matches!(character, '"' | '\\') || is_screen_control(character)
}

/// Whether a character acts on the screen that shows it instead of standing there to be read.
pub fn is_screen_control(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A time as RFC 3339 in UTC, with as many digits of the second as it has.
///
/// Beyond the years that RFC 3339 can write, the number itself.
pub fn format_time(micros: i64) -> String {
    let date = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok().and_then(date_of);
    let Some(date) = date else { return format!("{micros}us") };
    let micros = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, decimals) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    if decimals != 0 {
        text.push_str(format!(".{decimals:06}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// A date as `YYYY-MM-DD`.
pub fn format_date(days: i32) -> String {
    date_of(days).map_or_else(|| format!("{days}d"), |date| date.to_string())
}

fn date_of(days: i32) -> Option<jiff::civil::Date> {
    let span = jiff::Span::new().try_days(days).ok()?;
    jiff::civil::date(1970, 1, 1).checked_add(span).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(activity: &Activity<'_>) -> String {
        let mut out = Vec::new();
        write_object(&mut out, activity, |_| true);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn nulls_are_left_out_and_order_is_the_schemas() {
        let mut activity = Activity::default();
        activity.set(Column::Tenant, Value::Text("t-1"));
        activity.set(Column::EventTime, Value::Time(1_700_000_000_000_000));
        activity.set(Column::InputOffset, Value::Int(7));
        assert_eq!(json_of(&activity), r#"{"event_time":"2023-11-14T22:13:20Z","input_offset":7,"tenant":"t-1"}"#);
    }

    #[test]
    fn screen_controls_are_escaped_and_read_back_the_same() {
        let hostile = "a\u{1b}[31m\u{202e}b\"\\\n\u{9b}";
        let mut out = Vec::new();
        write_string(&mut out, hostile);
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        assert_eq!(text, r#""a\u001b[31m\u202eb\"\\\n\u009b""#);
        assert_eq!(serde_json::from_str::<String>(&text).expect("valid JSON"), hostile);
    }

    #[test]
    fn lists_and_maps_are_nested() {
        let mut activity = Activity::default();
        let hops = [Hop { id: Some("u-1"), relation: Some("assumed"), ..Hop::default() }];
        activity.set(Column::DelegationChain, Value::Hops(&hops));
        activity.set(Column::Attributes, Value::TextMap(&[("tool", "Copilot")]));
        assert_eq!(
            json_of(&activity),
            r#"{"delegation_chain":[{"id":"u-1","relation":"assumed"}],"attributes":{"tool":"Copilot"}}"#
        );
    }
}
