//! The demo's folder: what the pipeline reads and writes, laid out so that a person can go on from there.
//!
//! `actorline.yaml` is the configuration that the demo ran with, `registry/` the identity registry, `events/` the raw
//! events, `seal.pem` and `seal.pub.pem` the keys of its seals, `lake/` the result. Only a new or empty folder is taken.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use url::Url;

use super::broker::{DEAD_LETTERS, SIEM};
use super::screen::Screen;
use super::{DemoError, Topic, events};
use crate::archive::write_key_pair;

/// The two halves of the key that the demo's seals are signed with.
const KEY: &str = "seal.pem";
const PUBLIC_KEY: &str = "seal.pub.pem";

static REGISTRY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/demo/registry");

pub(super) struct Folder {
    /// As it was named, for people.
    named: PathBuf,
    path: PathBuf,
}

impl Folder {
    /// Makes the folder and puts the registry and the raw events there.
    pub fn create(named: &Path) -> Result<Folder, DemoError> {
        let failed = |source| DemoError::Io { path: named.to_path_buf(), source };
        if named.exists() && (!named.is_dir() || named.read_dir().map_err(failed)?.next().is_some()) {
            return Err(DemoError::NotEmpty(named.to_path_buf()));
        }
        // `${` and `}` hold a reference in a configuration file.
        if named.to_str().is_none_or(|text| text.contains(['$', '}'])) {
            return Err(DemoError::Unwritable(named.to_path_buf()));
        }
        std::fs::create_dir_all(named).map_err(failed)?;
        let path = named.canonicalize().map_err(failed)?;
        let folder = Folder { named: named.to_path_buf(), path };
        for file in REGISTRY.files() {
            folder.write(&Path::new("registry").join(file.path()), file.contents())?;
        }
        for (name, text) in events::files() {
            folder.write(&Path::new("events").join(format!("{name}.ndjson")), text.as_bytes())?;
        }
        write_key_pair(&folder.path.join(KEY), &folder.path.join(PUBLIC_KEY)).map_err(failed)?;
        Ok(folder)
    }

    pub fn configuration(&self) -> PathBuf {
        self.path.join("actorline.yaml")
    }

    pub fn lake_url(&self) -> Result<Url, DemoError> {
        Url::from_directory_path(self.path.join("lake")).map_err(|()| DemoError::Unwritable(self.path.clone()))
    }

    /// Writes the configuration file that the pipeline runs with.
    pub fn write_configuration(&self, brokers: &str, topics: &[Topic]) -> Result<(), DemoError> {
        let path = self.path.to_str().ok_or_else(|| DemoError::Unwritable(self.path.clone()))?;
        let text = configuration(brokers, topics, path, self.lake_url()?.as_str());
        self.write(Path::new("actorline.yaml"), text.as_bytes())
    }

    /// Commands that go on from here, each of which works as it stands. `program` is how this one was called.
    pub fn tell_next_steps<W: Write>(&self, program: &str, screen: &mut Screen<W>) -> io::Result<()> {
        let program = shell_word(program);
        let folder = shell_word(&self.named.display().to_string());
        let steps: [(&str, &[String]); 4] = [
            (
                "ask the lake yourself, in SQL",
                &[
                    format!("{program} query --lake {folder}/lake \\"),
                    "  \"SELECT actor_name, action, count(*) FROM activities".to_string(),
                    "   WHERE actor_type = 'ai_agent' GROUP BY 1, 2 ORDER BY 3 DESC\"".to_string(),
                ],
            ),
            (
                "see which rule of which mapping set each column of an event",
                &[format!("head -1 {folder}/events/okta_system.ndjson | {program} explain")],
            ),
            (
                "prove that nothing in the lake is missing or was changed",
                &[
                    format!("{program} archive verify --lake {folder}/lake \\"),
                    format!("  --public-key {folder}/{PUBLIC_KEY}"),
                ],
            ),
            (
                "read a file of events without any broker",
                &[
                    format!("{program} normalize --registry {folder}/registry \\"),
                    format!("  -- {folder}/events/github_audit.ndjson"),
                ],
            ),
        ];
        screen.heading("What to try next")?;
        for (what, lines) in steps {
            screen.dim_line(&format!("  # {what}"))?;
            for line in lines {
                screen.line(&format!("  {line}"))?;
            }
        }
        screen.line("")?;
        screen
            .line(&format!("{folder}/actorline.yaml is the configuration that this ran with. Its broker is gone:"))?;
        screen.line("put your own brokers and topics there, and `actorline run --config` goes on with real events.")
    }

    fn write(&self, name: &Path, contents: &[u8]) -> Result<(), DemoError> {
        let path = self.path.join(name);
        let failed = |source| DemoError::Io { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&path, contents).map_err(failed)
    }
}

/// `text` as a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(is_plain) { text.to_string() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn configuration(brokers: &str, topics: &[Topic], folder: &str, lake: &str) -> String {
    // JSON's strings are YAML's, whatever stands in them.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!(
        "# What `actorline demo` ran with. Its broker was embedded and is gone. To go on with a Kafka of your own, change\n\
         # `kafka.brokers` and `topics`, and take a new folder for the lake: what is in this one came from other topics.\n\
         kafka: {{ brokers: {}, group: actorline-demo }}\n\
         topics:\n",
        quoted(brokers)
    );
    for topic in topics {
        let source = match topic.source.as_str() {
            // Kubernetes' audit log does not say which cluster it is of.
            "kubernetes_audit" => "{ source: kubernetes_audit, set: { tenant: exa-prod-1 } }",
            // Recognised by content, to show that it works.
            "anthropic_compliance" | "openai_audit" => "auto",
            source => source,
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}: {source}", topic.name());
    }
    let _ = writeln!(
        text,
        "registry: [{}]\n\
         lake:\n\
         \x20 url: {}\n\
         \x20 commit_interval_ms: 500   # half a minute is better outside of a demo\n\
         \x20 seal: {{ key: {} }}\n\
         siem: {{ topic: {SIEM}, commit_interval_ms: 100 }}\n\
         dead_letters: {{ topic: {DEAD_LETTERS} }}",
        quoted(&format!("{folder}/registry")),
        quoted(lake),
        quoted(&format!("${{file:{folder}/{KEY}}}"))
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_configuration_is_one_that_run_takes_wherever_the_folder_is() {
        let home = tempfile::tempdir().expect("temporary folder");
        let path = home.path().join("a \"b\"");
        Folder::create(&path).expect("a folder");
        let topics = events::shipped().expect("the files are whole");
        let path = path.canonicalize().expect("it is there");
        let name = path.to_str().expect("a UTF-8 path");
        let text = configuration("127.0.0.1:9", &topics, name, "file:///a%20b/lake/");
        let config = config::parse(&text, &|_| None).expect("no mistakes");
        assert_eq!(config.topics.len(), topics.len());
        assert_eq!(config.registry, [path.join("registry")]);
        assert!(config.lake.is_some_and(|lake| lake.seal.is_some()), "a key");
    }

    #[test]
    fn a_shell_takes_any_folder_for_one_word() {
        assert_eq!(shell_word("./actorline-demo"), "./actorline-demo");
        assert_eq!(shell_word("it's; rm"), r"'it'\''s; rm'");
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("mine"), "").expect("written");
        assert!(matches!(Folder::create(folder.path()), Err(DemoError::NotEmpty(_))));
        assert_eq!(folder.path().read_dir().expect("readable").count(), 1);
    }
}
