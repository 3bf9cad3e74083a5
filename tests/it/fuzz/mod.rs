//! Damaged input: records, paths and mapping files that somebody broke. Each leaves its rows or its diagnostics; nothing
//! panics, runs without end, or takes memory without bound.
//!
//! The rounds run in a process of their own under limits of the system's on its time and memory, which would end it.
//! `make fuzz ROUNDS=1000` runs them long. The input at hand is kept in a file, whose path a failure shows.

mod mutate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use actorline::activity::taxonomy::Status;
use actorline::activity::{Column, Value};
use actorline::envelope;
use actorline::identity::Registry;
use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::mapping::json::Json;
use actorline::mapping::lint::lint;
use actorline::mapping::path::Path as FieldPath;
use actorline::mapping::projection::Projection;
use actorline::pipeline::normalize::{Normalizer, Route, Scratch, SourceChoice};
use bumpalo::Bump;

use self::mutate::Chooser;
use crate::rows;

/// Names the folder for the input at hand in the process that runs the rounds; not set in the one that starts it.
const CHILD: &str = "ACTORLINE_FUZZ_CHILD";
/// How many rounds to run; each damages every case of every mapping once.
const ROUNDS: &str = "ACTORLINE_FUZZ_ROUNDS";
/// Where the choices begin.
const SEED: &str = "ACTORLINE_FUZZ_SEED";

/// Rounds of an ordinary run: some thousand records in as many milliseconds.
const NUM_ROUNDS: u64 = 2;

/// Memory of the process that runs the rounds, all libraries and threads included. One record may unpack to 64 MB.
const MEMORY_KIB: usize = 2_500_000;

/// Processor time of one round: far more than it takes on any machine, and an end for one that would not end.
const SECONDS_PER_ROUND: u64 = 300;

#[test]
fn damaged_input_leaves_its_rows_within_limits() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let num_rounds = number(ROUNDS).unwrap_or(NUM_ROUNDS);
    let seed = number(SEED).unwrap_or(1);
    if let Some(folder) = std::env::var_os(CHILD) {
        Rounds::new(Path::new(&folder)).run(seed, num_rounds);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let limits =
        format!("ulimit -v {MEMORY_KIB} && ulimit -t {} && exec \"$0\" \"$@\"", SECONDS_PER_ROUND * num_rounds);
    let output = Command::new("sh")
        .args(["-c", &limits])
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", "fuzz::damaged_input_leaves_its_rows_within_limits", "--nocapture"])
        .env(CHILD, folder.path())
        // Arenas of threads would each reserve addresses that count and hold nothing.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let kept = folder.keep();
    assert!(output.status.success(), "seed {seed}, input in {}: {}\n{text}", kept.display(), output.status);
    assert!(text.contains("rounds done"), "{text}");
    std::fs::remove_dir_all(kept).expect("removable");
}

/// What the rounds start from.
struct Rounds {
    /// The events of the shipped cases, with their sources.
    events: Vec<(String, String)>,
    normalizer: Normalizer,
    files: BTreeMap<String, String>,
    at_hand: PathBuf,
}

impl Rounds {
    fn new(folder: &Path) -> Rounds {
        let files = mapping_files::shipped();
        let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let events = files.iter().filter_map(|(path, text)| {
            let (source, _) = path.split_once("/tests/")?;
            let case: serde_json::Value = serde_json::from_str(text).ok()?;
            Some((source.to_string(), case.get("input")?.to_string()))
        });
        Rounds {
            events: events.collect(),
            normalizer: Normalizer::new(Arc::new(library), Arc::new(Registry::empty())),
            files,
            at_hand: folder.join("input"),
        }
    }

    fn run(&self, seed: u64, num_rounds: u64) {
        for round in 0..num_rounds {
            let mut chooser = Chooser::new(seed.wrapping_add(round));
            self.records(&mut chooser);
            self.paths(&mut chooser);
            self.mapping_files(&mut chooser);
        }
        println!("{num_rounds} rounds done");
    }

    /// Every case of every mapping, damaged, under its own mapping and under all; some wrapped on top.
    fn records(&self, chooser: &mut Chooser) {
        let mut scratch = Scratch::default();
        for (source, event) in &self.events {
            let mut bytes = chooser.damaged(event);
            if chooser.below(4) == 0 {
                bytes = chooser.wrapped(&bytes);
            }
            std::fs::write(&self.at_hand, &bytes).expect("a file");
            let named = SourceChoice::Named(source.clone());
            let source = if chooser.below(3) == 0 { SourceChoice::Auto } else { named };
            check_rows(&self.normalizer, &bytes, &Route { source, set: Vec::new() }, &mut scratch);
        }
    }

    /// Paths of odd signs, and what they lead to in a damaged event.
    fn paths(&self, chooser: &mut Chooser) {
        const SIGNS: [&str; 12] = ["a", ".", "\"", "[", "]", "0", "-1", "$", "*", "é", "item", " "];
        for _ in 0..2_000 {
            let text: String = (0..chooser.below(12)).map(|_| chooser.one_of(&SIGNS)).collect();
            std::fs::write(&self.at_hand, &text).expect("a file");
            let Ok(path) = FieldPath::parse(&text) else { continue };
            let mut projection = Projection::default();
            projection.add(&path.steps);
            let arena = Bump::new();
            let (_, event) = &self.events[chooser.below(self.events.len())];
            let record = rows::record(chooser.damaged(event));
            // Only what is JSON is scanned; `cut` sees to that.
            for event in envelope::cut(&record, &arena).unwrap_or_default() {
                assert_eq!(projection.scan(Json::new(event.raw), &arena).slots.len(), 1);
            }
        }
    }

    /// Mapping files, damaged one at a time: refused with places, or usable.
    fn mapping_files(&self, chooser: &mut Chooser) {
        let mapping_files = self.files.iter().filter(|(path, _)| path.ends_with(".yaml") || path.ends_with(".csv"));
        for (path, text) in mapping_files {
            let damaged = chooser.damaged_lines(text);
            std::fs::write(&self.at_hand, &damaged).expect("a file");
            let (folder, _) = path.split_once('/').expect("a file is in a folder");
            // A fragment is used by others: any mapping beside it will do.
            let source = if folder == "_shared" { "aws_cloudtrail" } else { folder };
            let is_beside = |other: &str| {
                !other.contains("/tests/") && (other.starts_with("_shared/") || other.split('/').next() == Some(source))
            };
            let beside = self.files.iter().filter(|(other, _)| is_beside(other));
            let mut files: BTreeMap<String, String> = beside.map(|(path, text)| (path.clone(), text.clone())).collect();
            files.insert(path.clone(), damaged);
            match Library::compile(&files) {
                Err(mistakes) => assert!(mistakes.0.iter().all(|mistake| mistake.place.line > 0), "{mistakes}"),
                Ok(library) => {
                    library.plans().iter().for_each(|plan| drop(lint(plan)));
                    let normalizer = Normalizer::new(Arc::new(library), Arc::new(Registry::empty()));
                    let route = Route { source: SourceChoice::Named(source.to_string()), set: Vec::new() };
                    let own = self.events.iter().filter(|(other, _)| other == source).take(3);
                    for (_, event) in own {
                        check_rows(&normalizer, event.as_bytes(), &route, &mut Scratch::default());
                    }
                }
            }
        }
    }
}

/// Every record leaves rows that number themselves.
fn check_rows(normalizer: &Normalizer, record: &[u8], route: &Route, scratch: &mut Scratch) {
    let mut places = Vec::new();
    normalizer.normalize(&rows::record(record), route, scratch, &mut |row, rejection| {
        places.push([Column::InputIndex, Column::InputCount].map(|column| match row.get(column) {
            Value::Int(number) => number,
            other => panic!("{other:?} is no number"),
        }));
        let is_rejected = row.text(Column::Status) == Some(Status::Rejected.as_str());
        assert_eq!(is_rejected, rejection.is_some());
    });
    assert!(!places.is_empty());
    let num_rows = i64::try_from(places.len()).expect("a small number");
    for (wanted, [index, count]) in (0..).zip(places) {
        assert!(count == num_rows || (count == 0 && num_rows == 1), "{count} of {num_rows}");
        assert_eq!(index, wanted);
    }
}
