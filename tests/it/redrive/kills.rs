//! Redrives killed at random: every letter that can be read by now is in both sinks once.

use std::time::Duration;

use super::place::{Place, event, once};
use crate::kafka::broker;

const NUM_LETTERS: i64 = 120;
const NUM_ROUNDS: u64 = 14;

#[test]
fn a_redrive_that_is_killed_again_and_again_doubles_nothing_and_loses_nothing() {
    let mut place = Place::new(broker());
    // In several files of the lake.
    for first in (0..NUM_LETTERS).step_by(40) {
        let values: Vec<String> =
            (first..first + 40).map(|number| if number % 10 == 9 { "{".to_string() } else { event(number) }).collect();
        place.reject(&values.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(place.redrive(&[]).count("redriven"), 108);
    let mut num_done = Vec::new();
    for round in 0..NUM_ROUNDS {
        let before = place.kept_batches();
        let mut process = place.start(&["--apply", "--batch-letters", "5"]);
        // From the moment on at which it keeps a batch, it is the SIEM's turn and then the lake's.
        while place.kept_batches().is_subset(&before) && process.try_wait().expect("asked").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 53 % 300));
        process.kill().expect("killed");
        process.wait().expect("gone");
        num_done.push((place.siem().len(), place.lake().len()));
        place.assert_archive_is_valid();
        if round % 3 == 2 {
            place.compact();
        }
    }
    println!("rows in the SIEM and in the lake after each kill: {num_done:?}");
    assert!(place.redrive(&["--apply", "--batch-letters", "5"]).count("stays_dead") == 12);
    let wanted = once((0..NUM_LETTERS).filter(|number| number % 10 != 9).map(|number| (number, 0)));
    assert_eq!(place.lake(), wanted);
    assert_eq!(place.siem(), wanted);
    assert_eq!(place.num_rejected(), 12);
    place.assert_archive_is_valid();
}

#[test]
fn of_two_redrives_at_once_one_gives_way() {
    let mut place = Place::new(broker());
    let values: Vec<String> = (0..60).map(event).collect();
    place.reject(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let both: Vec<_> = (0..2).map(|_| place.start(&["--apply", "--batch-letters", "3"])).collect();
    let ended: Vec<_> = both.into_iter().map(|process| process.wait_with_output().expect("ends")).collect();
    let said: Vec<String> = ended.iter().map(|one| String::from_utf8_lossy(&one.stderr).into_owned()).collect();
    assert!(ended.iter().any(|one| one.status.success()), "{said:?}");
    place.redrive(&["--apply"]);
    let wanted = once((0..60).map(|number| (number, 0)));
    assert_eq!((place.lake(), place.siem()), (wanted.clone(), wanted), "{said:?}");
}
