//! The records of the files that a command is given.

use std::io::{self, BufRead as _, Read};
use std::path::PathBuf;

use anyhow::Context as _;

use super::Failure;
use crate::pipeline::normalize::{Normalizer, SourceChoice};
use crate::record::{Position, RawRecord};

/// Calls `take` with every record of `files` (stdin if there are none), in order.
pub fn each(
    files: &[PathBuf],
    _progress: Option<()>,
    take: &mut dyn FnMut(&RawRecord) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut inputs: Vec<(String, Box<dyn Read>)> = Vec::new();
    for path in files {
        let file = std::fs::File::open(path)
            .with_context(|| format!("failed to read `{}`", path.display()))
            .map_err(Failure::Outside)?;
        inputs.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), Box::new(file)));
    }
    if files.is_empty() {
        inputs.push(("-".to_string(), Box::new(io::stdin())));
    }
    for (name, input) in inputs {
        let mut reader = io::BufReader::new(input);
        let mut offset = 0;
        loop {
            let mut line = Vec::new();
            let n = reader.read_until(b'\n', &mut line).map_err(|e| Failure::Outside(e.into()))?;
            if n == 0 {
                break;
            }
            let at = offset;
            offset += n as i64;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let record = RawRecord {
                position: Position { topic: name.as_str().into(), partition: 0, offset: at },
                topic_id: None,
                timestamp: None,
                key: None,
                headers: Vec::new(),
                value: Some(line),
            };
            take(&record)?;
        }
    }
    Ok(())
}

/// What `--source` names: `auto`, a mapping, or an alias of one.
pub fn source_choice(normalizer: &Normalizer, name: &str) -> Result<SourceChoice, Failure> {
    if name == "auto" {
        return Ok(SourceChoice::Auto);
    }
    if normalizer.library().find(name).is_none() {
        let known: Vec<&str> = normalizer.library().plans().iter().map(|plan| plan.source.as_str()).collect();
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "found no mapping `{name}`; there are auto, {}",
            known.join(", ")
        )));
    }
    Ok(SourceChoice::Named(name.to_string()))
}

/// A closed pipe (`| head`) is the reader's choice and ends a command quietly.
#[expect(clippy::disallowed_methods, reason = "a command that prints holds nothing that must be dropped")]
pub fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("failed to write to stdout").map_err(Failure::Outside),
    }
}
