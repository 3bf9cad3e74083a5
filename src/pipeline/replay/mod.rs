//! `replay`: what lies in the lake, derived again from `raw` by the mappings and the registry of today.
//!
//! First the plan: every row of the selection is derived again and compared, column by column; nothing is written. Then,
//! if asked for, the swap: files with a row that changes are written anew and take their places in one commit. Rows that
//! come out the same stay as they are, with the generation that they have. `rejected` and `empty` rows hold no event and
//! stay; so do rows whose event would give another number of activities by now. Memory: one data file and its rows.

mod changes;
mod rows;

use arrow::array::RecordBatch;

pub use self::changes::{Changes, Example, Flip};
use self::rows::Rederiver;
use super::normalize::{Normalizer, Route};
use crate::activity::json::format_date;
use crate::seal::{Change, Derived};
use crate::sink::lake::{History, Lake, LakeError, LiveFile, Remaking, Rewrite, Rewritten, reread};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Which rows.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The source that rows have now; `unrecognised` for those that no mapping recognised.
    pub source: Option<String>,
    /// Received from this time on, in microseconds since 1970.
    pub from: Option<i64>,
    /// Received before this time.
    pub to: Option<i64>,
}

/// By what rows are derived again.
pub struct Deriving<'a> {
    pub normalizer: &'a Normalizer,
    /// What the configuration says of a topic; None where there is no configuration.
    pub route: Option<&'a (dyn Fn(&str) -> Route + Sync)>,
}

/// What a replay would do.
#[derive(Debug)]
pub struct Plan {
    pub changes: Changes,
    /// Files that may hold rows of the selection.
    pub num_files_read: usize,
    /// The table as it was read.
    history: History,
    /// Files with a row that changes.
    affected: Vec<LiveFile>,
}

impl Plan {
    pub fn num_files_affected(&self) -> usize {
        self.affected.len()
    }
}

/// What became of the swap.
#[derive(Debug)]
pub enum Applied {
    NothingToDo,
    Swapped {
        version: u64,
        num_files: usize,
    },
    /// Somebody else rewrote this file in the meantime. Nothing was changed.
    Conflict {
        path: String,
    },
}

/// Derives the selection again and says what would change. `progress` is told files read, of how many.
///
/// # Errors
/// If the lake cannot be read.
pub async fn plan(
    lake: &Lake,
    deriving: &Deriving<'_>,
    selection: &Selection,
    num_examples: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Plan, LakeError> {
    let history = lake.history().await?;
    let mut changes = Changes::new(num_examples);
    let mut affected = Vec::new();
    let candidates: Vec<LiveFile> = history.live.values().filter(|live| selection.may_be_in(live)).cloned().collect();
    for (num_read, live) in candidates.iter().enumerate() {
        progress(num_read, candidates.len());
        let (stored, _) = reread::rows(lake.store().as_ref(), live).await?;
        let mut rederiver = Rederiver::new(deriving, selection, &stored);
        let num_before = changes.num_changed;
        for batch in &stored {
            rederiver.derive(batch, &mut changes).map_err(|source| failed(live, source))?;
        }
        if changes.num_changed > num_before {
            affected.push(live.clone());
        }
    }
    Ok(Plan { changes, num_files_read: candidates.len(), history, affected })
}

/// Swaps in what the plan promised.
///
/// # Errors
/// If the lake cannot be read or written. The table is then as it was, or wholly as it should be.
pub async fn apply(
    lake: &Lake,
    deriving: &Deriving<'_>,
    selection: &Selection,
    plan: Plan,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Applied, LakeError> {
    let Plan { history, affected, .. } = plan;
    let num_files = affected.len();
    if num_files == 0 {
        return Ok(Applied::NothingToDo);
    }
    lake.keep_generation(deriving.normalizer.generation(), deriving.normalizer.generation_document()).await?;
    // They were counted already.
    let mut counted = Changes::new(0);
    let mut num_written = 0;
    let mut derive = |live: &LiveFile, stored: Vec<RecordBatch>| {
        progress(num_written, num_files);
        num_written += 1;
        let mut rederiver = Rederiver::new(deriving, selection, &stored);
        let derived = stored.iter().map(|batch| rederiver.derive(batch, &mut counted)).collect();
        let derived: Result<Vec<RecordBatch>, _> = derived;
        derived.map_err(|source| failed(live, source))
    };
    let remade = lake.remake(&history, &affected, &mut derive).await?;
    let mut derived = Vec::with_capacity(remade.ranges.len());
    for ((version, partition), Remaking { before, after }) in remade.ranges {
        if (before.rows, before.raw) != (after.rows, after.raw) {
            return Err(LakeError::Refused(
                "a replay would change what arrived: nothing was changed, report this".to_string(),
            ));
        }
        derived.push(Derived::new(version, &partition, after.derived));
    }
    let change = Change { derived, ..Change::default() };
    let rewrite = Rewrite { operation: "REPLAY", removed: affected, added: remade.added, change };
    Ok(match lake.rewrite(&history, rewrite).await? {
        Rewritten::Committed { version } => Applied::Swapped { version, num_files },
        Rewritten::Overtaken { path } => Applied::Conflict { path },
    })
}

impl Selection {
    fn may_be_in(&self, file: &LiveFile) -> bool {
        // Rows without a readable day may have any time.
        let Some(date) = file.received_date.as_deref() else { return true };
        let day_of = |micros: i64| format_date(i32::try_from(micros.div_euclid(MICROS_PER_DAY)).unwrap_or_default());
        let is_late_enough = self.from.is_none_or(|from| day_of(from).as_str() <= date);
        is_late_enough && self.to.is_none_or(|to| date <= day_of(to.saturating_sub(1)).as_str())
    }

    /// Whether a row with this source and time of receipt is meant.
    fn holds(&self, source: &str, received_time: i64) -> bool {
        self.source.as_deref().is_none_or(|wanted| wanted == source)
            && self.from.is_none_or(|from| from <= received_time)
            && self.to.is_none_or(|to| received_time < to)
    }
}

fn failed(live: &LiveFile, source: Box<dyn std::error::Error + Send + Sync>) -> LakeError {
    LakeError::Permanent { doing: format!("derive the rows of `{}` again", live.file.path), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_ends_before_its_end() {
        let selection = Selection { source: Some("okta_system".to_string()), from: Some(10), to: Some(20) };
        assert!(selection.holds("okta_system", 10) && selection.holds("okta_system", 19));
        assert!(!selection.holds("okta_system", 9) && !selection.holds("okta_system", 20));
        assert!(!selection.holds("github_audit", 10));
        assert!(Selection::default().holds("github_audit", i64::MIN));
    }
}
