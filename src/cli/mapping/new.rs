//! `actorline mapping new`: a first mapping for a source, made of sample events.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bumpalo::Bump;
use clap::Args;

use super::super::Failure;
use super::super::mappings::MappingArguments;
use super::super::records;
use super::say;
use crate::envelope;
use crate::mapping::scaffold::{Samples, scaffold};

/// Where mappings lie in a checkout, and so where a new one goes if nothing else is said.
const FOLDER: &str = "mappings";

#[derive(Debug, Args)]
pub struct Arguments {
    /// The new source's name, which becomes its folder's
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Files and folders with sample events of this source alone; standard input if none is given
    samples: Vec<PathBuf>,
}

pub fn run(mappings: &MappingArguments, arguments: &Arguments) -> Result<(), Failure> {
    let folder = mappings.mappings.as_deref().unwrap_or(Path::new(FOLDER)).join(&arguments.source);
    let path = folder.join("mapping.yaml");
    if path.exists() {
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "found `{}` already; choose another name or remove it",
            path.display()
        )));
    }
    let mut samples = Samples::default();
    let (mut num_rejected, mut num_unread) = (0, 0);
    records::each(&arguments.samples, &mut |record| {
        let arena = Bump::new();
        match envelope::cut(record, &arena) {
            Ok(events) => {
                for event in &events {
                    match serde_json::from_str(event.raw) {
                        Ok(event) => samples.add(&event),
                        Err(_) => num_unread += 1,
                    }
                }
            }
            Err(_) => num_rejected += 1,
        }
        Ok(())
    })?;
    let text = scaffold(&arguments.source, &samples)
        .with_context(|| format!("failed to make a mapping of {} sample events", samples.num_events))
        .map_err(Failure::BadConfiguration)?;
    if num_rejected + num_unread > 0 {
        eprintln!("{} records or events could not be read and were left out", num_rejected + num_unread);
    }
    write(&folder, &path, &text)?;
    say(path.display())?;
    let (folder, source) = (folder.parent().unwrap_or(Path::new(FOLDER)).display(), &arguments.source);
    eprintln!("next: check each rule, then `actorline mapping lint --mappings {folder}` and");
    eprintln!(
        "      `actorline mapping coverage --mappings {folder} --source {source} SAMPLES` for what no rule reads"
    );
    Ok(())
}

fn write(folder: &Path, path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("failed to write `{}`", path.display()))
        .map_err(Failure::Outside)
}
