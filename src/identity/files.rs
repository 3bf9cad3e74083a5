//! The files of a registry: which there are, and their text. The only place of this module that touches a disk.
//!
//! A directory means every `.yaml`, `.yml`, `.json`, `.ndjson`, `.jsonl` and `.csv` file in it and below it; other files and names
//! that begin with a dot are passed over. A file that is named itself must be one of these.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{Report, start_of};
use crate::diagnostic::Place;

/// Largest file. A hundred thousand entries take some tens of megabytes; more belongs into several files.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most files, and deepest directories below the one that is named: a link that leads back ends here.
const NUM_FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 8;

/// How a file's content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Json,
    JsonLines,
    Csv,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::JsonLines),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// One file, read.
#[derive(Debug)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub format: Format,
    pub text: String,
}

/// Every file that `paths` name, in the order of their paths; one that is named twice is read once.
pub(super) fn find(paths: &[PathBuf], report: &mut Report) -> Vec<(PathBuf, Format)> {
    let mut found = Vec::new();
    for path in paths {
        let place = start_of(&name_of(path));
        match std::fs::metadata(path) {
            Err(error) => report.error("unreadable", &place, error.to_string(), "a file or directory"),
            Ok(metadata) if metadata.is_dir() => {
                if let Err(error) = find_in(path, 0, &mut found) {
                    report.error("unreadable", &place, error.to_string(), "a readable directory");
                }
            }
            Ok(_) => match Format::of(path) {
                Some(format) => found.push((path.clone(), format)),
                None => {
                    let wanted = "a directory, or a file that ends in .yaml, .yml, .json, .ndjson, .jsonl or .csv";
                    report.error("bad-path", &place, "a file of another kind", wanted);
                }
            },
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut seen = HashSet::new();
    found.retain(|(path, _)| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    if found.len() > NUM_FILES_MAX {
        let place = start_of(&name_of(&found[NUM_FILES_MAX].0));
        report.error("too-many", &place, format!("{} files", found.len()), format!("at most {NUM_FILES_MAX}"));
        found.truncate(NUM_FILES_MAX);
    }
    found
}

/// The text of one file.
pub(super) fn read(path: &Path, format: Format, report: &mut Report) -> Option<Source> {
    let name = name_of(path);
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.error("unreadable", &start_of(&name), error.to_string(), "a readable file");
            return None;
        }
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let wanted = format!("at most {FILE_BYTES_MAX} bytes: split it");
        report.error("too-long", &start_of(&name), "a larger file", wanted);
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                // Spreadsheets put this mark in front of the CSV that they save.
                text.drain(..'\u{feff}'.len_utf8());
            }
            Some(Source { name, format, text })
        }
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + memchr::memchr_iter(b'\n', before).count();
            report.error("encoding", &Place { line, ..start_of(&name) }, "bytes that are not UTF-8", "UTF-8");
            None
        }
    }
}

fn find_in(directory: &Path, depth: usize, found: &mut Vec<(PathBuf, Format)>) -> io::Result<()> {
    let mut paths = Vec::new();
    for item in std::fs::read_dir(directory)? {
        let item = item?;
        if !item.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(item.path());
        }
    }
    paths.sort();
    for path in paths {
        if found.len() > NUM_FILES_MAX {
            return Ok(());
        }
        // Links are followed: mounted configuration is made of them.
        if path.is_dir() {
            if depth >= DEPTH_MAX {
                return Err(io::Error::other(format!("directories nest deeper than {DEPTH_MAX}")));
            }
            find_in(&path, depth + 1, found)?;
        } else if let Some(format) = Format::of(&path) {
            found.push((path, format));
        }
    }
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn name_of(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}
