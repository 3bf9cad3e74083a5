//! What becomes of letters, one by one.

use super::place::{Place, event, once};
use crate::kafka::broker;

#[test]
fn what_can_be_read_by_now_goes_to_both_sinks_once() {
    let mut place = Place::new(broker());
    let two = format!("[{},{}]", event(1), event(2));
    place.reject(&[&event(0), &two, "{", "[]"]);
    let versions = "SELECT count(*), sum(input_count) FROM activities";
    assert_eq!((place.num_rejected(), place.ask(versions).as_str()), (4, "4,4"));

    let plan = place.redrive(&[]);
    assert_eq!((plan.count("letters_read"), plan.count("redriven"), plan.count("stays_dead")), (4, 3, 1));
    assert_eq!(plan.count("rows"), 4);
    assert_eq!((place.num_rejected(), place.siem().len()), (4, 0), "a plan writes nothing");

    let done = place.redrive(&["--apply"]);
    assert_eq!((done.count("redriven"), done.count("stays_dead")), (3, 1), "{done:?}");
    let wanted = once([(0, 0), (1, 0), (1, 1)]);
    assert_eq!(place.siem(), wanted);
    // A record without events leaves a row and nothing else.
    assert_eq!(place.lake(), once([(0, 0), (1, 0), (1, 1), (3, 0)]));
    assert_eq!(place.num_rejected(), 1);
    let kept = "SELECT input_offset, input_index, input_count, received_time, input_topic_id, source, status \
                FROM activities ORDER BY 1, 2";
    let kept = place.ask(kept);
    assert!(kept.contains("1,1,2,2024-03-01T00:00:00.000001Z,t-1,acme,mapped"), "{kept}");
    assert!(kept.contains("3,0,0,2024-03-01T00:00:00.000003Z,t-1,unrecognised,empty"), "{kept}");
    place.assert_archive_is_valid();

    // Again: nothing is left to do, and nothing is done twice.
    let again = place.redrive(&["--apply"]);
    assert_eq!((again.count("redriven"), again.count("done_before"), again.count("stays_dead")), (0, 3, 1));
    assert_eq!(place.siem(), wanted);
}

#[test]
fn a_value_that_the_letter_shed_comes_from_the_lake() {
    let mut place = Place::new(broker());
    place.value_max = 10;
    place.reject(&[&event(0)]);
    let letter = place.scene.dead_letters.committed().remove(0);
    assert_eq!((letter.value.as_deref(), letter.header("actorline-size").is_some()), (Some(&b""[..]), true));
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 1);
    assert_eq!((place.siem(), place.lake()), (once([(0, 0)]), once([(0, 0)])));
}

#[test]
fn a_letter_counts_for_nothing_without_its_row_or_with_other_bytes() {
    let mut place = Place::new(broker());
    place.reject(&[&event(0)]);
    // Somebody with the right to write letters makes one up.
    place.send_letter(&place.record(0, &event(7)));
    place.send_letter(&place.record(99, &event(8)));
    place.scene.dead_letters.send(&place.scene.dead_letters.producer(None), 0, ["no letter"]);
    let done = place.redrive(&["--apply"]);
    let counts = ["redriven", "other_bytes", "not_in_lake", "no_letter"].map(|what| done.count(what));
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_eq!(place.siem(), once([(0, 0)]));
    assert_eq!(place.ask("SELECT event_uid FROM activities WHERE status = 'mapped'"), "acme:o-1:0");
}

#[test]
fn attempts_are_counted() {
    let mut place = Place::new(broker());
    place.reject(&["{"]);
    for _ in 0..2 {
        assert_eq!(place.redrive(&["--apply"]).count("stays_dead"), 1);
    }
    // The newer letter was tried less often than the older one, had that been read.
    place.reject(&[&event(1)]);
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 1);
    let sent = place.scene.siem.committed().remove(0);
    assert_eq!(sent.header("actorline-attempt"), Some("1"));
    assert_eq!(place.ask("SELECT input_context['redrive.attempt'] FROM activities WHERE status = 'mapped'"), "1");

    // A letter without its row waits for it: the lake may be behind.
    place.send_letter(&place.record(2, &event(2)));
    for _ in 0..2 {
        assert_eq!(place.redrive(&["--apply"]).count("not_in_lake"), 1);
    }
    place.reject(&[&event(2)]);
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 1);
    let attempts: Vec<String> = place
        .scene
        .siem
        .committed()
        .iter()
        .map(|sent| sent.header("actorline-attempt").expect("the header").to_string())
        .collect();
    assert!(attempts.contains(&"3".to_string()), "{attempts:?}");
    // What a mapping saw stays with the row: a replay gives the same.
    let location = place.location();
    place.runtime.block_on(async {
        let lake = actorline::sink::lake::Lake::open_existing(&location).await.expect("a lake");
        let mappings = std::fs::read_to_string(place.scene.folder.path().join("mappings/acme/mapping.yaml"));
        let normalizer = crate::rows::normalizer("acme", &mappings.expect("a mapping"));
        let plan = crate::replay::place::plan(&lake, &normalizer, &Default::default()).await;
        assert_eq!((plan.changes.num_read, plan.changes.num_changed), (3, 0));
    });
}
