//! Integration tests: one binary, one module a subject.

mod hostile_values;
mod labelled_events;
mod mapping_language;
mod mapping_mistakes;
mod rows;
mod shipped_mappings;
