//! The stable identity of an event: the vendor's own id, or a hash of what the event says.

use std::fmt::Write as _;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::json::Json;

/// Hex digits of a hash that stands in for an id: 128 bits, too many to meet by chance.
const NUM_HEX_DIGITS: usize = 32;

/// A hash of the event's canonical form: keys sorted, no white space, no escape that need not be, everything else as written.
///
/// Envelopes and forwarders re-deliver the same event with other spacing, key order and escapes (`\/`, `\u003c`); the hash must
/// not change with them.
pub fn hash_event(raw: &str) -> String {
    let mut hasher = Sha256::new();
    hash_canonical(Json::new(raw.trim()), &mut hasher);
    hex(&hasher.finalize())
}

/// A hash of bytes that are no event.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Recursion is bounded by the depth that `envelope` lets through.
fn hash_canonical(json: Json<'_>, hasher: &mut Sha256) {
    if json.is_object() {
        let mut fields = ObjectFields::default();
        if let Ok(object) = serde_json::from_str::<ObjectFields<'_>>(json.as_str()) {
            fields = object;
        }
        fields.0.sort_by(|a, b| a.0.cmp(&b.0));
        hasher.update(b"{");
        for (key, value) in &fields.0 {
            hasher.update(key.len().to_le_bytes());
            hasher.update(key.as_bytes());
            hash_canonical(Json::new(value.get()), hasher);
        }
        hasher.update(b"}");
    } else if json.is_array() {
        hasher.update(b"[");
        for element in json.elements() {
            hash_canonical(element, hasher);
            hasher.update(b",");
        }
        hasher.update(b"]");
    } else {
        hash_plain(json.as_str(), hasher);
    }
}

/// Strings without escapes, and numbers, are hashed as they stand.
fn hash_plain(text: &str, hasher: &mut Sha256) {
    if text.contains('\\')
        && let Ok(unescaped) = serde_json::from_str::<String>(text)
    {
        hasher.update(serde_json::Value::String(unescaped).to_string().as_bytes());
    } else {
        hasher.update(text.as_bytes());
    }
}

fn hex(digest: &[u8]) -> String {
    let mut text = String::with_capacity(NUM_HEX_DIGITS);
    for byte in &digest[..NUM_HEX_DIGITS / 2] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The fields of an object in the order written, duplicates and all.
#[derive(Default)]
struct ObjectFields<'a>(Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for ObjectFields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = ObjectFields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((key.into(), value));
                }
                Ok(ObjectFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_and_key_order_do_not_matter_and_content_does() {
        let hash = hash_event(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#);
        assert_eq!(hash.len(), NUM_HEX_DIGITS);
        assert_eq!(hash_event("{ \"b\": {\"d\":\"x\", \"c\": [1, 2]},\n\"a\": 1 }"), hash);
        assert_eq!(hash_event(r#"{"a":1,"\u0062":{"c":[1,2],"d":"\u0078"}}"#), hash);
        assert_eq!(hash_event(r#"{"a":"<b>/c\u2028"}"#), hash_event(r#"{"a":"\u003cb\u003e\/c\u2028"}"#));
        assert_ne!(hash_event(r#"{"a":"\"b"}"#), hash_event(r#"{"a":"b"}"#));
        for other in [r#"{"a":1,"b":{"c":[2,1],"d":"x"}}"#, r#"{"a":1,"b":{"c":[1,2],"d":"y"}}"#, r#"{"ab":1}"#] {
            assert_ne!(hash_event(other), hash, "{other}");
        }
    }
}
