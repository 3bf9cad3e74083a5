//! The configuration of `actorline run`, as ready: every value checked, every default filled in.
//!
//! [`load`] reads the file and either gives a [`Config`] or all of its mistakes at once, each with the path of its
//! key. It connects to nothing. Secrets stay out of `Debug`.

mod kafka_properties;
mod read;
mod seal;
mod secrets;
mod section;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::activity::Column;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::seal::SealKey;
use crate::yaml;

/// Most bytes of a configuration file. Thousands of topics fit; anything larger is not a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The source of a topic whose events are recognised by their content.
pub const AUTO: &str = "auto";

/// Everything that `run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub kafka: Kafka,
    /// In the order of the file: the first pattern that fits a topic counts, after exact names.
    pub topics: Vec<Topic>,
    /// None is the mappings compiled into the binary.
    pub mappings: Option<PathBuf>,
    pub registry: Vec<PathBuf>,
    pub lake: Option<Lake>,
    pub siem: Option<Siem>,
    pub dead_letters: Option<DeadLetters>,
    pub telemetry: Telemetry,
}

#[derive(Clone)]
pub struct Kafka {
    pub brokers: String,
    pub group: String,
    pub instance: Option<String>,
    pub properties: BTreeMap<String, String>,
}

/// An input topic, or a pattern of them, and what its events do not say of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: TopicName,
    /// A mapping's name, or [`AUTO`].
    pub source: String,
    pub set: Vec<(Column, String)>,
}

/// A topic's name; with `*` in it, which stands for any characters, a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicName(String);

#[derive(Clone)]
pub struct Lake {
    pub url: url::Url,
    pub options: BTreeMap<String, String>,
    pub commit_interval: Duration,
    pub target_file_bytes: usize,
    pub max_buffer_bytes: usize,
    /// None seals without a signature, and writes no heartbeats.
    pub seal: Option<Seal>,
}

/// How the lake's commits are sealed.
#[derive(Clone, Debug)]
pub struct Seal {
    pub key: Arc<SealKey>,
    pub heartbeat_interval: Duration,
    pub anchor: Option<Anchor>,
}

/// Where the digests of seals are kept a second time.
#[derive(Clone)]
pub enum Anchor {
    Topic(String),
    Url { url: url::Url, options: BTreeMap<String, String> },
}

#[derive(Clone, Debug)]
pub struct Siem {
    pub topic: String,
    pub commit_interval: Duration,
    pub include_raw: bool,
}

#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub topic: String,
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Telemetry {
    pub listen: SocketAddr,
}

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the key, such as `lake.commit_interval_ms`; empty where the file as a whole is meant.
    pub key: String,
    /// The line in the file, from 1; 0 where there is none.
    pub line: usize,
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read configuration `{path}`")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("configuration `{path}` is larger than {FILE_BYTES_MAX} bytes: name the right file")]
    TooLarge { path: PathBuf },
    #[error("configuration `{path}` has {}:\n{}", count(.mistakes), list(.mistakes))]
    Mistakes { path: PathBuf, mistakes: Vec<Mistake> },
}

/// Reads and checks the configuration at `path`, with references resolved from this process's environment.
///
/// # Errors
/// With every mistake that the file holds.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_path_buf() });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &|name| std::env::var(name).ok())
        .map_err(|mistakes| ConfigError::Mistakes { path: path.to_path_buf(), mistakes })
}

/// Checks the configuration in `text`. `environment` looks up a variable for `${env:NAME}`.
///
/// # Errors
/// With every mistake in the order of the file.
pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Mistake>> {
    let mut diagnostics = Diagnostics::default();
    let root = yaml::read("", text, &mut diagnostics);
    let mistakes: Vec<Mistake> = diagnostics.0.iter().map(Mistake::of_yaml).collect();
    match root {
        Some(root) => read::config(root, mistakes, environment),
        None => Err(mistakes),
    }
}

impl Mistake {
    fn of_yaml(diagnostic: &Diagnostic) -> Mistake {
        let message = match &diagnostic.help {
            Some(help) => format!("{}: {help}", diagnostic.message),
            None => diagnostic.message.clone(),
        };
        Mistake { key: String::new(), line: diagnostic.place.line, message }
    }
}

impl TopicName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_pattern(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether `topic` is this topic or fits this pattern.
    pub fn matches(&self, topic: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| topic.strip_prefix(first)) else { return false };
        let Some(last) = self.0.rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
        let mut rest = rest;
        for part in parts {
            // Taking the earliest place for each part leaves the most for those that follow.
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        // The last part must stand at the end, which the earliest place may have passed by.
        topic.len() >= self.0.len() - self.0.matches('*').count() && topic.ends_with(last)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake")
            .field("url", &self.url.as_str())
            .field("options", &self.options.keys())
            .field("commit_interval", &self.commit_interval)
            .field("target_file_bytes", &self.target_file_bytes)
            .field("max_buffer_bytes", &self.max_buffer_bytes)
            .field("seal", &self.seal)
            .finish()
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anchor::Topic(topic) => f.debug_tuple("Topic").field(topic).finish(),
            Anchor::Url { url, options } => {
                f.debug_struct("Url").field("url", &url.as_str()).field("options", &options.keys()).finish()
            }
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.key.is_empty()) {
            (0, true) => f.write_str(&self.message),
            (0, false) => write!(f, "{}: {}", self.key, self.message),
            (line, true) => write!(f, "line {line}: {}", self.message),
            (line, false) => write!(f, "line {line}: {}: {}", self.key, self.message),
        }
    }
}

fn count(mistakes: &[Mistake]) -> String {
    match mistakes.len() {
        1 => "a mistake".to_string(),
        more => format!("{more} mistakes"),
    }
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("  {mistake}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
