//! JSON that came by syslog: a header of priority, time, host and tag, then the object on the same line.
//!
//! The header is left out. What a relay adds there is not signed by anybody and says nothing of the event.

/// The longest header: RFC 5424 receivers take 480 bytes with the message, real ones with structured data more.
const PREFIX_BYTES_MAX: usize = 1024;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The bytes before the first `{` of `text`, if they look like what syslog puts before a message.
pub(super) fn length(text: &str) -> Option<usize> {
    let start = &text.as_bytes()[..text.len().min(PREFIX_BYTES_MAX)];
    let end = memchr::memchr2(b'{', b'\n', start).filter(|end| start[*end] == b'{')?;
    looks_like_syslog(&text[..end]).then_some(end)
}

fn looks_like_syslog(prefix: &str) -> bool {
    let message = after_octet_count(prefix).unwrap_or(prefix);
    has_priority(message) || has_bsd_time(message) || has_iso_time(message)
}

/// RFC 6587 puts the message's length before it.
fn after_octet_count(prefix: &str) -> Option<&str> {
    let (count, message) = prefix.split_once(' ')?;
    (message.starts_with('<') && count.bytes().all(|byte| byte.is_ascii_digit())).then_some(message)
}

/// `<134>`, at most 191: 24 facilities of eight severities.
fn has_priority(message: &str) -> bool {
    let priority = message.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(priority, _)| priority);
    priority.is_some_and(|digits| digits.len() <= 3 && digits.parse::<u8>().is_ok_and(|number| number <= 191))
}

/// `Jan  2 03:04:05`, from RFC 3164.
fn has_bsd_time(message: &str) -> bool {
    let Some((month, rest)) = message.split_at_checked(3) else { return false };
    MONTHS.contains(&month) && rest.starts_with(' ') && matches_digits(rest.get(4..12), "00:00:00")
}

/// `2026-01-02T03:04:05`, from RFC 5424 without its priority, as relays write it into files.
fn has_iso_time(message: &str) -> bool {
    matches_digits(message.get(..19), "0000-00-00T00:00:00")
}

fn matches_digits(text: Option<&str>, pattern: &str) -> bool {
    text.is_some_and(|text| {
        text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte == wanted,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_standards_end_at_the_object() {
        for prefix in [
            "<134>1 2026-01-02T03:04:05.678Z host.example.com app 42 - - ",
            "<134>Jan  2 03:04:05 host app[42]: @cee: ",
            "118 <134>1 2026-01-02T03:04:05Z host app - - - ",
            "Jan 12 03:04:05 host app: ",
            "2026-01-02T03:04:05+00:00 host app: ",
        ] {
            assert_eq!(length(&format!("{prefix}{{\"a\":1}}")), Some(prefix.len()), "{prefix}");
        }
    }

    #[test]
    fn anything_else_before_an_object_is_none() {
        for text in [
            "hello {}",
            "<999>1 {}",
            "<1234> {}",
            "<134>1 host\n{}",
            "<134> no object",
            "\"a\" {}",
            "2026-01-02 {}",
            "Jänner {}",
        ] {
            assert_eq!(length(text), None, "{text}");
        }
        assert_eq!(length(&format!("<134>{}{{}}", "x".repeat(PREFIX_BYTES_MAX))), None);
    }
}
