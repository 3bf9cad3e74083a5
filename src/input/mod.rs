//! Where bytes come from: Kafka, files, and the mapping folder.

pub mod mapping_files;
