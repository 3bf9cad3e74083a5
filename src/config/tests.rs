//! The messages as an operator sees them.

use super::*;

fn no_environment(_: &str) -> Option<String> {
    None
}

fn mistakes(text: &str) -> String {
    match parse(text, &no_environment) {
        Ok(_) => "accepted".to_string(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

const SMALLEST: &str = "
kafka: { brokers: localhost:9092, group: actorline }
topics: { audit.okta: okta_system }
lake: { url: file:///var/lib/actorline }
";

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let config = parse(SMALLEST, &no_environment).expect("accepted");
    let lake = config.lake.expect("a lake");
    assert_eq!(lake.commit_interval, Duration::from_secs(30));
    assert_eq!((lake.target_file_bytes, lake.max_buffer_bytes), (134_217_728, 268_435_456));
    assert_eq!(config.telemetry.listen.to_string(), "127.0.0.1:9464");
    assert!(config.siem.is_none() && config.mappings.is_none() && config.kafka.instance.is_none());
}

#[test]
fn every_documented_key_is_read() {
    let text = r"
kafka:
  brokers: localhost:9092
  group: actorline
  instance: ~
  properties: { security.protocol: SASL_SSL, sasl.password: '${env:PASSWORD}' }
topics:
  audit.okta: okta_system
  audit.mixed: auto
  audit.k8s: { source: kubernetes_audit, set: { tenant: prod-cluster-1 } }
mappings: mappings
registry: [ registry ]
lake:
  url: s3://bucket/prefix
  options: { aws_region: eu-central-1 }
  commit_interval_ms: 1000
  target_file_bytes: 1048576
  max_buffer_bytes: 2097152
siem: { topic: siem.activities, format: native, commit_interval_ms: 100, include_raw: true }
dead_letters: { topic: siem.dead_letters, max_bytes: 1000 }
telemetry: { listen: 127.0.0.1:0 }
";
    let config = parse(text, &|name| (name == "PASSWORD").then(|| "hunter2".to_string())).expect("accepted");
    assert_eq!(config.kafka.properties["sasl.password"], "hunter2");
    assert_eq!(config.topics[2].set, [(Column::Tenant, "prod-cluster-1".to_string())]);
    assert!(config.siem.as_ref().is_some_and(|siem| siem.include_raw));
    assert!(!format!("{config:?}").contains("hunter2"), "a secret must not show");
}

#[test]
fn all_mistakes_are_named_at_once_by_the_path_of_their_key() {
    let text = r"
kafka:
  brokers: localhost:9092
  groop: actorline
  properties: { enable.auto.commit: true, acks: 1, sasl.password: hunter2 }
topics:
  audit.okta: { source: okta_system, set: { tenat: x, actor_type: human, result: perhaps, mfa: true } }
  audit.okta: auto
  siem.*: auto
lake:
  url: ftp://example.com/lake
  commit_interval_ms: soon
  target_file_bytes: 268435456
  max_buffer_bytes: 134217728
siem: { topic: siem.activities, format: ocsf, include_raw: yes, commit_interval_ms: 0 }
telemetry: { listen: 9464 }
retention: 1
";
    insta::assert_snapshot!(mistakes(text), @r#"
    line 3: kafka.group: is missing: it has no default
    line 4: kafka.groop: unknown key: did you mean `group`?
    line 5: kafka.properties.acks: outputs and positions are one transaction, which needs it as it is: remove it
    line 5: kafka.properties."enable.auto.commit": positions are committed with the outputs, never by the client: remove it
    line 5: kafka.properties."sasl.password": a secret must not stand in the file: write `${env:NAME}` or `${file:PATH}`
    line 7: topics."audit.okta".set.actor_type: `actor_type` is not for a topic to set: it follows from the event
    line 7: topics."audit.okta".set.mfa: `mfa` is a bool: only texts can be set
    line 7: topics."audit.okta".set.result: `perhaps` is none of `success`, `failure`, `denied`, `throttled`, `partial`, `pending`, `unknown`
    line 7: topics."audit.okta".set.tenat: `tenat` is no column of the schema
    line 8: found `audit.okta` twice; it stands in line 7 already
    line 11: lake.max_buffer_bytes: is less than `lake.target_file_bytes` (268435456): a file must fit
    line 11: lake.url: wanted `file:///folder`, `s3://bucket/prefix`, `az://…` or `gs://…`, found `ftp://example.com/lake`
    line 12: lake.commit_interval_ms: wanted a whole number from 100 to 3600000, found `soon`
    line 15: siem.format: `ocsf` is not available yet: use `native`
    line 15: siem.commit_interval_ms: wanted a whole number from 10 to 10000, found `0`
    line 15: siem.include_raw: wanted true or false, found `yes`
    line 16: telemetry.listen: wanted an address and a port such as `127.0.0.1:9464`, found `9464`
    line 17: retention: unknown key: known here are `kafka`, `topics`, `mappings`, `registry`, `lake`, `siem`, `dead_letters`, `telemetry`
    dead_letters: is missing: with `siem`, what cannot be read needs a topic of its own
    siem.topic: `siem.activities` is also read, as `siem.*` of `topics`: write to another topic
"#);
}

/// Every secret that librdkafka and the object stores take, under every name that they take it by.
#[test]
fn no_secret_may_stand_in_the_file() {
    for name in [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
    ] {
        let text =
            SMALLEST.replace("group: actorline", &format!("group: actorline, properties: {{ {name}: hunter2 }}"));
        assert!(mistakes(&text).contains("a secret must not stand in the file"), "{name}");
    }
    for name in [
        "aws_secret_access_key",
        "aws_session_token",
        "aws_sse_customer_key_base64",
        "azure_storage_account_key",
        "azure_storage_access_key",
        "azure_storage_master_key",
        "azure_storage_client_secret",
        "azure_storage_sas_key",
        "azure_storage_encryption_key",
        "master_key",
        "access_key",
        "google_service_account_key",
        "google_bearer_token",
    ] {
        let lake = format!("lake: {{ url: 's3://bucket', options: {{ {name}: hunter2 }} }}");
        let text = SMALLEST.replace("lake: { url: file:///var/lib/actorline }", &lake);
        assert!(mistakes(&text).contains("a secret must not stand in the file"), "{name}");
    }
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_eq!(mistakes(""), "line 1: found an empty file, wanted keys and values");
    insta::assert_snapshot!(mistakes("registry: []"), @r"
    kafka: is missing: say at least `brokers` and `group`
    topics: is missing: name at least one topic to read
    lake: neither `lake` nor `siem` is there: results need a place to go
    ");
}

#[test]
fn anchors_and_tags_are_refused() {
    assert_eq!(mistakes("kafka: &k {}"), "line 1: found an anchor (`&name`): write the value out");
    assert_eq!(mistakes("kafka: !!python/object x"), "line 1: found a tag (`!name`): leave it out");
}

#[test]
fn an_unset_variable_is_named_and_a_references_value_is_not_shown() {
    let text = SMALLEST.to_string() + "siem: { topic: '${env:ABSENT}', commit_interval_ms: '${env:SECRET}' }\n";
    let found = match parse(&text, &|name| (name == "SECRET").then(|| "hunter2".to_string())) {
        Ok(_) => String::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    assert!(found.contains("siem.topic: environment variable `ABSENT` is not set"), "{found}");
    assert!(found.contains("found `${…}`") && !found.contains("hunter2"), "{found}");
}

#[test]
fn a_pattern_matches_what_its_stars_allow_and_nothing_else() {
    let matches = |pattern: &str, topic: &str| TopicName(pattern.to_string()).matches(topic);
    assert!(matches("audit.*", "audit.okta") && matches("audit.*", "audit."));
    assert!(matches("*.audit.*", "eu.audit.okta") && matches("a*c", "abcc"));
    assert!(!matches("audit.*", "audits") && !matches("a*a", "a") && !matches("ab*ba", "aba"));
    assert!(matches("audit.okta", "audit.okta") && !matches("audit.okta", "audit.okta2"));
}

#[test]
fn a_seal_wants_a_key_that_is_kept_elsewhere_and_one_place_for_anchors() {
    let (_, pem) = crate::seal::SealKey::generate().expect("a key");
    let read = |seal: &str| {
        let text = format!(
            "kafka: {{ brokers: b, group: g }}\ntopics: {{ t: auto }}\nlake: {{ url: file:///x, seal: {seal} }}\n"
        );
        parse(&text, &|name| (name == "KEY").then(|| pem.clone()))
    };
    let config = read("{ key: '${env:KEY}', anchor: { topic: anchors } }").expect("a configuration");
    let seal = config.lake.and_then(|lake| lake.seal).expect("a seal");
    assert_eq!(seal.heartbeat_interval, Duration::from_secs(300));
    assert!(matches!(seal.anchor, Some(Anchor::Topic(topic)) if topic == "anchors"));
    for (wrong, why) in [
        ("{}", "is missing"),
        ("{ key: secret }", "must not stand in the file"),
        ("{ key: '${env:ABSENT}' }", "is not set"),
        ("{ key: '${env:KEY}', anchor: {} }", "either a `topic` or a `url`"),
        ("{ key: '${env:KEY}', anchor: { topic: a, url: 'file:///x' } }", "either a `topic` or a `url`"),
        ("{ key: '${env:KEY}', heartbeat_interval_ms: 1 }", "from 100"),
    ] {
        let mistakes = read(wrong).expect_err("refused");
        assert!(mistakes.iter().any(|mistake| mistake.message.contains(why)), "{wrong}: {mistakes:?}");
        assert!(!format!("{mistakes:?}").contains("secret,"), "nothing of a key is shown");
    }
}
