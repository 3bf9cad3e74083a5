//! The lake from outside: what several instances do to one table, and what a reader finds in it.

mod commits;
mod files;
pub mod rows;
mod table;
