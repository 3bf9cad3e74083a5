//! Taking the evidence: from the broker as any reader of committed records sees it, and from the files of the lake.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::{Commit, Evidence, File, Moment, Output, Row, Step, check, live_files, sha256};
use crate::kafka::{Topic, group_positions};
use crate::run::instance::Scene;
use crate::run::outcome::position_of;

impl Evidence {
    /// What is there now. `lake` is the lake's folder on disk, also where a gateway writes it.
    pub fn of(scene: &Scene<'_>, lake: &Path) -> Evidence {
        // The group first: what its position promises must then be there.
        let group = group_positions(scene.broker, &scene.group, &scene.input);
        let input = scene.input.committed();
        let commits = commits(&lake.join("activities"), &scene.group);
        let rows = rows(&lake.join("activities"), &commits);
        // Every row names the id; that all name the same is checked.
        let topic_id = rows.first().map(|row: &Row| row.topic_id.clone()).unwrap_or_default();
        Evidence {
            topic: scene.input.name.clone(),
            topic_id,
            input: input
                .into_iter()
                .map(|sent| ((sent.partition, sent.offset), sent.value.unwrap_or_default()))
                .collect(),
            ends: scene.input.ends(),
            group,
            siem: outputs(&scene.siem),
            dead_letters: outputs(&scene.dead_letters),
            rows,
            commits,
        }
    }

    /// Asserts that all that was delivered is where it belongs, within `timeout`.
    pub fn assert_at_rest(scene: &Scene<'_>, lake: &Path, timeout: Duration) {
        let begun = Instant::now();
        loop {
            let findings = check(&Evidence::of(scene, lake), Moment::AtRest);
            if findings.is_empty() {
                return;
            }
            assert!(begun.elapsed() < timeout, "after {timeout:?}:\n{}", findings.join("\n"));
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Asserts that each sink holds exactly what its position promises. Nothing may run meanwhile.
    pub fn assert_so_far(scene: &Scene<'_>, lake: &Path) {
        let findings = check(&Evidence::of(scene, lake), Moment::SoFar);
        assert!(findings.is_empty(), "while nothing ran:\n{}", findings.join("\n"));
    }
}

fn outputs(topic: &Topic<'_>) -> Vec<Output> {
    let mut sent = topic.committed();
    sent.sort_by_key(|sent| (sent.partition, sent.offset));
    let output = |sent: crate::kafka::Sent| {
        let text = |name: &str| sent.header(name).unwrap_or_default().to_string();
        let position = text("actorline-position");
        Output {
            at: (sent.partition, sent.offset),
            topic: position.rsplitn(4, '/').nth(3).unwrap_or_default().to_string(),
            position: position_of(&sent),
            generation: text("actorline-mapping-version"),
            reason: text("actorline-reason"),
            value: sent.value.clone().unwrap_or_default(),
        }
    };
    sent.into_iter().map(output).collect()
}

fn commits(table: &Path, group: &str) -> Vec<Commit> {
    let Ok(entries) = fs::read_dir(table.join("_delta_log")) else { return Vec::new() };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    // A commit's name is twenty digits; checkpoints and what a gateway keeps beside objects have others.
    let versions = names.iter().filter_map(|name| {
        let digits = name.strip_suffix(".json")?;
        Some((name, digits.parse().ok().filter(|_| digits.len() == 20)?))
    });
    versions.map(|(name, version)| read_commit(table, name, version, group)).collect()
}

fn read_commit(table: &Path, name: &str, version: u64, group: &str) -> Commit {
    let text = fs::read_to_string(table.join("_delta_log").join(name)).expect("a commit can be read");
    let mut commit = Commit {
        version,
        steps: Vec::new(),
        positions: BTreeMap::new(),
        files: Vec::new(),
        removed: Vec::new(),
        is_own: false,
    };
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a commit is JSON, a line an action");
        commit.removed.extend(line["remove"]["path"].as_str().map(ToString::to_string));
        if let Some(about) = line["commitInfo"].get("actorline") {
            commit.is_own = about["group"] == group;
            commit.steps =
                about["partitions"].as_array().map(|steps| steps.iter().map(step).collect()).unwrap_or_default();
        }
        if let Some(id) = line["txn"]["appId"].as_str()
            && let Some((of_group, partition)) = id.rsplit_once('/').and_then(|(rest, p)| Some((rest, p.parse().ok()?)))
            && of_group.rsplit_once('/').is_some_and(|(found, _)| found == group)
        {
            commit.positions.insert(partition, line["txn"]["version"].as_i64().expect("a position"));
        }
        if let Some(path) = line["add"]["path"].as_str() {
            commit.files.push(File {
                path: path.to_string(),
                origins: line["add"]["tags"]["actorline.origins"]
                    .as_str()
                    .map(|origins| serde_json::from_str(origins).expect("versions"))
                    .unwrap_or_default(),
                sha256_told: line["add"]["tags"]["actorline.sha256"].as_str().unwrap_or_default().to_string(),
                sha256_found: fs::read(table.join(path)).ok().map(|bytes| sha256(&bytes)),
            });
        }
    }
    commit
}

fn step(step: &Value) -> Step {
    let pair = |pair: &Value| (pair[0].as_i64().expect("an offset"), pair[1].as_i64().expect("an offset"));
    Step {
        partition: i32::try_from(step["partition"].as_i64().expect("a partition")).expect("a partition"),
        topic_id: step["topicId"].as_str().unwrap_or_default().to_string(),
        from: step["from"].as_i64().expect("an offset"),
        to: step["to"].as_i64().expect("an offset"),
        gap: step.get("gap").filter(|gap| gap.is_array()).map(pair),
        undelivered: step["undelivered"].as_array().map(|all| all.iter().map(pair).collect()).unwrap_or_default(),
    }
}

fn rows(table: &Path, commits: &[Commit]) -> Vec<Row> {
    let mut rows = Vec::new();
    // A file that is missing is a finding of its own.
    for (file, _) in live_files(commits).into_values().filter(|(file, _)| file.sha256_found.is_some()) {
        let opened = fs::File::open(table.join(&file.path)).expect("it was read just now");
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened).and_then(|builder| builder.build());
        for batch in reader.unwrap_or_else(|error| panic!("{}: {error}", file.path)) {
            read_rows(&batch.expect("rows"), &file.path, &mut rows);
        }
    }
    rows
}

fn read_rows(batch: &RecordBatch, file: &str, rows: &mut Vec<Row>) {
    let numbers = |name: &str| {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column `{name}`"));
        arrow::compute::cast(column, &DataType::Int64).expect("numbers").as_primitive::<Int64Type>().clone()
    };
    let texts = |name: &str| {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column `{name}`"));
        arrow::compute::cast(column, &DataType::Utf8).expect("texts").as_string::<i32>().clone()
    };
    let [partitions, offsets, indexes, counts] =
        ["input_partition", "input_offset", "input_index", "input_count"].map(numbers);
    let [topic_ids, statuses, generations, raws, uids, actors] =
        ["input_topic_id", "status", "mapping_version", "raw", "event_uid", "actor_id"].map(texts);
    for row in 0..batch.num_rows() {
        let text = |column: &arrow::array::StringArray| {
            if column.is_valid(row) { column.value(row).to_string() } else { String::new() }
        };
        let partition = i32::try_from(partitions.value(row)).expect("a partition");
        rows.push(Row {
            file: file.to_string(),
            topic_id: text(&topic_ids),
            position: (partition, offsets.value(row), indexes.value(row)),
            count: counts.value(row),
            status: text(&statuses),
            generation: text(&generations),
            raw: text(&raws),
            event_uid: text(&uids),
            actor_id: text(&actors),
        });
    }
}
