//! `time`: the forms in which vendors write when something happened.

use bumpalo::Bump;
use jiff::civil::{Date, Time as ClockTime};
use jiff::fmt::strtime;
use jiff::fmt::temporal::{DateTimeParser, PiecesOffset};

use super::{Argument, Definition, Function, Gives};
use crate::activity::BELIEVABLE_TIMES;
use crate::mapping::compile::Compiler;
use crate::mapping::evaluate::Operand;
use crate::yaml::Node;

/// The formats' names, in the order of [`FORMATS`].
const NAMES: &[&str] = &["rfc3339", "utc", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "compact", "ctime", "us"];
const FORMATS: [Format; 9] = [
    Format::Rfc3339,
    Format::Utc,
    Format::Epoch(1_000_000_000),
    Format::Epoch(1_000_000),
    Format::Epoch(1_000),
    Format::Epoch(1),
    Format::Written(COMPACT),
    Format::Written(CTIME),
    Format::Written(US),
];

pub const TIME: Definition = Definition {
    name: "time",
    about: "a time in one of the named formats, tried in order",
    argument: Argument::Words(NAMES),
    gives: Gives::Time,
    example: ("[rfc3339, epoch_s]", r#""2024-01-31T12:00:00.5+02:00""#, r#""2024-01-31T10:00:00.5Z""#),
    compile,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// With a zone.
    Rfc3339,
    /// Without one, meant as UTC.
    Utc,
    /// A count since 1970 in a unit of so many nanoseconds.
    Epoch(i64),
    /// One of [`WRITTEN`], meant as UTC.
    Written(&'static [&'static str]),
}

/// `20240131100000.123`, with or without the decimals.
const COMPACT: &[&str] = &["%Y%m%d%H%M%S%.f"];
/// `Wed Jan 31 10:00:00 2024`, as C and syslog write it.
const CTIME: &[&str] = &["%a %b %e %H:%M:%S %Y"];
/// `1/31/2024 10:00:00 AM`, as Microsoft's portals write it, in UTC.
const US: &[&str] = &["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p"];

#[derive(Debug)]
struct Time(Vec<Format>);

impl Function for Time {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        if let Operand::Time(_) = input {
            return Ok(input);
        }
        let text = input.text(arena).ok_or("an object or list where a time was wanted")?.trim();
        let time = self.0.iter().find_map(|format| parse(*format, text));
        time.map(Operand::Time).ok_or_else(|| "not a time in the formats that the mapping names".to_string())
    }
}

fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Box<dyn Function>> {
    let mut formats = Vec::new();
    for name in node.sequence().unwrap_or(std::slice::from_ref(node)) {
        let Some(index) = name.text().and_then(|name| NAMES.iter().position(|known| *known == name)) else {
            compiler.wrong_argument(name, &format!("one of {}", NAMES.join(", ")));
            return None;
        };
        formats.push(FORMATS[index]);
    }
    Some(Box::new(Time(formats)))
}

/// The names of the formats in which `text` is a time that can be believed.
pub fn formats_of(text: &str) -> Vec<&'static str> {
    let believable = |format| parse(format, text.trim()).is_some_and(|time| BELIEVABLE_TIMES.contains(&time));
    NAMES.iter().zip(FORMATS).filter(|(_, format)| believable(*format)).map(|(name, _)| *name).collect()
}

/// Microseconds since 1970.
fn parse(format: Format, text: &str) -> Option<i64> {
    match format {
        Format::Rfc3339 => parse_calendar(text, true).or_else(|| {
            // Snowflake prints a space before the zone.
            let (time, zone) = text.rsplit_once(' ').filter(|(_, zone)| zone.starts_with(['+', '-']))?;
            parse_calendar(&format!("{time}{zone}"), true)
        }),
        Format::Utc => parse_calendar(text, false),
        Format::Epoch(unit) => parse_epoch(text, unit),
        Format::Written(patterns) => patterns.iter().find_map(|pattern| parse_written(text, pattern)),
    }
}

fn parse_calendar(text: &str, has_zone: bool) -> Option<i64> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    // Vendors write up to nine digits of a second, some write ten or more zeros.
    let pieces = PARSER.parse_pieces(text).ok()?;
    let offset_seconds = match (has_zone, pieces.offset()) {
        (true, Some(PiecesOffset::Zulu)) | (false, None) => 0,
        (true, Some(PiecesOffset::Numeric(offset))) => i64::from(offset.offset().seconds()),
        (true, None) | (false, Some(_)) => return None,
        // Kinds of offsets that may be added one day.
        (true, Some(_)) => return None,
    };
    let micros = micros_of(pieces.date(), pieces.time()?)?;
    micros.checked_sub(offset_seconds * 1_000_000)
}

/// Not through `jiff::Timestamp`, which ends a few hours before the year 9999 does.
fn micros_of(date: Date, time: ClockTime) -> Option<i64> {
    let days = (date - Date::constant(1970, 1, 1)).get_days();
    let seconds = i64::from(days) * 86_400
        + i64::from(time.hour()) * 3_600
        + i64::from(time.minute()) * 60
        + i64::from(time.second());
    seconds.checked_mul(1_000_000)?.checked_add(i64::from(time.subsec_nanosecond()) / 1_000)
}

fn parse_written(text: &str, pattern: &str) -> Option<i64> {
    let time = strtime::parse(pattern, text).ok()?;
    let date = Date::new(time.year()?, time.month()?, time.day()?).ok()?;
    micros_of(date, time.to_time().ok()?)
}

/// A whole number, or one with decimals, of units of so many nanoseconds, without going through a float.
fn parse_epoch(text: &str, unit: i64) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let mut nanos = i128::from(whole.parse::<i64>().ok()?) * i128::from(unit);
    let mut worth = i128::from(unit);
    for digit in decimals.bytes() {
        worth /= 10;
        let part = i128::from(char::from(digit).to_digit(10)?) * worth;
        nanos += if negative { -part } else { part };
    }
    i64::try_from(nanos / 1_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::json::format_time;

    fn shown(format: Format, text: &str) -> Option<String> {
        parse(format, text).map(format_time)
    }

    #[test]
    fn calendar_times() {
        for (format, text, wanted) in [
            (Format::Rfc3339, "2024-01-31T10:00:00Z", Some("2024-01-31T10:00:00Z")),
            (Format::Rfc3339, "2024-01-31T10:00:00.123456789Z", Some("2024-01-31T10:00:00.123456Z")),
            (Format::Rfc3339, "2024-01-31T10:00:00+0000", Some("2024-01-31T10:00:00Z")),
            (Format::Rfc3339, "2024-01-31 10:00:00-05:00", Some("2024-01-31T15:00:00Z")),
            (Format::Rfc3339, "2024-01-31 10:00:00.5 -0500", Some("2024-01-31T15:00:00.5Z")),
            (Format::Rfc3339, "2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z")),
            (Format::Rfc3339, "9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
            (Format::Rfc3339, "2024-01-31T10:00:00", None),
            (Format::Utc, "2024-01-31 10:00:00.5", Some("2024-01-31T10:00:00.5Z")),
            (Format::Utc, "2024-01-31T10:00:00Z", None),
            (Format::Utc, "2024-02-30 10:00:00", None),
        ] {
            assert_eq!(shown(format, text).as_deref(), wanted, "{format:?} {text}");
        }
    }

    #[test]
    fn times_as_vendors_write_them() {
        for (format, text, wanted) in [
            (Format::Written(COMPACT), "20240131100000.123", Some("2024-01-31T10:00:00.123Z")),
            (Format::Written(COMPACT), "20240131100000", Some("2024-01-31T10:00:00Z")),
            (Format::Written(COMPACT), "2024013110", None),
            (Format::Written(CTIME), "Wed Jan 31 10:00:00 2024", Some("2024-01-31T10:00:00Z")),
            (Format::Written(CTIME), "Sat Mar  2 10:00:00 2024", Some("2024-03-02T10:00:00Z")),
            (Format::Written(US), "1/31/2024 10:00:00 PM", Some("2024-01-31T22:00:00Z")),
            (Format::Written(US), "01/31/2024 12:05:00 AM", Some("2024-01-31T00:05:00Z")),
            (Format::Written(US), "31/1/2024 10:00:00 AM", None),
        ] {
            assert_eq!(shown(format, text).as_deref(), wanted, "{format:?} {text}");
        }
    }

    #[test]
    fn counts_since_1970() {
        const SECONDS: Format = Format::Epoch(1_000_000_000);
        for (format, text, wanted) in [
            (Format::Epoch(1_000_000), "1700000000123", Some("2023-11-14T22:13:20.123Z")),
            (Format::Epoch(1), "1700000000123456789", Some("2023-11-14T22:13:20.123456Z")),
            (SECONDS, "1700000000.25", Some("2023-11-14T22:13:20.25Z")),
            (SECONDS, "0", Some("1970-01-01T00:00:00Z")),
            (SECONDS, "99999999999999999999", None),
            (SECONDS, "9223372036854775807", None),
            (SECONDS, "1.7e9", None),
        ] {
            assert_eq!(shown(format, text).as_deref(), wanted, "{text}");
        }
    }
}
