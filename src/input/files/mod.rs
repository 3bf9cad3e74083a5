//! Files, directories and standard input as records, in order.
//!
//! A record is one top-level JSON document, or a line that is none; a whole array or envelope is one. Its position is
//! the file's path relative to the argument (`-` for standard input), partition 0, and the byte offset in the content,
//! unpacked if the file is compressed. Memory is bounded by the largest document, and nothing waits for a file's end.
//!
//! A file that cannot be read is an error in its place, and the next file follows.

mod boundary;
mod documents;
mod listing;
mod unpacked;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::{Position, RawRecord};
use documents::{Document, Documents};
use listing::Listed;
use unpacked::{Content, Packed};

/// How much of a compressed file is unpacked before its first document is handed on, so that damage in a small file
/// is known before any of its documents is out. Above the size of most files that hold one batch of events.
const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Why a file could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("failed to open `{}`: check that it exists and that you may read it", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to list `{}`: check that you may read it", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("failed to read `{}` after byte {offset} of its content: check that it is whole", path.display())]
    Read { path: PathBuf, offset: u64, source: io::Error },
    #[error("too many files in `{}`: name its parts one after the other", path.display())]
    TooMany { path: PathBuf },
}

/// How far reading is, for a progress bar. Both count bytes as they are stored, compressed or not.
#[derive(Debug)]
pub struct Progress {
    num_bytes_read: AtomicU64,
    num_bytes_total: Option<u64>,
}

impl Progress {
    pub fn num_bytes_read(&self) -> u64 {
        self.num_bytes_read.load(Ordering::Relaxed)
    }

    /// Nothing if some input does not tell its size before it ends.
    pub fn num_bytes_total(&self) -> Option<u64> {
        self.num_bytes_total
    }
}

/// The records of files, one after the other.
pub struct Files {
    listed: std::vec::IntoIter<Result<Listed, FileError>>,
    open: Option<OpenFile>,
    progress: Arc<Progress>,
}

impl Files {
    /// Lists what `arguments` name: files, directories with everything in them, `-` for standard input. Without any,
    /// standard input is read.
    pub fn new(arguments: &[PathBuf]) -> Files {
        let standard_input = [PathBuf::from("-")];
        let listed = listing::list(if arguments.is_empty() { &standard_input } else { arguments });
        let num_bytes_total = listed.iter().flatten().try_fold(0_u64, |total, file| total.checked_add(file.num_bytes?));
        let progress = Arc::new(Progress { num_bytes_read: AtomicU64::new(0), num_bytes_total });
        Files { listed: listed.into_iter(), open: None, progress }
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Iterator for Files {
    type Item = Result<RawRecord, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(file) = &mut self.open {
                match file.next() {
                    Ok(Some(record)) => return Some(Ok(record)),
                    Ok(None) => self.open = None,
                    Err(error) => {
                        self.open = None;
                        return Some(Err(error));
                    }
                }
            }
            match self.listed.next()?.and_then(|listed| OpenFile::open(listed, &self.progress)) {
                Ok(file) => self.open = Some(file),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

struct OpenFile {
    path: PathBuf,
    topic: Arc<str>,
    documents: Documents<Content>,
    /// Until the first document is out.
    packed: Option<Packed>,
    is_over: bool,
}

impl OpenFile {
    fn open(listed: Listed, progress: &Arc<Progress>) -> Result<OpenFile, FileError> {
        let Listed { path, topic, .. } = listed;
        let path_or_name = path.clone().unwrap_or_else(|| Path::new("standard input").to_path_buf());
        let opened = match path {
            Some(path) => File::open(path).and_then(|file| unpacked::open(Counted::new(file, progress))),
            None => unpacked::open(Counted::new(io::stdin(), progress)),
        };
        match opened {
            Ok((content, packed)) => {
                Ok(OpenFile { path: path_or_name, topic, documents: Documents::new(content), packed, is_over: false })
            }
            Err(source) => Err(FileError::Open { path: path_or_name, source }),
        }
    }

    fn next(&mut self) -> Result<Option<RawRecord>, FileError> {
        if self.is_over {
            return Ok(None);
        }
        if self.packed.is_some() {
            self.documents.read_ahead(READ_AHEAD_BYTES);
        }
        let document = self.documents.next();
        if let Some(packed) = self.packed.take() {
            // Nothing is out yet, so a damaged file is still whole: one record, which will be rejected as one.
            let has_failed = document.is_err() || self.documents.has_failed();
            if let Some(bytes) = packed.take().filter(|_| has_failed) {
                self.is_over = true;
                return Ok(Some(self.record(Document { offset: 0, bytes })));
            }
            packed.forget();
        }
        match document {
            Ok(document) => Ok(document.map(|document| self.record(document))),
            Err(source) => Err(FileError::Read { path: self.path.clone(), offset: self.documents.offset(), source }),
        }
    }

    fn record(&self, document: Document) -> RawRecord {
        RawRecord {
            position: Position {
                topic: Arc::clone(&self.topic),
                partition: 0,
                // Nobody has files of 2^63 bytes.
                offset: i64::try_from(document.offset).unwrap_or(i64::MAX),
            },
            topic_id: None,
            timestamp: None,
            key: None,
            headers: Vec::new(),
            value: Some(document.bytes),
        }
    }
}

/// Adds what passes to the progress.
struct Counted<R> {
    reader: R,
    progress: Arc<Progress>,
}

impl<R> Counted<R> {
    fn new(reader: R, progress: &Arc<Progress>) -> Counted<R> {
        Counted { reader, progress: Arc::clone(progress) }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_read = self.reader.read(buffer)?;
        self.progress.num_bytes_read.fetch_add(num_read as u64, Ordering::Relaxed);
        Ok(num_read)
    }
}

#[cfg(test)]
mod tests;
