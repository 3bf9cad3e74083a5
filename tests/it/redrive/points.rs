//! Redrives killed at each point between two states: the next one finishes, whatever the one before left.

use super::place::{Place, event, once};
use crate::faults::Failpoints;
use crate::kafka::broker;

/// In the order in which a batch goes through them.
const POINTS: [&str; 13] = [
    "siem.connected",
    "redrive.kept",
    "siem.begun",
    "siem.half_sent",
    "siem.all_sent",
    "siem.positions_sent",
    "siem.committed",
    "redrive.sent",
    "rewrite.begun",
    "rewrite.committed",
    "rewrite.sealed",
    "redrive.brought",
    "redrive.forgotten",
];

#[test]
fn a_redrive_killed_at_any_point_is_finished_by_the_next() {
    let mut place = Place::new(broker());
    let failpoints = Failpoints::of(&mut place.scene);
    let mut wanted = Vec::new();
    for (point, number) in POINTS.iter().zip(0..) {
        // Each leaves two rows, and one of each round stays dead.
        place.reject(&[&format!("[{},{}]", event(2 * number), event(2 * number + 1)), "{"]);
        wanted.extend([(2 * number, 0), (2 * number, 1)]);
        failpoints.order(point, 0, "KILL");
        let killed = place.start(&["--apply"]).wait_with_output().expect("it ends");
        assert!(!killed.status.success() && !failpoints.waits(point), "{point}: {killed:?}");
        place.assert_archive_is_valid();
        let finished = place.redrive(&["--apply"]);
        assert_eq!(finished.count("stays_dead"), u64::try_from(number + 1).expect("few"), "{point}");
        let both = once(wanted.iter().copied());
        assert_eq!((place.siem(), place.lake()), (both.clone(), both), "{point}");
        assert!(place.kept_batches().is_empty(), "{point}");
        place.assert_archive_is_valid();
    }
}
