//! `actorline run` against a real broker, as processes of their own.

mod corruption;
mod ends;
mod figures;
mod instance;
mod kills;
mod outcome;
mod rebalances;
mod seals;
mod trouble;
