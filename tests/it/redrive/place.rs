//! What an older program left: rejected rows in the lake, and dead letters, of records that can be read by now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use actorline::activity::arrow::RowBuilder;
use actorline::activity::{Column, Value};
use actorline::checkpoint::{Advance, NextOffset, TopicPartition};
use actorline::pipeline::normalize::{Route, Scratch};
use actorline::record::{Header, Position, RawRecord};
use actorline::rejection::{Reason, Rejection, Stage};
use actorline::sink::lake::{Lake, LakeLocation};
use actorline::sink::siem::{Batch, Encoding};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::kafka::{Broker, Topic};
use crate::rows::acme;
use crate::run::instance::{Scene, free_address};
use crate::run::outcome::{Positions, lake_rows, position_of};

/// 2024-03-01, in microseconds.
const DAY: i64 = 1_709_251_200_000_000;

/// A scene whose dead letters keep values of up to `value_max` bytes.
pub struct Place<'a> {
    pub scene: Scene<'a>,
    pub value_max: usize,
    pub runtime: tokio::runtime::Runtime,
    next: i64,
}

impl<'a> Place<'a> {
    pub fn new(broker: &'a Broker) -> Place<'a> {
        Place::beginning_at(broker, 0)
    }

    /// With letters at offsets from `next` on.
    pub fn beginning_at(broker: &'a Broker, next: i64) -> Place<'a> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Place { scene: Scene::new(broker, 1), value_max: 100_000, runtime, next }
    }

    pub fn location(&self) -> LakeLocation {
        LakeLocation::new(self.scene.lake_path().display().to_string())
    }

    /// Rejects `values` as an older program did: a row and a letter each. The group's position goes on with them.
    pub fn reject(&mut self, values: &[&str]) {
        let records: Vec<RawRecord> =
            values.iter().zip(self.next..).map(|(value, at)| self.record(at, value)).collect();
        let mut rows = RowBuilder::default();
        for record in &records {
            let broken = RawRecord { value: Some(b"{".to_vec()), ..record.clone() };
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            acme().normalize(&broken, &Route::default(), &mut Scratch::default(), &mut |row, rejection| {
                assert!(rejection.is_some(), "what is broken is rejected");
                let mut row = row.clone();
                row.set(Column::Raw, Value::Text(&value));
                rows.append(&row);
            });
        }
        let (from, to) = (NextOffset(self.next), NextOffset(self.next + records.len() as i64));
        self.next = to.0;
        let partition =
            TopicPartition { topic: self.scene.input.name.as_str().into(), topic_id: Some("t-1".into()), partition: 0 };
        let advances = BTreeMap::from([(partition, Advance { from, to, undelivered: Vec::new(), gap: None })]);
        self.runtime.block_on(async {
            let lake = Lake::open(&self.location()).await.expect("a lake");
            let files = lake.write_files(&[rows.finish().expect("rows")]).await.expect("files");
            lake.commit(&self.scene.group, files, &advances).await.expect("a commit");
        });
        records.iter().for_each(|record| self.send_letter(record));
    }

    pub fn record(&self, offset: i64, value: &str) -> RawRecord {
        RawRecord {
            position: Position { topic: self.scene.input.name.as_str().into(), partition: 0, offset },
            topic_id: Some("t-1".into()),
            timestamp: Some(DAY + offset),
            key: Some(b"k".to_vec()),
            headers: vec![Header { name: "actorline-stage".into(), value: Some(b"theirs".to_vec()) }],
            value: Some(value.as_bytes().to_vec()),
        }
    }

    /// A letter as the pipeline sends it.
    pub fn send_letter(&self, record: &RawRecord) {
        let encoding = Encoding {
            activities: false,
            dead_letters: true,
            include_raw: false,
            activity_bytes_max: 0,
            dead_letter_bytes_max: 900_000,
            dead_letter_value_max: self.value_max,
        };
        let mut batch = Batch::default();
        batch.push_dead_letter(&encoding, record, &Rejection::new(Stage::Decode, Reason::Syntax, "an old limit"));
        let producer = self.scene.dead_letters.producer(None);
        for letter in batch.records() {
            let mut headers = OwnedHeaders::new();
            for (key, value) in letter.headers() {
                headers = headers.insert(KafkaHeader { key, value });
            }
            let mut sent = BaseRecord::<[u8], [u8]>::to(&self.scene.dead_letters.name).headers(headers);
            sent.key = letter.key;
            sent.payload = letter.value;
            producer.send(sent).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(std::time::Duration::from_secs(30)).expect("sent");
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        let path = self.scene.folder.path().join("redrive.yaml");
        fs::write(&path, self.scene.configuration(None, free_address())).expect("a configuration");
        Command::new(env!("CARGO_BIN_EXE_actorline"))
            .args(["redrive", "--format", "ndjson", "--config"])
            .arg(&path)
            .args(arguments)
            .envs(self.scene.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("actorline starts")
    }

    pub fn redrive(&self, arguments: &[&str]) -> Redriven {
        Redriven::of(&self.start(arguments).wait_with_output().expect("it ends"))
    }

    /// Redrives, and keeps the batches that are deleted once both sinks have them.
    pub fn redrive_watched(&self) -> (Redriven, Batches) {
        let mut process = self.start(&["--apply"]);
        let mut batches = BTreeMap::new();
        while process.try_wait().expect("asked").is_none() {
            for path in self.kept_batches() {
                if !batches.contains_key(&path)
                    && let Ok(bytes) = fs::read(&path)
                {
                    batches.insert(path, bytes);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!batches.is_empty(), "a batch is kept before it is sent");
        (Redriven::of(&process.wait_with_output().expect("it ends")), Batches(batches))
    }

    /// Batches whose rows are kept now.
    pub fn kept_batches(&self) -> BTreeSet<std::path::PathBuf> {
        let of_group = self.scene.lake_path().join("redrives").join(&self.scene.group);
        let clusters = fs::read_dir(of_group).into_iter().flatten().flatten().map(|cluster| cluster.path());
        let kept = clusters.flat_map(|cluster| fs::read_dir(cluster).into_iter().flatten().flatten());
        let paths = kept.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|name| name == "parquet")).collect()
    }

    /// Positions on the SIEM topic.
    pub fn siem(&self) -> Positions {
        counted(&self.scene.siem)
    }

    /// Positions in the lake of rows that are not rejected.
    pub fn lake(&self) -> Positions {
        let mut positions = Positions::new();
        for (position, _) in lake_rows(&self.scene).into_iter().filter(|(_, status)| status != "rejected") {
            *positions.entry(position).or_default() += 1;
        }
        positions
    }

    pub fn num_rejected(&self) -> usize {
        lake_rows(&self.scene).iter().filter(|(_, status)| status == "rejected").count()
    }

    pub fn ask(&self, sql: &str) -> String {
        self.runtime.block_on(async {
            let lake = Lake::open_existing(&self.location()).await.expect("a lake");
            crate::lake::rows::ask(&lake, sql).await
        })
    }

    pub fn compact(&self) {
        use actorline::archive::compact::{Options, compact};
        self.runtime.block_on(async {
            let lake = Lake::open(&self.location()).await.expect("a lake");
            compact(&lake, &Options { target_file_bytes: 1 << 27 }).await.expect("compacted");
        });
    }

    pub fn assert_archive_is_valid(&self) {
        let report = self.runtime.block_on(crate::replay::place::verified(&self.location()));
        assert_eq!(report.verdict(), actorline::archive::verify::Verdict::Valid, "{:?}", report.lines());
    }
}

fn counted(topic: &Topic<'_>) -> Positions {
    let mut positions = Positions::new();
    for sent in topic.committed() {
        *positions.entry(position_of(&sent)).or_default() += 1;
    }
    positions
}

/// Batches as they were kept, by path.
pub struct Batches(BTreeMap<std::path::PathBuf, Vec<u8>>);

impl Batches {
    pub fn first(&self) -> (&Path, &[u8]) {
        let (path, bytes) = self.0.first_key_value().expect("a batch");
        (path, bytes)
    }
}

/// What a redrive said.
#[derive(Debug)]
pub struct Redriven {
    pub code: Option<i32>,
    pub errors: String,
    rows: Vec<serde_json::Value>,
}

impl Redriven {
    fn of(output: &Output) -> Redriven {
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        Redriven {
            code: output.status.code(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            rows: lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
        }
    }

    pub fn count(&self, what: &str) -> u64 {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.rows.iter().filter(|row| row["what"] == what).filter_map(|row| row["count"].as_u64()).sum()
    }
}

pub fn once(positions: impl IntoIterator<Item = (i64, i64)>) -> Positions {
    positions.into_iter().map(|(offset, index)| ((0, offset, index), 1)).collect()
}

pub fn event(number: i64) -> String {
    format!(r#"{{"acme_id":"{number}","op":"read","actor":"a-1","org":"o-1"}}"#)
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Takes the table back to what `saved` holds, and what lies beside it to what it was before the lake had the batch.
pub fn take_table_back(saved: &Path, lake: &Path, batches: &Batches) {
    for (path, bytes) in &batches.0 {
        fs::write(path, bytes).expect("written");
    }
    for folder in ["activities", "seals"] {
        fs::remove_dir_all(lake.join(folder)).expect("removed");
        copy(&saved.join(folder), &lake.join(folder));
    }
}
