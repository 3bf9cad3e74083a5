//! Paths as authors write them: `actor.type`, `ips[-1]`, `annotations."a.b/c"`, `$item.name`.

use std::fmt;

/// Where a path starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// At the top of the event, or of the element at hand inside `pick`, `each` and `any_item`.
    Here,
    /// `$event`: at the top of the event, also from inside an element.
    Event,
    /// `$item`: at the element of `split`.
    Item,
    /// `$context.name`: beside the event.
    Context(String),
    /// `$name` or `$fragment.name`: a variable.
    Variable(String),
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Key(String),
    /// From the front.
    Index(usize),
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub root: Root,
    pub steps: Vec<Step>,
}

/// Longest path, in steps. No vendor nests fields of interest deeper; it bounds the recursion of a scan.
const NUM_STEPS_MAX: usize = 24;

impl Path {
    /// # Errors
    /// Says what is wrong with `text` as a path.
    pub fn parse(text: &str) -> Result<Path, String> {
        let mut words = split_words(text)?.into_iter();
        let first = words.next().ok_or("found an empty path")?;
        let mut rest: Vec<Step> = Vec::new();
        let root = match first {
            Word::Here => Root::Here,
            Word::Step(Step::Key(key)) => match key.strip_prefix('$') {
                None => {
                    rest.push(Step::Key(key));
                    Root::Here
                }
                Some("event") => Root::Event,
                Some("item") => Root::Item,
                Some("context") => match words.next() {
                    Some(Word::Step(Step::Key(name))) => Root::Context(name),
                    _ => return Err("found `$context` without a name behind it".to_string()),
                },
                Some(name) => {
                    let name = name.to_string();
                    let words: Vec<Word> = words.collect();
                    return match words.as_slice() {
                        [] => Ok(Path { root: Root::Variable(name), steps: Vec::new() }),
                        [Word::Step(Step::Key(inner))] => {
                            Ok(Path { root: Root::Variable(format!("{name}.{inner}")), steps: Vec::new() })
                        }
                        _ => Err(format!("found steps behind the variable `${name}`, which holds a plain value")),
                    };
                }
            },
            Word::Step(step) => {
                rest.push(step);
                Root::Here
            }
        };
        for word in words {
            match word {
                Word::Step(step) => rest.push(step),
                Word::Here => return Err("found an empty step".to_string()),
            }
        }
        if matches!(root, Root::Context(_)) && !rest.is_empty() {
            return Err("found steps behind a context name; put a name with dots in double quotes".to_string());
        }
        if rest.len() > NUM_STEPS_MAX {
            return Err(format!("found {} steps, wanted at most {NUM_STEPS_MAX}", rest.len()));
        }
        Ok(Path { root, steps: rest })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        match &self.root {
            Root::Here if self.steps.is_empty() => return f.write_str("."),
            Root::Here => {}
            Root::Event => (first, _) = (false, f.write_str("$event")?),
            Root::Item => (first, _) = (false, f.write_str("$item")?),
            Root::Context(name) => return write!(f, "$context.\"{name}\""),
            Root::Variable(name) => return write!(f, "${name}"),
        }
        for step in &self.steps {
            match step {
                Step::Key(key) => {
                    if !std::mem::take(&mut first) {
                        f.write_str(".")?;
                    }
                    if key.chars().all(is_plain) { f.write_str(key)? } else { write!(f, "\"{key}\"")? }
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Last => f.write_str("[-1]")?,
            }
            first = false;
        }
        Ok(())
    }
}

enum Word {
    /// A lone `.`.
    Here,
    Step(Step),
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$' | '/' | ':' | '#')
}

fn split_words(text: &str) -> Result<Vec<Word>, String> {
    if text == "." {
        return Ok(vec![Word::Here]);
    }
    let mut words = Vec::new();
    let mut rest = text;
    let mut wants_key = true;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']').ok_or("found `[` without `]`")?;
            let step = match index {
                "-1" => Step::Last,
                digits => Step::Index(
                    digits.parse().map_err(|_| format!("found `[{digits}]`, wanted a number from 0 or -1"))?,
                ),
            };
            words.push(Word::Step(step));
            (rest, wants_key) = (after, false);
        } else if !wants_key {
            let Some(after) = rest.strip_prefix('.') else {
                return Err(format!("found `{rest}` where `.` or `[` was wanted"));
            };
            (rest, wants_key) = (after, true);
        } else if let Some(inside) = rest.strip_prefix('"') {
            let (key, after) = inside.split_once('"').ok_or("found a `\"` that is not closed")?;
            words.push(Word::Step(Step::Key(key.to_string())));
            (rest, wants_key) = (after, false);
        } else {
            let end = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("found `{rest}` where a key was wanted; put odd keys in double quotes"));
            }
            words.push(Word::Step(Step::Key(rest[..end].to_string())));
            (rest, wants_key) = (&rest[end..], false);
        }
    }
    if wants_key {
        return Err("found nothing behind the last dot".to_string());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_read_as_they_are_written() {
        for text in ["actor.type", "ips[-1]", "a[0].b[2].\"c.d/e f\"", ".", "$item.name", "$event.a", "@timestamp"] {
            assert_eq!(Path::parse(text).map(|path| path.to_string()), Ok(text.to_string()));
        }
        let root = |text: &str| Path::parse(text).map(|path| path.root);
        assert_eq!(root("$session"), Ok(Root::Variable("session".to_string())));
        assert_eq!(root("$principal.account"), Ok(Root::Variable("principal.account".to_string())));
        assert_eq!(root("$context.\"header.x\""), Ok(Root::Context("header.x".to_string())));
    }

    #[test]
    fn mistakes_are_said() {
        for text in ["", "a.", ".a", "a..b", "a[", "a[x]", "a b", "\"a", "$a.b.c", "$context"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_a_mistake(text in ".{0,40}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
