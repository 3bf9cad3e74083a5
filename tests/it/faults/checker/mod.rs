//! The checker: what was delivered to the input against what is in the lake, on the SIEM topic and in the dead letters,
//! position by position.
//!
//! It uses nothing of the program that it checks. What must come out follows from the input's bytes by rules of its own
//! ([`Wanted`]), the lake is read from the files of its log and its Parquet files, and everything that a sink says of
//! itself is held against what the other sink and the broker say. `defects.rs` shows that each check finds what it is for.

mod collect;
mod defects;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Partition, offset, and index inside the record.
pub type Position = (i32, i64, i64);

/// Findings that are told of one kind; a loss of thousands is as clear from the first few.
const NUM_TOLD_MAX: usize = 5;

/// Everything that is there.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub topic: String,
    pub topic_id: String,
    /// The records that a reader of committed records sees.
    pub input: BTreeMap<(i32, i64), Vec<u8>>,
    /// Where each partition of the input ends.
    pub ends: BTreeMap<i32, i64>,
    /// Where the group stands.
    pub group: BTreeMap<i32, i64>,
    /// As their readers see them, in the order of each partition.
    pub siem: Vec<Output>,
    pub dead_letters: Vec<Output>,
    pub rows: Vec<Row>,
    pub commits: Vec<Commit>,
}

/// A record of an output topic.
#[derive(Clone, Debug)]
pub struct Output {
    /// Partition and offset in the output topic.
    pub at: (i32, i64),
    pub topic: String,
    pub position: Position,
    pub generation: String,
    pub reason: String,
    pub value: Vec<u8>,
}

/// A row of the lake.
#[derive(Clone, Debug)]
pub struct Row {
    pub file: String,
    pub topic_id: String,
    pub position: Position,
    pub count: i64,
    pub status: String,
    pub generation: String,
    pub raw: String,
    pub event_uid: String,
    pub actor_id: String,
}

/// A commit of the lake's table.
#[derive(Clone, Debug)]
pub struct Commit {
    pub version: u64,
    pub steps: Vec<Step>,
    /// By partition, as its `txn` actions say.
    pub positions: BTreeMap<i32, i64>,
    pub files: Vec<File>,
    /// Paths of the files that it takes out of the table.
    pub removed: Vec<String>,
    /// Commits of others, which have no positions of this group.
    pub is_own: bool,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub partition: i32,
    pub topic_id: String,
    pub from: i64,
    pub to: i64,
    pub gap: Option<(i64, i64)>,
    pub undelivered: Vec<(i64, i64)>,
}

#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    /// The versions that brought its rows, if it was put in the place of others.
    pub origins: Vec<u64>,
    pub sha256_told: String,
    /// None if the file is not there.
    pub sha256_found: Option<String>,
}

/// When the evidence was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing runs, but not everything was read yet: each sink holds exactly what lies below its position.
    SoFar,
    /// Everything was read.
    AtRest,
}

/// What must become of a record.
enum Wanted {
    Rejected,
    Empty,
    /// The bytes of each event.
    Events(Vec<String>),
}

impl Wanted {
    fn of(value: &[u8]) -> Wanted {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match serde_json::from_str::<&RawValue>(text) {
            Err(_) => Wanted::Rejected,
            Ok(one) => match serde_json::from_str::<Vec<&RawValue>>(one.get()) {
                Ok(events) if events.is_empty() => Wanted::Empty,
                Ok(events) => Wanted::Events(events.iter().map(|event| event.get().to_string()).collect()),
                Err(_) => Wanted::Events(vec![one.get().to_string()]),
            },
        }
    }
}

/// What is wrong; nothing, if all is as it must be.
pub fn check(evidence: &Evidence, moment: Moment) -> Vec<String> {
    let mut findings = Findings::default();
    let lake = check_commits(evidence, &mut findings);
    let wanted = WantedRows::of(evidence);
    let below =
        |ends: &BTreeMap<i32, i64>, position: &Position| ends.get(&position.0).is_some_and(|end| position.1 < *end);

    let in_lake = evidence.rows.iter().map(|row| row.position);
    let due = wanted.lake.keys().filter(|p| below(&lake.ends, p) && !lake.has_gap_at(p)).copied().collect();
    compare("the lake", &due, in_lake, &mut findings);
    for (name, wanted, outputs) in [
        ("the siem topic", &wanted.siem, &evidence.siem),
        ("the dead letters", &wanted.dead_letters, &evidence.dead_letters),
    ] {
        let due = wanted.iter().filter(|position| below(&evidence.group, position)).copied().collect();
        compare(name, &due, outputs.iter().map(|output| output.position), &mut findings);
        check_order(name, outputs, &mut findings);
        for output in outputs.iter().filter(|output| output.topic != evidence.topic) {
            findings.add("another topic", format!("{name}: {:?} names topic `{}`", output.position, output.topic));
        }
    }
    check_rows(evidence, &wanted, &mut findings);
    check_outputs(evidence, &mut findings);
    if moment == Moment::AtRest {
        check_ends(evidence, &lake.ends, &mut findings);
    }
    findings.told()
}

#[derive(Default)]
struct Findings {
    by_kind: BTreeMap<&'static str, Vec<String>>,
}

impl Findings {
    fn add(&mut self, kind: &'static str, what: String) {
        self.by_kind.entry(kind).or_default().push(what);
    }

    fn told(self) -> Vec<String> {
        let tell = |(kind, all): (&str, Vec<String>)| {
            let few: Vec<_> = all.iter().take(NUM_TOLD_MAX).cloned().collect();
            format!("{kind} ({}): {}", all.len(), few.join("; "))
        };
        self.by_kind.into_iter().map(tell).collect()
    }
}

/// Which positions must be where, with what the lake's row must say.
#[derive(Default)]
struct WantedRows {
    /// Status if it is given by the record alone, count, and raw bytes.
    lake: BTreeMap<Position, (Option<&'static str>, i64, String)>,
    siem: BTreeSet<Position>,
    dead_letters: BTreeSet<Position>,
}

impl WantedRows {
    fn of(evidence: &Evidence) -> WantedRows {
        let mut all = WantedRows::default();
        for ((partition, offset), value) in &evidence.input {
            let first = (*partition, *offset, 0);
            match Wanted::of(value) {
                Wanted::Rejected => {
                    let raw = String::from_utf8_lossy(value).into_owned();
                    all.lake.insert(first, (Some("rejected"), 1, raw));
                    all.dead_letters.insert(first);
                }
                Wanted::Empty => {
                    all.lake.insert(first, (Some("empty"), 0, String::from_utf8_lossy(value).into_owned()));
                }
                Wanted::Events(events) => {
                    let count = events.len() as i64;
                    for (index, raw) in (0..).zip(events) {
                        let position = (*partition, *offset, index);
                        all.lake.insert(position, (None, count, raw));
                        all.siem.insert(position);
                    }
                }
            }
        }
        all
    }
}

fn compare(
    place: &'static str,
    wanted: &BTreeSet<Position>,
    found: impl Iterator<Item = Position>,
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for position in found {
        if !wanted.contains(&position) {
            findings.add("made up", format!("{place} holds {position:?}"));
        }
        if !seen.insert(position) {
            findings.add("doubled", format!("{place} holds {position:?} again"));
        }
    }
    for position in wanted.difference(&seen) {
        findings.add("lost", format!("{place} lacks {position:?}"));
    }
}

/// Records of one input partition stand in each output partition in the order in which they were read.
fn check_order(place: &'static str, outputs: &[Output], findings: &mut Findings) {
    let mut newest: BTreeMap<(i32, i32), (Position, i64)> = BTreeMap::new();
    for output in outputs {
        let key = (output.at.0, output.position.0);
        if let Some((before, offset)) = newest.get(&key)
            && (*before > output.position || *offset >= output.at.1)
        {
            findings.add("out of order", format!("{place}: {:?} stands after {before:?}", output.position));
        }
        newest.insert(key, (output.position, output.at.1));
    }
}

fn check_rows(evidence: &Evidence, wanted: &WantedRows, findings: &mut Findings) {
    for row in &evidence.rows {
        let Some((status, count, raw)) = wanted.lake.get(&row.position) else { continue };
        let position = row.position;
        let is_status_right = match status {
            Some(status) => row.status == *status,
            None => !["rejected", "empty"].contains(&row.status.as_str()),
        };
        if !is_status_right {
            findings.add("another status", format!("{position:?} is `{}`", row.status));
        }
        if row.count != *count {
            findings.add("another count", format!("{position:?} says {} of {count}", row.count));
        }
        if row.raw != *raw {
            findings.add("altered bytes", format!("the lake's {position:?} is not what was delivered"));
        }
        if row.topic_id != evidence.topic_id {
            findings.add("another topic", format!("the lake's {position:?} has topic id `{}`", row.topic_id));
        }
    }
}

/// What the outputs say of an event against what the lake says, and dead letters against what was delivered.
fn check_outputs(evidence: &Evidence, findings: &mut Findings) {
    let rows: BTreeMap<Position, &Row> = evidence.rows.iter().map(|row| (row.position, row)).collect();
    for output in &evidence.siem {
        let Some(row) = rows.get(&output.position) else { continue };
        let activity: serde_json::Value = serde_json::from_slice(&output.value).unwrap_or_default();
        let said = |name: &str| activity[name].as_str().unwrap_or_default().to_string();
        let place = output.position;
        if output.generation != row.generation || said("mapping_version") != row.generation {
            findings.add("another generation", format!("{place:?}: `{}`, `{}`", output.generation, row.generation));
        }
        let of_siem = [said("event_uid"), said("status"), said("actor_id")];
        let of_lake = [row.event_uid.clone(), row.status.clone(), row.actor_id.clone()];
        if of_siem != of_lake {
            findings.add("the sinks differ", format!("{place:?}: {of_siem:?} and {of_lake:?}"));
        }
    }
    for letter in &evidence.dead_letters {
        let (partition, offset, _) = letter.position;
        if evidence.input.get(&(partition, offset)).is_some_and(|delivered| *delivered != letter.value) {
            findings.add("altered bytes", format!("the dead letter {:?} is not what was delivered", letter.position));
        }
        if letter.reason != "syntax" {
            findings.add("another reason", format!("{:?}: `{}`", letter.position, letter.reason));
        }
    }
}

/// How far the lake's commits bring each partition, and what they say is missing for ever.
#[derive(Default)]
struct LakeRanges {
    ends: BTreeMap<i32, i64>,
    gaps: Vec<(i32, i64, i64)>,
}

impl LakeRanges {
    fn has_gap_at(&self, (partition, offset, _): &Position) -> bool {
        self.gaps.iter().any(|(p, from, to)| p == partition && (from..to).contains(&offset))
    }
}

fn check_commits(evidence: &Evidence, findings: &mut Findings) -> LakeRanges {
    let mut lake = LakeRanges::default();
    for commit in evidence.commits.iter().filter(|commit| commit.is_own) {
        for step in &commit.steps {
            let (version, partition) = (commit.version, step.partition);
            if step.topic_id != evidence.topic_id {
                findings.add("another topic", format!("commit {version} is of topic id `{}`", step.topic_id));
            }
            if lake.ends.get(&partition).is_some_and(|end| *end != step.from) {
                findings.add("commits do not abut", format!("{version}: partition {partition} from {}", step.from));
            }
            if commit.positions.get(&partition) != Some(&step.to) {
                findings.add("a position that is not the range's end", format!("{version}: partition {partition}"));
            }
            for (from, to) in &step.undelivered {
                for (_, offset) in evidence.input.keys().filter(|(p, o)| *p == partition && (from..to).contains(&o)) {
                    findings.add("called undelivered, but delivered", format!("{version}: {partition}/{offset}"));
                }
            }
            let is_named = |offset: i64| {
                let is_in = |(from, to): &(i64, i64)| (*from..*to).contains(&offset);
                step.undelivered.iter().chain(&step.gap).any(is_in)
            };
            for offset in step.from..step.to {
                if !evidence.input.contains_key(&(partition, offset)) && !is_named(offset) {
                    findings.add("a hole that no commit names", format!("{version}: {partition}/{offset}"));
                }
            }
            lake.gaps.extend(step.gap.map(|(from, to)| (partition, from, to)));
            lake.ends.insert(partition, step.to);
        }
    }
    let by_version: BTreeMap<u64, &Commit> = evidence.commits.iter().map(|commit| (commit.version, commit)).collect();
    let files = live_files(&evidence.commits);
    for (path, (file, _)) in &files {
        match &file.sha256_found {
            None => findings.add("a file that is not there", (*path).to_string()),
            Some(found) if *found != file.sha256_told => findings.add("an altered file", (*path).to_string()),
            Some(_) => {}
        }
    }
    for row in &evidence.rows {
        let (partition, offset, _) = row.position;
        let is_in = |step: &Step| step.partition == partition && (step.from..step.to).contains(&offset);
        let brought_by = files.get(row.file.as_str()).map(|(_, versions)| versions.as_slice()).unwrap_or_default();
        let mut steps = brought_by.iter().filter_map(|version| by_version.get(version)).flat_map(|by| &by.steps);
        if !steps.any(is_in) {
            findings.add("a row outside of its commit's ranges", format!("{:?} in {}", row.position, row.file));
        }
    }
    lake
}

/// The files that readers see, each with the versions that brought its rows.
pub fn live_files(commits: &[Commit]) -> BTreeMap<&str, (&File, Vec<u64>)> {
    let mut live = BTreeMap::new();
    for commit in commits {
        for path in &commit.removed {
            live.remove(path.as_str());
        }
        for file in &commit.files {
            let brought_by = if file.origins.is_empty() { vec![commit.version] } else { file.origins.clone() };
            live.insert(file.path.as_str(), (file, brought_by));
        }
    }
    live
}

/// At rest, both sinks stand behind the last record that can be read.
fn check_ends(evidence: &Evidence, lake: &BTreeMap<i32, i64>, findings: &mut Findings) {
    for (partition, end) in &evidence.ends {
        let last = evidence.input.keys().filter(|(p, _)| p == partition).map(|(_, offset)| *offset).next_back();
        let Some(last) = last else { continue };
        for (name, position) in [("the group", evidence.group.get(partition)), ("the lake", lake.get(partition))] {
            if !position.is_some_and(|position| (last + 1..=*end).contains(position)) {
                findings.add("not at the end", format!("{name} has {partition} up to {position:?}, not {}", last + 1));
            }
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
