//! `archive` from outside: clean archives, archives that somebody laid hands on, and upkeep that loses nothing.

mod clean;
mod place;
mod tampering;
mod upkeep;
