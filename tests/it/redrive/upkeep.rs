//! Redrives beside everything else that writes to the lake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actorline::archive::compact::{self, compact};
use actorline::archive::retain::{self, retain};
use actorline::archive::vacuum::{self, vacuum};
use actorline::checkpoint::{Advance, NextOffset};
use actorline::pipeline::replay::{Applied, Selection};
use actorline::sink::lake::Lake;

use super::place::{Place, event, once};
use crate::kafka::broker;
use crate::lake::rows::{at, batch, partition};
use crate::replay::place::{apply, plan};
use crate::run::instance::{self, SetWhenDropped, eventually};

const LARGE: compact::Options = compact::Options { target_file_bytes: 1 << 27 };

#[test]
fn an_archive_stays_valid_through_redrives_and_upkeep_in_any_order() {
    let mut place = Place::new(broker());
    place.reject(&[&event(0), "{", &format!("[{},{}]", event(2), event(3))]);
    place.reject(&[&event(4), "{"]);
    let location = place.location();
    let open = || async { Lake::open(&location).await.expect("a lake") };
    place.compact();
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 3);
    place.assert_archive_is_valid();
    place.reject(&[&event(5), "{"]);
    place.compact();
    place.assert_archive_is_valid();

    // Other mappings than those by which the letters were redriven.
    let human = "\nsource: acme\ntitle: t\ndocumentation: https://docs.example.com/audit\n\
                 recognise: { has: [acme_id, op] }\ncolumns: { event_uid: acme_id, action: op, actor_id: actor }\n\
                 actor_type: [ { case: named, is: human, basis: declared, when: { actor: { exists: true } } } ]\n\
                 cannot_tell: []\n";
    let normalizer = crate::rows::normalizer("acme", human);
    place.runtime.block_on(async {
        let (lake, everything) = (open().await, Selection::default());
        let planned = plan(&lake, &normalizer, &everything).await;
        let applied = apply(&lake, &normalizer, &everything, planned).await;
        assert!(matches!(applied, Applied::Swapped { .. }), "{applied:?}");
    });
    place.assert_archive_is_valid();
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 1);
    place.assert_archive_is_valid();
    let both = once([(0, 0), (2, 0), (2, 1), (3, 0), (5, 0)]);
    assert_eq!((place.lake(), place.siem()), (both.clone(), both));

    // What rewrites have replaced goes; what is left of rejected rows stays.
    let options = vacuum::Options {
        older_than: Duration::ZERO,
        now: jiff::Timestamp::now() + Duration::from_secs(60),
        anchor: None,
        dry_run: false,
    };
    std::fs::write(place.scene.lake_path().join("rejected/of-none.parquet"), "left over").expect("written");
    let gone = place.runtime.block_on(async { vacuum(&open().await, &options).await }).expect("vacuumed");
    let from_rejected: Vec<&str> =
        gone.iter().map(|it| it.path.as_str()).filter(|path| path.starts_with("rejected/")).collect();
    assert_eq!(from_rejected, ["rejected/of-none.parquet"]);
    place.assert_archive_is_valid();

    let options =
        retain::Options { older_than: Duration::ZERO, now: jiff::Timestamp::now(), holds: Vec::new(), dry_run: false };
    place.runtime.block_on(async { retain(&open().await, &options).await }).expect("deleted");
    place.assert_archive_is_valid();
    // What went lawfully does not come back.
    assert_eq!(place.redrive(&["--apply"]).count("not_in_lake"), 4);
    place.assert_archive_is_valid();
}

#[test]
fn compactions_of_the_same_files_do_not_stop_a_redrive() {
    let mut place = Place::new(broker());
    let values: Vec<String> = (0..60).map(event).collect();
    place.reject(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let (location, group) = (place.location(), place.scene.group.clone());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetWhenDropped(&is_over);
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let lake = Lake::open(&location).await.expect("a lake");
                let mut offset = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let files = lake.write_files(&[batch(&[at(offset)])]).await.expect("files");
                    let (from, to) = (NextOffset(offset), NextOffset(offset + 1));
                    let advance = Advance { from, to, undelivered: Vec::new(), gap: None };
                    lake.commit(&group, files, &[(partition(0), advance)].into()).await.expect("a commit");
                    compact(&lake, &LARGE).await.expect("compacted");
                    offset += 1;
                    // Far more often than anybody compacts, and a redrive still gets its turn on a busy machine.
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
                assert!(offset > 3, "{offset} compactions");
            });
        });
        let done = place.redrive(&["--apply", "--batch-letters", "6"]);
        assert_eq!(done.count("redriven"), 60, "{done:?}");
    });
    assert_eq!((place.num_rejected(), place.siem()), (0, once((0..60).map(|number| (number, 0)))));
    place.assert_archive_is_valid();
}

#[test]
fn a_run_goes_on_while_its_letters_are_redriven() {
    let broker = broker();
    let mut place = Place::beginning_at(broker, 1_000_000);
    place.scene.lake_settings = "commit_interval_ms: 200".to_string();
    let values: Vec<String> = (0..40).map(event).collect();
    place.reject(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let instance = place.scene.start("one", None);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetWhenDropped(&is_over);
        let scene = &place.scene;
        scope.spawn(|| {
            let producer = scene.input.producer(None);
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let broken = if number % 5 == 0 { "{".to_string() } else { instance::event(number) };
                scene.input.send(&producer, 0, [broken]);
                number += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        eventually("the run commits", Duration::from_secs(30), || place.siem().len() > 20);
        let done = place.redrive(&["--apply", "--batch-letters", "5"]);
        assert_eq!(done.count("redriven"), 40, "{done:?}");
    });
    let num_sent = place.scene.input.committed().len();
    let redriven: Vec<(i64, i64)> = (1_000_000..1_000_040).map(|offset| (offset, 0)).collect();
    eventually("the lake has everything", Duration::from_secs(30), || {
        place.lake().len() + place.num_rejected() == num_sent + redriven.len()
    });
    assert!(instance.terminate().success());
    let (lake, siem) = (place.lake(), place.siem());
    assert_eq!(lake, siem);
    assert!(lake.values().all(|times| *times == 1));
    let of_letters: Vec<(i64, i64)> =
        lake.keys().map(|(_, offset, index)| (*offset, *index)).filter(|(offset, _)| *offset >= 1_000_000).collect();
    assert_eq!(of_letters, redriven);
    assert_eq!(place.redrive(&["--apply"]).count("redriven"), 0);
    place.assert_archive_is_valid();
}
