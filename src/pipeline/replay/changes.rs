//! What changes: rows, columns, actor types, and a few examples to look at.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::json::writer::{EncoderOptions, make_encoder};
use serde_json::Value;

use crate::activity::{COLUMNS, Column};

/// Examples of one column, so that one that changes on every row leaves room for the others.
const EXAMPLES_PER_COLUMN: usize = 3;

/// Different flips that are counted apart. Rules are few; what comes from hostile values is counted together.
const NUM_FLIPS_MAX: usize = 1_000;

#[derive(Debug)]
pub struct Changes {
    pub num_read: u64,
    pub num_changed: u64,
    /// Rows that hold no event: `rejected` and `empty`.
    pub num_without_event: u64,
    /// Rows that stay as they are because their event would give another number of activities.
    pub num_split_otherwise: u64,
    /// Changed values, by column.
    pub columns: BTreeMap<Column, u64>,
    pub flips: BTreeMap<Flip, u64>,
    /// Flips that found no place among `flips`.
    pub num_more_flips: u64,
    pub examples: Vec<Example>,
    num_examples_max: usize,
    num_examples: BTreeMap<Column, usize>,
}

/// An actor type that becomes another, and what decides so now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flip {
    pub from: String,
    pub to: String,
    pub source: String,
    pub rule: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// `topic/partition/offset/index`.
    pub position: String,
    pub column: Column,
    pub before: Value,
    pub after: Value,
}

impl Changes {
    pub fn new(num_examples_max: usize) -> Changes {
        Changes {
            num_read: 0,
            num_changed: 0,
            num_without_event: 0,
            num_split_otherwise: 0,
            columns: BTreeMap::new(),
            flips: BTreeMap::new(),
            num_more_flips: 0,
            examples: Vec::new(),
            num_examples_max,
            num_examples: BTreeMap::new(),
        }
    }

    pub fn num_flips(&self) -> u64 {
        self.flips.values().sum::<u64>() + self.num_more_flips
    }

    pub(super) fn flip(&mut self, flip: Flip) {
        if let Some(count) = self.flips.get_mut(&flip) {
            *count += 1;
        } else if self.flips.len() < NUM_FLIPS_MAX {
            self.flips.insert(flip, 1);
        } else {
            self.num_more_flips += 1;
        }
    }

    /// Counts a value that changes; `position` is asked for only if it becomes an example.
    pub(super) fn value(
        &mut self,
        column: Column,
        (before, old): (&ArrayRef, usize),
        (after, new): (&ArrayRef, usize),
        position: impl FnOnce() -> String,
    ) {
        *self.columns.entry(column).or_default() += 1;
        let of_column = self.num_examples.entry(column).or_default();
        if *of_column >= EXAMPLES_PER_COLUMN || self.examples.len() >= self.num_examples_max {
            return;
        }
        *of_column += 1;
        let (before, after) = (json_of(column, before, old), json_of(column, after, new));
        self.examples.push(Example { position: position(), column, before, after });
    }
}

/// A cell as the native JSON has it.
fn json_of(column: Column, values: &ArrayRef, row: usize) -> Value {
    if values.is_null(row) {
        return Value::Null;
    }
    // Strings are most of it.
    if let Some(texts) = values.as_string_opt::<i32>() {
        return Value::String(texts.value(row).to_string());
    }
    let schema = crate::activity::arrow::schema();
    let field = &schema.fields()[column as usize];
    let options = EncoderOptions::default();
    let Ok(mut encoder) = make_encoder(field, values.as_ref(), &options) else { return Value::Null };
    let mut cell = Vec::new();
    encoder.encode(row, &mut cell);
    serde_json::from_slice(&cell).unwrap_or(Value::Null)
}

/// Columns that a replay may change: not what arrived, and not the generation, which follows from the others.
pub(super) fn derived() -> impl Iterator<Item = Column> {
    let arrived = crate::activity::SetBy::Input;
    let all = COLUMNS.iter().filter(move |info| info.set_by != arrived).map(|info| info.column);
    all.filter(|column| *column != Column::MappingVersion)
}
