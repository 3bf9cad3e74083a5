//! Statistics of a data file, as the log keeps them: number of rows, and smallest, largest and number of nulls of the
//! columns that queries skip files by.
//!
//! A bound may be wider than the values, never narrower: a reader that skips a file must be right. Where no honest
//! bound can be written, none is, and readers read the file.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde_json::{Map, Value, json};

use super::columns::WITH_STATISTICS;
use crate::activity::{Kind, json as activity_json};

/// Characters of a text bound. Delta's own writers keep as many: enough to tell ids apart, and a hostile value cannot
/// fill the log.
const TEXT_BOUND_CHARS: usize = 32;

/// The last character: text cut off and continued with it sorts behind everything that continues otherwise.
const LAST_CHAR: char = '\u{10ffff}';

/// Times that engines read: years with four digits, from 0001 to 9999.
const READABLE_MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_000_000;

/// What is known of the rows of one file so far.
#[derive(Default)]
pub(super) struct FileStatistics {
    num_rows: usize,
    columns: [Bounds; WITH_STATISTICS.len()],
}

#[derive(Clone, Default)]
struct Bounds {
    num_nulls: usize,
    range: Option<Range>,
}

#[derive(Clone)]
enum Range {
    Int(i64, i64),
    Micros(i64, i64),
    Text(String, String),
}

impl FileStatistics {
    pub fn add(&mut self, rows: &RecordBatch) {
        self.num_rows += rows.num_rows();
        for (column, bounds) in WITH_STATISTICS.iter().zip(&mut self.columns) {
            let info = column.info();
            let Some(values) = rows.column_by_name(info.name) else { continue };
            bounds.num_nulls += values.null_count();
            let range = match info.kind {
                Kind::Int => values.as_primitive_opt::<Int64Type>().and_then(|v| Some(Range::Int(min(v)?, max(v)?))),
                Kind::Time => values
                    .as_primitive_opt::<TimestampMicrosecondType>()
                    .and_then(|v| Some(Range::Micros(min(v)?, max(v)?))),
                Kind::Text => values
                    .as_string_opt::<i32>()
                    .and_then(|v| Some(Range::Text(min_string(v)?.to_string(), max_string(v)?.to_string()))),
                _ => None,
            };
            bounds.range = match (bounds.range.take(), range) {
                (Some(known), Some(new)) => Some(known.widened_by(new)),
                (known, new) => known.or(new),
            };
        }
    }

    /// The statistics as Delta's `stats`.
    pub fn to_json(&self) -> String {
        let (mut smallest, mut largest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (column, bounds) in WITH_STATISTICS.iter().zip(&self.columns) {
            let name = column.name().to_string();
            nulls.insert(name.clone(), bounds.num_nulls.into());
            let Some(range) = &bounds.range else { continue };
            if let Some(value) = range.lower() {
                smallest.insert(name.clone(), value);
            }
            if let Some(value) = range.upper() {
                largest.insert(name, value);
            }
        }
        json!({ "numRecords": self.num_rows, "minValues": smallest, "maxValues": largest, "nullCount": nulls })
            .to_string()
    }
}

impl Range {
    fn widened_by(self, other: Range) -> Range {
        match (self, other) {
            (Range::Int(low, high), Range::Int(l, h)) => Range::Int(low.min(l), high.max(h)),
            (Range::Micros(low, high), Range::Micros(l, h)) => Range::Micros(low.min(l), high.max(h)),
            (Range::Text(low, high), Range::Text(l, h)) => Range::Text(low.min(l), high.max(h)),
            (range, _) => range,
        }
    }

    fn lower(&self) -> Option<Value> {
        match self {
            Range::Int(low, _) => Some((*low).into()),
            Range::Micros(low, _) => readable_time(low.div_euclid(1000).checked_mul(1000)?),
            Range::Text(low, _) => Some(low.chars().take(TEXT_BOUND_CHARS).collect::<String>().into()),
        }
    }

    fn upper(&self) -> Option<Value> {
        match self {
            Range::Int(_, high) => Some((*high).into()),
            Range::Micros(_, high) => readable_time(high.checked_add(999)?.div_euclid(1000).checked_mul(1000)?),
            Range::Text(_, high) => match high.chars().nth(TEXT_BOUND_CHARS) {
                None => Some(high.as_str().into()),
                // Nothing sorts behind a text that continues with the last character.
                Some(LAST_CHAR) => None,
                Some(_) => Some(high.chars().take(TEXT_BOUND_CHARS).chain([LAST_CHAR]).collect::<String>().into()),
            },
        }
    }
}

/// Whole milliseconds, because some engines read no more digits.
fn readable_time(micros: i64) -> Option<Value> {
    READABLE_MICROS.contains(&micros).then(|| activity_json::format_time(micros).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::arrow::RowBuilder;
    use crate::activity::{Activity, Column, Value as Field};

    fn statistics_of(column: Column, values: &[Field<'_>]) -> Value {
        let mut statistics = FileStatistics::default();
        // One batch a value, so that the parts are put together as well.
        for value in values {
            let mut activity = Activity::default();
            activity.set(column, *value);
            let mut rows = RowBuilder::default();
            rows.append(&activity);
            statistics.add(&rows.finish().expect("rows of the schema"));
        }
        serde_json::from_str(&statistics.to_json()).expect("valid JSON")
    }

    fn bounds_of(column: Column, values: &[Field<'_>]) -> (Value, Value) {
        let statistics = statistics_of(column, values);
        (statistics["minValues"][column.name()].clone(), statistics["maxValues"][column.name()].clone())
    }

    #[test]
    fn rows_and_nulls_are_counted() {
        let statistics = statistics_of(Column::ActorId, &[Field::Text("u-1"), Field::Null]);
        assert_eq!((&statistics["numRecords"], &statistics["nullCount"]["actor_id"]), (&json!(2), &json!(1)));
    }

    #[test]
    fn bounds_of_times_widen_to_whole_milliseconds() {
        let times = [Field::Time(1_700_000_000_000_001), Field::Time(-1)];
        assert_eq!(
            bounds_of(Column::EventTime, &times),
            (json!("1969-12-31T23:59:59.999Z"), json!("2023-11-14T22:13:20.001Z"))
        );
    }

    #[test]
    fn a_time_that_engines_cannot_read_gives_no_bound() {
        let times = [Field::Time(i64::MAX), Field::Time(0)];
        assert_eq!(bounds_of(Column::EventTime, &times), (json!("1970-01-01T00:00:00Z"), Value::Null));
    }

    #[test]
    fn long_texts_are_cut_to_bounds_that_still_hold() {
        let long = "ü".repeat(40);
        let (low, high) = bounds_of(Column::ActorId, &[Field::Text(&long)]);
        let (low, high) = (low.as_str().expect("text"), high.as_str().expect("text"));
        assert!(low < long.as_str() && long.as_str() < high, "{low} {high}");
        assert!(high.chars().count() <= TEXT_BOUND_CHARS + 1);
    }

    #[test]
    fn a_text_that_nothing_sorts_behind_gives_no_upper_bound() {
        let last = LAST_CHAR.to_string().repeat(40);
        assert_eq!(bounds_of(Column::ActorId, &[Field::Text(&last)]).1, Value::Null);
    }

    #[test]
    fn raw_has_no_statistics() {
        let statistics = statistics_of(Column::Raw, &[Field::Text("{}")]);
        assert!(!statistics.to_string().contains("raw"), "{statistics}");
    }
}
