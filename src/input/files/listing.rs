//! Which files the arguments name: a file, standard input, or everything in a directory, in order of path.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileError;

/// The most files of one run. Lists of them are held in memory, about 200 bytes each.
const NUM_FILES_MAX: usize = 1_000_000;

/// The argument that stands for standard input.
const STANDARD_INPUT: &str = "-";

#[derive(Debug)]
pub(super) struct Listed {
    /// None is standard input.
    pub(super) path: Option<PathBuf>,
    pub(super) topic: Arc<str>,
    /// None where it cannot be known before reading: pipes, devices.
    pub(super) num_bytes: Option<u64>,
}

/// The files that `arguments` name, and an error in the place of each that cannot be looked at.
pub(super) fn list(arguments: &[PathBuf]) -> Vec<Result<Listed, FileError>> {
    let mut found = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == STANDARD_INPUT {
            found.push(Ok(Listed { path: None, topic: STANDARD_INPUT.into(), num_bytes: None }));
            continue;
        }
        match fs::metadata(argument) {
            Err(source) => found.push(Err(FileError::Open { path: argument.clone(), source })),
            Ok(metadata) if metadata.is_dir() => list_directory(argument, &mut found),
            Ok(metadata) => found.push(Ok(Listed {
                path: Some(argument.clone()),
                topic: argument
                    .file_name()
                    .map_or_else(|| argument.to_string_lossy(), |name| name.to_string_lossy())
                    .into(),
                num_bytes: metadata.is_file().then_some(metadata.len()),
            })),
        }
    }
    found
}

/// Everything in `directory` and below, without recursion, so that no depth of folders is too deep.
fn list_directory(directory: &Path, found: &mut Vec<Result<Listed, FileError>>) {
    // What is still to visit, the next one last.
    let mut pending = entries(directory, found);
    while let Some(path) = pending.pop() {
        if found.len() + pending.len() >= NUM_FILES_MAX {
            found.push(Err(FileError::TooMany { path: directory.to_path_buf() }));
            return;
        }
        // Links to files are followed, links to directories are not: they can lead in a circle.
        let is_link = path.is_symlink();
        match fs::metadata(&path) {
            Err(source) => found.push(Err(FileError::Open { path, source })),
            Ok(metadata) if metadata.is_dir() && is_link => {
                tracing::warn!(path = %path.display(), "skipped a link to a directory");
            }
            Ok(metadata) if metadata.is_dir() => pending.extend(entries(&path, found)),
            Ok(metadata) if metadata.is_file() => {
                let inside = path.strip_prefix(directory).unwrap_or(&path);
                let topic = inside.to_string_lossy().into();
                found.push(Ok(Listed { topic, num_bytes: Some(metadata.len()), path: Some(path) }));
            }
            // Reading a pipe that somebody left there would wait forever.
            Ok(_) => tracing::warn!(path = %path.display(), "skipped what is neither a file nor a directory"),
        }
    }
}

/// The paths in `directory`, the last first.
fn entries(directory: &Path, found: &mut Vec<Result<Listed, FileError>>) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory)
        .and_then(|entries| entries.take(NUM_FILES_MAX + 1).map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = listed.unwrap_or_else(|source| {
        found.push(Err(FileError::List { path: directory.to_path_buf(), source }));
        Vec::new()
    });
    paths.sort_unstable_by(|one, other| other.cmp(one));
    paths
}
