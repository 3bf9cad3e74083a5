//! How right the shipped mappings are, on events that careful readers have labelled.
//!
//! ACTORLINE_LABELLED_EVENTS names a folder with `raw/<source>.ndjson` (an event a line) and `labels/<source>.ndjson`. A
//! label's `id` is the start of the sha256 of its event's line; every list in it holds the acceptable values, and an
//! empty one means that null or `unknown` is right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actorline::activity::Column;
use actorline::activity::json::write_object;
use actorline::activity::taxonomy::{ActorClass, ActorType};
use actorline::identity::Registry;
use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::pipeline::normalize::{Normalizer, Route, Scratch, SourceChoice};
use actorline::record::{Position, RawRecord};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const ACTOR_TYPE_MIN: f64 = 0.97;
const RECALL_MIN: f64 = 0.9;
/// Types with fewer labels say too little about recall.
const NUM_LABELS_FOR_RECALL: usize = 5;
const HUMAN_OR_MACHINE_MIN: f64 = 0.99;
const OTHER_COLUMNS_MIN: f64 = 0.95;
/// Events that must be recognised by their content as their own source's.
const RECOGNISED_MIN: f64 = 0.98;
/// Events of sources with a mapping that no mapping may recognise.
const UNMAPPED_MAX: f64 = 0.01;

const OTHER_COLUMNS: [Column; 9] = [
    Column::ActorId,
    Column::CredentialType,
    Column::CredentialId,
    Column::OnBehalfOf,
    Column::ActionVerb,
    Column::TargetId,
    Column::Result,
    Column::SourceIp,
    Column::CorrelationId,
];

#[test]
fn labelled_events_are_attributed_as_their_readers_did() {
    let Some(folder) = std::env::var_os("ACTORLINE_LABELLED_EVENTS").map(PathBuf::from) else {
        println!("ACTORLINE_LABELLED_EVENTS names no folder of labelled events, so nothing was scored");
        return;
    };
    let library = Library::compile(&mapping_files::shipped()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let normalizer = Normalizer::new(Arc::new(library), Arc::new(Registry::empty()));
    let mut score = Score::default();
    for source in names_in(&folder.join("labels")).iter().filter(|source| normalizer.library().find(source).is_some()) {
        score_source(&normalizer, &folder, source, &mut score);
    }
    println!("{}", score.report());
    assert!(score.num_labels > 0, "found no labels for any mapping in {}", folder.display());
    assert_eq!(score.below_the_bar(), Vec::<String>::new());
}

/// What nobody labelled is still somebody's: each event is recognised by its content, as its own source's and no other's.
#[test]
fn raw_events_are_recognised_as_their_own_source() {
    let Some(folder) = std::env::var_os("ACTORLINE_LABELLED_EVENTS").map(PathBuf::from) else {
        println!("ACTORLINE_LABELLED_EVENTS names no folder of events, so nothing was recognised");
        return;
    };
    let library = Library::compile(&mapping_files::shipped()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let normalizer = Normalizer::new(Arc::new(library), Arc::new(Registry::empty()));
    let (mut num_events, mut num_own, mut num_unmapped) = (0, 0, 0);
    let mut wrong = Vec::new();
    for source in names_in(&folder.join("raw")) {
        let own = normalizer.library().find(&source).map(|plan| plan.source.clone());
        let raw = std::fs::read_to_string(folder.join("raw").join(format!("{source}.ndjson"))).expect("events");
        for event in raw.lines() {
            let row = first_row(&normalizer, SourceChoice::Auto, &source, event);
            let (found, status) = (row["source"].as_str().expect("text"), row["status"].as_str().expect("text"));
            if status == "unmapped" {
                num_unmapped += usize::from(own.is_some());
            } else if own.as_deref() != Some(found) {
                wrong.push(format!("{source} {} taken for {found}", id_of(event)));
            }
            if own.is_some() {
                num_events += 1;
                num_own += usize::from(own.as_deref() == Some(found));
            }
        }
    }
    println!("{num_events} events: {num_own} recognised as their own source, {num_unmapped} unmapped");
    assert_eq!(wrong, Vec::<String>::new());
    assert!(share(num_events, num_own) >= RECOGNISED_MIN, "{num_own} of {num_events}");
    assert!(num_unmapped as f64 <= UNMAPPED_MAX * num_events as f64, "{num_unmapped} of {num_events}");
}

#[derive(Default)]
struct Score {
    num_labels: usize,
    num_actor_types_right: usize,
    num_classes_right: usize,
    /// Labels and right answers of each actor type.
    by_type: BTreeMap<String, (usize, usize)>,
    by_source: BTreeMap<String, (usize, usize)>,
    by_column: BTreeMap<&'static str, (usize, usize)>,
    misses: Vec<String>,
    /// People taken for the platform or for an AI agent, or the other way round: never acceptable.
    confusions: Vec<String>,
}

impl Score {
    fn others(&self) -> (usize, usize) {
        self.by_column.values().fold((0, 0), |sum, (all, right)| (sum.0 + all, sum.1 + right))
    }

    fn below_the_bar(&self) -> Vec<String> {
        let (num_others, num_others_right) = self.others();
        let mut shares = vec![
            ("actor_type".to_string(), share(self.num_labels, self.num_actor_types_right), ACTOR_TYPE_MIN),
            ("human or machine".to_string(), share(self.num_labels, self.num_classes_right), HUMAN_OR_MACHINE_MIN),
            ("other columns".to_string(), share(num_others, num_others_right), OTHER_COLUMNS_MIN),
        ];
        for (name, (all, right)) in &self.by_type {
            if *all >= NUM_LABELS_FOR_RECALL {
                shares.push((format!("recall of {name}"), share(*all, *right), RECALL_MIN));
            }
        }
        let below = shares.into_iter().filter(|(_, found, wanted)| found < wanted);
        let below = below.map(|(name, found, wanted)| format!("{name}: {found:.3}, wanted {wanted}"));
        below.chain(self.confusions.iter().cloned()).collect()
    }

    fn report(&self) -> String {
        let (num_others, num_others_right) = self.others();
        let mut text = format!(
            "{} labelled events: actor_type {:.3}, human or machine {:.3}, other columns {:.3}\n",
            self.num_labels,
            share(self.num_labels, self.num_actor_types_right),
            share(self.num_labels, self.num_classes_right),
            share(num_others, num_others_right),
        );
        for (title, shares) in [("source", &self.by_source), ("actor type", &self.by_type)] {
            for (name, (all, right)) in shares {
                let _ = writeln!(text, "    {title} {name}: {right} of {all}");
            }
        }
        for (name, (all, right)) in &self.by_column {
            let _ = writeln!(text, "    column {name}: {right} of {all}");
        }
        for miss in &self.misses {
            let _ = writeln!(text, "    miss {miss}");
        }
        text
    }
}

fn share(all: usize, right: usize) -> f64 {
    if all == 0 { 1.0 } else { right as f64 / all as f64 }
}

/// The sources that have a file in `folder`.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut sources: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    sources.sort();
    sources
}

fn score_source(normalizer: &Normalizer, folder: &Path, source: &str, score: &mut Score) {
    let read = |kind: &str| {
        std::fs::read_to_string(folder.join(kind).join(format!("{source}.ndjson")))
            .expect("labels have their raw events")
    };
    let raw = read("raw");
    let by_id: BTreeMap<String, &str> = raw.lines().map(|line| (id_of(line), line)).collect();
    for line in read("labels").lines() {
        let label: Map<String, Value> = serde_json::from_str(line).expect("a label is JSON");
        let id = label["id"].as_str().expect("a label has an id");
        let event = by_id.get(id).expect("a label has its event");
        let row = first_row(normalizer, SourceChoice::Named(source.to_string()), source, event);
        score_label(source, id, &label, &row, score);
    }
}

fn id_of(line: &str) -> String {
    Sha256::digest(line.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_row(normalizer: &Normalizer, choice: SourceChoice, source: &str, event: &str) -> Map<String, Value> {
    let record = RawRecord {
        position: Position { topic: source.into(), partition: 0, offset: 0 },
        topic_id: None,
        timestamp: None,
        key: None,
        headers: Vec::new(),
        value: Some(event.as_bytes().to_vec()),
    };
    let route = Route { source: choice, set: Vec::new() };
    let mut first = None;
    normalizer.normalize(&record, &route, &mut Scratch::default(), &mut |row, _| {
        let mut json = Vec::new();
        write_object(&mut json, row, |_| true);
        first.get_or_insert_with(|| serde_json::from_slice(&json).expect("a row is JSON"));
    });
    first.expect("every record leaves a row")
}

fn score_label(source: &str, id: &str, label: &Map<String, Value>, row: &Map<String, Value>, score: &mut Score) {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let found = text("actor_type").unwrap_or("unknown");
    let wanted = label["actor_type"].as_str().unwrap_or("unknown");
    let mut acceptable = texts(&label["actor_type_alt"]);
    acceptable.insert(0, wanted.to_string());
    let is_right = acceptable.iter().any(|value| value == found);
    let class = |name: &str| match ActorType::parse(name).map(ActorType::class) {
        Some(ActorClass::Human) => "person",
        Some(ActorClass::Unknown) | None => "unknown",
        // Whether a machine is the platform's or somebody's is not asked here.
        Some(ActorClass::Nonhuman | ActorClass::Platform) => "machine",
    };
    let is_class_right = acceptable.iter().any(|value| class(value) == class(found));
    let is_person = |name: &str| class(name) == "person";
    let is_never_a_person = |name: &str| ["platform", "ai_agent"].contains(&name);
    let are_confused = |wanted: &String| {
        (is_person(wanted) && is_never_a_person(found)) || (is_never_a_person(wanted) && is_person(found))
    };
    if !is_right && acceptable.iter().any(are_confused) {
        score.confusions.push(format!("{source} {id}: {found}, wanted {}", acceptable.join(" or ")));
    }
    score.num_labels += 1;
    score.num_actor_types_right += usize::from(is_right);
    score.num_classes_right += usize::from(is_class_right);
    for (shares, name) in [(&mut score.by_type, wanted), (&mut score.by_source, source)] {
        let (all, right) = shares.entry(name.to_string()).or_default();
        *all += 1;
        *right += usize::from(is_right);
    }
    if !is_right {
        let rule = text("actor_type_rule").unwrap_or("no case");
        score.misses.push(format!("{source} {id} actor_type: {found} by {rule}, wanted {}", acceptable.join(" or ")));
    }
    let mut score_column = |name: &'static str, is_right: bool, miss: String| {
        let (all, right) = score.by_column.entry(name).or_default();
        *all += 1;
        *right += usize::from(is_right);
        if !is_right {
            score.misses.push(format!("{source} {id} {name}: {miss}"));
        }
    };
    for column in OTHER_COLUMNS {
        let Some(wanted) = label.get(column.name()) else { continue };
        let wanted = texts(wanted);
        let found = text(column.name());
        let is_right = match found {
            None | Some("unknown") if wanted.is_empty() => true,
            None => false,
            Some(found) => wanted.iter().any(|value| value == found),
        };
        score_column(column.name(), is_right, format!("{found:?}, wanted {wanted:?}"));
    }
    if let Some(wanted) = label.get("event_time").and_then(Value::as_str) {
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
        let found = text("event_time");
        score_column("event_time", found.and_then(time) == time(wanted), format!("{found:?}, wanted {wanted}"));
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}
