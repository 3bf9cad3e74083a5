//! Inputs: where the bytes of records are read.

pub mod files;
