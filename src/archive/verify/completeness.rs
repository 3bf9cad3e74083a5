//! Completeness of one range: every offset that the broker delivered, and of each record every index, once.

use crate::seal::{Range, RowLeaf};

/// Faults named of one range; more of them say the same.
const NUM_FAULTS_MAX: usize = 20;

/// What is wrong with `rows`, which stand in order, and how many records they are.
pub(super) fn check(range: &Range, rows: &[RowLeaf]) -> (Vec<String>, u64) {
    let mut faults = Faults::default();
    let mut num_records = 0;
    let mut gaps = Gaps::of(range);
    if let Some((from, end)) = range.advance.as_ref().and_then(|span| Some((span.from, span.gap?))) {
        faults.push(format!(
            "gap: the broker deleted offsets {from} to {} before they were read, and an operator went on without them",
            end.saturating_sub(1)
        ));
    }
    for record in rows.chunk_by(|a, b| a.offset == b.offset) {
        let offset = record[0].offset;
        num_records += 1;
        // A file has no positions: it may have been read twice, each time whole.
        let times = if range.advance.is_some() { 1 } else { record.iter().filter(|row| row.index == 0).count().max(1) };
        let wanted = record[0].count.max(1);
        let is_whole = record.iter().all(|row| row.count == record[0].count)
            && record.len() as u64 == wanted.unsigned_abs() * times as u64
            && record.chunks(times).zip(0..).all(|(rows, index)| rows.iter().all(|row| row.index == index));
        if !is_whole {
            let indexes: Vec<String> = record.iter().take(10).map(|row| row.index.to_string()).collect();
            faults
                .push(format!("the record at offset {offset} has {wanted} events, and indexes {}", indexes.join(", ")));
        }
        if let Some(gaps) = &mut gaps {
            gaps.reach(offset, &mut faults);
        }
    }
    if let Some(gaps) = gaps {
        gaps.end(&mut faults);
    }
    (faults.finish(), num_records)
}

/// The walk through a range's offsets.
struct Gaps<'a> {
    next: i64,
    to: i64,
    undelivered: &'a [(i64, i64)],
}

impl<'a> Gaps<'a> {
    fn of(range: &'a Range) -> Option<Gaps<'a>> {
        let span = range.advance.as_ref()?;
        Some(Gaps { next: span.gap.unwrap_or(span.from), to: span.to, undelivered: &span.undelivered })
    }

    fn reach(&mut self, offset: i64, faults: &mut Faults) {
        if offset < self.next {
            faults.push(format!("offset {offset} lies outside of the range, or was never delivered"));
            return;
        }
        self.pass_to(offset, faults);
        if offset >= self.to {
            faults.push(format!("offset {offset} lies beyond the end of the range, {}", self.to));
        }
        self.next = offset + 1;
    }

    fn end(mut self, faults: &mut Faults) {
        let to = self.to;
        if self.next < to {
            self.pass_to(to, faults);
        }
    }

    /// Every offset before `offset` must be one that the broker never delivered.
    fn pass_to(&mut self, offset: i64, faults: &mut Faults) {
        while self.next < offset {
            match self.undelivered.first() {
                Some((_, end)) if *end <= self.next => self.undelivered = &self.undelivered[1..],
                Some((start, end)) if *start <= self.next => {
                    if *end > offset && offset < self.to {
                        faults.push(format!("offset {offset} has rows, though it was never delivered"));
                    }
                    self.next = (*end).min(offset);
                }
                next => {
                    let end = next.map_or(offset, |(start, _)| (*start).min(offset));
                    faults.push(match end - self.next {
                        1 => format!("gap: offset {} has no row", self.next),
                        _ => format!("gap: offsets {} to {} have no row", self.next, end - 1),
                    });
                    self.next = end;
                }
            }
        }
        // The very next one may be marked too.
        if let Some((start, end)) = self.undelivered.iter().find(|(_, end)| *end > offset)
            && *start == offset
            && *end > offset
            && offset < self.to
        {
            faults.push(format!("offset {offset} has rows, though it was never delivered"));
        }
    }
}

#[derive(Default)]
struct Faults {
    named: Vec<String>,
    num_more: usize,
}

impl Faults {
    fn push(&mut self, fault: String) {
        if self.named.len() < NUM_FAULTS_MAX {
            self.named.push(fault);
        } else {
            self.num_more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.num_more > 0 {
            self.named.push(format!("and {} more like these", self.num_more));
        }
        self.named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Digest, Span};

    fn rows(positions: &[(i64, i64, i64)]) -> Vec<RowLeaf> {
        let digest = Digest::of(b"");
        positions
            .iter()
            .map(|(offset, index, count)| RowLeaf {
                offset: *offset,
                index: *index,
                count: *count,
                raw: digest,
                derived: digest,
            })
            .collect()
    }

    /// From, to, and what was never delivered.
    type Advance<'a> = (i64, i64, &'a [(i64, i64)]);

    fn faults(advance: Option<Advance<'_>>, positions: &[(i64, i64, i64)]) -> Vec<String> {
        faults_behind_gap(None, advance, positions)
    }

    fn faults_behind_gap(gap: Option<i64>, advance: Option<Advance<'_>>, positions: &[(i64, i64, i64)]) -> Vec<String> {
        let range = Range {
            topic: "t".to_string(),
            topic_id: None,
            partition: 0,
            advance: advance.map(|(from, to, undelivered)| Span { from, to, gap, undelivered: undelivered.to_vec() }),
            rows: positions.len() as u64,
            raw_root: Digest::of(b""),
            derived_root: Digest::of(b""),
        };
        check(&range, &rows(positions)).0
    }

    #[test]
    fn what_was_never_delivered_is_no_gap() {
        let markers = [(0, 1), (2, 4), (9, 10)];
        let found: Vec<_> = [1, 4, 5, 6, 7, 8].map(|offset| (offset, 0, 1)).to_vec();
        assert_eq!(faults(Some((0, 10, &markers)), &found), [""; 0]);
        assert_eq!(faults(Some((0, 3, &[(0, 3)])), &[]), [""; 0]);
    }

    #[test]
    fn a_missing_offset_is_a_gap_wherever_it_is() {
        assert_eq!(faults(Some((0, 3, &[])), &[(1, 0, 1), (2, 0, 1)]), ["gap: offset 0 has no row"]);
        assert_eq!(faults(Some((0, 4, &[])), &[(0, 0, 1), (3, 0, 1)]), ["gap: offsets 1 to 2 have no row"]);
        assert_eq!(faults(Some((0, 3, &[(1, 2)])), &[(0, 0, 1)]), ["gap: offset 2 has no row"]);
        assert_eq!(faults(Some((0, 2, &[])), &[]), ["gap: offsets 0 to 1 have no row"]);
    }

    #[test]
    fn a_gap_that_an_operator_accepted_is_told_apart() {
        let accepted =
            "gap: the broker deleted offsets 3 to 5 before they were read, and an operator went on without them";
        assert_eq!(faults_behind_gap(Some(6), Some((3, 8, &[])), &[(6, 0, 1), (7, 0, 1)]), [accepted]);
        assert_eq!(faults_behind_gap(Some(6), Some((3, 6, &[])), &[]), [accepted]);
        let found = faults_behind_gap(Some(6), Some((3, 8, &[])), &[(7, 0, 1)]);
        assert_eq!(found, [accepted, "gap: offset 6 has no row"]);
    }

    #[test]
    fn rows_where_none_can_be_are_told() {
        assert_eq!(faults(Some((0, 2, &[(1, 2)])), &[(0, 0, 1), (1, 0, 1)]).len(), 1);
        assert_eq!(faults(Some((5, 6, &[])), &[(4, 0, 1), (5, 0, 1)]).len(), 1);
        assert_eq!(faults(Some((5, 6, &[])), &[(5, 0, 1), (6, 0, 1)]).len(), 1);
    }

    #[test]
    fn every_index_of_a_record_is_there_once() {
        assert_eq!(faults(Some((0, 1, &[])), &[(0, 0, 3), (0, 1, 3), (0, 2, 3)]), [""; 0]);
        assert_eq!(faults(Some((0, 1, &[])), &[(0, 0, 0)]), [""; 0], "a record without events has a row");
        for wrong in [
            &[(0, 0, 2)][..],
            &[(0, 1, 2)],
            &[(0, 0, 1), (0, 0, 1)],
            &[(0, 0, 2), (0, 1, 2), (0, 2, 2)],
            &[(0, 0, 2), (0, 1, 3)],
            &[(0, 0, 2), (0, 2, 2)],
        ] {
            assert_eq!(faults(Some((0, 1, &[])), wrong).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn a_file_may_be_read_twice_but_only_whole() {
        assert_eq!(faults(None, &[(0, 0, 2), (0, 0, 2), (0, 1, 2), (0, 1, 2), (90, 0, 1)]), [""; 0]);
        assert_eq!(faults(None, &[(0, 0, 2), (0, 0, 2), (0, 1, 2)]).len(), 1);
    }
}
