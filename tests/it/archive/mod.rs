//! `archive` from outside: clean archives, archives that somebody laid hands on, and upkeep that loses nothing.

mod clean;
pub mod place;
mod redriven;
mod retention;
mod tampering;
mod upkeep;
