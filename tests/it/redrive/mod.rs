//! `redrive` against a real broker: dead letters that an older program could not read.

mod half_done;
mod kills;
mod letters;
mod place;
mod points;
mod upkeep;
