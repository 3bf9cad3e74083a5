//! The tally: a worker's own count of what it derived, added to the metrics once a batch.
//!
//! Counting costs a few comparisons an activity and no lock, so it can stand on the hot path. What grows is bounded:
//! sources beyond a limit are counted together.

use crate::activity::taxonomy::{ActorType, Basis, Outcome, Status, Verb};
use crate::activity::{Activity, Column};
use crate::rejection::{Reason, Stage};

/// Most sources told apart.
///
/// Sources are the names of mappings, of which a large installation has a few dozen. Each has up to a few hundred
/// series, so a limit here is what bounds a scrape.
pub const NUM_SOURCES_MAX: usize = 256;

/// The source under which those beyond [`NUM_SOURCES_MAX`] are counted.
pub const OTHER_SOURCES: &str = "other";

/// The columns whose coverage is counted, as `report coverage` counts it.
pub(super) const COVERED: [Column; 3] = [Column::ActorOwner, Column::CredentialId, Column::CorrelationId];

const NUM_CELLS: usize = ActorType::ALL.len() * Basis::ALL.len() * Outcome::ALL.len();
const NUM_REASONS: usize = Reason::Headers as usize + 1;

/// Counts that have not reached the metrics yet.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) sources: Vec<SourceTally>,
    /// Where the last activity's source stands: events come in runs of one source.
    last: usize,
    pub(super) dead_letters: [[u64; NUM_REASONS]; Stage::ALL.len()],
    pub(super) num_records: u64,
    pub(super) num_bytes: u64,
}

/// The counts of one source.
#[derive(Debug)]
pub(super) struct SourceTally {
    pub name: Box<str>,
    /// By actor type, basis and result.
    cells: Box<[u64; NUM_CELLS]>,
    pub statuses: [u64; Status::ALL.len()],
    /// Events in which each of [`COVERED`] has a value.
    pub covered: [u64; COVERED.len()],
    /// Events whose operation no mapping knows the verb of.
    pub num_unknown_operations: u64,
}

impl Tally {
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Counts one row. Rejected and empty records count by their status alone: they are no events.
    pub fn activity(&mut self, activity: &Activity<'_>) {
        let index = self.index_of(activity.text(Column::Source).unwrap_or_default());
        let source = &mut self.sources[index];
        let status = activity.text(Column::Status).and_then(Status::parse).unwrap_or(Status::Unmapped);
        source.statuses[status as usize] += 1;
        if matches!(status, Status::Rejected | Status::Empty) {
            return;
        }
        let basis = activity.text(Column::ActorTypeBasis).and_then(Basis::parse).unwrap_or(Basis::None);
        let outcome = activity.text(Column::Result).and_then(Outcome::parse).unwrap_or(Outcome::Unknown);
        source.cells[cell_of(activity.actor_type(), basis, outcome)] += 1;
        for (count, column) in source.covered.iter_mut().zip(COVERED) {
            *count += u64::from(!activity.get(column).is_null());
        }
        let is_mapped = matches!(status, Status::Mapped | Status::Partial);
        let is_unknown = is_mapped && activity.text(Column::ActionVerb) == Some(Verb::Other.as_str());
        source.num_unknown_operations += u64::from(is_unknown);
    }

    /// Counts one record on its way to the dead letters.
    pub fn dead_letter(&mut self, stage: Stage, reason: Reason) {
        self.dead_letters[stage as usize][reason as usize] += 1;
    }

    /// Counts one record as read, with the bytes of its value.
    pub fn record(&mut self, num_bytes: usize) {
        self.num_records += 1;
        self.num_bytes += num_bytes as u64;
    }

    /// Takes in what another worker counted.
    pub fn add(&mut self, other: &Tally) {
        for theirs in &other.sources {
            let index = self.index_of(&theirs.name);
            let ours = &mut self.sources[index];
            add_all(&mut ours.cells[..], &theirs.cells[..]);
            add_all(&mut ours.statuses, &theirs.statuses);
            add_all(&mut ours.covered, &theirs.covered);
            ours.num_unknown_operations += theirs.num_unknown_operations;
        }
        for (ours, theirs) in self.dead_letters.iter_mut().zip(&other.dead_letters) {
            add_all(ours, theirs);
        }
        self.num_records += other.num_records;
        self.num_bytes += other.num_bytes;
    }

    /// The counts under which `name` goes, its own or those of [`OTHER_SOURCES`].
    pub(super) fn source(&mut self, name: &str) -> &SourceTally {
        let index = self.index_of(name);
        &self.sources[index]
    }

    fn index_of(&mut self, source: &str) -> usize {
        if self.sources.get(self.last).is_some_and(|tally| &*tally.name == source) {
            return self.last;
        }
        let find = |sources: &[SourceTally], name: &str| sources.iter().position(|tally| &*tally.name == name);
        self.last = find(&self.sources, source)
            .or_else(|| if self.sources.len() < NUM_SOURCES_MAX { None } else { find(&self.sources, OTHER_SOURCES) })
            .unwrap_or_else(|| {
                let name = if self.sources.len() < NUM_SOURCES_MAX { source } else { OTHER_SOURCES };
                self.sources.push(SourceTally::new(name));
                self.sources.len() - 1
            });
        self.last
    }
}

impl SourceTally {
    fn new(name: &str) -> SourceTally {
        SourceTally {
            name: name.into(),
            cells: Box::new([0; NUM_CELLS]),
            statuses: [0; Status::ALL.len()],
            covered: [0; COVERED.len()],
            num_unknown_operations: 0,
        }
    }

    /// Every combination that occurred, with how often.
    pub fn cells(&self) -> impl Iterator<Item = (ActorType, Basis, Outcome, u64)> {
        let combinations = ActorType::ALL.iter().flat_map(|actor_type| {
            Basis::ALL
                .iter()
                .flat_map(move |basis| Outcome::ALL.iter().map(move |outcome| (*actor_type, *basis, *outcome)))
        });
        combinations
            .map(|(actor_type, basis, outcome)| {
                (actor_type, basis, outcome, self.cells[cell_of(actor_type, basis, outcome)])
            })
            .filter(|(.., count)| *count > 0)
    }
}

fn cell_of(actor_type: ActorType, basis: Basis, outcome: Outcome) -> usize {
    (actor_type as usize * Basis::ALL.len() + basis as usize) * Outcome::ALL.len() + outcome as usize
}

fn add_all(ours: &mut [u64], theirs: &[u64]) {
    for (ours, theirs) in ours.iter_mut().zip(theirs) {
        *ours += theirs;
    }
}

/// Every reason, in the order of the enum, for the names of its series.
pub(super) const REASONS: [Reason; NUM_REASONS] = [
    Reason::Empty,
    Reason::Encoding,
    Reason::Syntax,
    Reason::Depth,
    Reason::Shape,
    Reason::Oversize,
    Reason::Bomb,
    Reason::Codec,
    Reason::Headers,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Value;

    fn activity(source: &str, status: Status) -> Activity<'_> {
        let mut activity = Activity::default();
        activity.set(Column::Source, Value::Text(source));
        activity.set(Column::Status, Value::Text(status.as_str()));
        activity.set(Column::Result, Value::Text(Outcome::Denied.as_str()));
        activity.set_actor_type(ActorType::Bot, Basis::Declared, None);
        activity
    }

    #[test]
    fn each_combination_is_counted_apart() {
        let mut tally = Tally::new();
        tally.activity(&activity("okta", Status::Mapped));
        tally.activity(&activity("github", Status::Mapped));
        tally.activity(&activity("okta", Status::Partial));
        let cells: Vec<_> = tally.sources[0].cells().collect();
        assert_eq!(cells, [(ActorType::Bot, Basis::Declared, Outcome::Denied, 2)]);
        assert_eq!(tally.sources[1].cells().map(|(.., count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn records_that_hold_no_event_are_rows_and_no_events() {
        let mut tally = Tally::new();
        tally.activity(&activity("okta", Status::Empty));
        tally.activity(&activity("okta", Status::Rejected));
        assert_eq!(tally.sources[0].cells().count(), 0);
        assert_eq!(tally.sources[0].statuses.iter().sum::<u64>(), 2);
    }

    #[test]
    fn sources_beyond_the_limit_are_counted_together() {
        let mut tally = Tally::new();
        for number in 0..NUM_SOURCES_MAX + 50 {
            tally.activity(&activity(&format!("s-{number}"), Status::Mapped));
        }
        assert_eq!(tally.sources.len(), NUM_SOURCES_MAX + 1);
        let last = tally.sources.last().expect("there are sources");
        assert_eq!((&*last.name, last.statuses.iter().sum::<u64>()), (OTHER_SOURCES, 50));
    }

    #[test]
    fn the_tallies_of_two_workers_add_up() {
        let (mut first, mut second) = (Tally::new(), Tally::new());
        first.activity(&activity("okta", Status::Mapped));
        second.activity(&activity("github", Status::Mapped));
        second.activity(&activity("okta", Status::Mapped));
        second.dead_letter(Stage::Decode, Reason::Bomb);
        second.record(10);
        first.add(&second);
        assert_eq!(first.sources[0].cells().map(|(.., count)| count).sum::<u64>(), 2);
        assert_eq!(first.dead_letters[Stage::Decode as usize][Reason::Bomb as usize], 1);
        assert_eq!((first.num_records, first.num_bytes), (1, 10));
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        for (index, reason) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
