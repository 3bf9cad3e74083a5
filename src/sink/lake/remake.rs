//! Files written anew with other rows than they had, and the roots of ranges that follow from it.
//!
//! A root is over the rows of one range, wherever they lie. So every file that holds a row of a range that changes is read,
//! and what is left of deleted rows; and nobody gets a new root whose old one does not hold. Nothing of it is visible
//! before [`Lake::rewrite`]. Memory: one data file with its rows, and two hundred bytes for each row of the commits of which
//! some files are read and others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::kernel::Version;

use super::error::LakeError;
use super::files::DataFile;
use super::history::{History, LiveFile, Roots};
use super::reread::{self, Reread};
use super::{Lake, leaves};
use crate::checkpoint::TopicPartition;
use crate::seal::{LeavesByOrigin, Recut, RowLeaf, SealedFile, leaf, root_of, split_by_origin};

/// Gives the rows of a file back as they should be.
pub type ChangeRows<'a> = dyn FnMut(&LiveFile, Vec<RecordBatch>) -> Result<Vec<RecordBatch>, LakeError> + Send + 'a;

/// What was made anew.
#[derive(Debug, Default)]
pub struct Remade {
    pub added: Vec<(DataFile, Vec<Version>)>,
    /// The ranges that have other roots than before.
    pub ranges: BTreeMap<(Version, TopicPartition), Remaking>,
}

/// One range, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaking {
    pub before: Roots,
    pub after: Roots,
}

impl Remade {
    /// The ranges with their rows and roots from now on, as a redrive seals them.
    pub fn recut(&self) -> Vec<Recut> {
        let recut = |((version, partition), remaking): (&(Version, TopicPartition), &Remaking)| Recut {
            version: *version,
            topic: partition.topic.to_string(),
            topic_id: partition.topic_id.as_ref().map(ToString::to_string),
            partition: partition.partition,
            rows: remaking.after.rows,
            raw_root: remaking.after.raw,
            derived_root: remaking.after.derived,
        };
        self.ranges.iter().map(recut).collect()
    }
}

impl Lake {
    /// Writes `files` anew, with their rows as `change` gives them back. Rows keep their partitions and offsets.
    ///
    /// # Errors
    /// Those of the store and of `change`, and a refusal where the rows are not those that were sealed.
    pub async fn remake(
        &self,
        history: &History,
        files: &[LiveFile],
        change: &mut ChangeRows<'_>,
    ) -> Result<Remade, LakeError> {
        let versions: BTreeSet<Version> = files.iter().flat_map(|live| live.file.origins.iter().copied()).collect();
        let paths: BTreeSet<&str> = files.iter().map(|live| live.file.path.as_str()).collect();
        let holders = Holder::of(history, &versions);
        let mut open = Open::new(history, &versions, &holders);
        let mut remade = Remade::default();
        for holder in &holders {
            let (before, after) = match holder {
                Holder::Live(live) if paths.contains(live.file.path.as_str()) => {
                    self.remake_file(history, live, change, &mut remade.added).await?
                }
                Holder::Live(live) => {
                    let leaves = self.leaves_of(history, live).await?;
                    (leaves.clone(), leaves)
                }
                Holder::Deleted(file) => {
                    let leaves = leaves::read(self.store().as_ref(), file).await?;
                    let leaves = leaves.map_err(|how| not_as_sealed(&file.path, &how))?;
                    (leaves.clone(), leaves)
                }
            };
            open.take(holder.file(), before, after, &mut remade)?;
        }
        Ok(remade)
    }

    async fn remake_file(
        &self,
        history: &History,
        live: &LiveFile,
        change: &mut ChangeRows<'_>,
        added: &mut Vec<(DataFile, Vec<Version>)>,
    ) -> Result<(LeavesByOrigin, LeavesByOrigin), LakeError> {
        let (rows, before) = reread::rows(self.store().as_ref(), live).await?;
        let before = split(history, live, before)?;
        let mut after = LeavesByOrigin::new();
        for mut file in self.write_files(&change(live, rows)?).await? {
            // A commit of very many files holds nothing of their rows.
            let leaves = Arc::unwrap_or_clone(std::mem::take(&mut file.leaves));
            let leaves = split(history, live, leaves)?;
            added.push((file, leaves.keys().copied().collect()));
            add(&mut after, leaves);
        }
        Ok((before, after))
    }

    async fn leaves_of(&self, history: &History, live: &LiveFile) -> Result<LeavesByOrigin, LakeError> {
        match reread::file(self.store().as_ref(), &live.file).await? {
            Reread::Whole { leaves, .. } => split(history, live, leaves),
            Reread::Differs(how) => Err(not_as_sealed(&live.file.path, &how)),
        }
    }
}

/// What holds rows of a range, or what is left of them.
enum Holder<'a> {
    Live(&'a LiveFile),
    Deleted(&'a SealedFile),
}

impl<'a> Holder<'a> {
    /// All that hold rows of `versions`, in the order in which these came, so that the rows of each come together.
    fn of(history: &'a History, versions: &BTreeSet<Version>) -> Vec<Holder<'a>> {
        let is_meant = |file: &SealedFile| file.origins.iter().any(|origin| versions.contains(origin));
        let live = history.live.values().filter(|live| is_meant(&live.file)).map(Holder::Live);
        let deleted = history.deletions.iter().filter(|file| is_meant(file)).map(Holder::Deleted);
        let mut holders: Vec<Holder<'a>> = live.chain(deleted).collect();
        holders.sort_by_key(|holder| holder.file().origins.first().copied());
        holders
    }

    fn file(&self) -> &SealedFile {
        match self {
            Holder::Live(live) => &live.file,
            Holder::Deleted(file) => file,
        }
    }
}

/// The rows of commits of which some files are still to come.
struct Open<'a> {
    history: &'a History,
    versions: BTreeMap<Version, Waiting>,
}

#[derive(Default)]
struct Waiting {
    num_files: usize,
    ranges: BTreeMap<TopicPartition, (Vec<RowLeaf>, Vec<RowLeaf>)>,
}

impl<'a> Open<'a> {
    fn new(history: &'a History, versions: &BTreeSet<Version>, holders: &[Holder<'_>]) -> Open<'a> {
        let mut waiting: BTreeMap<Version, Waiting> = BTreeMap::new();
        let origins = holders.iter().flat_map(|holder| &holder.file().origins);
        for version in origins.filter(|version| versions.contains(version)) {
            waiting.entry(*version).or_default().num_files += 1;
        }
        Open { history, versions: waiting }
    }

    /// Adds what `file` held and will hold, and closes the commits of which it was the last.
    fn take(
        &mut self,
        file: &SealedFile,
        before: LeavesByOrigin,
        after: LeavesByOrigin,
        remade: &mut Remade,
    ) -> Result<(), LakeError> {
        for (leaves, is_after) in [(before, false), (after, true)] {
            for (version, of_version) in leaves {
                // Of a commit that does not change.
                let Some(waiting) = self.versions.get_mut(&version) else { continue };
                for (partition, rows) in of_version {
                    let (before, after) = waiting.ranges.entry(partition).or_default();
                    if is_after { after } else { before }.extend(rows);
                }
            }
        }
        for version in &file.origins {
            let Some(waiting) = self.versions.get_mut(version) else { continue };
            waiting.num_files -= 1;
            if waiting.num_files == 0
                && let Some(whole) = self.versions.remove(version)
            {
                self.close(*version, whole, remade)?;
            }
        }
        Ok(())
    }

    fn close(&self, version: Version, whole: Waiting, remade: &mut Remade) -> Result<(), LakeError> {
        for (partition, (before, after)) in whole.ranges {
            let place = format!("{}/{}` of version `{version}", partition.topic, partition.partition);
            let sealed = self.history.roots.get(&(version, partition.clone()));
            let sealed = sealed.ok_or_else(|| not_as_sealed(&place, "is of no sealed range"))?;
            let (before, after) = (roots_of(before), roots_of(after));
            if before != *sealed {
                return Err(not_as_sealed(&place, "has other rows"));
            }
            if before != after {
                remade.ranges.insert((version, partition), Remaking { before, after });
            }
        }
        Ok(())
    }
}

fn roots_of(mut rows: Vec<RowLeaf>) -> Roots {
    rows.sort_unstable();
    Roots {
        rows: rows.len() as u64,
        raw: root_of(rows.iter().map(|row| row.raw)),
        derived: root_of(rows.iter().map(|row| row.derived)),
    }
}

fn split(history: &History, live: &LiveFile, leaves: crate::seal::Leaves) -> Result<LeavesByOrigin, LakeError> {
    let (rows, num_strangers) = split_by_origin(leaves, &live.file.origins, |version| history.ranges_of(version));
    if num_strangers > 0 {
        return Err(not_as_sealed(&live.file.path, "has rows of none of its commits"));
    }
    Ok(rows)
}

fn add(leaves: &mut LeavesByOrigin, more: LeavesByOrigin) {
    for (version, of_version) in more {
        leaf::merge(leaves.entry(version).or_default(), &of_version);
    }
}

fn not_as_sealed(what: &str, how: &str) -> LakeError {
    LakeError::Refused(format!("`{what}` {how}, not what was sealed: run `archive verify`, nothing was changed"))
}
