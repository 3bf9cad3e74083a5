//! What sample events show of each field: how often it is there, how many values it has, and what they look like.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::fields::{FieldPath, each_field};
use super::super::functions::{address, time};

/// Most fields that are kept apart; see `pipeline::coverage`.
const NUM_FIELDS_MAX: usize = 10_000;

/// Most values of one field that are kept. A field with more is no set of words, and unique values need no list.
const NUM_VALUES_MAX: usize = 200;

/// Longest value that is kept; a longer one is text, not a word or an id.
const VALUE_CHARS_MAX: usize = 200;

/// The fields of all samples.
#[derive(Debug, Default)]
pub struct Samples {
    pub num_events: usize,
    pub fields: BTreeMap<FieldPath, Field>,
}

/// One field over all samples.
#[derive(Debug)]
pub struct Field {
    /// Events that have it.
    pub num_events: usize,
    /// Its values and how often each occurred, as long as there are not too many.
    pub values: BTreeMap<String, usize>,
    pub has_more_values: bool,
    /// Whether no value occurred twice.
    pub is_unique: bool,
    /// Names of the time formats that fit every value.
    pub time_formats: Vec<&'static str>,
    pub are_addresses: bool,
    pub are_emails: bool,
    /// Whether they are plain text or truth values (and not numbers).
    pub are_words: bool,
    pub are_long: bool,
    /// Whether every value looks like an object or array of JSON.
    pub are_json: bool,
}

impl Samples {
    pub fn add(&mut self, event: &Value) {
        self.num_events += 1;
        let mut seen = BTreeSet::new();
        each_field(event, &mut |path, value| {
            let is_first = seen.insert(path.clone());
            if self.fields.len() >= NUM_FIELDS_MAX && !self.fields.contains_key(path) {
                return;
            }
            let text = match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let field = self.fields.entry(path.clone()).or_insert_with(|| Field::of(&text));
            field.num_events += usize::from(is_first);
            field.add(text, !value.is_number());
        });
    }
}

impl Field {
    fn of(first: &str) -> Field {
        Field {
            num_events: 0,
            values: BTreeMap::new(),
            has_more_values: false,
            is_unique: true,
            time_formats: time::formats_of(first),
            are_addresses: true,
            are_emails: true,
            are_words: true,
            are_long: false,
            are_json: true,
        }
    }

    fn add(&mut self, text: String, is_word: bool) {
        let formats = time::formats_of(&text);
        self.time_formats.retain(|format| formats.contains(format));
        self.are_addresses &= address::canonical(&text).is_some();
        self.are_emails &= is_email(&text);
        self.are_words &= is_word;
        self.are_json &= text.trim_start().starts_with(['{', '[']);
        self.are_long |= text.chars().count() > VALUE_CHARS_MAX;
        if self.values.contains_key(&text) {
            self.is_unique = false;
        }
        if self.are_long || (self.values.len() >= NUM_VALUES_MAX && !self.values.contains_key(&text)) {
            self.has_more_values = true;
        } else {
            *self.values.entry(text).or_default() += 1;
        }
    }

    /// Few words that come again and again, such as the names of kinds and outcomes.
    pub fn is_closed_set(&self) -> bool {
        const NUM_WORDS_MAX: usize = 12;
        self.are_words && !self.has_more_values && self.values.len() <= NUM_WORDS_MAX
    }
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    !name.is_empty() && domain.contains('.') && !text.contains([' ', '/', ':'])
}
