//! A new pair of keys for seals, as two files.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::seal::{PublicKey, SealKey};

/// Makes a key and writes its two halves. The private one is for its owner alone. Neither file may be there.
///
/// # Errors
/// If a file cannot be made.
pub fn write_key_pair(private: &Path, public: &Path) -> io::Result<PublicKey> {
    let (key, pem) = SealKey::generate().map_err(io::Error::other)?;
    let create = |path: &Path, mode| OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    create(private, 0o600)?.write_all(pem.as_bytes())?;
    create(public, 0o644)?.write_all(key.public().to_pem().as_bytes())?;
    Ok(key.public().clone())
}
