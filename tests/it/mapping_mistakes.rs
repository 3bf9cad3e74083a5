//! What an author is told of mistakes: all at once, each with its place and a way to mend it.

use std::collections::BTreeMap;

use actorline::mapping::Library;

fn report(files: &[(&str, &str)]) -> String {
    let files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| ((*path).to_string(), (*text).to_string())).collect();
    match Library::compile(&files) {
        Ok(_) => "no mistakes".to_string(),
        Err(mistakes) => mistakes.to_string(),
    }
}

#[test]
fn every_mistake_of_a_mapping_is_reported_together() {
    let mapping = r#"source: acme_auditt
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [id, actor.kind] }
recognize: { has: id }
let:
  session: { path: actor.session, regexp: "^s-" }
  broken: { path: actor.session, regex: "(unclosed" }
columns:
  event_uid: id
  event_tme: { path: at, time: rfc3339 }
  event_time: at
  credential_issued_at: { path: issued, time: iso }
  result: { path: status, table: { OK: sucess, NO: denied } }
  action_verb: { path: op, table: verbs.csv, otherwise: { verb_of: first } }
  action_category: authentification
  source_ip: actor..ip
  actor_name: $nobody
  received_time: { path: at, time: rfc3339 }
  actor_type: human
  tenant: { template: "{org" }
  target_id: { pick: targets, take: id, when: { kind: { prefx: a } } }
  mfa: [{ const: "x" }]
actor_type:
  - case: person
    is: humann
    basis: declared
    when: { actor.kind: user }
  - case: everything
    is: unknown
    basis: registry
  - case: never
    is: bot
    basis: declared
    when: { holds: is_bot }
"#;
    let files = [
        ("acme_audit/mapping.yaml", mapping),
        ("acme_audit/verbs.csv", "operation,verb\nget,read\nput,wrote\nget,list\n"),
    ];
    insta::assert_snapshot!(report(&files));
}

#[test]
fn a_mapping_without_what_it_needs_says_what_that_is() {
    insta::assert_snapshot!(report(&[("acme_audit/mapping.yaml", "source: acme_audit\n")]));
}

#[test]
fn a_name_that_two_mappings_answer_to_is_a_mistake() {
    let mapping = |source: &str| {
        format!(
            "source: {source}\ntitle: t\ndocumentation: d\naliases: [acme]\nrecognise: {{ has: {source} }}\ncolumns: {{ event_uid: id }}\n\
             actor_type: [{{ case: c, is: unknown, basis: none }}]\ncannot_tell: []\n"
        )
    };
    let (one, two) = (mapping("acme_one"), mapping("acme_two"));
    insta::assert_snapshot!(report(&[("acme_one/mapping.yaml", &one), ("acme_two/mapping.yaml", &two)]));
}

#[test]
fn an_empty_folder_is_a_mistake() {
    insta::assert_snapshot!(report(&[]));
}

/// The codes of what is wrong with a mapping that has these columns and whatever else.
fn codes(columns: &str, rest: &str) -> Vec<String> {
    let cases = if rest.contains("actor_type:") { "" } else { "actor_type: [{ case: c, is: unknown, basis: none }]\n" };
    let text = format!(
        "source: acme\ntitle: t\ndocumentation: d\nrecognise: {{ has: id }}\ncannot_tell: []\ncolumns:\n  event_uid: id\n{columns}\n{rest}\n{cases}"
    );
    let report = report(&[("acme/mapping.yaml", &text), ("acme/t.csv", "key,value\na,b\n")]);
    report.split("error[").skip(1).filter_map(|rest| rest.split(']').next()).map(str::to_string).collect()
}

#[test]
fn a_key_that_nothing_reads_is_a_mistake() {
    for expression in [
        "{ path: a, where: { b: c } }",
        "{ path: a, take: b }",
        "{ path: a, with: x }",
        "{ path: a, column: b }",
        "{ join: [a], take: b }",
        "{ field: a, where: { b: c } }",
    ] {
        assert_eq!(codes(&format!("  actor_name: {expression}"), ""), ["unknown-key"], "{expression}");
    }
    for expression in
        ["{ pick: a, where: { b: c }, take: d }", "{ join: [a], with: x }", "{ path: a, table: t.csv, column: value }"]
    {
        assert_eq!(codes(&format!("  actor_name: {expression}"), ""), Vec::<String>::new(), "{expression}");
    }
}

#[test]
fn a_value_that_the_column_can_never_hold_is_a_mistake() {
    for column in [
        "event_time: { template: '{a}' }",
        "event_time: { join: [a] }",
        "targets: { template: '{a}' }",
        "attributes: { join: [a, b] }",
        "actor_name: { path: a, split: ',' }",
        "actor_name: { path: a, time: rfc3339, lower: true }",
    ] {
        assert_eq!(codes(&format!("  {column}"), ""), ["wrong-type"], "{column}");
    }
    assert_eq!(codes("  scope: { path: a, split: ',' }\n  asn: { template: '{a}' }", ""), Vec::<String>::new());
}

#[test]
fn a_case_that_can_never_decide_is_a_mistake() {
    let first = "{ case: a, is: human, basis: declared, when: { kind: person, x: [1, 2] } }";
    for (rival, wanted) in [
        ("{ case: b, is: bot, basis: declared, when: { kind: person, x: [1, 2] } }", vec!["unreachable"]),
        ("{ case: b, is: bot, basis: declared, when: { kind: person, x: [1, 3] } }", vec![]),
    ] {
        assert_eq!(codes("", &format!("actor_type:\n  - {first}\n  - {rival}")), wanted, "{rival}");
    }
    let always = "{ case: z, is: bot, basis: declared, when: {} }";
    assert_eq!(codes("", &format!("actor_type:\n  - {always}\n  - {first}")), ["unreachable"]);
    assert_eq!(codes("", &format!("actor_type:\n  - {first}\n  - {always}")), Vec::<String>::new());
    let values = "  actor_name: { cases: [{ when: {}, value: a }, { value: b }] }";
    assert_eq!(codes(values, ""), ["unreachable"]);
}

#[test]
fn names_that_cannot_be_read_and_lists_where_names_belong_are_mistakes() {
    for (rest, wanted) in [
        ("let: { item: a }", "reserved-name"),
        ("let: { event: a }", "reserved-name"),
        ("let: [a]", "wrong-type"),
        ("conditions: [a]", "wrong-type"),
        ("nested_json: [a]", "wrong-type"),
    ] {
        assert_eq!(codes("", rest), [wanted], "{rest}");
    }
}

#[test]
fn a_test_that_does_not_follow_ignore_case_is_a_mistake_beside_it() {
    for test in ["in_table: t.csv", "own: domains", "foreign: domains", "not: x"] {
        let column = format!("  actor_name: {{ path: a, when: {{ b: {{ ignore_case: true, {test} }} }} }}");
        assert_eq!(codes(&column, ""), ["bad-condition"], "{test}");
    }
}

#[test]
fn a_table_of_patterns_has_an_end() {
    let mapping = "source: acme\ntitle: t\ndocumentation: d\nrecognise: { has: id }\ncannot_tell: []\ncolumns: { event_uid: id, actor_name: { path: a, table: t.csv } }\nactor_type: [{ case: c, is: unknown, basis: none }]\n";
    let rows = |end: &str| (0..1_200).map(|n| format!("k{n}{end},v\n")).collect::<String>();
    let report_of =
        |end| report(&[("acme/mapping.yaml", mapping), ("acme/t.csv", &format!("key,value\n{}", rows(end)))]);
    assert_eq!(report_of(""), "no mistakes");
    assert!(
        report_of("*").starts_with("acme/t.csv:1002:1: error[bad-table]: found more than 1000 keys"),
        "{}",
        report_of("*")
    );
}
