//! The SIEM has a batch and the lake does not: the next redrive brings the very same rows.

use std::fs;
use std::time::Duration;

use actorline::archive::retain::{self, retain};
use actorline::sink::lake::Lake;

use super::place::{Batches, Place, copy, event, once, take_table_back};
use crate::kafka::{broker, delete_group};

const BROUGHT: &str = "SELECT * FROM activities WHERE status = 'mapped'";

/// Redrives one letter and takes it out of the lake again, as if the redrive had died between the sinks. Gives the rows
/// that the lake had, and what was kept of the batch.
fn redrive_half(place: &Place<'_>) -> (String, Batches) {
    let saved = place.scene.folder.path().join("saved");
    copy(&place.scene.lake_path(), &saved);
    let (done, batches) = place.redrive_watched();
    assert_eq!(done.count("redriven"), 1);
    let brought = place.ask(BROUGHT);
    take_table_back(&saved, &place.scene.lake_path(), &batches);
    (brought, batches)
}

#[test]
fn the_lake_gets_what_the_siem_has_whatever_mappings_say_by_then() {
    let mut place = Place::new(broker());
    place.reject(&[&event(0), "{"]);
    let (brought, _) = redrive_half(&place);
    assert_eq!(place.num_rejected(), 2);

    let mapping = place.scene.folder.path().join("mappings/acme/mapping.yaml");
    let text = fs::read_to_string(&mapping).expect("a mapping").replace("service_account", "human");
    fs::write(&mapping, text).expect("written");
    let finished = place.redrive(&["--apply"]);
    assert!(finished.errors.contains("finished batch 1"), "{finished:?}");
    assert_eq!((finished.count("redriven"), finished.count("done_before")), (0, 1));
    assert_eq!(place.ask(BROUGHT), brought);
    assert_eq!((place.siem(), place.lake()), (once([(0, 0)]), once([(0, 0)])));
    place.assert_archive_is_valid();
}

/// Somebody who can write to the lake sees a redrive die between the sinks.
#[test]
fn nothing_else_is_brought_than_what_was_sent() {
    let mut place = Place::new(broker());
    place.reject(&[&event(0)]);
    let (_, batches) = redrive_half(&place);
    let (path, bytes) = batches.first();
    let mut other = bytes.to_vec();
    other[100] ^= 1;
    fs::write(path, other).expect("written");
    let refused = place.redrive(&["--apply"]);
    assert!(refused.code == Some(3) && refused.errors.contains("not what was sent"), "{refused:?}");
    fs::remove_file(path).expect("removed");
    let refused = place.redrive(&["--apply"]);
    assert!(refused.code == Some(4) && refused.errors.contains("not kept any more"), "{refused:?}");
    assert_eq!(place.num_rejected(), 1);
    fs::write(path, bytes).expect("written");
    assert_eq!(place.redrive(&["--apply"]).count("done_before"), 1);
    assert_eq!((place.siem(), place.lake()), (once([(0, 0)]), once([(0, 0)])));
}

#[test]
fn what_retention_took_in_between_does_not_come_back() {
    let mut place = Place::new(broker());
    place.reject(&[&event(0)]);
    redrive_half(&place);
    let options =
        retain::Options { older_than: Duration::ZERO, now: jiff::Timestamp::now(), holds: Vec::new(), dry_run: false };
    place.runtime.block_on(async {
        let lake = Lake::open(&place.location()).await.expect("a lake");
        retain(&lake, &options).await.expect("deleted");
    });
    // The second one does not wait for it any more.
    for _ in 0..2 {
        assert_eq!(place.redrive(&["--apply"]).count("not_in_lake"), 1);
    }
    assert!(place.kept_batches().is_empty());
    place.reject(&[&event(1)]);
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 1);
    assert_eq!((place.siem(), place.lake()), (once([(0, 0), (1, 0)]), once([(1, 0)])));
    place.assert_archive_is_valid();
}

/// Also of the very first batch, before which the brokers knew of none either.
#[test]
fn positions_that_the_brokers_forgot_are_not_guessed() {
    let broker = broker();
    let mut place = Place::new(broker);
    place.reject(&[&event(0)]);
    let (_, batches) = redrive_half(&place);
    delete_group(broker, &format!("{}.redrive", place.scene.group));

    let refused = place.redrive(&["--apply"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let position = format!("{}/0/0/0", place.scene.input.name);
    assert!(refused.errors.contains(&position) && refused.errors.contains("--unfinished"), "{refused:?}");
    assert_eq!(place.redrive(&["--apply", "--unfinished", "siem-has-it"]).count("done_before"), 1);
    assert_eq!((place.siem(), place.lake()), (once([(0, 0)]), once([(0, 0)])));

    // The next batch was kept, and never sent.
    place.reject(&[&event(1)]);
    let (path, bytes) = batches.first();
    let next = path.with_file_name("00000000000000000002.parquet");
    std::fs::write(&next, bytes).expect("written");
    delete_group(broker, &format!("{}.redrive", place.scene.group));
    assert_eq!(place.redrive(&["--apply"]).code, Some(4));
    let done = place.redrive(&["--apply", "--unfinished", "siem-lacks-it"]);
    assert_eq!((done.count("redriven"), done.count("done_before")), (1, 1));
    assert!(!next.exists(), "what is void goes");
    let both = once([(0, 0), (1, 0)]);
    assert_eq!((place.siem(), place.lake()), (both.clone(), both));
    place.assert_archive_is_valid();
}
