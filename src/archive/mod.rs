//! The archive: showing that what lies in a lake is all that was delivered, and as it was delivered.
//!
//! Everything here reads the lake's objects as they are stored, and trusts no reader of tables to have read them right.

mod key_pair;
pub mod verify;

pub use self::key_pair::write_key_pair;
