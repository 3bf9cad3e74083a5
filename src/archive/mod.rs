//! The archive: showing that what lies in a lake is all that was delivered, and as it was delivered; and keeping it, in
//! fewer files and for as long as it has to be kept.
//!
//! Everything here reads the lake's objects as they are stored, and trusts no reader of tables to have read them right.
//! Only `vacuum` deletes objects.

pub mod compact;
pub mod hold;
mod key_pair;
pub mod retain;
pub mod vacuum;
pub mod verify;

pub use self::key_pair::write_key_pair;
