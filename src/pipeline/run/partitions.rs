//! The assigned partitions: how far each was read, and how far each sink has taken it.
//!
//! Three numbers say whether something that comes back late still counts: a reading, a stay with the SIEM and a stay
//! with the lake are each given a new one whenever they begin anew. Plain data, no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::{NextOffset, TopicPartition};
use crate::pipeline::normalize::Route;

/// The number of one stretch of reading, or of one sink's stay with a partition. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

/// Where each sink goes on with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Starts {
    /// Where the group began to read the partition, ever.
    pub begun: NextOffset,
    pub siem: Option<NextOffset>,
    pub lake: Option<NextOffset>,
    /// Where the lake stands, if it goes on without what lies between there and `lake`.
    pub lake_gap_from: Option<NextOffset>,
    /// The group has no position yet: `begun` must be written down before anything else.
    pub is_new: bool,
}

impl Starts {
    /// From where to read: the lower of what the sinks lack.
    pub fn read(&self) -> NextOffset {
        [self.siem, self.lake].into_iter().flatten().min().unwrap_or(self.begun)
    }
}

/// How far a sink has come with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Committed up to here.
    pub stored: NextOffset,
    /// In the sink's buffer, or being committed, up to here.
    pub taken: NextOffset,
    /// What was taken when the current reading began: the mapping leaves out what lies before.
    pub base: NextOffset,
    /// Where the sink stands, if what lies between there and where it began is gone; until a batch says so.
    pub gap_from: Option<NextOffset>,
    pub epoch: Epoch,
}

pub(super) struct Partition {
    pub id: Arc<TopicPartition>,
    pub route: Arc<Route>,
    pub begun: NextOffset,
    pub is_new: bool,
    /// The next offset to hand to the mapping.
    pub read: NextOffset,
    pub epoch: Epoch,
    /// Set while the input has yet to be told to go on from `read`. Until then its records are from elsewhere.
    pub must_seek: bool,
    pub siem: Option<Cursor>,
    pub lake: Option<Cursor>,
}

/// Which of a partition's cursors is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Siem,
    Lake,
}

#[derive(Default)]
pub(super) struct Partitions {
    assigned: BTreeMap<(Arc<str>, i32), Partition>,
    num_epochs: u64,
}

impl Partitions {
    pub fn assign(&mut self, id: TopicPartition, route: Arc<Route>, starts: Starts) -> &Partition {
        let (reading, siem, lake) = (self.next_epoch(), self.next_epoch(), self.next_epoch());
        let cursor =
            |start: NextOffset, epoch| Cursor { stored: start, taken: start, base: start, gap_from: None, epoch };
        let gap_from = starts.lake_gap_from;
        let partition = Partition {
            route,
            begun: starts.begun,
            is_new: starts.is_new,
            read: starts.read(),
            epoch: reading,
            must_seek: false,
            siem: starts.siem.map(|start| cursor(start, siem)),
            lake: starts.lake.map(|start| Cursor { gap_from, ..cursor(start, lake) }),
            id: Arc::new(id),
        };
        let key = (Arc::clone(&partition.id.topic), partition.id.partition);
        self.assigned.entry(key).insert_entry(partition).into_mut()
    }

    pub fn revoke(&mut self, topic: &Arc<str>, partition: i32) -> Option<Partition> {
        self.assigned.remove(&(Arc::clone(topic), partition))
    }

    pub fn get_mut(&mut self, id: &TopicPartition) -> Option<&mut Partition> {
        self.assigned.get_mut(&(Arc::clone(&id.topic), id.partition))
    }

    /// The partition, if `epoch` is still its stay with the sink of `side`.
    pub fn staying(&mut self, id: &TopicPartition, side: Side, epoch: Epoch) -> Option<&mut Partition> {
        self.get_mut(id).filter(|partition| partition.cursor(side).is_some_and(|cursor| cursor.epoch == epoch))
    }

    /// Takes the sink of `side` back to `position`. Reading begins anew from the lower of both sinks, and what is on
    /// its way to either of them from the old reading does not count any more.
    pub fn rewind(&mut self, id: &TopicPartition, side: Side, position: NextOffset) {
        let (reading, stay) = (self.next_epoch(), self.next_epoch());
        let Some(partition) = self.get_mut(id) else { return };
        if let Some(cursor) = partition.cursor_mut(side) {
            *cursor = Cursor { stored: position, taken: position, base: position, gap_from: None, epoch: stay };
        }
        for cursor in [partition.siem.as_mut(), partition.lake.as_mut()].into_iter().flatten() {
            cursor.base = cursor.taken;
        }
        let lower = [partition.siem, partition.lake].into_iter().flatten().map(|cursor| cursor.taken).min();
        partition.read = lower.unwrap_or(position);
        partition.epoch = reading;
        partition.must_seek = true;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.assigned.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.assigned.values_mut()
    }

    fn next_epoch(&mut self) -> Epoch {
        self.num_epochs += 1;
        Epoch(self.num_epochs)
    }
}

impl Partition {
    pub fn cursor(&self, side: Side) -> Option<&Cursor> {
        match side {
            Side::Siem => self.siem.as_ref(),
            Side::Lake => self.lake.as_ref(),
        }
    }

    /// Takes in where the group was found to stand after a transaction up to `to` whose outcome was unclear, and says
    /// whether that transaction is there.
    ///
    /// A group without a position has nothing of it, also where the transaction only said where reading begins and so
    /// led to the very place where reading would begin anew.
    pub fn is_in_siem(&mut self, to: NextOffset, found: Option<NextOffset>) -> bool {
        let Some(cursor) = self.siem.as_mut().filter(|_| found == Some(to)) else { return false };
        cursor.stored = to;
        // The position is there, and with it the note of where reading began.
        self.is_new = false;
        true
    }

    fn cursor_mut(&mut self, side: Side) -> Option<&mut Cursor> {
        match side {
            Side::Siem => self.siem.as_mut(),
            Side::Lake => self.lake.as_mut(),
        }
    }
}

/// Ranges inside `from..to` that none of `offsets`, which ascend, lies in.
pub(super) fn holes(from: NextOffset, offsets: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
    let mut holes = Vec::new();
    let mut next = from.0;
    for offset in offsets {
        if offset > next {
            holes.push((next, offset));
        }
        next = offset + 1;
    }
    holes
}

/// What of `holes` lies at or after `from`.
pub(super) fn holes_after(holes: &[(i64, i64)], from: NextOffset) -> impl Iterator<Item = (i64, i64)> + '_ {
    holes.iter().filter(move |(_, end)| *end > from.0).map(move |(start, end)| ((*start).max(from.0), *end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::normalize::SourceChoice;

    fn id() -> TopicPartition {
        TopicPartition { topic: "t".into(), topic_id: None, partition: 0 }
    }

    fn assigned(siem: i64, lake: i64) -> Partitions {
        let mut partitions = Partitions::default();
        let starts = Starts {
            begun: NextOffset(0),
            siem: Some(NextOffset(siem)),
            lake: Some(NextOffset(lake)),
            lake_gap_from: None,
            is_new: false,
        };
        partitions.assign(id(), Arc::new(Route { source: SourceChoice::Auto, set: Vec::new() }), starts);
        partitions
    }

    #[test]
    fn reading_starts_at_the_lower_of_both_sinks() {
        let mut partitions = assigned(9, 5);
        assert_eq!(partitions.get_mut(&id()).map(|partition| partition.read), Some(NextOffset(5)));
    }

    #[test]
    fn rewinding_one_sink_leaves_the_stay_with_the_other_and_what_it_has_taken() {
        let mut partitions = assigned(5, 5);
        let partition = partitions.get_mut(&id()).expect("assigned");
        let (siem, lake) = (partition.siem.expect("siem").epoch, partition.lake.expect("lake").epoch);
        partition.lake.as_mut().expect("lake").taken = NextOffset(8);
        partition.siem.as_mut().expect("siem").taken = NextOffset(8);
        partition.read = NextOffset(10);

        partitions.rewind(&id(), Side::Siem, NextOffset(6));
        assert!(partitions.staying(&id(), Side::Siem, siem).is_none());
        let partition = partitions.staying(&id(), Side::Lake, lake).expect("the lake stays");
        assert_eq!((partition.read, partition.must_seek), (NextOffset(6), true));
        assert_eq!(partition.lake.map(|lake| lake.base), Some(NextOffset(8)), "the lake has 6 and 7 already");
        assert_eq!(partition.siem.map(|siem| siem.base), Some(NextOffset(6)));
    }

    fn new_to_the_group() -> Partitions {
        let mut partitions = Partitions::default();
        let start = Some(NextOffset(0));
        let starts = Starts { begun: NextOffset(0), siem: start, lake: start, lake_gap_from: None, is_new: true };
        partitions.assign(id(), Arc::new(Route { source: SourceChoice::Auto, set: Vec::new() }), starts);
        partitions
    }

    #[test]
    fn an_unclear_transaction_that_is_there_wrote_down_where_reading_began() {
        let mut partitions = new_to_the_group();
        let partition = partitions.get_mut(&id()).expect("assigned");
        assert!(partition.is_in_siem(NextOffset(3), Some(NextOffset(3))));
        assert!(!partition.is_new, "the lake would wait for a note that nobody writes any more");
        assert_eq!(partition.siem.map(|siem| siem.stored), Some(NextOffset(3)));
    }

    #[test]
    fn where_reading_begins_is_not_written_down_while_the_group_has_no_position() {
        let mut partitions = new_to_the_group();
        let partition = partitions.get_mut(&id()).expect("assigned");
        // The transaction held no records, so it leads to where reading begins.
        assert!(!partition.is_in_siem(NextOffset(0), None));
        assert!(partition.is_new);
        assert!(!partition.is_in_siem(NextOffset(3), Some(NextOffset(0))), "that is another transaction's");
    }

    #[test]
    fn a_partition_that_comes_back_is_another_stay() {
        let mut partitions = assigned(5, 5);
        let before = partitions.get_mut(&id()).and_then(|partition| partition.siem).expect("siem").epoch;
        partitions.revoke(&"t".into(), 0);
        partitions.assign(
            id(),
            Arc::new(Route { source: SourceChoice::Auto, set: Vec::new() }),
            Starts { begun: NextOffset(0), siem: Some(NextOffset(5)), lake: None, lake_gap_from: None, is_new: false },
        );
        assert!(partitions.staying(&id(), Side::Siem, before).is_none());
    }

    #[test]
    fn holes_are_what_was_not_delivered() {
        assert_eq!(holes(NextOffset(3), [3, 4, 7, 8]), [(5, 7)]);
        assert_eq!(holes(NextOffset(0), [2]), [(0, 2)]);
        assert_eq!(holes_after(&[(0, 2), (5, 8)], NextOffset(6)).collect::<Vec<_>>(), [(6, 8)]);
    }
}
