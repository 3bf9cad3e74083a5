//! The content of a file: as it is, or unpacked from gzip or zstd while it is read.
//!
//! What is compressed is watched until its first document is out: the compressed bytes are kept so long, and what
//! grows beyond all measure fails. A file that turns out to be damaged or a bomb can then be handed on as one record
//! of its own bytes, and be rejected like any other record of that kind.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";

/// The most that content may be larger than its compressed form before the first document: what a record may, too.
const INFLATION_MAX: u64 = 200;

/// Up to here the ratio does not matter.
const INFLATION_FREE_BYTES: u64 = 1024 * 1024;

/// The largest zstd window that is made room for, as a power of two: 128 MB, the tool's own default limit. A record
/// gets less; a file is one of few that are open at a time.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The most compressed bytes kept until the first document is out: as much as brokers carry in one record.
const KEPT_BYTES_MAX: usize = 20 * 1024 * 1024;

pub(super) type Content = Box<dyn Read + Send>;

/// The content of `file`, and its compressed bytes if it has any.
pub(super) fn open(mut file: impl Read + Send + 'static) -> io::Result<(Content, Option<Packed>)> {
    let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
    file.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(GZIP_MAGIC);
    let is_zstd = magic.starts_with(ZSTD_MAGIC);
    let whole = Cursor::new(magic).chain(file);
    if !is_gzip && !is_zstd {
        return Ok((Box::new(whole), None));
    }
    let packed = Packed::default();
    let source = BufReader::new(Keeping { reader: whole, packed: packed.clone() });
    let content: Content = if is_gzip {
        Box::new(Watched::new(MultiGzDecoder::new(source), packed.clone()))
    } else {
        let mut decoder = ZstdDecoder::with_buffer(source)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(Watched::new(decoder, packed.clone()))
    };
    Ok((content, Some(packed)))
}

/// The compressed bytes that were read so far, as long as they are wanted.
#[derive(Clone, Default)]
pub(super) struct Packed {
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    num_read: u64,
    bytes: Vec<u8>,
    is_wanted_no_more: bool,
}

impl Packed {
    /// The first document is out: the bytes are not needed, and growth is bounded by the size of documents.
    pub(super) fn forget(&self) {
        self.with(|kept| *kept = Kept { is_wanted_no_more: true, ..Kept::default() });
    }

    /// All bytes so far, unless they were too many to keep or were forgotten.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.with(|kept| (!kept.is_wanted_no_more).then(|| std::mem::take(&mut kept.bytes)))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps what passes.
struct Keeping<R> {
    reader: R,
    packed: Packed,
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let num_read = self.reader.read(buffer)?;
        self.packed.with(|kept| {
            kept.num_read += num_read as u64;
            if !kept.is_wanted_no_more {
                kept.bytes.extend_from_slice(&buffer[..num_read]);
                if kept.bytes.len() > KEPT_BYTES_MAX {
                    kept.bytes = Vec::new();
                    kept.is_wanted_no_more = true;
                }
            }
        });
        Ok(num_read)
    }
}

/// Fails on what is compressed twice or grows too much before the first document is out.
struct Watched<R> {
    decoder: R,
    packed: Packed,
    num_unpacked: u64,
    /// What went wrong behind the bytes that were handed on last.
    failure: Option<io::Error>,
}

impl<R: Read> Watched<R> {
    fn new(decoder: R, packed: Packed) -> Watched<R> {
        Watched { decoder, packed, num_unpacked: 0, failure: None }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        // Whole buffers: how much a pipe gives at a time must not decide how a damaged file is split.
        let mut num_read = 0;
        while num_read < buffer.len() {
            match self.decoder.read(&mut buffer[num_read..]) {
                Ok(0) => break,
                Ok(more) => num_read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if num_read > 0 => {
                    self.failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let is_start = self.num_unpacked == 0;
        self.num_unpacked += num_read as u64;
        let unpacked = &buffer[..num_read];
        if is_start && (unpacked.starts_with(GZIP_MAGIC) || unpacked.starts_with(ZSTD_MAGIC)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "compressed more than once"));
        }
        let grows_too_much = self.packed.with(|kept| {
            !kept.is_wanted_no_more
                && self.num_unpacked > INFLATION_FREE_BYTES
                && self.num_unpacked / INFLATION_MAX > kept.num_read
        });
        if grows_too_much {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to far more than it is"));
        }
        Ok(num_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open_gzip(text: &[u8]) -> (Vec<u8>, Content, Packed) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a vector takes everything");
        let bytes = encoder.finish().expect("a vector takes everything");
        let (content, packed) = open(Cursor::new(bytes.clone())).expect("memory does not fail");
        (bytes, content, packed.expect("is compressed"))
    }

    #[test]
    fn compressed_bytes_are_kept_until_they_are_forgotten() {
        let (bytes, mut content, packed) = open_gzip(b"{}");
        content.read_to_end(&mut Vec::new()).expect("is whole");
        assert_eq!(packed.take(), Some(bytes));
        packed.forget();
        assert_eq!(packed.take(), None);
    }

    #[test]
    fn growth_is_watched_until_the_bytes_are_forgotten() {
        let repetitive = vec![b'a'; 4 << 20];
        let (_, mut content, _) = open_gzip(&repetitive);
        assert!(content.read_to_end(&mut Vec::new()).is_err());
        let (_, mut content, packed) = open_gzip(&repetitive);
        packed.forget();
        assert_eq!(content.read_to_end(&mut Vec::new()).expect("is whole"), repetitive.len());
    }
}
