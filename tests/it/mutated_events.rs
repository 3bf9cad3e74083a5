//! The shipped mappings on events that somebody damaged: every record leaves its rows, whatever is in it.

use std::sync::{Arc, LazyLock};

use actorline::activity::taxonomy::Status;
use actorline::activity::{Column, Value};
use actorline::identity::Registry;
use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::pipeline::normalize::{Normalizer, Route, Scratch, SourceChoice};
use proptest::prelude::*;

use crate::rows;

static NORMALIZER: LazyLock<Normalizer> = LazyLock::new(|| {
    let library = Library::compile(&mapping_files::shipped()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Normalizer::new(Arc::new(library), Arc::new(Registry::empty()))
});

/// The events of the shipped cases, with their sources.
static EVENTS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let files = mapping_files::shipped();
    let events = files.iter().filter_map(|(path, text)| {
        let (source, _) = path.split_once("/tests/")?;
        let case: serde_json::Value = serde_json::from_str(text).ok()?;
        Some((source.to_string(), case.get("input")?.to_string()))
    });
    events.collect()
});

/// Pieces that change what an event means to a parser, and values that no rule expects.
const PIECES: [&str; 16] = [
    "null",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\\u0000\"",
    "[[[[1]]]]",
    "{\"a\":{\"a\":1}}",
    ",",
    "\"",
    "\"\u{202e}\"",
    "true",
    "\"9999-12-31T23:59:59Z\"",
    "\"::ffff:192.0.2.1%x\"",
];

/// Replaces the JSON value that begins at or behind `at` by `piece`, as far as it can be told without parsing.
fn damage(event: &str, at: usize, piece: &str) -> String {
    let starts: Vec<usize> = event.match_indices(':').map(|(index, _)| index + 1).collect();
    let Some(start) = starts.get(at % starts.len().max(1)).copied() else { return piece.to_string() };
    let end = event[start..].find([',', '}', ']']).map_or(event.len(), |length| start + length);
    format!("{}{piece}{}", &event[..start], &event[end..])
}

fn check(record: &[u8], route: &Route) -> Result<(), TestCaseError> {
    let mut places = Vec::new();
    NORMALIZER.normalize(&rows::record(record), route, &mut Scratch::default(), &mut |row, rejection| {
        places.push([Column::InputIndex, Column::InputCount].map(|column| match row.get(column) {
            Value::Int(number) => number,
            other => panic!("{other:?} is no number"),
        }));
        let is_rejected = row.text(Column::Status) == Some(Status::Rejected.as_str());
        assert_eq!(is_rejected, rejection.is_some());
    });
    prop_assert!(!places.is_empty());
    let num_rows = i64::try_from(places.len()).unwrap_or_default();
    for (wanted, [index, count]) in (0..).zip(places) {
        prop_assert!(count == num_rows || (count == 0 && num_rows == 1));
        prop_assert_eq!(index, wanted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_damaged_event_leaves_its_rows(
        chosen in any::<prop::sample::Index>(),
        damages in prop::collection::vec((any::<usize>(), prop::sample::select(&PIECES[..])), 1..6),
        is_named in any::<bool>(),
    ) {
        let (source, event) = chosen.get(&EVENTS[..]);
        let damaged = damages.iter().fold(event.clone(), |event, (at, piece)| damage(&event, *at, piece));
        let source = if is_named { SourceChoice::Named(source.clone()) } else { SourceChoice::Auto };
        check(damaged.as_bytes(), &Route { source, set: Vec::new() })?;
    }

    #[test]
    fn flipped_bytes_leave_their_rows(
        chosen in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (source, event) = chosen.get(&EVENTS[..]);
        let mut bytes = event.clone().into_bytes();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes, &Route { source: SourceChoice::Named(source.clone()), set: Vec::new() })?;
    }
}
