//! actorline reads audit events, says which actor did what, and keeps the answer in a lake and on a SIEM topic.
//!
//! `docs/architecture.md` shows the flow and where things are; `tests/it/architecture.rs` holds the direction in
//! which modules may depend on each other.

#![deny(unsafe_code)]

pub mod activity;
pub mod archive;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod demo;
pub mod diagnostic;
pub mod envelope;
pub mod event;
pub mod failpoint;
pub mod identity;
pub mod input;
pub mod mapping;
pub mod organisation;
pub mod pipeline;
pub mod query;
pub mod record;
pub mod rejection;
pub mod seal;
pub mod sink;
pub mod telemetry;
pub mod yaml;
