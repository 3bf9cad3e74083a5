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
use crate::pipeline::normalize::{Normalizer, Route, SourceChoice};

#[derive(Debug, Default, Args)]
pub struct MappingArguments {
    /// A folder of mappings to use instead of those compiled into the binary
    #[arg(long, value_name = "DIR", global = true)]
    pub mappings: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub struct RegistryArguments {
    /// A file or folder of the identity registry; may be repeated
    #[arg(long, value_name = "PATH")]
    pub registry: Vec<PathBuf>,
}

/// How a command turns records into rows.
#[derive(Debug, Args)]
pub struct NormalizerArguments {
    /// The source that the events come from, or `auto` to recognise each by its content
    #[arg(long, value_name = "NAME", default_value = "auto")]
    source: String,
    #[command(flatten)]
    mappings: MappingArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

impl NormalizerArguments {
    pub fn load(&self) -> Result<(Normalizer, Route), Failure> {
        let normalizer = Normalizer::new(self.mappings.library()?, self.registry.load()?);
        let route = route(&normalizer, &self.source)?;
        Ok((normalizer, route))
    }
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

/// What `--source` names: `auto`, a mapping, or an alias of one.
pub fn route(normalizer: &Normalizer, name: &str) -> Result<Route, Failure> {
    let to = |source| Route { source, set: Vec::new() };
    if name == "auto" {
        return Ok(to(SourceChoice::Auto));
    }
    if normalizer.library().find(name).is_none() {
        let known: Vec<&str> = normalizer.library().plans().iter().map(|plan| plan.source.as_str()).collect();
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "found no mapping `{name}`; there are auto, {}",
            known.join(", ")
        )));
    }
    Ok(to(SourceChoice::Named(name.to_string())))
}
