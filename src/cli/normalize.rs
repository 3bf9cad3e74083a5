//! `actorline normalize`: files or standard input to activities, in input order, on stdout or into a lake.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::Failure;
use super::lake::parse_option;
use super::mappings::NormalizerArguments;
use super::records;
use crate::activity::arrow::RowBuilder;
use crate::activity::json::write_object;
use crate::pipeline::normalize::{Normalizer, Scratch};
use crate::record::RawRecord;
use crate::rejection::Rejection;
use crate::seal::SealKey;
use crate::sink::lake::{Lake, LakeError, LakeLocation, SealSettings};

/// Rows held before they go into the lake as files: enough for good compression, and far from any machine's memory.
const NUM_LAKE_BYTES_HELD: usize = 256 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    normalizer: NormalizerArguments,
    /// Write the activities into this lake instead of standard output: a path, file:///…, s3://bucket/prefix, gs://… or az://…
    #[arg(long, value_name = "URL")]
    lake: Option<String>,
    /// An option of the lake's store under object_store's name, such as aws_endpoint=…; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = parse_option, requires = "lake")]
    options: Vec<(String, String)>,
    /// Sign the lake's seals with this private key, in PEM
    #[arg(long, value_name = "FILE", requires = "lake")]
    seal_key: Option<PathBuf>,
    /// Write records from which no event can be cut here, one JSON object a line
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
    /// Exit with 1 if there was any such record
    #[arg(long)]
    strict: bool,
    /// Files and folders with events; standard input if none is given
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (normalizer, route) = arguments.normalizer.load()?;
    let mut output = match &arguments.lake {
        Some(url) => {
            let options = arguments.options.iter().cloned().collect();
            let location = LakeLocation { url: url.clone(), options };
            let seal = seal_settings(arguments.seal_key.as_deref())?;
            Output::Lake(Box::new(LakeOutput::open(&location, seal, &normalizer)?))
        }
        None => Output::Lines(BufWriter::new(io::stdout().lock())),
    };
    let mut dead_letters = DeadLetters::open(arguments.dead_letters.as_ref())?;
    let mut scratch = Scratch::default();
    let mut line = Vec::new();
    let read = records::each(&arguments.files, &mut |record| {
        let mut rejection = None;
        normalizer.normalize(record, &route, &mut scratch, &mut |row, rejected| {
            match &mut output {
                Output::Lines(_) => {
                    write_object(&mut line, row, |_| true);
                    line.push(b'\n');
                }
                Output::Lake(lake) => lake.rows.append(row),
            }
            rejection = rejected.cloned();
        });
        if let Some(rejection) = rejection {
            dead_letters.add(record, &rejection)?;
        }
        match &mut output {
            Output::Lines(out) => {
                out.write_all(&line).map_err(Failure::Output)?;
                line.clear();
                Ok(())
            }
            Output::Lake(lake) => lake.store_if_full(),
        }
    });
    // What was read is written also where a file could not be read to its end.
    if !matches!(read, Err(Failure::Output(_))) {
        output.finish()?;
        dead_letters.finish()?;
    }
    read?;
    if arguments.strict && dead_letters.num > 0 {
        return Err(Failure::Findings(anyhow::anyhow!("{} records are dead letters", dead_letters.num)));
    }
    Ok(())
}

enum Output {
    Lines(BufWriter<io::StdoutLock<'static>>),
    Lake(Box<LakeOutput>),
}

impl Output {
    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Output::Lines(out) => out.flush().map_err(Failure::Output),
            Output::Lake(lake) => lake.store(),
        }
    }
}

/// Rows on their way into a lake. Files have no positions that a lake could resume from, so each run appends.
struct LakeOutput {
    runtime: tokio::runtime::Runtime,
    lake: Lake,
    rows: RowBuilder,
}

impl LakeOutput {
    fn open(location: &LakeLocation, seal: SealSettings, normalizer: &Normalizer) -> Result<LakeOutput, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("failed to start").map_err(Failure::Outside)?;
        let lake = runtime.block_on(Lake::open_with(location, seal)).map_err(lake_failure)?;
        let kept = lake.keep_generation(normalizer.generation(), normalizer.generation_document());
        runtime.block_on(kept).map_err(lake_failure)?;
        Ok(LakeOutput { runtime, lake, rows: RowBuilder::default() })
    }

    fn store_if_full(&mut self) -> Result<(), Failure> {
        if self.rows.num_bytes() >= NUM_LAKE_BYTES_HELD { self.store() } else { Ok(()) }
    }

    fn store(&mut self) -> Result<(), Failure> {
        if self.rows.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.rows.finish().context("failed to build rows").map_err(Failure::Outside)?;
        self.runtime.block_on(append(&self.lake, batch)).map_err(lake_failure)
    }
}

async fn append(lake: &Lake, batch: RecordBatch) -> Result<(), LakeError> {
    let files = lake.write_files(&[batch]).await?;
    lake.commit("", files, &std::collections::BTreeMap::new()).await?;
    Ok(())
}

pub(super) fn seal_settings(key: Option<&Path>) -> Result<SealSettings, Failure> {
    let Some(path) = key else { return Ok(SealSettings::default()) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the key `{}`", path.display()))
        .map_err(Failure::BadConfiguration)?;
    let key = SealKey::from_pem(&text)
        .with_context(|| format!("`{}` is no private key", path.display()))
        .map_err(Failure::BadConfiguration)?;
    Ok(SealSettings { key: Some(Arc::new(key)), ..SealSettings::default() })
}

pub(super) fn lake_failure(error: LakeError) -> Failure {
    match error {
        LakeError::Refused(_) => Failure::BadConfiguration(error.into()),
        _ => Failure::Outside(error.into()),
    }
}

/// Records that gave no events, with why: the bytes in base64, so that nothing is lost and nothing acts on a screen.
struct DeadLetters {
    out: Option<(PathBuf, BufWriter<File>)>,
    num: usize,
}

impl DeadLetters {
    fn open(path: Option<&PathBuf>) -> Result<DeadLetters, Failure> {
        let out = match path {
            None => None,
            Some(path) => {
                let file = File::create(path).with_context(|| format!("failed to create `{}`", path.display()));
                Some((path.clone(), BufWriter::new(file.map_err(Failure::Outside)?)))
            }
        };
        Ok(DeadLetters { out, num: 0 })
    }

    fn add(&mut self, record: &RawRecord, rejection: &Rejection) -> Result<(), Failure> {
        self.num += 1;
        let Some((path, out)) = &mut self.out else { return Ok(()) };
        let letter = serde_json::json!({
            "position": format!("{}/0", record.position),
            "stage": rejection.stage.as_str(),
            "reason": rejection.reason.as_str(),
            "detail": rejection.detail,
            "value": record.value.as_deref().map(|value| BASE64.encode(value)),
        });
        writeln!(out, "{letter}")
            .with_context(|| format!("failed to write `{}`", path.display()))
            .map_err(Failure::Outside)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.out {
            Some((path, out)) => {
                out.flush().with_context(|| format!("failed to write `{}`", path.display())).map_err(Failure::Outside)
            }
            None => Ok(()),
        }
    }
}
