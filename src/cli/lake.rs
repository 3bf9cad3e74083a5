//! The arguments that name a lake, the same for every command that reads or writes one.

use std::collections::BTreeMap;

use clap::Args;

use crate::sink::lake::LakeLocation;

#[derive(Clone, Debug, Args)]
pub struct LakeArguments {
    /// The lake: a path, file:///…, s3://bucket/prefix, gs://… or az://…
    #[arg(long = "lake", value_name = "URL")]
    url: String,
    /// An option of the lake's store under object_store's name, such as aws_endpoint=…; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
}

impl LakeArguments {
    pub fn location(&self) -> LakeLocation {
        let options: BTreeMap<String, String> = self.options.iter().cloned().collect();
        LakeLocation { url: self.url.clone(), options }
    }
}

/// One `KEY=VALUE`.
pub fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        // Not quoted: without its equals sign a secret could stand there alone.
        _ => Err("expected KEY=VALUE".to_string()),
    }
}
