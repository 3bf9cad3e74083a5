//! `actorline archive key`: a new pair of keys. Overwrites nothing.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::super::Failure;
use crate::archive::write_key_pair;

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// Where the private key goes; the public one goes beside it, with `.pub` before the extension
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: &KeyArguments) -> Result<(), Failure> {
    let private = &arguments.file;
    let public = match private.extension() {
        Some(extension) => private.with_extension(format!("pub.{}", extension.to_string_lossy())),
        None => private.with_extension("pub"),
    };
    let key = write_key_pair(private, &public)
        .with_context(|| format!("failed to write `{}` and `{}`", private.display(), public.display()))
        .map_err(Failure::Outside)?;
    eprintln!(
        "wrote the key `{}`: `{}` for lake.seal.key, `{}` for those who verify",
        key.id(),
        private.display(),
        public.display()
    );
    Ok(())
}
