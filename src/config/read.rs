//! From the file as written to the configuration as ready: sections, defaults, ranges, and what must fit together.
//!
//! A mistake never hides the next: every section is read to its end with defaults in place of what is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::seal::seal;
use super::section::{Reader, Scalar, Section, scalar, shown};
use super::{AUTO, Config, DeadLetters, Kafka, Lake, Mistake, Siem, Telemetry, Topic, TopicName, kafka_properties};
use crate::activity::{Column, Kind, SetBy};
use crate::yaml::{Content, Node};

const MIB: u64 = 1024 * 1024;

/// A commit to an object store costs requests and a file each: every 30 seconds is fresh enough for an archive.
const LAKE_COMMIT_INTERVAL_MS: u64 = 30_000;
/// Files of this size are what query engines read best.
const TARGET_FILE_BYTES: u64 = 128 * MIB;
/// Two files' worth: one being written while the next is being filled.
const MAX_BUFFER_BYTES: u64 = 256 * MIB;
/// An analyst does not notice a quarter of a second; fewer transactions are cheaper for the brokers.
const SIEM_COMMIT_INTERVAL_MS: u64 = 250;
/// Below the brokers' usual limit of 1 MiB a record, with room for key and headers.
const DEAD_LETTER_MAX_BYTES: u64 = 900_000;
/// Longest name that Kafka accepts for a topic.
const TOPIC_NAME_MAX: usize = 249;

/// Reads the file's `root`. `known` are the mistakes that the YAML itself has.
pub(super) fn config(
    root: Node,
    known: Vec<Mistake>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Mistake>> {
    let reader = Reader { mistakes: RefCell::new(known), environment };
    let mut file = Section::new(&reader, "", root);
    let kafka = file.section("kafka").map(|section| kafka(&reader, section));
    let topics = file.node("topics").map(|node| topics(&reader, node));
    let mappings = file.text("mappings").map(|found| PathBuf::from(found.text));
    let registry = file.texts("registry").into_iter().map(|found| PathBuf::from(found.text)).collect();
    let lake = file.section("lake").map(|section| lake(&reader, section));
    let siem = file.section("siem").map(|section| siem(&reader, section));
    let dead_letters = file.section("dead_letters").map(|section| dead_letters(&reader, section));
    let telemetry = telemetry(&reader, file.section("telemetry"));
    file.finish();

    if kafka.is_none() {
        reader.mistake("kafka", 0, "is missing: say at least `brokers` and `group`");
    }
    match &topics {
        None => reader.mistake("topics", 0, "is missing: name at least one topic to read"),
        Some(found) if found.is_empty() => reader.mistake("topics", 0, "is empty: name at least one topic to read"),
        Some(_) => {}
    }
    if lake.is_none() && siem.is_none() {
        reader.mistake("lake", 0, "neither `lake` nor `siem` is there: results need a place to go");
    }
    if siem.is_some() && dead_letters.is_none() {
        reader.mistake("dead_letters", 0, "is missing: with `siem`, what cannot be read needs a topic of its own");
    }
    let dead_letters = dead_letters.flatten();
    let siem = siem.flatten();
    check_topics_apart(&reader, topics.as_deref().unwrap_or_default(), siem.as_ref(), dead_letters.as_ref());

    let mut mistakes = reader.mistakes.into_inner();
    match (kafka.flatten(), topics, lake) {
        (Some(kafka), Some(topics), lake) if mistakes.is_empty() => {
            Ok(Config { kafka, topics, mappings, registry, lake: lake.flatten(), siem, dead_letters, telemetry })
        }
        _ => {
            // What concerns no single line comes last.
            mistakes.sort_by_key(|mistake| if mistake.line == 0 { usize::MAX } else { mistake.line });
            Err(mistakes)
        }
    }
}

fn kafka(reader: &Reader<'_>, mut section: Section<'_>) -> Option<Kafka> {
    let brokers = section.required_text("brokers");
    let group = section.required_text("group").filter(|found| is_name(reader, found));
    let instance = section.text("instance").filter(|found| is_name(reader, found));
    let mut properties = BTreeMap::new();
    for (name, found) in section.named_texts("properties") {
        if let Some(why) = kafka_properties::refusal(&name, &found.text) {
            reader.mistake(&found.key, found.line, why);
        } else if kafka_properties::is_secret(&name) && !found.is_reference {
            reader.mistake(&found.key, found.line, INLINE_SECRET);
        }
        properties.insert(name, found.text);
    }
    section.finish();
    Some(Kafka { brokers: brokers?.text, group: group?.text, instance: instance.map(|found| found.text), properties })
}

pub(super) const INLINE_SECRET: &str = "a secret must not stand in the file: write `${env:NAME}` or `${file:PATH}`";

/// Group and instance become part of ids that brokers and the lake keep, with `/` and `-` between the parts.
fn is_name(reader: &Reader<'_>, found: &Scalar) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=100).contains(&found.text.len()) && found.text.chars().all(is_fine);
    if !fits {
        let message = format!("`{}` is no name: use 1 to 100 letters, digits, `.`, `_` and `-`", shown(found));
        reader.mistake(&found.key, found.line, message);
    }
    fits
}

fn topics(reader: &Reader<'_>, node: Node) -> Vec<Topic> {
    let mut section = Section::new(reader, "topics", node);
    let mut topics = Vec::new();
    for (name, line, node) in section.rest() {
        let path = section.path_of(&name);
        if let Some(why) = topic_name_mistake(&name.replace('*', "x")) {
            reader.mistake(&path, line, why);
        }
        let (source, set) = match node.content {
            Content::Mapping(_) => {
                let mut section = Section::new(reader, &path, node);
                let source = section.text("source").map_or_else(|| AUTO.to_string(), |found| found.text);
                let set = section.named_texts("set");
                section.finish();
                (source, set.into_iter().filter_map(|(column, value)| set_column(reader, &column, value)).collect())
            }
            Content::Null => (AUTO.to_string(), Vec::new()),
            _ => match scalar(reader, &path, node) {
                Some(found) => (found.text, Vec::new()),
                None => continue,
            },
        };
        topics.push(Topic { name: TopicName(name), source, set });
    }
    topics
}

/// A column that a topic's configuration may set: one that a mapping would set, from outside the event.
fn set_column(reader: &Reader<'_>, name: &str, found: Scalar) -> Option<(Column, String)> {
    let Some(column) = Column::parse(name) else {
        reader.mistake(&found.key, found.line, format!("`{name}` is no column of the schema"));
        return None;
    };
    let info = column.info();
    if info.set_by != SetBy::Mapping {
        reader.mistake(
            &found.key,
            found.line,
            format!("`{name}` is not for a topic to set: it follows from the event"),
        );
        return None;
    }
    match info.kind {
        Kind::Text => {}
        Kind::Closed(set) if set.find(&found.text).is_some() => {}
        Kind::Closed(set) => {
            let values = set.terms.iter().map(|term| format!("`{}`", term.value)).collect::<Vec<_>>().join(", ");
            reader.mistake(&found.key, found.line, format!("`{}` is none of {values}", shown(&found)));
            return None;
        }
        kind => {
            reader.mistake(&found.key, found.line, format!("`{name}` is a {}: only texts can be set", kind.name()));
            return None;
        }
    }
    Some((column, found.text))
}

fn lake(reader: &Reader<'_>, mut section: Section<'_>) -> Option<Lake> {
    let url = section.required_text("url");
    let options = section.named_texts("options");
    let commit_interval_ms = section.number("commit_interval_ms", LAKE_COMMIT_INTERVAL_MS, 100..=3_600_000);
    // Smaller files make a table that no engine reads well, larger ones do not fit beside a buffer in memory.
    let target_file_bytes = section.number("target_file_bytes", TARGET_FILE_BYTES, 65_536..=4096 * MIB);
    let max_buffer_bytes = section.number("max_buffer_bytes", MAX_BUFFER_BYTES, 65_536..=65_536 * MIB);
    if max_buffer_bytes < target_file_bytes {
        let message = format!("is less than `lake.target_file_bytes` ({target_file_bytes}): a file must fit");
        reader.mistake("lake.max_buffer_bytes", section.line, message);
    }
    let seal = section.section("seal").map(|section| seal(reader, section));
    section.finish();
    refuse_inline_secrets(reader, &options);
    let url = url.and_then(|found| lake_url(reader, &found));
    Some(Lake {
        url: url?,
        options: options.into_iter().map(|(name, found)| (name, found.text)).collect(),
        commit_interval: Duration::from_millis(commit_interval_ms),
        target_file_bytes: usize::try_from(target_file_bytes).ok()?,
        max_buffer_bytes: usize::try_from(max_buffer_bytes).ok()?,
        seal: seal.flatten(),
    })
}

/// Options of a store whose secrets stand in the file.
pub(super) fn refuse_inline_secrets(reader: &Reader<'_>, options: &BTreeMap<String, Scalar>) {
    for (name, found) in options {
        if is_secret_option(name) && !found.is_reference {
            reader.mistake(&found.key, found.line, INLINE_SECRET);
        }
    }
}

pub(super) fn lake_url(reader: &Reader<'_>, found: &Scalar) -> Option<url::Url> {
    const WANTED: &str = "wanted `file:///folder`, `s3://bucket/prefix`, `az://…` or `gs://…`";
    match url::Url::parse(&found.text) {
        Ok(url) if matches!(url.scheme(), "file" | "s3" | "s3a" | "az" | "azure" | "gs") => {
            if url.password().is_some() {
                reader.mistake(&found.key, found.line, "a password does not belong in the address: use `lake.options`");
                return None;
            }
            Some(url)
        }
        _ => {
            reader.mistake(&found.key, found.line, format!("{WANTED}, found `{}`", shown(found)));
            None
        }
    }
}

const SECRET_OPTION_ENDINGS: [&str; 9] = [
    "secret",
    "token",
    "access_key",
    "account_key",
    "master_key",
    "sas_key",
    "encryption_key",
    "service_account_key",
    "sse_customer_key_base64",
];

/// Whether an object store's option holds a secret, by the endings that the stores' names share.
fn is_secret_option(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_OPTION_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn siem(reader: &Reader<'_>, mut section: Section<'_>) -> Option<Siem> {
    let topic = section.required_text("topic").filter(|found| is_topic(reader, found));
    if let Some(format) = section.text("format") {
        match format.text.as_str() {
            "native" => {}
            "ocsf" | "ecs" => {
                let message = format!("`{}` is not available yet: use `native`", format.text);
                reader.mistake(&format.key, format.line, message);
            }
            _ => {
                let message = format!("wanted `native`, found `{}`", shown(&format));
                reader.mistake(&format.key, format.line, message);
            }
        }
    }
    // The upper end stays below the transaction's timeout: a transaction that waits for its interval must not expire.
    let commit_interval_ms = section.number("commit_interval_ms", SIEM_COMMIT_INTERVAL_MS, 10..=10_000);
    let include_raw = section.boolean("include_raw", false);
    section.finish();
    Some(Siem { topic: topic?.text, commit_interval: Duration::from_millis(commit_interval_ms), include_raw })
}

fn dead_letters(reader: &Reader<'_>, mut section: Section<'_>) -> Option<DeadLetters> {
    let topic = section.required_text("topic").filter(|found| is_topic(reader, found));
    let max_bytes = section.number("max_bytes", DEAD_LETTER_MAX_BYTES, 1_000..=64 * MIB);
    section.finish();
    Some(DeadLetters { topic: topic?.text, max_bytes: usize::try_from(max_bytes).ok()? })
}

fn telemetry(reader: &Reader<'_>, section: Option<Section<'_>>) -> Telemetry {
    let default = Telemetry { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) };
    let Some(mut section) = section else { return default };
    let listen = section.text("listen");
    section.finish();
    let Some(found) = listen else { return default };
    match found.text.parse() {
        Ok(listen) => Telemetry { listen },
        Err(_) => {
            let message = format!("wanted an address and a port such as `127.0.0.1:9464`, found `{}`", shown(&found));
            reader.mistake(&found.key, found.line, message);
            default
        }
    }
}

pub(super) fn is_topic(reader: &Reader<'_>, found: &Scalar) -> bool {
    match topic_name_mistake(&found.text) {
        Some(why) => {
            reader.mistake(&found.key, found.line, why);
            false
        }
        None => true,
    }
}

fn topic_name_mistake(name: &str) -> Option<String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > TOPIC_NAME_MAX || !name.chars().all(is_fine) || name == "." || name == ".." {
        return Some(format!(
            "`{name}` is no topic: Kafka wants 1 to {TOPIC_NAME_MAX} letters, digits, `.`, `_` and `-`"
        ));
    }
    name.starts_with("__").then(|| format!("`{name}` belongs to the broker: name a topic of your own"))
}

/// Reading what was just written would never end.
fn check_topics_apart(reader: &Reader<'_>, topics: &[Topic], siem: Option<&Siem>, dead_letters: Option<&DeadLetters>) {
    let outputs = siem
        .map(|siem| ("siem.topic", siem.topic.as_str()))
        .into_iter()
        .chain(dead_letters.map(|dead_letters| ("dead_letters.topic", dead_letters.topic.as_str())));
    for (key, output) in outputs {
        for topic in topics.iter().filter(|topic| topic.name.matches(output)) {
            let message = format!("`{output}` is also read, as `{}` of `topics`: write to another topic", topic.name);
            reader.mistake(key, 0, message);
        }
    }
    if let (Some(siem), Some(dead_letters)) = (siem, dead_letters)
        && siem.topic == dead_letters.topic
    {
        reader.mistake("dead_letters.topic", 0, "is the same as `siem.topic`: use a topic of its own");
    }
}
