//! Readiness: whether the process does its work, and what keeps it from it.
//!
//! Several parts can be in trouble at once, and one that recovers must not hide another that has not. So each part
//! speaks for itself, and the process is ready when none objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest reason kept. It is shown on a page, not a log.
const REASON_CHARS_MAX: usize = 500;

/// The shared answer to "can you work?". Clones are the same readiness.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug, Default)]
struct Parts {
    started: bool,
    /// What objects, and why. Names are the program's own, so the map stays as small as the program.
    objections: BTreeMap<&'static str, String>,
}

/// What readiness comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready,
    /// Part and reason of everything that is not ready, ordered by part.
    NotReady(Vec<(&'static str, String)>),
}

impl Readiness {
    /// Not ready until [`Readiness::started`].
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Start-up is over.
    pub fn started(&self) {
        self.lock().started = true;
    }

    /// `part` (`lake`, `siem`, `input`, `shutdown`) cannot work, because of `reason`.
    pub fn not_ready(&self, part: &'static str, reason: impl Into<String>) {
        let mut reason = reason.into();
        if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
            reason.truncate(end);
        }
        self.lock().objections.insert(part, reason);
    }

    /// `part` works, or works again.
    pub fn ready(&self, part: &'static str) {
        self.lock().objections.remove(part);
    }

    pub fn state(&self) -> State {
        let parts = self.lock();
        if !parts.objections.is_empty() {
            return State::NotReady(parts.objections.iter().map(|(part, reason)| (*part, reason.clone())).collect());
        }
        if parts.started { State::Ready } else { State::Starting }
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // A thread that died while it held the lock left a whole map behind: every change is one call.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_recovers_does_not_hide_another() {
        let readiness = Readiness::new();
        assert_eq!(readiness.state(), State::Starting);
        readiness.started();
        assert_eq!(readiness.state(), State::Ready);

        readiness.not_ready("siem", "broker is away");
        readiness.not_ready("lake", "buffer is full");
        readiness.ready("siem");
        assert_eq!(readiness.state(), State::NotReady(vec![("lake", "buffer is full".to_string())]));
        readiness.ready("lake");
        assert_eq!(readiness.state(), State::Ready);
    }

    #[test]
    fn what_fails_during_start_is_named() {
        let readiness = Readiness::new();
        readiness.not_ready("lake", "no such bucket");
        assert_eq!(readiness.state(), State::NotReady(vec![("lake", "no such bucket".to_string())]));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let readiness = Readiness::new();
        readiness.not_ready("lake", "ä".repeat(REASON_CHARS_MAX + 1));
        assert_eq!(readiness.state(), State::NotReady(vec![("lake", "ä".repeat(REASON_CHARS_MAX))]));
    }
}
