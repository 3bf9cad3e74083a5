//! Secrets in events: vendors log them, columns must not.
//!
//! `raw` is evidence and keeps what the vendor sent. Every other column loses what looks like a live credential.

use std::borrow::Cow;
use std::sync::LazyLock;

use bumpalo::Bump;
use regex::Regex;

use crate::activity::{Hop, Target, Value};

/// Shapes of credentials that their issuers gave a recognisable form, so that they can be found in text.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        // GitHub, GitLab, Slack, Databricks, OpenAI and Anthropic, HashiCorp Vault, AWS Bedrock, Google, npm, private keys.
        r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|",
        r"\bdapi[0-9a-f]{32}|\bsk-[A-Za-z0-9_-]{20,}|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|ABSK[A-Za-z0-9+/=]{20,}|AIza[A-Za-z0-9_-]{35}|",
        r"npm_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

/// A JSON Web Token.
///
/// Its own expression: what begins one can go on without end before it turns out to be none. Beside the others, each of their
/// matches would be looked for behind every such beginning, which costs the square of a hostile text's length.
static WEB_TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")
        .expect("the pattern is a constant, and a test compiles it")
});

/// Shortest text that can hold a secret of a known shape.
const NUM_BYTES_MIN: usize = 15;

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// `text` with every secret in it replaced.
pub fn redact(text: &str) -> Cow<'_, str> {
    if text.len() < NUM_BYTES_MIN {
        return Cow::Borrowed(text);
    }
    // Tokens go first: cut by another secret's shape, the rest of one would no longer look like a token.
    match WEB_TOKEN.replace_all(text, REDACTED) {
        Cow::Borrowed(text) => SECRET.replace_all(text, REDACTED),
        Cow::Owned(text) => Cow::Owned(SECRET.replace_all(&text, REDACTED).into_owned()),
    }
}

/// `value` with every secret in its texts replaced, also in those of lists, hops, targets and maps.
pub fn redact_value<'a>(value: Value<'a>, arena: &'a Bump) -> Value<'a> {
    let clean = |text: &'a str| redact_in(text, arena);
    match value {
        Value::Text(text) => Value::Text(clean(text)),
        Value::TextList(items) => Value::TextList(redact_each(items, arena, |item| clean(item))),
        Value::TextMap(entries) => {
            Value::TextMap(redact_each(entries, arena, |(key, value)| (clean(key), clean(value))))
        }
        Value::Targets(targets) => Value::Targets(redact_each(targets, arena, |target| Target {
            target_type: target.target_type.map(clean),
            id: target.id.map(clean),
            name: target.name.map(clean),
        })),
        Value::Hops(hops) => Value::Hops(redact_each(hops, arena, |hop| Hop {
            id: hop.id.map(clean),
            name: hop.name.map(clean),
            credential_id: hop.credential_id.map(clean),
            ..hop
        })),
        Value::Null | Value::Int(_) | Value::Bool(_) | Value::Time(_) | Value::Date(_) => value,
    }
}

/// The same items where none of them holds a secret, which is nearly always.
fn redact_each<'a, T: Copy + PartialEq>(items: &'a [T], arena: &'a Bump, clean: impl Fn(T) -> T) -> &'a [T] {
    if items.iter().all(|item| clean(*item) == *item) {
        return items;
    }
    arena.alloc_slice_fill_iter(items.iter().map(|item| clean(*item)))
}

fn redact_in<'a>(text: &'a str, arena: &'a Bump) -> &'a str {
    match redact(text) {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => arena.alloc_str(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_ids_stay() {
        let token = format!("ghp_{}", "a1".repeat(18));
        assert_eq!(redact(&format!("token {token} used")), "token [redacted] used");
        for id in
            ["AKIAIOSFODNN7EXAMPLE", "task-sk-12", "arn:aws:iam::111122223333:user/dapi", "eyJ is how a token begins"]
        {
            assert_eq!(redact(id), id);
        }
    }

    #[test]
    fn a_web_token_goes_whole_though_it_holds_what_looks_like_another_secret() {
        let part = format!("eyJ{}-sk-{}", "a".repeat(12), "b".repeat(30));
        assert_eq!(redact(&format!("Bearer {part}.{part}.{part}!")), "Bearer [redacted]!");
    }

    #[test]
    fn beginnings_of_tokens_do_not_make_other_secrets_slow_to_find() {
        // With one expression for all shapes this took the square of the length: longer than anybody waits for a test.
        let piece = format!("eyJ{}ghp_{}_", "a".repeat(10), "a".repeat(20));
        assert_eq!(redact(&piece.repeat(20_000)), format!("eyJ{}[redacted]_", "a".repeat(10)).repeat(20_000));
    }
}
