//! Integration tests: one binary, one module a subject.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod adding_a_source;
mod architecture;
mod archive;
mod bad_input;
mod demo;
mod documents;
mod explain_command;
mod faults;
mod fuzz;
mod hostile_values;
mod kafka;
mod labelled_events;
mod lake;
mod lake_s3;
mod mapping_language;
mod mapping_mistakes;
mod mapping_tools;
mod query;
mod redrive;
mod registry_command;
mod replay;
mod report;
mod rows;
mod run;
mod shipped_mappings;
