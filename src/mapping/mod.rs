//! Mappings: what an author writes about a source, compiled into a plan that turns its raw events into activities.
//!
//! `docs/mapping-language.md` is the language as authors see it. `grammar` lists its keys, `compile` turns files into
//! [`plan::Plan`]s and reports every mistake, `projection` takes the wanted fields out of an event in one pass, `evaluate`
//! runs the rules, `apply` fills in the row. Nothing here does I/O, reads a clock, or can fail at run time.

pub mod apply;
mod coerce;
pub mod compile;
pub mod evaluate;
pub mod event_uid;
pub mod explain;
pub mod fields;
pub mod functions;
pub mod grammar;
pub mod json;
pub mod left_out;
pub mod library;
pub mod lint;
pub mod path;
pub mod plan;
pub mod projection;
pub mod reads;
pub mod scaffold;
pub mod schema;
pub mod secrets;

pub use library::Library;
