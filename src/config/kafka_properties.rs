//! Which of librdkafka's properties an operator may not set, and why.
//!
//! Everything else is handed on unchanged: security, timeouts, compression and buffers are the operator's business.

/// Why `name` with `value` is refused, or none if it may be set.
pub(super) fn refusal(name: &str, value: &str) -> Option<&'static str> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Some(why);
    }
    if name == "sasl.oauthbearer.token.endpoint.url" && !value.starts_with("https://") {
        return Some("tokens are only fetched over https: give an `https://` address");
    }
    None
}

/// Whether the value of `name` is a secret, which must not stand in the file.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(
        name,
        "sasl.password"
            | "ssl.key.password"
            | "ssl.keystore.password"
            | "ssl.key.pem"
            | "sasl.oauthbearer.client.secret"
            | "sasl.oauthbearer.client.credentials.client.secret"
            | "sasl.oauthbearer.assertion.private.key.passphrase"
            | "sasl.oauthbearer.assertion.private.key.pem"
            | "sasl.oauthbearer.config"
    )
}

const POSITIONS: &str = "positions are committed with the outputs, never by the client: remove it";
const TRANSACTION: &str = "outputs and positions are one transaction, which needs it as it is: remove it";
const NAMED_ELSEWHERE: &str = "it follows from `kafka.group` and `kafka.instance`: set those";
const CODE: &str = "it loads code into the process: remove it";
const OWN: &str = "how records are read and grouped is part of exactly-once: remove it";

const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is `kafka.brokers`: set that"),
    ("metadata.broker.list", "it is `kafka.brokers`: set that"),
    ("group.id", NAMED_ELSEWHERE),
    ("group.instance.id", NAMED_ELSEWHERE),
    ("transactional.id", NAMED_ELSEWHERE),
    ("enable.auto.commit", POSITIONS),
    ("auto.commit.enable", POSITIONS),
    ("auto.commit.interval.ms", POSITIONS),
    ("enable.auto.offset.store", POSITIONS),
    ("offset.store.method", POSITIONS),
    ("auto.offset.reset", "a position that is gone must stop the run, not be skipped: remove it"),
    ("isolation.level", "aborted records must not be read and unstable positions not be trusted: remove it"),
    ("check.crcs", "corrupt records must not pass: remove it"),
    ("acks", TRANSACTION),
    ("request.required.acks", TRANSACTION),
    ("enable.idempotence", TRANSACTION),
    ("enable.gapless.guarantee", TRANSACTION),
    ("max.in.flight", TRANSACTION),
    ("max.in.flight.requests.per.connection", TRANSACTION),
    ("message.send.max.retries", TRANSACTION),
    ("retries", TRANSACTION),
    ("queuing.strategy", TRANSACTION),
    ("partitioner", "SIEM records lie where the Java client would put them: remove it"),
    ("partition.assignment.strategy", OWN),
    ("group.protocol", OWN),
    ("group.protocol.type", OWN),
    ("group.remote.assignor", OWN),
    ("allow.auto.create.topics", "a mistyped topic must be an error, not a new topic: remove it"),
    ("topic.blacklist", "it keeps patterns away from the broker's own topics: remove it"),
    ("enable.partition.eof", OWN),
    ("test.mock.num.brokers", "it replaces the brokers by a mock: remove it"),
    ("test.mock.broker.rtt", "it is for librdkafka's own tests: remove it"),
    ("plugin.library.paths", CODE),
    ("ssl.engine.location", CODE),
    ("ssl.providers", CODE),
    ("sasl.kerberos.kinit.cmd", "it runs a shell command: remove it"),
    ("interceptors", CODE),
    ("opaque", CODE),
    ("default_topic_conf", CODE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_exactly_once_is_refused_and_the_rest_is_not() {
        for name in ["enable.auto.commit", "acks", "auto.offset.reset", "isolation.level", "plugin.library.paths"] {
            assert!(refusal(name, "x").is_some(), "{name}");
        }
        assert_eq!(refusal("security.protocol", "SASL_SSL"), None);
        assert_eq!(refusal("sasl.oauthbearer.token.endpoint.url", "https://id.example.com/token"), None);
        assert!(refusal("sasl.oauthbearer.token.endpoint.url", "file:///etc/passwd").is_some());
    }
}
