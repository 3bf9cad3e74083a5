//! What became of dead letters, or would.

use std::collections::BTreeMap;

use crate::record::Position;

/// What became of one letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Its events are in both sinks now; without `--apply`: would be.
    Redriven,
    /// Still nothing can be cut from it. As today's program says it, not as the letter does.
    StaysDead { stage: &'static str, reason: &'static str },
    /// The lake has its events: it was redriven before.
    DoneBefore,
    /// The lake has no row at its position: not yet, or not any more.
    NotInLake,
    /// The lake's row at its position holds other bytes.
    OtherBytes,
    /// Its headers were left out, and a mapping may want them.
    LacksHeaders,
    /// What lies there is no dead letter.
    NoLetter,
}

impl Fate {
    pub fn as_str(&self) -> &'static str {
        match self {
            Fate::Redriven => "redriven",
            Fate::StaysDead { .. } => "stays_dead",
            Fate::DoneBefore => "done_before",
            Fate::NotInLake => "not_in_lake",
            Fate::OtherBytes => "other_bytes",
            Fate::LacksHeaders => "lacks_headers",
            Fate::NoLetter => "no_letter",
        }
    }
}

/// Letters with the same fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letters {
    pub num: u64,
    /// The first one that was seen.
    pub example: Option<Position>,
    /// The attempt that this is of the one that was tried most often.
    pub attempt: u64,
}

#[derive(Debug, Default)]
pub struct Summary {
    pub num_read: u64,
    pub fates: BTreeMap<Fate, Letters>,
    /// Rows that letters leave now, by source and status.
    pub rows: BTreeMap<(String, String), u64>,
    /// The batch that an earlier redrive had left half done, and that was finished first.
    pub finished: Option<i64>,
}

impl Summary {
    pub(super) fn add(&mut self, fate: Fate, position: Option<&Position>, attempt: u64) {
        let new = || Letters { num: 0, example: position.cloned(), attempt: 0 };
        let letters = self.fates.entry(fate).or_insert_with(new);
        letters.num += 1;
        letters.attempt = letters.attempt.max(attempt);
    }

    pub fn num_redriven(&self) -> u64 {
        self.fates.get(&Fate::Redriven).map_or(0, |letters| letters.num)
    }
}
