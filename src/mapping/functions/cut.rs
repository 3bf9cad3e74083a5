//! `before`, `after`, `before_last`, `after_last`, `split`: parts of a text.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const BEFORE: Definition = Definition {
    name: "before",
    about: "the text before the first of these; none where it does not occur",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'@'", r#""ann@example.com""#, r#""ann""#),
    compile: |node, compiler| compiler.with_text(node, |separator| Cut { what: What::Before, separator }),
};

pub const AFTER: Definition = Definition {
    name: "after",
    about: "the text behind the first of these; none where it does not occur",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'@'", r#""ann@example.com""#, r#""example.com""#),
    compile: |node, compiler| compiler.with_text(node, |separator| Cut { what: What::After, separator }),
};

pub const BEFORE_LAST: Definition = Definition {
    name: "before_last",
    about: "the text before the last of these; the whole text where it does not occur",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'/'", r#""a/b/c""#, r#""a/b""#),
    compile: |node, compiler| compiler.with_text(node, |separator| Cut { what: What::BeforeLast, separator }),
};

pub const AFTER_LAST: Definition = Definition {
    name: "after_last",
    about: "the text behind the last of these; the whole text where it does not occur",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'/'", r#""a/b/c""#, r#""c""#),
    compile: |node, compiler| compiler.with_text(node, |separator| Cut { what: What::AfterLast, separator }),
};

pub const SPLIT: Definition = Definition {
    name: "split",
    about: "a list of the parts between these, trimmed, without empty ones",
    argument: Argument::Text,
    gives: Gives::List,
    example: ("','", r#""repo, read:org,""#, r#"["repo","read:org"]"#),
    compile: |node, compiler| compiler.with_text(node, |separator| Cut { what: What::Split, separator }),
};

#[derive(Clone, Copy, Debug)]
enum What {
    Before,
    After,
    BeforeLast,
    AfterLast,
    Split,
}

#[derive(Debug)]
struct Cut {
    what: What,
    separator: String,
}

impl Function for Cut {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        let separator = self.separator.as_str();
        if let What::Split = self.what {
            let mut parts = ArenaVec::new_in(arena);
            for text in input.texts(arena) {
                parts.extend(text.split(separator).map(str::trim).filter(|part| !part.is_empty()));
            }
            return Ok(Operand::List(parts.into_bump_slice()));
        }
        each_text(input, arena, |text| {
            Ok(match self.what {
                What::Before => text.split_once(separator).map(|(before, _)| before),
                What::After => text.split_once(separator).map(|(_, after)| after),
                What::BeforeLast => Some(text.rsplit_once(separator).map_or(text, |(before, _)| before)),
                What::AfterLast | What::Split => Some(text.rsplit_once(separator).map_or(text, |(_, after)| after)),
            })
        })
    }
}
