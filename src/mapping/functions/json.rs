//! `json`: an object or array as its text, where a column or attribute should show it whole.

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives};
use crate::mapping::evaluate::Operand;

pub const JSON: Definition = Definition {
    name: "json",
    about: "an object or array as its JSON text",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", "[1]", r#""[1]""#),
    compile: |node, compiler| compiler.only_true(node, JsonText),
};

#[derive(Debug)]
struct JsonText;

impl Function for JsonText {
    fn apply<'a>(&'a self, input: Operand<'a>, _: &'a Bump) -> Result<Operand<'a>, String> {
        Ok(match input {
            Operand::Json(json) => Operand::Text(json.as_str()),
            other => other,
        })
    }
}
