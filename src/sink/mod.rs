//! Sinks: where results go.
//!
//! Each sink owns its position and stores it in the same commit as its output, so that neither can be there without
//! the other. Sinks know neither inputs nor mappings nor each other.

pub mod lake;
pub mod siem;
