//! Logs: one line an event on stderr, JSON for machines and plain for a terminal.
//!
//! Text from outside (topics, file names, a broker's words) can stand in a line, so characters that act on a screen
//! are always escaped: a line is one line and shows what it holds. For the same reason there are no colours.

use std::io::{self, IsTerminal, Write};

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::activity::json::is_screen_control;

/// What is logged unless the environment says otherwise: what this program has to say, and the troubles of what it uses.
const DEFAULT_FILTER: &str = "warn,actorline=info";

/// The variables that hold a filter, the first that is set wins.
const FILTER_VARIABLES: [&str; 2] = ["ACTORLINE_LOG", "RUST_LOG"];

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Plain,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("`{variable}` is not a log filter: write a level such as `debug`, or `warn,actorline=debug`")]
    Filter { variable: &'static str, source: tracing_subscriber::filter::ParseError },
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends logs to stderr from now on: plain if that is a terminal, else JSON.
///
/// # Errors
/// If the environment holds a filter that is none, or if this was called before.
pub fn start() -> Result<(), LogError> {
    let form = if io::stderr().is_terminal() { Form::Plain } else { Form::Json };
    let filter = filter(|variable| std::env::var(variable).ok())?;
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber(form, filter, io::stderr)).map_err(LogError::Twice)
}

/// A subscriber that writes lines in `form` to what `writers` makes.
pub fn subscriber<W>(form: Form, filter: EnvFilter, writers: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layers =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(EscapingWriters(writers));
    match form {
        Form::Json => Box::new(layers.json().flatten_event(true).with_current_span(false).finish())
            as Box<dyn tracing::Subscriber + Send + Sync>,
        Form::Plain => Box::new(layers.finish()),
    }
}

fn filter(variable_of: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, LogError> {
    for variable in FILTER_VARIABLES {
        if let Some(directives) = variable_of(variable).filter(|directives| !directives.trim().is_empty()) {
            return EnvFilter::try_new(directives).map_err(|source| LogError::Filter { variable, source });
        }
    }
    Ok(EnvFilter::new(DEFAULT_FILTER))
}

struct EscapingWriters<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for EscapingWriters<W> {
    type Writer = EscapingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(self.0.make_writer())
    }
}

/// Escapes what acts on a screen as `\u` and four digits, which inside JSON strings means the same character.
struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    /// Takes one whole line, as the formatter hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (body, end) = text.strip_suffix('\n').map_or((&*text, ""), |body| (body, "\n"));
        let mut escaped = String::with_capacity(text.len());
        for character in body.chars() {
            if is_screen_control(character) {
                escaped.push_str(&format!("\\u{:04x}", character as u32));
            } else {
                escaped.push(character);
            }
        }
        escaped.push_str(end);
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(form: Form, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writers = lines.clone();
        let filter = filter(|_| None).expect("the default is a filter");
        tracing::subscriber::with_default(subscriber(form, filter, move || writers.clone()), log);
        let bytes = lines.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("lines are UTF-8")
    }

    const HOSTILE: &str = "a\n2026-01-01 ERROR forged \u{1b}[2J\u{202e}b";

    #[test]
    fn a_json_line_is_one_object_with_the_fields_beside_the_message() {
        let text = logged(Form::Json, || tracing::warn!(topic = HOSTILE, "refused topic"));
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{202e}'));
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["message"], "refused topic");
        assert_eq!(line["topic"], HOSTILE);
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn a_plain_line_cannot_be_forged() {
        let text = logged(Form::Plain, || tracing::warn!(topic = %HOSTILE, "refused topic"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(is_screen_control), "{text}");
    }

    #[test]
    fn by_default_libraries_speak_of_troubles_only() {
        let text = logged(Form::Plain, || {
            tracing::info!("ours");
            tracing::info!(target: "a_library", "theirs");
            tracing::warn!(target: "a_library", "their trouble");
            tracing::debug!("detail");
        });
        assert!(text.contains("ours") && text.contains("their trouble"));
        assert!(!text.contains("theirs") && !text.contains("detail"));
    }

    #[test]
    fn the_own_variable_wins_and_nonsense_is_named() {
        let set = |variable: &str| Some(if variable == "ACTORLINE_LOG" { "debug" } else { "error" }.to_string());
        assert_eq!(filter(set).expect("a filter").to_string(), "debug");
        let error = filter(|variable| (variable == "RUST_LOG").then(|| "a=b=c".to_string())).expect_err("no filter");
        assert!(error.to_string().contains("`RUST_LOG`"), "{error}");
    }
}
