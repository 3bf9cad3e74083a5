//! `archive vacuum`: deletes files that no reader sees, once nobody can need them any more.
//!
//! Two kinds: files that a sealed rewrite has replaced, and files of commits that never went through. Both only when they
//! are older than the longest batch and the longest query may be. What any commit names, sealed or not, stays.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::failpoint;
use crate::seal::Anchor;
use crate::sink::lake::anchor::{AnchorError, AnchorPlace};
use crate::sink::lake::leaves::DELETIONS;
use crate::sink::lake::rejected::REJECTED;
use crate::sink::lake::{History, Lake, LakeError, TABLE};

#[derive(Clone, Debug)]
pub struct Options {
    /// The age from which on nobody waits for a file any more.
    pub older_than: Duration,
    pub now: jiff::Timestamp,
    /// Where the seals of rewrites must be known before what they replaced goes.
    pub anchor: Option<Arc<AnchorPlace>>,
    /// Says what would go, and deletes nothing.
    pub dry_run: bool,
}

/// An object that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacuumed {
    /// Relative to the lake.
    pub path: String,
    pub num_bytes: u64,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A sealed rewrite has put other files in its place, or deleted its rows.
    Replaced,
    /// No commit names it.
    Orphan,
}

#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error("nothing was deleted, because the newest seal is not anchored")]
    Anchor(#[from] AnchorError),
    #[error("version `{0}` of the lake is anchored with another seal: run `archive verify`, nothing was deleted")]
    OtherChain(u64),
    #[error("failed to {doing}")]
    Store { doing: String, source: object_store::Error },
}

/// Deletes what is not needed any more.
///
/// # Errors
/// If the lake is not as it was sealed or anchored, or the store does not do its part.
pub async fn vacuum(lake: &Lake, options: &Options) -> Result<Vec<Vacuumed>, VacuumError> {
    // Before the log: a file that is written from here on is not in the list.
    let mut objects = Vec::new();
    for folder in [TABLE, DELETIONS, REJECTED] {
        objects.extend(list(lake.store().as_ref(), folder).await?);
    }
    lake.seal_what_others_left().await?;
    let history = lake.history().await?;
    if let Some(place) = &options.anchor {
        check_anchors(place, &history).await?;
    }
    let mut gone = Vec::new();
    for object in &objects {
        let Some(why) = judge(object, &history, options) else { continue };
        if !options.dry_run {
            delete(lake.store().as_ref(), &object.location).await?;
            failpoint::hit("vacuum.deleted");
        }
        gone.push(Vacuumed { path: decoded(&object.location), num_bytes: object.size, why });
    }
    Ok(gone)
}

/// Why an object may go; None if it stays.
fn judge(object: &ObjectMeta, history: &History, options: &Options) -> Option<Why> {
    let is_old = |time: jiff::Timestamp| {
        u64::try_from(options.now.as_second() - time.as_second()).is_ok_and(|age| age > options.older_than.as_secs())
    };
    let written = jiff::Timestamp::from_second(object.last_modified.timestamp()).ok()?;
    if !is_old(written) {
        return None;
    }
    let path = decoded(&object.location);
    let Some(file) = path.strip_prefix(TABLE).and_then(|path| path.strip_prefix('/')) else {
        return (!history.named.contains(&path)).then_some(Why::Orphan);
    };
    if let Some(name) = file.strip_prefix("_delta_log/") {
        // What an interrupted write of a commit leaves behind; everything else of the log stays for ever.
        return (name.starts_with("_commit_") && name.ends_with(".json.tmp")).then_some(Why::Orphan);
    }
    if history.live.contains_key(file) || history.named.contains(file) {
        return None;
    }
    match history.removed.get(file) {
        Some(version) => history.sealed_at.get(version).is_some_and(|time| is_old(*time)).then_some(Why::Replaced),
        None => file.ends_with(".parquet").then_some(Why::Orphan),
    }
}

/// The newest seal must be known elsewhere, and every other one that is.
async fn check_anchors(place: &AnchorPlace, history: &History) -> Result<(), VacuumError> {
    let Some(newest) = history.seals.get(&history.version) else { return Ok(()) };
    place.publish(&Anchor::new(&history.table, history.version, *newest)).await?;
    for Anchor { version, seal, .. } in place.read(&history.table).await? {
        if version <= history.version && history.seals.get(&version) != Some(&seal) {
            return Err(VacuumError::OtherChain(version));
        }
    }
    Ok(())
}

async fn list(store: &dyn ObjectStore, folder: &str) -> Result<Vec<ObjectMeta>, VacuumError> {
    let listed = store.list(Some(&Path::from(folder))).try_collect().await;
    listed.map_err(|source| VacuumError::Store { doing: format!("list `{folder}`"), source })
}

async fn delete(store: &dyn ObjectStore, path: &Path) -> Result<(), VacuumError> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(VacuumError::Store { doing: format!("delete `{path}`"), source }),
    }
}

/// As commits name it.
fn decoded(path: &Path) -> String {
    path.parts().map(|part| part.as_ref().to_string()).collect::<Vec<_>>().join("/")
}
