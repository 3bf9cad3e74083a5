//! What each step of the pipeline costs for one event, beside parsing the same event into a tree of values.
//!
//! `cargo bench` prints microseconds an event and the ratio to that parse, all from one run: the microseconds are this
//! machine's, the ratios travel. The events are those of the mappings' own cases.

#![allow(clippy::panic, reason = "a bench that cannot run has nothing to say")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actorline::activity::arrow::RowBuilder;
use actorline::activity::json::write_object;
use actorline::activity::{Activity, Column, Value};
use actorline::envelope;
use actorline::identity::Registry;
use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::pipeline::normalize::{Normalizer, Route, Scratch, SourceChoice};
use actorline::record::{Position, RawRecord};
use actorline::sink::lake::{Lake, LakeLocation};
use bumpalo::Bump;

/// Rounds of each step; the best one counts, because noise only ever adds.
const NUM_ROUNDS: usize = 7;

/// How often the corpus is repeated in a round, so that a round takes tens of milliseconds.
const NUM_REPEATS: usize = 20;

fn main() {
    let corpus = corpus();
    let num_bytes: usize = corpus.iter().map(|(_, record)| record.value.as_ref().map_or(0, Vec::len)).sum();
    println!("{} events of {} bytes on average, best of {NUM_ROUNDS} rounds\n", corpus.len(), num_bytes / corpus.len());
    let library = Library::compile(&mapping_files::shipped()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let normalizer = Normalizer::new(Arc::new(library), Arc::new(Registry::empty()));

    let tree = time(&corpus, |_, record| {
        let value = record.value.as_deref().unwrap_or_default();
        black_box(serde_json::from_slice::<serde_json::Value>(value).ok());
    });
    println!("{:<44} {:>8} {:>7}", "step", "µs/event", "ratio");
    let show = |name: &str, step: Duration| {
        let micros = step.as_secs_f64() * 1e6;
        println!("{name:<44} {micros:>8.2} {:>7.2}", step.as_secs_f64() / tree.as_secs_f64());
    };
    show("a tree of values (serde_json::Value)", tree);

    let mut arena = Bump::new();
    let decode = time(&corpus, |_, record| {
        arena.reset();
        black_box(envelope::cut(record, &arena).map(|events| events.len()).ok());
    });
    show("decode", decode);
    let mut scratch = Scratch::default();
    let named = time(&corpus, |source, record| {
        normalizer.normalize(record, source, &mut scratch, &mut |row, _| touch(row));
    });
    show("decode + map + attribute, source named", named);
    let auto = Route::default();
    let recognised = time(&corpus, |_, record| {
        normalizer.normalize(record, &auto, &mut scratch, &mut |row, _| touch(row));
    });
    show("decode + recognise + map + attribute", recognised);
    let registry = normalizer.registry();
    let mut out = Vec::new();
    let with_json = time(&corpus, |source, record| {
        normalizer.normalize(record, source, &mut scratch, &mut |row, _| {
            out.clear();
            write_object(&mut out, row, |column| !matches!(column, Column::Raw | Column::RawEncoding));
        });
    });
    show("  the outgoing JSON", with_json.saturating_sub(named));
    let mut rows = RowBuilder::default();
    let with_rows = time(&corpus, |source, record| {
        if rows.num_rows() > 100_000 {
            rows = RowBuilder::default();
        }
        normalizer.normalize(record, source, &mut scratch, &mut |row, _| rows.append(row));
    });
    show("  the rows of the lake in memory", with_rows.saturating_sub(named));
    let attribute = time(&corpus, |source, record| {
        normalizer.normalize(record, source, &mut scratch, &mut |row, _| {
            let mut row = row.clone();
            registry.attribute(&mut row);
            touch(&row);
        });
    });
    show("  attribute", attribute.saturating_sub(named));
    let files = lake_files(&normalizer, &corpus);
    show("  the files of the lake", files);
    show("the whole, source named", named + with_json.saturating_sub(named) + with_rows.saturating_sub(named) + files);
}

fn touch(row: &Activity<'_>) {
    black_box(matches!(row.get(Column::ActorId), Value::Null));
}

/// Events of the shipped cases that are JSON objects, with the source that each is for.
fn corpus() -> Vec<(Route, RawRecord)> {
    let mut corpus = Vec::new();
    for (path, text) in mapping_files::shipped() {
        let Some((source, _)) = path.split_once("/tests/") else { continue };
        let Ok(case) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        let Some(input) = case.get("input").filter(|input| input.is_object()) else { continue };
        let record = RawRecord {
            position: Position { topic: "bench".into(), partition: 0, offset: 0 },
            topic_id: None,
            timestamp: Some(1_735_689_600_000_000),
            key: None,
            headers: Vec::new(),
            value: Some(input.to_string().into_bytes()),
        };
        corpus.push((Route { source: SourceChoice::Named(source.to_string()), set: Vec::new() }, record));
    }
    corpus
}

/// The time of one event in the best round.
fn time(corpus: &[(Route, RawRecord)], mut step: impl FnMut(&Route, &RawRecord)) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..NUM_ROUNDS {
        let start = Instant::now();
        for _ in 0..NUM_REPEATS {
            for (route, record) in corpus {
                step(route, record);
            }
        }
        best = best.min(start.elapsed());
    }
    best / u32::try_from(corpus.len() * NUM_REPEATS).unwrap_or(u32::MAX)
}

/// The time that one row takes on its way into Parquet files on the local disk.
fn lake_files(normalizer: &Normalizer, corpus: &[(Route, RawRecord)]) -> Duration {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let lake = open_lake(&runtime, folder.path());
    let mut rows = RowBuilder::default();
    let mut scratch = Scratch::default();
    for _ in 0..NUM_REPEATS * 5 {
        for (route, record) in corpus {
            normalizer.normalize(record, route, &mut scratch, &mut |row, _| rows.append(row));
        }
    }
    let num_rows = u32::try_from(rows.num_rows()).unwrap_or(u32::MAX);
    let batch = rows.finish().unwrap_or_else(|error| panic!("{error}"));
    let mut best = Duration::MAX;
    for _ in 0..NUM_ROUNDS {
        let start = Instant::now();
        let files = runtime.block_on(lake.write_files(std::slice::from_ref(&batch)));
        black_box(files.unwrap_or_else(|error| panic!("{error}")));
        best = best.min(start.elapsed());
    }
    best / num_rows
}

fn open_lake(runtime: &tokio::runtime::Runtime, folder: &Path) -> Lake {
    let location = LakeLocation::new(folder.to_string_lossy());
    runtime.block_on(Lake::open(&location)).unwrap_or_else(|error| panic!("{error}"))
}
