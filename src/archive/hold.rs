//! Legal holds: which rows have to stay, however old they are.
//!
//! In doubt a row stays: an identity is looked for in every column that can name one and in the raw event, and a time in
//! both the event's and that of receipt.

use std::fmt;
use std::str::FromStr;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::activity::Column;

/// Columns that name who did something, for whom, or to whom.
const WITH_IDENTITIES: [Column; 20] = [
    Column::ActorId,
    Column::ActorName,
    Column::ActorEmail,
    Column::OnBehalfOf,
    Column::ActingAs,
    Column::IdentityId,
    Column::ActorOwner,
    Column::BusinessOwner,
    Column::TechnicalOwner,
    Column::CredentialId,
    Column::CredentialFingerprint,
    Column::IssuedCredentialId,
    Column::SessionId,
    Column::TargetId,
    Column::TargetName,
    Column::TargetResource,
    Column::SourceIp,
    Column::SourceHost,
    Column::Tenant,
    Column::Application,
];

/// What has to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// As it was written.
    text: String,
    scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// In lower case.
    Identity(String),
    Source(String),
    /// Microseconds; the end is not part of it.
    Time {
        from: i64,
        to: i64,
    },
}

impl FromStr for Hold {
    type Err = String;

    fn from_str(text: &str) -> Result<Hold, String> {
        let wanted = "expected identity=ID, source=NAME or time=FROM..TO";
        let scope = match text.split_once('=') {
            Some((_, "")) | None => return Err(wanted.to_string()),
            Some(("identity", id)) => Scope::Identity(id.to_lowercase()),
            Some(("source", name)) => Scope::Source(name.to_string()),
            Some(("time", span)) => {
                let (from, to) = span.split_once("..").ok_or(wanted)?;
                let end = |text: &str, open| if text.is_empty() { Ok(open) } else { parse_time(text) };
                let (from, to) = (end(from, i64::MIN)?, end(to, i64::MAX)?);
                if from >= to {
                    return Err("the time of a hold ends before it begins".to_string());
                }
                Scope::Time { from, to }
            }
            Some(_) => return Err(wanted.to_string()),
        };
        Ok(Hold { text: text.to_string(), scope })
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A time, or the begin of a day.
fn parse_time(text: &str) -> Result<i64, String> {
    let time = text.parse::<jiff::Timestamp>().or_else(|error| match text.parse::<jiff::civil::Date>() {
        Ok(day) => day.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp()),
        Err(_) => Err(error),
    });
    time.map(|time| time.as_microsecond()).map_err(|_| format!("`{text}` is neither a time nor a day"))
}

/// Which of `rows`, of the lake's schema, one of `holds` keeps.
pub fn held(holds: &[Hold], rows: &RecordBatch) -> BooleanArray {
    (0..rows.num_rows()).map(|row| Some(holds.iter().any(|hold| hold.scope.holds(rows, row)))).collect()
}

impl Scope {
    fn holds(&self, rows: &RecordBatch, row: usize) -> bool {
        match self {
            Scope::Source(name) => text(rows, Column::Source, row) == Some(name),
            Scope::Time { from, to } => [Column::EventTime, Column::ReceivedTime]
                .into_iter()
                .filter_map(|column| time(rows, column, row))
                .any(|time| (*from..*to).contains(&time)),
            Scope::Identity(id) => {
                let is_named = |column| text(rows, column, row).is_some_and(|text| text.to_lowercase() == *id);
                WITH_IDENTITIES.into_iter().any(is_named) || is_in_raw(rows, row, id)
            }
        }
    }
}

fn is_in_raw(rows: &RecordBatch, row: usize, id: &str) -> bool {
    let Some(raw) = text(rows, Column::Raw, row) else { return false };
    let decoded = match text(rows, Column::RawEncoding, row) {
        Some("base64") => BASE64.decode(raw).map(|bytes| String::from_utf8_lossy(&bytes).to_lowercase()),
        _ => Ok(raw.to_lowercase()),
    };
    // What cannot be looked into may hold anything.
    decoded.map_or(true, |raw| raw.contains(id))
}

fn text(rows: &RecordBatch, column: Column, row: usize) -> Option<&str> {
    let texts = rows.column_by_name(column.name())?.as_string_opt::<i32>()?;
    texts.is_valid(row).then(|| texts.value(row))
}

fn time(rows: &RecordBatch, column: Column, row: usize) -> Option<i64> {
    let times = rows.column_by_name(column.name())?.as_primitive_opt::<TimestampMicrosecondType>()?;
    times.is_valid(row).then(|| times.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::arrow::RowBuilder;
    use crate::activity::{Activity, Value};

    fn row(change: impl FnOnce(&mut Activity<'static>)) -> RecordBatch {
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text("okta_system"));
        activity.set(Column::ReceivedTime, Value::Time(1_709_251_200_000_000));
        activity.set(Column::Raw, Value::Text("{}"));
        change(&mut activity);
        let mut rows = RowBuilder::default();
        rows.append(&activity);
        rows.finish().expect("rows of the schema")
    }

    fn holds(hold: &str, rows: &RecordBatch) -> bool {
        held(&[hold.parse().expect("a hold")], rows).value(0)
    }

    #[test]
    fn an_identity_is_found_in_any_column_that_names_one_and_in_the_raw_event() {
        assert!(!holds("identity=u-1", &row(|_| {})));
        assert!(holds("identity=U-1", &row(|row| row.set(Column::OnBehalfOf, Value::Text("u-1")))));
        assert!(holds("identity=u-1", &row(|row| row.set(Column::Raw, Value::Text("{\"who\":\"U-1\"}")))));
        let encoded = |row: &mut Activity<'static>| {
            row.set(Column::Raw, Value::Text("/3UtMQ=="));
            row.set(Column::RawEncoding, Value::Text("base64"));
        };
        assert!(holds("identity=u-1", &row(encoded)));
    }

    #[test]
    fn a_time_holds_what_happened_or_was_received_in_it() {
        assert!(holds("time=2024-03-01..2024-03-02", &row(|_| {})));
        assert!(!holds("time=..2024-03-01", &row(|_| {})));
        assert!(holds("time=..1971-01-01T00:00:00Z", &row(|row| row.set(Column::EventTime, Value::Time(0)))));
    }

    #[test]
    fn a_hold_that_says_nothing_is_refused() {
        for text in ["", "identity", "identity=", "time=2024-03-01", "time=2024-03-02..2024-03-01", "case=7"] {
            text.parse::<Hold>().expect_err(text);
        }
    }
}
