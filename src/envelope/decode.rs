//! From a record's bytes to text: declared and recognised compression, UTF-8, and what JSON text must not hold.
//!
//! Compression is known by its magic bytes. Text that needs no unpacking is borrowed, everything else moves into the
//! arena. All that one record unpacks to shares one budget of bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bumpalo::Bump;

use super::inflate::{self, Codec};
use super::limits::{NUM_HEADERS_MAX, RECORD_BYTES_MAX};
use crate::record::{Header, RawRecord};
use crate::rejection::{Reason, Rejection, Stage};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What base64 makes of the first bytes of gzip data. No JSON begins so.
const GZIP_MAGIC_IN_BASE64: &[u8] = b"H4sI";

/// Vendors write the standard alphabet, some without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Turns bytes into text, within what is left of a record's budget.
pub(super) struct Decoder<'a> {
    arena: &'a Bump,
    num_bytes_left: usize,
}

/// Text, and whether it was compressed. What was is not unpacked again.
pub(super) struct Decoded<'a> {
    pub(super) text: &'a str,
    pub(super) was_packed: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(arena: &'a Bump) -> Decoder<'a> {
        Decoder { arena, num_bytes_left: RECORD_BYTES_MAX }
    }

    /// The text of a whole record.
    pub(super) fn record(&mut self, record: &'a RawRecord) -> Result<Decoded<'a>, Rejection> {
        if record.headers.len() > NUM_HEADERS_MAX {
            let detail = format!("{} headers, {NUM_HEADERS_MAX} allowed", record.headers.len());
            return Err(reject(Reason::Headers, detail));
        }
        let Some(value) = &record.value else { return Err(reject(Reason::Empty, "no value")) };
        if value.is_empty() {
            return Err(reject(Reason::Empty, "no bytes"));
        }
        if value.len() > RECORD_BYTES_MAX {
            let detail = format!("more than {RECORD_BYTES_MAX} bytes in one record");
            return Err(reject(Reason::Oversize, detail));
        }
        check_declared_codec(&record.headers, value)?;
        let decoded = if Codec::of(value).is_some() {
            self.unpack(value)?
        } else if value.starts_with(GZIP_MAGIC_IN_BASE64) {
            self.bytes(base64(value.trim_ascii())?, false)?
        } else {
            let text = utf8(value)?;
            check_escapes(text)?;
            Decoded { text, was_packed: false }
        };
        if decoded.text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err(reject(Reason::Empty, "nothing but white space"));
        }
        Ok(decoded)
    }

    /// The text of bytes that an envelope held, which itself was packed or not.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>, was_packed: bool) -> Result<Decoded<'a>, Rejection> {
        match Codec::of(&bytes) {
            Some(_) if was_packed => Err(packed_again()),
            Some(_) => self.unpack(&bytes),
            None => Ok(Decoded { text: self.keep(&bytes)?, was_packed }),
        }
    }

    /// The text of a JSON string that an envelope held.
    pub(super) fn text(&mut self, text: Cow<'a, str>) -> Result<&'a str, Rejection> {
        let text = match text {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                self.spend(text.len())?;
                self.arena.alloc_str(&text)
            }
        };
        check_text(text)?;
        Ok(text)
    }

    fn unpack(&mut self, packed: &[u8]) -> Result<Decoded<'a>, Rejection> {
        let bytes = inflate::inflate(packed, self.num_bytes_left)?;
        if Codec::of(&bytes).is_some() {
            return Err(packed_again());
        }
        Ok(Decoded { text: self.keep(&bytes)?, was_packed: true })
    }

    /// Moves decoded bytes into the arena, as text.
    fn keep(&mut self, bytes: &[u8]) -> Result<&'a str, Rejection> {
        self.spend(bytes.len())?;
        let text = self.arena.alloc_str(utf8(bytes)?);
        check_escapes(text)?;
        Ok(text)
    }

    fn spend(&mut self, num_bytes: usize) -> Result<(), Rejection> {
        match self.num_bytes_left.checked_sub(num_bytes) {
            Some(left) => {
                self.num_bytes_left = left;
                Ok(())
            }
            None => Err(inflate::too_much()),
        }
    }
}

pub(super) fn base64(text: &[u8]) -> Result<Vec<u8>, Rejection> {
    BASE64.decode(text).map_err(|error| reject(Reason::Codec, format!("not base64: {error}").to_lowercase()))
}

/// A header that names a compression must be right: what says gzip and is not was damaged on its way.
fn check_declared_codec(headers: &[Header], value: &[u8]) -> Result<(), Rejection> {
    for header in headers {
        if !header.name.eq_ignore_ascii_case("content-encoding") {
            continue;
        }
        let declared = header.value.as_deref().unwrap_or_default().to_ascii_lowercase();
        let wanted = match declared.as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Codec::Gzip,
            b"zstd" => Codec::Zstd,
            _ => return Err(reject(Reason::Codec, "`content-encoding` is not identity, gzip or zstd")),
        };
        if Codec::of(value) != Some(wanted) {
            return Err(reject(Reason::Codec, format!("declared as {}, which it is not", wanted.as_str())));
        }
    }
    Ok(())
}

fn packed_again() -> Rejection {
    reject(Reason::Bomb, "compressed more than once")
}

fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(reject(Reason::Encoding, "UTF-16, wanted UTF-8"));
    }
    let text = match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => text,
        // The fast check does not say where.
        Err(_) => simdutf8::compat::from_utf8(bytes)
            .map_err(|error| reject(Reason::Encoding, format!("not UTF-8 at byte {}", error.valid_up_to())))?,
    };
    match memchr::memchr(0, bytes) {
        Some(at) => Err(reject(Reason::Encoding, format!("a NUL byte at byte {at}"))),
        None => Ok(text),
    }
}

fn check_text(text: &str) -> Result<(), Rejection> {
    if let Some(at) = memchr::memchr(0, text.as_bytes()) {
        return Err(reject(Reason::Encoding, format!("a NUL byte at byte {at}")));
    }
    check_escapes(text)
}

/// Escapes of half a surrogate pair are no character, and readers disagree on what to make of them.
fn check_escapes(text: &str) -> Result<(), Rejection> {
    match lone_surrogate(text.as_bytes()) {
        Some(at) => Err(reject(Reason::Encoding, format!("an escape of half a surrogate pair at byte {at}"))),
        None => Ok(()),
    }
}

fn lone_surrogate(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    // A backslash stands in strings only; where it does not, the syntax is wrong and is rejected for that.
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        at += found;
        match code_unit(&text[at..]) {
            Some(0xD800..=0xDBFF) => {
                if !matches!(text.get(at + 6..).and_then(code_unit), Some(0xDC00..=0xDFFF)) {
                    return Some(at);
                }
                at += 12;
            }
            Some(0xDC00..=0xDFFF) => return Some(at),
            Some(_) => at += 6,
            None => at = (at + 2).min(text.len()),
        }
    }
    None
}

/// What `\uXXXX` at the start of `text` stands for.
fn code_unit(text: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = text else { return None };
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

fn reject(reason: Reason, detail: impl Into<String>) -> Rejection {
    Rejection::new(Stage::Decode, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_one_record_decodes_to_shares_one_budget() {
        let arena = Bump::new();
        let mut decoder = Decoder { arena: &arena, num_bytes_left: 10 };
        let decoded = decoder.bytes(b"{\"a\":1}".to_vec(), false).expect("within the budget");
        assert_eq!(decoded.text, "{\"a\":1}");
        let reason = |result: Result<Decoded<'_>, Rejection>| result.err().map(|rejection| rejection.reason);
        assert_eq!(reason(decoder.bytes(b"{\"a\":1}".to_vec(), false)), Some(Reason::Bomb));
        assert!(decoder.text(Cow::Owned("{\"a\":1}".to_string())).is_err());
        assert!(decoder.text(Cow::Borrowed("{\"a\":1}")).is_ok(), "what is borrowed takes no memory");
    }

    #[test]
    fn pairs_and_escaped_backslashes_are_no_lone_surrogates() {
        assert_eq!(lone_surrogate(br#"{"a":"\ud83d\ude00 \u00e9"}"#), None);
        assert_eq!(lone_surrogate(br#"{"a":"\\ud800"}"#), None);
        assert_eq!(lone_surrogate(br#"{"a":"\\\\ud800 \n"}"#), None);
    }

    #[test]
    fn halves_of_pairs_are_found() {
        assert_eq!(lone_surrogate(br#"{"a":"\ud83d"}"#), Some(6));
        assert_eq!(lone_surrogate(br#"{"a":"\uDE00\uD83D"}"#), Some(6));
        assert_eq!(lone_surrogate(br#"{"a":"\ud83d\ud83d\ude00"}"#), Some(6));
        assert_eq!(lone_surrogate(br#"{"a":"\\\ud800"}"#), Some(8));
    }

    #[test]
    fn text_that_ends_within_an_escape_is_left_to_the_syntax() {
        assert_eq!(lone_surrogate(br"\u12"), None);
        assert_eq!(lone_surrogate(br"\"), None);
    }
}
