//! Which mappings a command works with: a folder, or those compiled into the binary.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::Failure;
use crate::identity::Registry;
use crate::input::mapping_files;
use crate::mapping::compile::Files;
use crate::mapping::library::Library;

#[derive(Debug, Default, Args)]
pub struct MappingArguments {
    /// A folder of mappings to use instead of those compiled into the binary
    #[arg(long, value_name = "DIR", global = true)]
    pub mappings: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub struct RegistryArguments {
    /// Files and folders of the identity registry
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub registry: Vec<PathBuf>,
}

impl MappingArguments {
    pub fn files(&self) -> Result<Files, Failure> {
        match &self.mappings {
            None => Ok(mapping_files::shipped()),
            Some(folder) => mapping_files::read(folder)
                .with_context(|| format!("failed to read the mapping folder `{}`", folder.display()))
                .map_err(Failure::BadConfiguration),
        }
    }

    pub fn library(&self) -> Result<Arc<Library>, Failure> {
        compile(&self.files()?)
    }
}

impl RegistryArguments {
    pub fn load(&self) -> Result<Arc<Registry>, Failure> {
        let registry = Registry::load(&self.registry).map_err(|mistakes| {
            let num_mistakes = mistakes.0.len();
            Failure::BadConfiguration(anyhow::anyhow!("{mistakes}\nfound {num_mistakes} mistakes in the registry"))
        })?;
        Ok(Arc::new(registry))
    }
}

/// Compiles all mappings, or shows every mistake in them.
pub fn compile(files: &Files) -> Result<Arc<Library>, Failure> {
    Library::compile(files).map(Arc::new).map_err(|diagnostics| {
        let num_mistakes = diagnostics.0.len();
        Failure::BadMapping(anyhow::anyhow!("{diagnostics}\nfound {num_mistakes} mistakes in the mappings"))
    })
}
