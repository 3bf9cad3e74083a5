//! Explanations: which rule of a mapping set each column, and what else was considered.

use std::cell::RefCell;

use super::plan::{Case, ColumnRule};
use crate::activity::Column;
use crate::diagnostic::Place;

/// Most notes on one rule. An array can make a rule look at many elements; nobody reads more than this.
const NUM_NOTES_MAX: usize = 100;

/// One thing that was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub place: Place,
    pub text: String,
}

/// Collects notes while a rule runs.
#[derive(Debug, Default)]
pub struct Notes(RefCell<Vec<Note>>);

impl Notes {
    pub fn add(&self, place: &Place, text: String) {
        let mut notes = self.0.borrow_mut();
        if notes.len() < NUM_NOTES_MAX {
            notes.push(Note { place: place.clone(), text });
        }
    }

    /// What has been noted since the last call.
    pub fn take(&self) -> Vec<Note> {
        self.0.take()
    }
}

/// Why an activity is as it is.
#[derive(Debug, Default)]
pub struct Explanation {
    /// The decisions about the actor type, in order, up to the one that held.
    pub cases: Vec<Considered>,
    /// The rules of each column, in the order in which they were asked.
    pub rules: Vec<(Column, Considered)>,
}

/// One rule or case, whether it decided, and what it looked at.
#[derive(Debug)]
pub struct Considered {
    pub name: String,
    pub place: Place,
    pub decided: bool,
    pub notes: Vec<Note>,
}

impl Explanation {
    pub fn case(&mut self, case: &Case, decided: bool, notes: Vec<Note>) {
        self.cases.push(Considered { name: case.name.clone(), place: case.place.clone(), decided, notes });
    }

    pub fn rule(&mut self, rule: &ColumnRule, decided: bool, notes: Vec<Note>) {
        let name = rule.column.name().to_string();
        self.rules.push((rule.column, Considered { name, place: rule.value.place.clone(), decided, notes }));
    }
}
