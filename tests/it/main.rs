//! Integration tests: one binary, one module a subject.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod bad_input;
mod demo;
mod documents;
mod explain_command;
mod hostile_values;
mod kafka;
mod labelled_events;
mod lake;
mod lake_s3;
mod mapping_language;
mod mapping_mistakes;
mod mapping_tools;
mod mutated_events;
mod query;
mod registry_command;
mod report;
mod rows;
mod run;
mod shipped_mappings;
