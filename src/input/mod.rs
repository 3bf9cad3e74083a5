//! Inputs: where the bytes of records are read, and the mapping folder.

pub mod files;
pub mod kafka;
pub mod mapping_files;
