//! `hex_of_base64`: bytes that a vendor writes in base64, as the lower-case hex of fingerprints.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const HEX_OF_BASE64: Definition = Definition {
    name: "hex_of_base64",
    about: "lower-case hex of what the base64 text encodes",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""AP/+""#, r#""00fffe""#),
    compile: |node, compiler| compiler.only_true(node, HexOfBase64),
};

#[derive(Debug)]
struct HexOfBase64;

impl Function for HexOfBase64 {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| {
            let bytes = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
                .iter()
                .find_map(|alphabet| alphabet.decode(text).ok())
                .ok_or("not base64")?;
            let mut hex = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                hex.push_str(&format!("{byte:02x}"));
            }
            Ok(Some(arena.alloc_str(&hex)))
        })
    }
}
