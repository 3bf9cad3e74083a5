//! Secrets in events: vendors log them, columns must not.
//!
//! `raw` is evidence and keeps what the vendor sent. Every other column loses what looks like a live credential.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Shapes of credentials that their issuers gave a recognisable form, so that they can be found in text.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        // GitHub, GitLab, Slack, Databricks, OpenAI and Anthropic, HashiCorp Vault, AWS Bedrock, Google, npm, JWT, private keys.
        r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|",
        r"\bdapi[0-9a-f]{32}|\bsk-[A-Za-z0-9_-]{20,}|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|ABSK[A-Za-z0-9+/=]{20,}|AIza[A-Za-z0-9_-]{35}|",
        r"npm_[A-Za-z0-9]{30,}|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

/// Shortest text that can hold a secret of a known shape.
const NUM_BYTES_MIN: usize = 15;

/// `text` with every secret in it replaced.
pub fn redact(text: &str) -> Cow<'_, str> {
    if text.len() < NUM_BYTES_MIN {
        return Cow::Borrowed(text);
    }
    SECRET.replace_all(text, "[redacted]")
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
}
