//! Decompression that ends: gzip and zstd, within a budget of bytes and a ratio.
//!
//! Several members or frames one after the other are one text. What follows them, or is missing, is damage.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::limits::{INFLATION_FREE_BYTES, INFLATION_MAX, ZSTD_WINDOW_LOG_MAX};
use crate::rejection::{Reason, Rejection, Stage};

/// How much is unpacked between two looks at the limits.
const STEP_BYTES: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    /// The compression that `bytes` begin with.
    pub(super) fn of(bytes: &[u8]) -> Option<Codec> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Codec::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Codec::Zstd),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        }
    }
}

/// What `packed` unpacks to, if that is at most `num_bytes_max`.
pub(super) fn inflate(packed: &[u8], num_bytes_max: usize) -> Result<Vec<u8>, Rejection> {
    match Codec::of(packed) {
        Some(Codec::Gzip) => read(MultiGzDecoder::new(packed), packed.len(), num_bytes_max),
        Some(Codec::Zstd) => {
            let mut decoder = ZstdDecoder::with_buffer(packed).map_err(|error| damaged(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| damaged(&error))?;
            read(decoder, packed.len(), num_bytes_max)
        }
        None => Err(Rejection::new(Stage::Decode, Reason::Codec, "neither gzip nor zstd")),
    }
}

pub(super) fn too_much() -> Rejection {
    Rejection::new(Stage::Decode, Reason::Bomb, "unpacks to more than a record may have")
}

fn read(mut decoder: impl Read, num_packed: usize, num_bytes_max: usize) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::with_capacity(num_packed.saturating_mul(4).min(INFLATION_FREE_BYTES));
    loop {
        let num_read = decoder.by_ref().take(STEP_BYTES).read_to_end(&mut bytes);
        // Damage after too much is still too much: nobody should unpack further to find out.
        if bytes.len() > num_bytes_max {
            return Err(too_much());
        }
        if bytes.len() > INFLATION_FREE_BYTES && bytes.len() / INFLATION_MAX > num_packed {
            return Err(Rejection::new(
                Stage::Decode,
                Reason::Bomb,
                format!("unpacks to more than {INFLATION_MAX} times its {num_packed} bytes"),
            ));
        }
        match num_read {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(error) => return Err(damaged(&error)),
        }
    }
}

fn damaged(error: &io::Error) -> Rejection {
    // zstd reports a window above the limit only by this text; a test holds it to that.
    if error.to_string().contains("too much memory") {
        let detail = format!("needs a window of more than {} bytes", 1_u64 << ZSTD_WINDOW_LOG_MAX);
        return Rejection::new(Stage::Decode, Reason::Bomb, detail);
    }
    Rejection::new(Stage::Decode, Reason::Codec, format!("does not unpack: {error}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const BUDGET: usize = 4 * INFLATION_FREE_BYTES;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("a vector takes everything")
    }

    fn reason(packed: &[u8]) -> Option<Reason> {
        inflate(packed, BUDGET).err().map(|rejection| rejection.reason)
    }

    #[test]
    fn several_members_are_one_text() {
        assert_eq!(inflate(&[gzip(b"{}"), gzip(b"[]")].concat(), BUDGET).expect("unpacks"), b"{}[]");
        assert_eq!(inflate(&[zstd(b"{}"), zstd(b"[]")].concat(), BUDGET).expect("unpacks"), b"{}[]");
    }

    #[test]
    fn what_follows_the_compressed_data_is_damage() {
        assert_eq!(reason(&[gzip(b"{}"), b"{}".to_vec()].concat()), Some(Reason::Codec));
        assert_eq!(reason(&[zstd(b"{}"), b"trailing".to_vec()].concat()), Some(Reason::Codec));
        assert_eq!(reason(&[gzip(b"{}"), vec![0]].concat()), Some(Reason::Codec));
    }

    #[test]
    fn every_truncation_is_damage() {
        for packed in [gzip(b"{\"a\":1}"), zstd(b"{\"a\":1}")] {
            for length in 4..packed.len() {
                assert_eq!(reason(&packed[..length]), Some(Reason::Codec), "{length} of {packed:?}");
            }
        }
    }

    #[test]
    fn a_small_record_may_unpack_by_any_ratio() {
        let bytes = vec![b' '; INFLATION_FREE_BYTES];
        assert!(gzip(&bytes).len() * INFLATION_MAX < bytes.len());
        assert_eq!(inflate(&gzip(&bytes), BUDGET).expect("unpacks").len(), bytes.len());
    }

    #[test]
    fn a_large_one_may_not() {
        assert_eq!(reason(&gzip(&vec![b' '; 2 * INFLATION_FREE_BYTES])), Some(Reason::Bomb));
        assert_eq!(reason(&zstd(&vec![b' '; 2 * INFLATION_FREE_BYTES])), Some(Reason::Bomb));
    }

    #[test]
    fn what_exceeds_the_budget_is_a_bomb_whatever_its_ratio() {
        assert_eq!(inflate(&gzip(b"{}"), 1).err().map(|rejection| rejection.reason), Some(Reason::Bomb));
        assert!(inflate(&gzip(b"{}"), 2).is_ok());
    }

    #[test]
    fn a_window_above_the_limit_is_a_bomb_and_one_at_it_is_not() {
        let with_window = |log: u32| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("the level exists");
            encoder.window_log(log).expect("the window exists");
            encoder.write_all(b"{}").expect("a vector takes everything");
            encoder.finish().expect("a vector takes everything")
        };
        assert_eq!(reason(&with_window(ZSTD_WINDOW_LOG_MAX)), None);
        assert_eq!(reason(&with_window(ZSTD_WINDOW_LOG_MAX + 1)), Some(Reason::Bomb));
        assert_eq!(reason(&with_window(31)), Some(Reason::Bomb));
    }
}
