//! `one_of`: a text only if it is one of those that the author names.

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const ONE_OF: Definition = Definition {
    name: "one_of",
    about: "the text if it is one of these, else none",
    argument: Argument::TextOrTexts,
    gives: Gives::Checked,
    example: ("[us, de]", r#""de""#, r#""de""#),
    compile: |node, compiler| {
        let texts = compiler.texts(node)?;
        for (text, node) in texts.iter().zip(node.sequence().unwrap_or(std::slice::from_ref(node))) {
            compiler.check_closed(text, &node.place);
        }
        Some(Box::new(OneOf(texts)))
    },
};

#[derive(Debug)]
struct OneOf(Vec<String>);

impl Function for OneOf {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| Ok(self.0.iter().any(|wanted| wanted == text).then_some(text)))
    }
}
