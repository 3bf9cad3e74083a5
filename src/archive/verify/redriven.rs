//! Redriven records: with the rejected rows back in their places, a range must be what was sealed when it came.
//!
//! So nothing else changed with them: no other row went, came or became another, and each one that went stood there as the
//! only row of its record. That it was rejected its own derived columns say, and the sealed root over what was derived
//! vouches for these, until a replay gives the other rows of the range another one; from then on the redrive's seal does.

use std::collections::BTreeSet;

use crate::seal::{Range, RowLeaf, root_of};

/// In what way `rows`, which stand in order, are not those of `range` with some of them redriven; None if they are.
pub(super) fn differs(
    range: &Range,
    rows: &[RowLeaf],
    rejected: Vec<RowLeaf>,
    is_replayed: bool,
) -> Option<&'static str> {
    let redriven: BTreeSet<i64> = rejected.iter().map(|row| row.offset).collect();
    if redriven.is_empty() {
        return Some("names no rejected row that stood there");
    }
    if redriven.len() != rejected.len() {
        return Some("names two rejected rows of one record, or one twice");
    }
    let found: BTreeSet<i64> = rows.iter().map(|row| row.offset).filter(|offset| redriven.contains(offset)).collect();
    if found.len() != redriven.len() {
        return Some("leaves no row of a record that was rejected");
    }
    let mut before = rejected;
    before.extend(rows.iter().filter(|row| !redriven.contains(&row.offset)));
    before.sort_unstable();
    let has_root = before.len() as u64 == range.rows && root_of(before.iter().map(|row| row.raw)) == range.raw_root;
    if !has_root {
        return Some("is not in the place of rejected rows that were sealed there, or not alone");
    }
    let is_derived = root_of(before.iter().map(|row| row.derived)) == range.derived_root;
    (!is_derived && !is_replayed).then_some("is not in the place of rows that were rejected")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Digest;

    fn row(offset: i64, (index, count): (i64, i64), content: &str) -> RowLeaf {
        RowLeaf {
            offset,
            index,
            count,
            raw: Digest::of(format!("raw {offset}/{index} {content}").as_bytes()),
            derived: Digest::of(format!("derived {offset}/{index} {content}").as_bytes()),
        }
    }

    fn sealed(rows: &[RowLeaf]) -> Range {
        Range {
            topic: "t".to_string(),
            topic_id: None,
            partition: 0,
            advance: None,
            rows: rows.len() as u64,
            raw_root: root_of(rows.iter().map(|row| row.raw)),
            derived_root: root_of(rows.iter().map(|row| row.derived)),
        }
    }

    #[test]
    fn only_rejected_rows_give_way_and_only_to_rows_of_their_record() {
        let one = |offset, content| row(offset, (0, 1), content);
        let range = sealed(&[one(0, "event"), one(1, "rejected"), one(2, "event")]);
        let (first, second) = (row(1, (0, 2), "event"), row(1, (1, 2), "event"));
        let rows = [one(0, "event"), first, second, one(2, "event")];
        let is_accepted = |rows: &[RowLeaf], rejected: &[RowLeaf], is_replayed| {
            differs(&range, rows, rejected.to_vec(), is_replayed).is_none()
        };
        assert!(is_accepted(&rows, &[one(1, "rejected")], false));

        let another = RowLeaf { derived: Digest::of(b"another"), ..one(1, "rejected") };
        assert!(!is_accepted(&rows, &[another], false), "what went was not the row that was sealed");
        let replayed = [RowLeaf { derived: Digest::of(b"another"), ..one(0, "event") }, first, second, one(2, "event")];
        assert!(is_accepted(&replayed, &[one(1, "rejected")], true));

        assert!(!is_accepted(&rows, &[], false), "nothing went");
        assert!(!is_accepted(&rows, &[one(1, "rejected"), one(1, "rejected")], false), "one went twice");
        assert!(!is_accepted(&rows, &[one(1, "another")], false), "what went had not been sealed");
        assert!(!is_accepted(&rows, &[one(1, "rejected"), one(3, "more")], false), "one went that never was");
        assert!(!is_accepted(&rows[..3], &[one(1, "rejected")], false), "another row went with it");
        let other = [one(0, "other"), first, second, one(2, "event")];
        assert!(!is_accepted(&other, &[one(1, "rejected")], true), "another row is another");
        assert!(!is_accepted(&[one(0, "event"), one(2, "event")], &[one(1, "rejected")], false), "none came");
    }
}
