//! `archive verify`: every object of a lake read again and held against the seals, and the seals against each other,
//! their signatures and their anchors.
//!
//! First the chain is walked, version by version, with the commit of each; then every data file is read. What cannot be
//! read is never taken for valid. Memory: about a kilobyte for each version and file, a hundred bytes for each row of
//! the commits of which some files are read and others are not, and [`NUM_FILES_AT_ONCE`] data files.

mod anchors;
mod chain;
mod completeness;
mod inventory;
mod log;
mod redriven;
mod report;
mod rewrites;
mod rows;
mod shortcuts;

use std::sync::Arc;

use object_store::ObjectStore;

use self::chain::Chain;
use self::inventory::Inventory;
pub use self::report::{Check, Counts, Level, Line, Report, Verdict};
use crate::seal::{Digest, PublicKey};
use crate::sink::lake::anchor::AnchorPlace;

/// Data files read at the same time: one is decoded while the next comes from the store.
const NUM_FILES_AT_ONCE: usize = 2;

/// What to hold the seals against.
#[derive(Debug)]
pub struct Options {
    pub signatures: Signatures,
    /// Second places with anchors.
    pub anchors: Vec<AnchorPlace>,
    /// Digests of seals that an auditor wrote down.
    pub known: Vec<(u64, Digest)>,
    /// The time before anything was read, for what is overdue.
    pub now: jiff::Timestamp,
}

/// What is asked of signatures.
#[derive(Debug)]
pub enum Signatures {
    /// Every seal is signed by one of these keys, from this version on.
    By { keys: Vec<PublicKey>, since: u64 },
    /// There is no key to check them with.
    WithoutKey,
    /// They do not count.
    Ignored,
}

/// How far it is, for whoever shows it.
pub trait Progress: Sync {
    fn seals(&self, checked: u64, of: u64);
    fn files(&self, checked: u64, of: u64);
}

/// Verifies the lake whose folder is `store`.
///
/// # Errors
/// If not even its objects can be listed.
pub async fn verify(
    store: &Arc<dyn ObjectStore>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, object_store::Error> {
    let mut report = Report::default();
    // Before the seals: an anchor follows its seal, so each that is there by now has one.
    let places = anchors::Anchors::read(store.as_ref(), options, &mut report).await;
    let inventory = Inventory::list(store.as_ref()).await?;
    let mut chain = Chain::default();
    chain.walk(store, &inventory, options, &mut report, progress).await;
    report.newest = chain.newest();
    let is_anchored = places.check(&chain, &mut report);
    chain.check_end(&inventory, options, is_anchored, &mut report);
    rows::check(store, &chain, &inventory, &mut report, progress).await;
    report.close();
    Ok(report)
}
