//! What can go wrong with the lake, sorted by what the caller can do about it.
//!
//! Transient trouble may pass by itself and is worth another try. Permanent trouble stays until somebody changes
//! something. The cause is the error's source and never part of its text.

use std::error::Error as StdError;

use object_store::Error as StoreError;

/// Trouble with the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store did not do its part this time.
    #[error("failed to {doing}")]
    Transient { doing: String, source: Cause },
    /// The store refuses, or what it holds cannot be read.
    #[error("failed to {doing}")]
    Permanent { doing: String, source: Cause },
    /// What is asked for, or what lies there, is not what a lake may be.
    #[error("{0}")]
    Refused(String),
    /// There is no lake at this place, and the caller did not want one made.
    #[error("there is no lake at `{0}`: check the url, or write to it first")]
    Absent(String),
}

pub type Cause = Box<dyn StdError + Send + Sync>;

impl LakeError {
    /// Whether another try may go better.
    pub fn is_transient(&self) -> bool {
        matches!(self, LakeError::Transient { .. })
    }

    /// Sorts `source` by what lies at the bottom of it.
    pub(super) fn new(doing: impl Into<String>, source: impl Into<Cause>) -> LakeError {
        let (doing, source) = (doing.into(), source.into());
        if passes_by_itself(source.as_ref()) {
            LakeError::Transient { doing, source }
        } else {
            LakeError::Permanent { doing, source }
        }
    }
}

/// Whether the error comes from outside and is none that repeats for certain.
fn passes_by_itself(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(store) = error.downcast_ref::<StoreError>() {
            return store_error_passes(store);
        }
        // The kernel leaves what its errors carry out of the chain.
        match error.downcast_ref::<delta_kernel::Error>() {
            Some(delta_kernel::Error::ObjectStore(store)) => return store_error_passes(store),
            Some(delta_kernel::Error::Backtraced { source, .. }) => return passes_by_itself(source.as_ref()),
            _ => {}
        }
        if error.is::<std::io::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn store_error_passes(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::NotFound { .. }
            | StoreError::InvalidPath { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::UnknownConfigurationKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use deltalake::DeltaTableError;

    use super::*;

    fn generic() -> StoreError {
        StoreError::Generic { store: "s3", source: "503 slow down".into() }
    }

    #[test]
    fn trouble_of_the_store_is_transient_through_every_wrapper() {
        assert!(LakeError::new("read", generic()).is_transient());
        assert!(LakeError::new("read", DeltaTableError::ObjectStore { source: generic() }).is_transient());
        let kernel: delta_kernel::Error = generic().into();
        assert!(LakeError::new("read", kernel).is_transient());
    }

    #[test]
    fn a_refusal_of_the_store_is_permanent() {
        let denied = StoreError::PermissionDenied { path: "activities".into(), source: "403".into() };
        assert!(!LakeError::new("read", denied).is_transient());
    }
}
