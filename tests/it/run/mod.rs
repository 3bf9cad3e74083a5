//! `actorline run` against a real broker, as processes of their own.

mod corruption;
mod ends;
mod figures;
pub mod instance;
pub mod kills;
pub mod outcome;
mod rebalances;
mod refusals;
pub mod seals;
mod trouble;
