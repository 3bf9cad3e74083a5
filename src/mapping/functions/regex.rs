//! `regex`: the part of a text that a regular expression finds.

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const REGEX: Definition = Definition {
    name: "regex",
    about: "the first group of the first match, the whole match without groups; none if nothing matches",
    argument: Argument::Text,
    gives: Gives::Text,
    example: ("':assumed-role/([^/]+)/'", r#""arn:aws:sts::111122223333:assumed-role/deploy/ci""#, r#""deploy""#),
    compile: |node, compiler| {
        let regex = compiler.regex(node)?;
        Some(Box::new(FirstGroup(regex)))
    },
};

#[derive(Debug)]
struct FirstGroup(regex::Regex);

impl Function for FirstGroup {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| {
            if self.0.captures_len() == 1 {
                return Ok(self.0.find(text).map(|found| found.as_str()));
            }
            let Some(captures) = self.0.captures(text) else { return Ok(None) };
            // Of alternatives, each with its group, the one that took part counts.
            Ok(captures.iter().skip(1).flatten().next().map(|group| group.as_str()))
        })
    }
}
