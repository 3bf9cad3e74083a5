//! What an operator sees: metrics, health, readiness, logs.
//!
//! This module is told numbers and states and shows them. It knows no sink, input or pipeline, decides nothing, and
//! never shows a payload or a secret.

pub mod logs;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod tally;

pub use self::metrics::{Metrics, Sink};
pub use self::readiness::{Readiness, State};
pub use self::server::{Server, ServerError};
pub use self::tally::Tally;
