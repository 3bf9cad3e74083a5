//! `ip`, `not_ip`: addresses in the forms in which logs write them.

use std::net::IpAddr;

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const IP: Definition = Definition {
    name: "ip",
    about: "an address in canonical form, without port, brackets and zone; none if it is not an address",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""[2001:DB8::1]:443""#, r#""2001:db8::1""#),
    compile: |node, compiler| compiler.only_true(node, Address::Ip),
};

pub const NOT_IP: Definition = Definition {
    name: "not_ip",
    about: "the text if it is not an address, none if it is",
    argument: Argument::True,
    gives: Gives::Text,
    example: ("true", r#""cloudformation.amazonaws.com""#, r#""cloudformation.amazonaws.com""#),
    compile: |node, compiler| compiler.only_true(node, Address::NotIp),
};

#[derive(Debug)]
enum Address {
    Ip,
    NotIp,
}

impl Function for Address {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| {
            Ok(match (self, canonical(text)) {
                (Address::Ip, Some(address)) => Some(same_or_new(text, &address.to_string(), arena)),
                (Address::NotIp, None) => Some(text),
                _ => None,
            })
        })
    }
}

fn same_or_new<'a>(text: &'a str, canonical: &str, arena: &'a Bump) -> &'a str {
    if text == canonical { text } else { arena.alloc_str(canonical) }
}

/// The address that `text` writes, perhaps with a port, brackets or a zone. IPv4 inside IPv6 is IPv4.
///
/// Logs that pad numbers to three digits (`192.000.002.007`) mean them as decimal. Octal and other short forms
/// (`0177.0.0.1`, `127.1`) are refused: programs disagree about what they mean.
pub fn canonical(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let without_port = match text.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?.0,
        None => match text.split_once(':') {
            // One colon: IPv4 and a port. More: an IPv6 address.
            Some((host, port)) if !port.contains(':') => host,
            _ => text,
        },
    };
    let without_zone = without_port.split_once('%').map_or(without_port, |(address, _)| address);
    let address = without_zone.parse::<IpAddr>().ok().or_else(|| padded(without_zone))?;
    Some(address.to_canonical())
}

/// Four numbers of at most three digits, of which some may be padded with zeros.
fn padded(text: &str) -> Option<IpAddr> {
    let mut numbers = [0; 4];
    let mut parts = text.split('.');
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::from(numbers))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn addresses_lose_what_is_not_theirs() {
        let canonical = |text| canonical(text).map(|address| address.to_string());
        for (text, wanted) in [
            ("192.0.2.7:10736", Some("192.0.2.7")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("192.000.002.007", Some("192.0.2.7")),
            ("0177.0.0.1", None),
            ("127.1", None),
            ("1.2.3.4.5", None),
            ("192.0.2.300", None),
            ("AWS Internal", None),
            ("192.0.2.7, 198.51.100.1", None),
            ("", None),
        ] {
            assert_eq!(canonical(text).as_deref(), wanted, "{text}");
        }
    }
}
