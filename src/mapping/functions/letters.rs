//! `lower`, `upper`, `trim`, `replace`, `max_chars`: the letters of a text.

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::compile::Compiler;
use crate::mapping::evaluate::Operand;
use crate::yaml::Node;

pub const LOWER: Definition = Definition {
    name: "lower",
    about: "lower-case letters",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""Ann@Example.COM""#, r#""ann@example.com""#),
    compile: |node, compiler| compiler.only_true(node, Letters::Lower),
};

pub const UPPER: Definition = Definition {
    name: "upper",
    about: "upper-case letters",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""de""#, r#""DE""#),
    compile: |node, compiler| compiler.only_true(node, Letters::Upper),
};

pub const TRIM: Definition = Definition {
    name: "trim",
    about: "the text without white space around it",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""  a b ""#, r#""a b""#),
    compile: |node, compiler| compiler.only_true(node, Letters::Trim),
};

pub const REPLACE: Definition = Definition {
    name: "replace",
    about: "every key of the argument replaced by its value",
    argument: Argument::Texts,
    gives: Gives::Text,
    example: ("{ \"_slash_\": \"/\" }", r#""a_slash_b""#, r#""a/b""#),
    compile: compile_replace,
};

pub const MAX_CHARS: Definition = Definition {
    name: "max_chars",
    about: "at most so many characters",
    argument: Argument::Number,
    gives: Gives::Text,
    example: ("3", r#""abcdef""#, r#""abc""#),
    compile: |node, compiler| {
        let Some(number) = node.integer().and_then(|number| usize::try_from(number).ok()) else {
            compiler.wrong_argument(node, "a whole number");
            return None;
        };
        Some(Box::new(Letters::MaxChars(number)))
    },
};

#[derive(Debug)]
enum Letters {
    Lower,
    Upper,
    Trim,
    Replace(Vec<(String, String)>),
    MaxChars(usize),
}

impl Function for Letters {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| {
            Ok(Some(match self {
                Letters::Lower if text.chars().any(char::is_uppercase) => arena.alloc_str(&text.to_lowercase()),
                Letters::Upper if text.chars().any(char::is_lowercase) => arena.alloc_str(&text.to_uppercase()),
                Letters::Lower | Letters::Upper => text,
                Letters::Trim => text.trim(),
                Letters::Replace(pairs) => {
                    let mut changed = std::borrow::Cow::Borrowed(text);
                    for (from, to) in pairs.iter().filter(|(from, _)| text.contains(&**from)) {
                        changed = changed.replace(&**from, to).into();
                    }
                    arena.alloc_str(&changed)
                }
                Letters::MaxChars(number) => match text.char_indices().nth(*number) {
                    Some((end, _)) => &text[..end],
                    None => text,
                },
            }))
        })
    }
}

fn compile_replace(node: &Node, compiler: &mut Compiler<'_>) -> Option<Box<dyn Function>> {
    let mut pairs = Vec::new();
    for (from, to) in node.entries().unwrap_or_default() {
        match (from.text(), to.text()) {
            (Some(from), Some(to)) if !from.is_empty() => pairs.push((from.to_string(), to.to_string())),
            _ => compiler.wrong_argument(to, "a text"),
        }
    }
    if pairs.is_empty() {
        compiler.wrong_argument(node, "texts and what replaces them, such as `{ \"_\": \"/\" }`");
        return None;
    }
    Some(Box::new(Letters::Replace(pairs)))
}
