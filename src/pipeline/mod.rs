//! The pipeline: everything between a record and committed results.
//!
//! `normalize` turns a record into rows, without I/O. What needs order, cadence, retries or shutdown stands beside it.

pub mod cases;
pub mod coverage;
pub mod normalize;
pub mod rederive;
pub mod redrive;
pub mod replay;
pub mod run;
