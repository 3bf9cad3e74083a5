//! A JSON value as the bytes that it stands in: looked at only when a rule asks, and never as a tree.

use std::borrow::Cow;
use std::collections::HashMap;

use bumpalo::Bump;
use serde_json::value::RawValue;

/// One JSON value of an event, as the slice of the event's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// `text` must be one valid JSON value without white space around it.
    pub fn new(text: &'a str) -> Json<'a> {
        Json(text)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Vendors write "nothing" in many ways: `null`, `""`, `"-"`, `{}` and `[]` all mean that the field says nothing.
    pub fn is_missing(self) -> bool {
        match self.0.as_bytes() {
            [] | b"null" | b"\"\"" | b"\"-\"" => true,
            [b'{' | b'[', inside @ .., _] => inside.iter().all(u8::is_ascii_whitespace),
            _ => false,
        }
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// The text of a string, or a number or truth value exactly as it is written. None for arrays and objects.
    pub fn text(self, arena: &'a Bump) -> Option<&'a str> {
        match self.0.as_bytes().first()? {
            b'{' | b'[' => None,
            b'"' => unescape(self.0, arena),
            _ => Some(self.0),
        }
    }

    /// The field of an object whose key is `name`; the last one, as everywhere.
    pub fn field(self, name: &str) -> Option<Json<'a>> {
        if !self.is_object() {
            return None;
        }
        let fields: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(self.0).ok()?;
        fields.get(name).map(|field| Json(field.get()))
    }

    /// The elements of an array; none of anything else.
    pub fn elements(self) -> Vec<Json<'a>> {
        if !self.is_array() {
            return Vec::new();
        }
        let elements: Vec<&'a RawValue> = serde_json::from_str(self.0).unwrap_or_default();
        elements.into_iter().map(|element| Json(element.get())).collect()
    }
}

/// The text of a JSON string, borrowed where it holds no escapes.
fn unescape<'a>(quoted: &'a str, arena: &'a Bump) -> Option<&'a str> {
    if memchr::memchr(b'\\', quoted.as_bytes()).is_none() {
        return quoted.get(1..quoted.len() - 1);
    }
    let text: String = serde_json::from_str(quoted).ok()?;
    Some(arena.alloc_str(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_many_forms() {
        for text in ["null", "\"\"", "\"-\"", "{}", "{ }", "[]", "[\n]"] {
            assert!(Json::new(text).is_missing(), "{text}");
        }
        for text in ["0", "false", "\" \"", "[1]", "{\"a\":1}", "\"null\""] {
            assert!(!Json::new(text).is_missing(), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_digits_and_strings_lose_their_escapes() {
        let arena = Bump::new();
        assert_eq!(Json::new("18446744073709551617").text(&arena), Some("18446744073709551617"));
        assert_eq!(Json::new("1e400").text(&arena), Some("1e400"));
        assert_eq!(Json::new(r#""a\u00e9\/b""#).text(&arena), Some("aé/b"));
        assert_eq!(Json::new("[1]").text(&arena), None);
    }
}
