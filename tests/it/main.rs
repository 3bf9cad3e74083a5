//! Integration tests: one binary, one module a subject.

mod lake;
mod lake_s3;
mod query;
