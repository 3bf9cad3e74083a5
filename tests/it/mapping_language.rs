//! The mapping language as `docs/mapping-language.md` describes it, one idea a test.

use actorline::activity::Column;
use actorline::pipeline::normalize::{Normalizer, Route, SourceChoice};
use serde_json::{Value, json};

use crate::rows::{Row, issue_codes, normalizer, record, rows, rows_by};

/// A mapping with these columns, and whatever else a test adds.
fn with(columns: &str, rest: &str) -> Normalizer {
    normalizer(
        "acme",
        &format!(
            "source: acme\ntitle: t\ndocumentation: d\nrecognise: {{ has: id }}\ncannot_tell: []\ncolumns:\n  event_uid: id\n{columns}\n{rest}\n{}",
            if rest.contains("actor_type:") { "" } else { "actor_type: [{ case: c, is: unknown, basis: none }]\n" },
        ),
    )
}

fn row(columns: &str, rest: &str, event: Value) -> Row {
    rows(&with(columns, rest), &record(event.to_string())).remove(0)
}

fn value(expression: &str, event: Value) -> Option<Value> {
    row(&format!("  actor_name: {expression}"), "", event).get("actor_name").cloned()
}

#[test]
fn nothing_written_in_any_way_is_no_value() {
    for nothing in [json!(null), json!(""), json!("-"), json!({}), json!([])] {
        assert_eq!(value("[a, b]", json!({ "id": "1", "a": nothing, "b": "x" })), Some(json!("x")));
    }
    assert_eq!(value("a", json!({ "id": "1", "a": 0 })), Some(json!("0")));
}

#[test]
fn elements_that_say_nothing_are_left_out_of_lists() {
    let event = json!({ "id": "1", "a": ["read", null, "", "-", {}, 7], "b": [null, ""] });
    let found = row("  scope: a\n  actor_name: { join: [{ path: b }], with: ',' }", "", event.clone());
    assert_eq!(found["scope"], json!(["read", "7"]));
    let nothing = row("  scope: b", "", event);
    assert_eq!((nothing.get("scope"), &nothing["status"]), (None, &json!("mapped")));
}

#[test]
fn a_template_needs_all_of_its_values() {
    let event = json!({ "id": "1", "a": "x", "b": 7 });
    assert_eq!(value("{ template: '{a}/{{{b}}}' }", event.clone()), Some(json!("x/{7}")));
    assert_eq!(value("{ template: '{a}/{c}' }", event), None);
}

#[test]
fn pick_takes_the_first_element_that_fits_and_each_all_of_them() {
    let event = json!({ "id": "1", "t": [{ "k": "a", "v": "1" }, { "k": "b", "v": "2" }, { "k": "b", "v": "3" }] });
    assert_eq!(value("{ pick: t, where: { k: b }, take: v }", event.clone()), Some(json!("2")));
    let found = row("  scope: { each: t, where: { k: b }, take: v }", "", event);
    assert_eq!(found["scope"], json!(["2", "3"]));
}

#[test]
fn cases_of_a_value_take_the_first_that_holds() {
    let expression = "{ cases: [{ when: { a: { prefix: x } }, value: b }, { value: { const: none } }] }";
    assert_eq!(value(expression, json!({ "id": "1", "a": "xy", "b": "yes" })), Some(json!("yes")));
    assert_eq!(value(expression, json!({ "id": "1", "a": "y", "b": "yes" })), Some(json!("none")));
}

#[test]
fn a_field_can_be_named_by_another() {
    let event = json!({ "id": "1", "type": "key.created", "key.created": { "key": "k-1" } });
    assert_eq!(value("{ field: type, take: key }", event), Some(json!("k-1")));
}

#[test]
fn json_in_a_string_is_read_under_its_name() {
    let rest = "nested_json: { log: props.log }";
    let found = row(
        "  actor_name: log.user.name",
        rest,
        json!({ "id": "1", "props": { "log": "{\"user\":{\"name\":\"ann\"}}" } }),
    );
    assert_eq!(found["actor_name"], "ann");
    let unpacked = row(
        "  actor_name: log.user.name",
        rest,
        json!({ "id": "1", "props": { "log": { "user": { "name": "ann" } } } }),
    );
    assert_eq!(unpacked["actor_name"], "ann");
    let broken = row("  actor_name: log.user.name", rest, json!({ "id": "1", "props": { "log": "{\"user\":" } }));
    assert_eq!(issue_codes(&broken), ["bad_value:log"]);
}

#[test]
fn a_split_event_gives_an_activity_for_each_element_with_the_whole_event_as_raw() {
    let mapping = with("  action: $item.name", "split: events");
    let event = json!({ "id": "1", "org": "o", "events": [{ "name": "a" }, { "name": "b" }] }).to_string();
    let found = rows(&mapping, &record(&event));
    let uids: Vec<&Value> = found.iter().map(|row| &row["event_uid"]).collect();
    assert_eq!(uids, ["acme::1:0", "acme::1:1"]);
    assert_eq!((&found[1]["action"], &found[1]["raw"]), (&json!("b"), &json!(event)));
    assert_eq!((&found[1]["input_context"]["item"], &found[1]["input_count"]), (&json!("1"), &json!(2)));
}

#[test]
fn the_first_case_that_holds_decides_and_sets_columns_before_the_others() {
    let rest = "actor_type:\n\
         - { case: key, is: api_key, basis: reserved, when: { key: { exists: true } }, set: { credential_type: api_key, actor_name: key } }\n\
         - { case: person, is: human, basis: declared, when: { kind: person }, contrary: { agent: { contains: curl } } }";
    let columns = "  actor_name: name\n  credential_type: password";
    let key = row(columns, rest, json!({ "id": "1", "key": "k", "kind": "person", "name": "ann" }));
    assert_eq!(
        (&key["actor_type"], &key["actor_type_rule"], &key["actor_name"]),
        (&json!("api_key"), &json!("key"), &json!("k"))
    );
    assert_eq!((&key["credential_type"], &key["actor_class"]), (&json!("api_key"), &json!("nonhuman")));
    let person = row(columns, rest, json!({ "id": "1", "kind": "person", "name": "ann", "agent": "curl/8" }));
    assert_eq!((&person["actor_type"], &person["actor_type_conflict"]), (&json!("human"), &json!(true)));
    assert_eq!(person["credential_type"], "password");
    let nobody = row(columns, rest, json!({ "id": "1" }));
    assert_eq!((&nobody["actor_type"], &nobody["actor_type_basis"]), (&json!("unknown"), &json!("none")));
    assert_eq!(nobody.get("actor_type_rule"), None);
}

#[test]
fn the_actor_in_a_chain_has_the_type_that_was_decided() {
    let columns =
        "  actor_id: app\n  delegation_chain: { hops: [{ id: by, type: human }, { id: app, relation: delegated }] }";
    let rest = "actor_type: [{ case: app, is: bot, basis: declared, when: { app: { exists: true } } }]";
    let found = row(columns, rest, json!({ "id": "1", "by": "ann", "app": "ci" }));
    assert_eq!(found["delegation_chain"][1], json!({ "type": "bot", "id": "ci", "relation": "delegated" }));
}

#[test]
fn a_chain_of_one_is_no_chain() {
    let columns =
        "  delegation_chain: { hops: [{ id: by, type: human, relation: delegated }, { id: app, type: bot }] }";
    let two = row(columns, "", json!({ "id": "1", "by": "ann", "app": "ci" }));
    assert_eq!(
        two["delegation_chain"],
        json!([{ "type": "human", "id": "ann", "relation": "delegated" }, { "type": "bot", "id": "ci" }])
    );
    assert_eq!(row(columns, "", json!({ "id": "1", "app": "ci" })).get("delegation_chain"), None);
}

#[test]
fn a_hop_holds_no_type_and_no_relation_outside_of_the_taxonomy() {
    let columns =
        "  delegation_chain: { hops: [{ id: by, type: { path: kind }, relation: { path: how } }, { id: app }] }";
    let event = |kind: &str, how: &str| json!({ "id": "1", "by": "ann", "app": "ci", "kind": kind, "how": how });
    let known = row(columns, "", event("human", "delegated"));
    assert_eq!(known["delegation_chain"][0], json!({ "type": "human", "id": "ann", "relation": "delegated" }));
    let unknown = row(columns, "", event("superuser", "hijacked"));
    assert_eq!(unknown["delegation_chain"][0], json!({ "id": "ann" }));
    assert_eq!(issue_codes(&unknown), ["bad_value:delegation_chain"; 2]);
}

#[test]
fn targets_and_the_main_target_fill_each_other() {
    let many = row(
        "  targets: { targets: [{ each: t, type: k, id: v }] }",
        "",
        json!({ "id": "1", "t": [{ "k": "user", "v": "u" }, { "k": "app", "v": "a" }] }),
    );
    assert_eq!((&many["target_type"], &many["target_resource"]), (&json!("user"), &json!("user:u")));
    let one = row("  target_type: { const: file }\n  target_id: f", "", json!({ "id": "1", "f": "f-1" }));
    assert_eq!(one["targets"], json!([{ "type": "file", "id": "f-1" }]));
}

#[test]
fn an_address_field_that_holds_none_becomes_the_host() {
    let named = row("  source_ip: ip", "", json!({ "id": "1", "ip": "cloudformation.amazonaws.com" }));
    assert_eq!((named.get("source_ip"), &named["source_host"]), (None, &json!("cloudformation.amazonaws.com")));
    let port = row("  source_ip: ip", "", json!({ "id": "1", "ip": "192.0.2.7:10736" }));
    assert_eq!(port["source_ip"], "192.0.2.7");
}

#[test]
fn what_a_topic_sets_stands_in_where_the_event_is_silent() {
    let mapping = with("  tenant: org", "");
    let route = Route { source: SourceChoice::Auto, set: vec![(Column::Tenant, "prod".to_string())] };
    let silent = rows_by(&mapping, &record(r#"{"id":"1"}"#), &route).remove(0);
    assert_eq!((&silent["tenant"], &silent["event_uid"]), (&json!("prod"), &json!("acme:prod:1")));
    let spoken = rows_by(&mapping, &record(r#"{"id":"1","org":"o"}"#), &route).remove(0);
    assert_eq!(spoken["tenant"], "o");
}

#[test]
fn a_fragment_is_written_once_and_given_what_differs() {
    let files = std::collections::BTreeMap::from([
        ("_shared/arn.yaml".to_string(), "parameters: [arn]\nlet: { account: { path: $arn, regex: '^arn:aws:[^:]*:[^:]*:([0-9]{12}):' } }\nconditions: { is_role: { $arn: { contains: ':role/' } } }\n".to_string()),
        ("acme/mapping.yaml".to_string(), "source: acme\ntitle: t\ndocumentation: d\nrecognise: { has: id }\ncannot_tell: []\nuse: { who: { fragment: arn, arn: user.arn } }\ncolumns: { event_uid: id, tenant: $who.account }\nactor_type: [{ case: role, is: service_account, basis: reserved, when: { holds: who.is_role } }]\n".to_string()),
    ]);
    let library = actorline::mapping::Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let normalizer =
        Normalizer::new(std::sync::Arc::new(library), std::sync::Arc::new(actorline::identity::Registry::empty()));
    let found =
        rows(&normalizer, &record(r#"{"id":"1","user":{"arn":"arn:aws:iam::111122223333:role/ci"}}"#)).remove(0);
    assert_eq!((&found["tenant"], &found["actor_type"]), (&json!("111122223333"), &json!("service_account")));
}

#[test]
fn an_event_that_two_mappings_claim_is_unmapped_and_says_so() {
    let mapping = |source: &str| {
        let text = format!(
            "source: {source}\ntitle: t\ndocumentation: d\nrecognise: {{ has: id }}\ncannot_tell: []\ncolumns: {{ event_uid: id }}\nactor_type: [{{ case: c, is: unknown, basis: none }}]\n"
        );
        (format!("{source}/mapping.yaml"), text)
    };
    let files = std::collections::BTreeMap::from([mapping("one"), mapping("two")]);
    let library = actorline::mapping::Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let normalizer =
        Normalizer::new(std::sync::Arc::new(library), std::sync::Arc::new(actorline::identity::Registry::empty()));
    let found = rows(&normalizer, &record(r#"{"id":"1"}"#)).remove(0);
    assert_eq!((&found["status"], issue_codes(&found)), (&json!("unmapped"), vec!["ambiguous:".to_string()]));
}

#[test]
fn templates_of_templates_end_with_an_issue_and_not_with_the_memory() {
    let lets: String = (1..60).map(|n| format!("  v{n}: {{ template: '{{$v{0}}}{{$v{0}}}' }}\n", n - 1)).collect();
    let found = row("  actor_name: $v59", &format!("let:\n  v0: id\n{lets}"), json!({ "id": "0123456789" }));
    assert_eq!(found.get("actor_name"), None);
    assert_eq!(found["issues"], json!(["bad_value:actor_name:more than rules may make of one event"]));
}

#[test]
fn lists_of_lists_end_with_an_issue_and_not_with_the_memory() {
    let lets: String = (1..60).map(|n| format!("  v{n}: {{ list: [$v{0}, $v{0}] }}\n", n - 1)).collect();
    let found = row("  scope: $v59", &format!("let:\n  v0: {{ list: [id] }}\n{lets}"), json!({ "id": "0123456789" }));
    assert_eq!((found.get("scope"), issue_codes(&found)), (None, vec!["bad_value:scope".to_string()]));
}

#[test]
fn a_condition_made_of_others_is_asked_once() {
    // Asked anew each time, the last of these would ask the first more often than there is time for.
    let named: String =
        (1..60).map(|n| format!("  c{n}: {{ any: [{{ holds: c{0} }}, {{ holds: c{0} }}] }}\n", n - 1)).collect();
    let rest = format!(
        "conditions:\n  c0: {{ kind: x }}\n{named}actor_type: [{{ case: c, is: bot, basis: declared, when: {{ holds: c59 }} }}]"
    );
    assert_eq!(row("", &rest, json!({ "id": "1", "kind": "y" }))["actor_type"], "unknown");
    assert_eq!(row("", &rest, json!({ "id": "1", "kind": "x" }))["actor_type"], "bot");
}
