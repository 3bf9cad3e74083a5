//! `strip_prefix`, `strip_suffix`, `prepend`, `append`: what stands at the ends of a text.

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const STRIP_PREFIX: Definition = Definition {
    name: "strip_prefix",
    about: "the text without this at its start, or as it was",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'user:'", r#""user:ann""#, r#""ann""#),
    compile: |node, compiler| compiler.with_text(node, |affix| Affix { what: What::StripPrefix, affix }),
};

pub const STRIP_SUFFIX: Definition = Definition {
    name: "strip_suffix",
    about: "the text without this at its end, or as it was",
    argument: Argument::Text,
    gives: Gives::Text,
    example: (".amazonaws.com", r#""iam.amazonaws.com""#, r#""iam""#),
    compile: |node, compiler| compiler.with_text(node, |affix| Affix { what: What::StripSuffix, affix }),
};

pub const PREPEND: Definition = Definition {
    name: "prepend",
    about: "the text behind this one",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'sha256:'", r#""00ff""#, r#""sha256:00ff""#),
    compile: |node, compiler| compiler.with_text(node, |affix| Affix { what: What::Prepend, affix }),
};

pub const APPEND: Definition = Definition {
    name: "append",
    about: "the text with this one behind it",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("'/'", r#""a""#, r#""a/""#),
    compile: |node, compiler| compiler.with_text(node, |affix| Affix { what: What::Append, affix }),
};

#[derive(Clone, Copy, Debug)]
enum What {
    StripPrefix,
    StripSuffix,
    Prepend,
    Append,
}

#[derive(Debug)]
struct Affix {
    what: What,
    affix: String,
}

impl Function for Affix {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        let affix = self.affix.as_str();
        each_text(input, arena, |text| {
            Ok(Some(match self.what {
                What::StripPrefix => text.strip_prefix(affix).unwrap_or(text),
                What::StripSuffix => text.strip_suffix(affix).unwrap_or(text),
                What::Prepend => arena.alloc_str(&[affix, text].concat()),
                What::Append => arena.alloc_str(&[text, affix].concat()),
            }))
        })
    }
}
