//! `archive verify` from outside: clean archives, and archives that somebody laid hands on.

mod clean;
mod place;
mod tampering;
