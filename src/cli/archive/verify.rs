//! `actorline archive verify`: reads a whole lake and says what is wrong with it.
//!
//! Exits 0 only if everything was read and is valid, 1 for tampering and gaps, 4 where something could not be checked.
//! Changes nothing.

use std::collections::BTreeMap;
use std::io::{self, BufWriter};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::ClientConfig;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::lake::{LakeArguments, parse_option};
use super::super::output::{Format, RowWriter};
use crate::archive::verify::{self, Level, Options, Progress, Report, Signatures, Verdict};
use crate::seal::{Digest, PublicKey};
use crate::sink::lake::LakeLocation;
use crate::sink::lake::anchor::AnchorPlace;

const COLUMNS: [&str; 5] = ["result", "check", "version", "object", "detail"];

#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    lake: LakeArguments,
    /// A public key that seals may be signed with, in PEM; may be repeated
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
    /// Seals before this version of the table may be unsigned
    #[arg(long, value_name = "VERSION", default_value_t = 0, requires = "public_key")]
    signed_since: u64,
    /// Check no signatures
    #[arg(long, conflicts_with = "public_key")]
    unsigned: bool,
    /// What the seals are held against: VERSION:DIGEST as an earlier run printed it, kafka://BROKERS/TOPIC, or the URL of a folder of anchors; may be repeated
    #[arg(long, value_name = "ANCHOR", value_parser = parse_anchor)]
    anchor: Vec<AnchorArgument>,
    /// An option of the places of anchors: librdkafka's for a topic, object_store's for a URL; may be repeated
    #[arg(long = "anchor-option", value_name = "KEY=VALUE", value_parser = parse_option)]
    anchor_options: Vec<(String, String)>,
    /// How lines are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Debug)]
enum AnchorArgument {
    Digest(u64, Digest),
    Topic { brokers: String, topic: String },
    Url(String),
}

pub(super) fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let store = arguments.lake.location().store().map_err(|error| Failure::BadConfiguration(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("failed to start the runtime").map_err(Failure::Outside)?;
    let options = {
        // The client of a topic starts tasks.
        let _inside = runtime.enter();
        options(arguments)?
    };
    let bar = Bar::new();
    let report = runtime.block_on(verify::verify(&store, &options, &bar));
    bar.0.finish_and_clear();
    let report = report.context("failed to list the lake").map_err(Failure::Outside)?;
    print(&report, arguments.format).map_err(Failure::Output)?;
    let count = |level| report.lines().iter().filter(|line| line.level == level).count();
    match report.verdict() {
        Verdict::Valid => {
            eprintln!("valid: everything was read, and is as it was sealed");
            Ok(())
        }
        Verdict::Findings => {
            Err(Failure::Findings(anyhow!("the archive is not valid: {} findings", count(Level::Finding))))
        }
        Verdict::Incomplete => Err(Failure::Outside(anyhow!(
            "what could be checked is valid, but not everything could be: {} lines say what",
            count(Level::Unchecked)
        ))),
    }
}

fn options(arguments: &VerifyArguments) -> Result<Options, Failure> {
    let keys = arguments.public_key.iter().map(read_key).collect::<Result<Vec<_>, _>>()?;
    let signatures = match (keys.is_empty(), arguments.unsigned) {
        (false, _) => Signatures::By { keys, since: arguments.signed_since },
        (true, true) => Signatures::Ignored,
        (true, false) => Signatures::WithoutKey,
    };
    let (mut anchors, mut known) = (Vec::new(), Vec::new());
    let place_options: BTreeMap<String, String> = arguments.anchor_options.iter().cloned().collect();
    for anchor in &arguments.anchor {
        match anchor {
            AnchorArgument::Digest(version, digest) => known.push((*version, *digest)),
            AnchorArgument::Url(url) => {
                let location = LakeLocation { url: url.clone(), options: place_options.clone() };
                anchors.push(AnchorPlace::url(&location).map_err(|error| Failure::BadConfiguration(error.into()))?);
            }
            AnchorArgument::Topic { brokers, topic } => {
                let mut client = ClientConfig::new();
                for (name, value) in &place_options {
                    client.set(name, value);
                }
                client.set("bootstrap.servers", brokers).set("client.id", "actorline");
                let place = AnchorPlace::topic(&client, topic);
                anchors.push(place.map_err(|error| Failure::BadConfiguration(error.into()))?);
            }
        }
    }
    Ok(Options { signatures, anchors, known, now: jiff::Timestamp::now() })
}

fn read_key(path: &PathBuf) -> Result<PublicKey, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the public key `{}`", path.display()))
        .map_err(Failure::BadConfiguration)?;
    PublicKey::from_pem(&text)
        .with_context(|| format!("`{}` is no public key", path.display()))
        .map_err(Failure::BadConfiguration)
}

fn parse_anchor(text: &str) -> Result<AnchorArgument, String> {
    if let Some(rest) = text.strip_prefix("kafka://") {
        return match rest.split_once('/') {
            Some((brokers, topic)) if !brokers.is_empty() && !topic.is_empty() => {
                Ok(AnchorArgument::Topic { brokers: brokers.to_string(), topic: topic.to_string() })
            }
            _ => Err("expected kafka://BROKERS/TOPIC".to_string()),
        };
    }
    match text.split_once(':') {
        Some((version, digest)) if version.bytes().all(|byte| byte.is_ascii_digit()) && !version.is_empty() => {
            let version = version.parse().map_err(|_| "that is no version of a table".to_string())?;
            Ok(AnchorArgument::Digest(version, digest.parse()?))
        }
        _ => Ok(AnchorArgument::Url(text.to_string())),
    }
}

fn print(report: &Report, format: Option<Format>) -> io::Result<()> {
    let out = BufWriter::new(io::stdout().lock());
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, out)?;
    for line in report.lines() {
        rows.write_row(&[
            line.level.as_str().into(),
            line.check.as_str().into(),
            line.version.map_or(Value::Null, |version| json!(version)),
            line.object.clone().map_or(Value::Null, Value::String),
            line.detail.clone().into(),
        ])?;
    }
    rows.finish().map(|_| ())
}

/// A bar on a terminal, and nothing in a pipe.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:30} {pos} of {len}") {
            bar.set_style(style);
        }
        Bar(bar)
    }

    fn show(&self, what: &'static str, checked: u64, of: u64) {
        self.0.set_message(what);
        self.0.set_length(of);
        self.0.set_position(checked);
    }
}

impl Progress for Bar {
    fn seals(&self, checked: u64, of: u64) {
        self.show("seals", checked, of);
    }

    fn files(&self, checked: u64, of: u64) {
        self.show("data files", checked, of);
    }
}
