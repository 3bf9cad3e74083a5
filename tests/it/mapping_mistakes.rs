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
