//! Origins: which commit brought a row, after a rewrite has put rows of many commits into one file.
//!
//! A root is sealed once, with the commit that brought the rows. A rewritten file names the versions that its rows come
//! from, and a row's place tells which of them is its own: the ranges of one group do not overlap.

use std::collections::BTreeMap;

use super::leaf::Leaves;
use super::statement::{Range, Span};
use crate::checkpoint::TopicPartition;

/// Commits whose rows can be told apart.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// By first offset, with the end.
    by_partition: BTreeMap<TopicPartition, BTreeMap<i64, (i64, u64)>>,
}

impl Origins {
    /// Adds the commit of `version`. False, and nothing is added, if some of its rows could be another's as well: two
    /// groups read the same records, or the ranges have no positions.
    pub fn add(&mut self, version: u64, ranges: &[Range]) -> bool {
        let is_free = ranges.iter().all(|range| {
            let (from, to) = ends(range.advance.as_ref());
            let known = self.by_partition.get(&range.partition());
            let last_before = known.and_then(|known| known.range(..to).next_back());
            last_before.is_none_or(|(_, (end, _))| *end <= from)
        });
        if is_free {
            for range in ranges {
                let (from, to) = ends(range.advance.as_ref());
                self.by_partition.entry(range.partition()).or_default().insert(from, (to, version));
            }
        }
        is_free
    }

    /// The version that brought the row at `offset`; None if none of them did.
    pub fn of(&self, partition: &TopicPartition, offset: i64) -> Option<u64> {
        let (_, (end, version)) = self.by_partition.get(partition)?.range(..=offset).next_back()?;
        (offset < *end).then_some(*version)
    }
}

/// The leaves of rows, by the version that brought them.
pub type LeavesByOrigin = BTreeMap<u64, Leaves>;

/// The rows of one file by the commits that brought them, and how many rows none of these brought.
pub fn split_by_origin<'a>(
    leaves: Leaves,
    versions: &[u64],
    ranges_of: impl Fn(u64) -> Option<&'a [Range]>,
) -> (LeavesByOrigin, usize) {
    // All of them, also those that are in no range: whoever compares roots tells.
    if let [version] = versions {
        return (LeavesByOrigin::from([(*version, leaves)]), 0);
    }
    let mut origins = Origins::default();
    for version in versions {
        let Some(ranges) = ranges_of(*version) else { continue };
        // Where two could have brought a row, none of the second one's is found, and its root does not hold.
        origins.add(*version, ranges);
    }
    let (mut rows, mut num_strangers) = (LeavesByOrigin::new(), 0);
    for (partition, of_partition) in leaves {
        for row in of_partition {
            match origins.of(&partition, row.offset) {
                Some(version) => rows.entry(version).or_default().entry(partition.clone()).or_default().push(row),
                None => num_strangers += 1,
            }
        }
    }
    (rows, num_strangers)
}

/// Without positions a range may hold any offset.
fn ends(span: Option<&Span>) -> (i64, i64) {
    span.map_or((i64::MIN, i64::MAX), |span| (span.from, span.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Digest;

    fn range(partition: i32, span: Option<(i64, i64)>) -> Range {
        Range {
            topic: "t".to_string(),
            topic_id: None,
            partition,
            advance: span.map(|(from, to)| Span { from, to, gap: None, undelivered: Vec::new() }),
            rows: 0,
            raw_root: Digest::of(b""),
            derived_root: Digest::of(b""),
        }
    }

    #[test]
    fn a_row_belongs_to_the_commit_whose_range_holds_it() {
        let mut origins = Origins::default();
        assert!(origins.add(3, &[range(0, Some((5, 9)))]));
        assert!(origins.add(2, &[range(0, Some((0, 5))), range(1, Some((0, 9)))]));
        let partition = range(0, None).partition();
        let found = [0, 4, 5, 8, 9].map(|offset| origins.of(&partition, offset));
        assert_eq!(found, [Some(2), Some(2), Some(3), Some(3), None]);
    }

    #[test]
    fn commits_of_the_same_records_are_not_told_apart() {
        let mut origins = Origins::default();
        assert!(origins.add(1, &[range(0, Some((5, 9)))]));
        for span in [Some((8, 9)), Some((0, 6)), Some((0, 90)), None] {
            assert!(!origins.add(2, &[range(1, Some((0, 1))), range(0, span)]), "{span:?}");
        }
        assert_eq!(origins.of(&range(1, None).partition(), 0), None, "all of a commit or nothing");
        assert!(origins.add(2, &[range(1, None)]));
    }
}
