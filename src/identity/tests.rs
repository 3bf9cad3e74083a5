//! The registry as its users see it: files in, attributed activities out.

use super::*;
use crate::activity::json::write_object;
use crate::activity::taxonomy::{ActorType, Basis};
use crate::activity::{Activity, Column, Hop, SetBy, Value};

fn try_read(files: &[(&str, Format, &str)]) -> Result<Registry, Diagnostics> {
    let (mut contents, mut report) = (Contents::default(), Report::default());
    for (name, format, text) in files {
        read_source(&Arc::from(*name), *format, text, &mut contents, &mut report);
    }
    Registry::assemble(contents, report)
}

fn yaml(text: &str) -> Registry {
    try_read(&[("r.yaml", Format::Yaml, text)]).expect("a registry without mistakes")
}

fn mistakes(text: &str) -> String {
    try_read(&[("r.yaml", Format::Yaml, text)]).expect_err("a registry with mistakes").to_string()
}

/// Microseconds of a day in UTC.
fn day(date: &str) -> i64 {
    format!("{date}T00:00:00Z").parse::<jiff::Timestamp>().expect("a date").as_microsecond()
}

fn activity<'a>(columns: &[(Column, &'a str)]) -> Activity<'a> {
    let mut activity = Activity::default();
    activity.set(Column::EventTime, Value::Time(day("2026-03-15")));
    activity.set_actor_type(ActorType::ServiceAccount, Basis::Declared, Some("a_case"));
    for (column, text) in columns {
        activity.set(*column, Value::Text(text));
    }
    activity
}

/// What the registry set, as JSON.
fn attributed<'a>(registry: &'a Registry, mut activity: Activity<'a>) -> String {
    registry.attribute(&mut activity);
    let mut out = Vec::new();
    write_object(&mut out, &activity, |column| column.info().set_by == SetBy::Registry);
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn an_identity_is_found_by_each_of_its_keys() {
    let registry = yaml(
        "- id: deployer\n  technical_owner: ops@example.com\n  known_as: [sa-1, deploy@example.com]\n  credentials:\n  - { id: key-1, type: api_key, fingerprint: 'sha256:00112233445566778899aabbccddeeff' }\n",
    );
    let expected = r#"{"identity_id":"deployer","actor_owner":"ops@example.com","technical_owner":"ops@example.com","owner_basis":"registry","policy_state":"active"}"#;
    for (column, key) in [
        (Column::ActorId, "sa-1"),
        (Column::ActorEmail, "deploy@example.com"),
        (Column::CredentialId, "key-1"),
        (Column::CredentialFingerprint, "sha256:00112233445566778899aabbccddeeff"),
    ] {
        assert_eq!(attributed(&registry, activity(&[(column, key)])), expected);
    }
    let unregistered = r#"{"owner_basis":"none","policy_state":"unregistered"}"#;
    for (column, key) in [(Column::ActorId, "SA-1"), (Column::ActorId, "key-1"), (Column::ActorName, "sa-1")] {
        assert_eq!(attributed(&registry, activity(&[(column, key)])), unregistered, "{key}");
    }
}

#[test]
fn software_is_known_by_its_role_and_a_person_is_not() {
    let registry = yaml("- id: deploy-role\n  technical_owner: ops@example.com\n  known_as: [role/deploy]\n");
    let mut in_role = activity(&[(Column::ActorId, "session-17"), (Column::ActingAs, "role/deploy")]);
    assert!(attributed(&registry, in_role.clone()).contains(r#""identity_id":"deploy-role""#));
    in_role.set_actor_type(ActorType::Human, Basis::Declared, None);
    assert!(!attributed(&registry, in_role).contains("deploy-role"));
    let hops = [Hop { id: Some("sa-2"), relation: Some("impersonated"), ..Hop::default() }, Hop::default()];
    let mut impersonating = activity(&[(Column::ActorId, "sa-2"), (Column::ActingAs, "role/deploy")]);
    impersonating.set(Column::DelegationChain, Value::Hops(&hops));
    assert!(!attributed(&registry, impersonating).contains("deploy-role"));
}

#[test]
fn a_credential_speaks_before_the_account_that_it_belongs_to() {
    let registry = yaml(
        "- { id: ann, business_owner: ann@example.com }\n- { id: ci, technical_owner: ci@example.com, credentials: [key-1] }\n",
    );
    let both = activity(&[(Column::ActorId, "ann"), (Column::CredentialId, "key-1")]);
    assert!(attributed(&registry, both).contains(r#""identity_id":"ci""#));
    let other_key = activity(&[(Column::ActorId, "ann"), (Column::CredentialId, "key-2")]);
    assert!(attributed(&registry, other_key).contains(r#""identity_id":"ann""#));
}

#[test]
fn the_id_is_a_name_only_where_no_other_is_given() {
    let registry = yaml(
        "- { id: a, business_owner: x }\n- { id: b, business_owner: y, known_as: [b-1] }\n- { id: c, business_owner: z, credentials: [c-1] }\n",
    );
    assert!(attributed(&registry, activity(&[(Column::ActorId, "a")])).contains("registry"));
    for id in ["b", "c"] {
        assert!(attributed(&registry, activity(&[(Column::ActorId, id)])).contains("none"), "{id}");
    }
}

#[test]
fn the_owner_is_that_of_the_events_time() {
    let registry = yaml(
        "- { id: a, business_owner: feb, valid_until: 2026-03-01 }\n- { id: a, business_owner: mar, valid_from: 2026-03-01, valid_until: 2026-04-01 }\n",
    );
    let owner_at = |date: &str| {
        let mut activity = activity(&[(Column::ActorId, "a")]);
        activity.set(Column::EventTime, Value::Time(day(date)));
        attributed(&registry, activity)
    };
    assert!(owner_at("2026-02-28").contains(r#""actor_owner":"feb""#));
    assert!(owner_at("2026-03-01").contains(r#""actor_owner":"mar""#));
    assert_eq!(owner_at("2026-04-01"), r#"{"identity_id":"a","owner_basis":"expired","policy_state":"expired"}"#);
}

#[test]
fn what_is_registered_later_did_not_exist_before() {
    let registry = yaml("- { id: a, business_owner: x, valid_from: 2026-04-01 }\n");
    let before = attributed(&registry, activity(&[(Column::ActorId, "a")]));
    assert_eq!(before, r#"{"owner_basis":"none","policy_state":"unregistered"}"#);
}

#[test]
fn without_an_event_time_the_time_of_receipt_counts() {
    let registry = yaml("- { id: a, business_owner: x, valid_from: 2026-04-01 }\n");
    let mut activity = activity(&[(Column::ActorId, "a")]);
    activity.set(Column::EventTime, Value::Null);
    activity.set(Column::ReceivedTime, Value::Time(day("2026-04-02")));
    assert!(attributed(&registry, activity).contains("registry"));
}

#[test]
fn an_alias_holds_in_its_source_and_tenant_and_the_most_exact_wins() {
    let registry = yaml(
        "- { id: any, business_owner: x, known_as: [root] }\n- { id: here, business_owner: y, known_as: [{ id: root, source: cloud, tenant: t-1 }] }\n",
    );
    let in_tenant =
        |tenant| activity(&[(Column::ActorId, "root"), (Column::Source, "cloud"), (Column::Tenant, tenant)]);
    assert!(attributed(&registry, in_tenant("t-1")).contains(r#""identity_id":"here""#));
    assert!(attributed(&registry, in_tenant("t-2")).contains(r#""identity_id":"any""#));
    let other_way = yaml(
        "- { id: a-here, business_owner: y, known_as: [{ id: root, source: cloud }] }\n- { id: any, business_owner: x, known_as: [root] }\n",
    );
    assert!(attributed(&other_way, in_tenant("t-1")).contains(r#""identity_id":"a-here""#));
    assert_eq!(registry.ambiguities(), Diagnostics::default());
}

#[test]
fn two_claims_are_ambiguous_and_the_strictest_state_shows() {
    let registry = yaml(
        "- { id: a, business_owner: x, known_as: [n], state: quarantined }\n- { id: b, business_owner: y, known_as: [n] }\n",
    );
    let json = attributed(&registry, activity(&[(Column::ActorId, "n")]));
    assert_eq!(json, r#"{"owner_basis":"ambiguous","policy_state":"quarantined"}"#);
    assert_eq!(
        registry.ambiguities().to_string(),
        "r.yaml:2:3: warning[ambiguous]: found name `n` of `b`, which `a` at r.yaml:1:3 claims too, wanted one identity for it at a time"
    );
}

#[test]
fn claims_that_follow_each_other_are_not_ambiguous() {
    let registry = yaml(
        "- { id: a, business_owner: x, known_as: [n], valid_until: 2026-03-01 }\n- { id: b, business_owner: y, known_as: [n], valid_from: 2026-03-01 }\n",
    );
    assert_eq!(registry.ambiguities(), Diagnostics::default());
    assert!(attributed(&registry, activity(&[(Column::ActorId, "n")])).contains(r#""identity_id":"b""#));
}

#[test]
fn the_events_owner_stands_unless_the_registry_knows_one() {
    let registry = yaml("- { id: a, technical_owner: t, business_owner: b }\n- { id: c, purpose: backups }\n");
    let owned = |id| activity(&[(Column::ActorId, id), (Column::ActorOwner, "named@example.com")]);
    assert!(attributed(&registry, owned("a")).contains(r#""actor_owner":"t""#));
    let json = attributed(&registry, owned("c"));
    assert!(
        json.contains(r#""actor_owner":"named@example.com""#) && json.contains(r#""owner_basis":"event""#),
        "{json}"
    );
    assert!(attributed(&Registry::empty(), owned("a")).contains(r#""owner_basis":"event""#));
}

#[test]
fn an_unregistered_actor_inherits_the_nearest_owner() {
    let registry = yaml("- { id: far, business_owner: f }\n- { id: near, business_owner: n, credentials: [key-1] }\n");
    let hops = [
        Hop { id: Some("far"), ..Hop::default() },
        Hop { id: Some("x"), credential_id: Some("key-1"), ..Hop::default() },
        Hop { id: Some("agent"), ..Hop::default() },
    ];
    let mut by_agent = activity(&[(Column::ActorId, "agent")]);
    by_agent.set(Column::DelegationChain, Value::Hops(&hops));
    assert_eq!(
        attributed(&registry, by_agent),
        r#"{"actor_owner":"n","owner_basis":"inherited","policy_state":"unregistered"}"#
    );
    let for_somebody = activity(&[(Column::ActorId, "agent"), (Column::OnBehalfOf, "far")]);
    assert!(attributed(&registry, for_somebody).contains(r#""actor_owner":"f""#));
}

#[test]
fn dates_and_decisions_set_the_policy_state() {
    for (keys, state) in [
        ("review_by: 2026-03-16", "active"),
        ("review_by: 2026-03-15", "review_overdue"),
        ("review_by: 2026-01-01, expires: 2026-03-15", "expired"),
        ("expires: 2026-01-01, state: quarantined", "quarantined"),
        ("state: retired", "retired"),
    ] {
        let registry = yaml(&format!("- {{ id: a, business_owner: x, {keys} }}\n"));
        let json = attributed(&registry, activity(&[(Column::ActorId, "a")]));
        assert!(json.contains(&format!(r#""policy_state":"{state}""#)), "{keys}: {json}");
        assert!(json.contains(r#""owner_basis":"registry""#), "{keys}: {json}");
    }
}

/// Actor type, basis, rule and conflict after the registry stated `stated` of an actor of `platforms` type.
fn settled(platforms: ActorType, basis: Basis, stated: &str) -> (ActorType, String, bool) {
    let registry = yaml(&format!("- {{ id: a, business_owner: x, {stated} }}\n"));
    let mut activity = activity(&[(Column::ActorId, "a")]);
    activity.set_actor_type(platforms, basis, Some("a_case"));
    registry.attribute(&mut activity);
    let basis_and_rule = [Column::ActorTypeBasis, Column::ActorTypeRule]
        .map(|column| activity.text(column).unwrap_or_default())
        .join(" ");
    (activity.actor_type(), basis_and_rule, activity.get(Column::ActorTypeConflict) == Value::Bool(true))
}

#[test]
fn the_registry_refines_what_the_platform_says() {
    for (platforms, stated) in [
        (ActorType::Human, ActorType::TechnicalUser),
        (ActorType::ServicePrincipal, ActorType::AiAgent),
        (ActorType::Bot, ActorType::ThirdPartyIntegration),
        (ActorType::ServiceAccount, ActorType::WorkloadIdentity),
        (ActorType::ApiKey, ActorType::ServiceAccount),
        (ActorType::Unknown, ActorType::Human),
    ] {
        let keys = format!("actor_type: {}", stated.as_str());
        assert_eq!(settled(platforms, Basis::Declared, &keys), (stated, "registry a".to_string(), false));
    }
}

#[test]
fn the_registry_does_not_contradict_what_the_platform_says() {
    for (platforms, stated) in [
        (ActorType::Platform, "human"),
        (ActorType::AiAgent, "human"),
        (ActorType::ServiceAccount, "human"),
        (ActorType::Human, "ai_agent"),
    ] {
        let keys = format!("actor_type: {stated}");
        let expected = (platforms, "reserved a_case".to_string(), true);
        assert_eq!(settled(platforms, Basis::Reserved, &keys), expected, "{stated}");
    }
}

#[test]
fn a_naming_convention_gives_way_to_the_registry() {
    let (actor_type, rule, conflict) = settled(ActorType::Human, Basis::Naming, "actor_type: ai_agent");
    assert_eq!((actor_type, rule.as_str(), conflict), (ActorType::AiAgent, "registry a", true));
    let (_, rule, conflict) = settled(ActorType::Bot, Basis::Naming, "actor_type: bot");
    assert_eq!((rule.as_str(), conflict), ("registry a", false));
    let (_, rule, _) = settled(ActorType::Bot, Basis::Declared, "actor_type: bot");
    assert_eq!(rule, "declared a_case");
}

#[test]
fn a_persons_key_and_a_persons_authority_are_no_conflict() {
    assert!(!settled(ActorType::ApiKey, Basis::Declared, "actor_type: human").2);
    let (actor_type, _, conflict) = settled(ActorType::PrivilegedHuman, Basis::Declared, "actor_type: human");
    assert_eq!((actor_type, conflict), (ActorType::PrivilegedHuman, false));
}

#[test]
fn privilege_in_the_registry_makes_a_human_a_privileged_one() {
    let (actor_type, rule, conflict) = settled(ActorType::Human, Basis::Declared, "privileged: true");
    assert_eq!((actor_type, rule.as_str(), conflict), (ActorType::PrivilegedHuman, "registry a", false));
    assert_eq!(settled(ActorType::Bot, Basis::Declared, "privileged: true").0, ActorType::Bot);

    let registry = yaml("- { id: a, privileged: false }\n");
    let mut shown_by_event = activity(&[(Column::ActorId, "a")]);
    shown_by_event.set(Column::Privileged, Value::Bool(true));
    registry.attribute(&mut shown_by_event);
    assert_eq!(shown_by_event.get(Column::Privileged), Value::Bool(true));
}

#[test]
fn all_formats_say_the_same() {
    let by_yaml = yaml(
        "- id: a\n  technical_owner: t\n  expires: 2026-05-01\n  known_as: [{ id: n-1, source: s }, n-2]\n  scopes: [w, r]\n  credentials: [{ id: k, type: api_key }]\n- kind: organisation\n  domains: [example.com, example.org]\n",
    );
    let by_lines = try_read(&[(
        "r.ndjson",
        Format::JsonLines,
        "{\"kind\":\"organisation\",\"domains\":[\"example.org\",\"example.com\"]}\n{\"id\":\"a\",\"technical_owner\":\"t\",\"expires\":\"2026-05-01T02:00:00+02:00\",\"known_as\":[\"n-2\",{\"source\":\"s\",\"id\":\"n-1\"}],\"scopes\":[\"r\",\"w\"],\"credentials\":[{\"type\":\"api_key\",\"id\":\"k\"}]}\n",
    )]);
    let by_table = try_read(&[(
        "r.csv",
        Format::Csv,
        "kind,id,technical_owner,expires,known_as.id,known_as.source,scopes,credentials.id,credentials.type,domains\n,a,t,2026-05-01,n-1;n-2,s,r;w,k,api_key,\norganisation,,,,,,,,,example.com;example.org\n",
    )]);
    for other in [by_lines, by_table] {
        assert_eq!(other.expect("a registry without mistakes").content_hash(), by_yaml.content_hash());
    }
}

#[test]
fn the_hash_follows_content_and_not_files() {
    let (a, b) = ("- { id: a, purpose: x }\n", "- { id: b, purpose: y }\n");
    let hash = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, Format::Yaml, *text)).collect();
        try_read(&files).expect("a registry without mistakes").content_hash()
    };
    let one = hash(&[("1.yaml", a), ("2.yaml", b)]);
    assert_eq!(hash(&[("1.yaml", b), ("2.yaml", a)]), one);
    assert_eq!(hash(&[("all.yaml", &format!("{a}{b}"))]), one);
    assert_ne!(hash(&[("1.yaml", a), ("2.yaml", "- { id: b, purpose: z }\n")]), one);
    assert_ne!(hash(&[("1.yaml", a)]), one);
    assert_ne!(hash(&[("1.yaml", a), ("2.yaml", b), ("3.yaml", "{ kind: organisation, domains: [a] }\n")]), one);
}

#[test]
fn overlapping_validity_names_both_lines() {
    assert_eq!(
        mistakes("- id: a\n  valid_until: 2026-03-02\n- id: b\n- id: a\n  valid_from: 2026-03-01\n"),
        "r.yaml:4:3: error[overlap]: found `a` valid at the same time as at r.yaml:1:3, wanted `valid_until` of the earlier at or before `valid_from` of the later, or another id"
    );
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let mistakes = mistakes(concat!(
        "- id: a\n  expirse: 2026-03-01\n  expires: tomorrow\n",
        "- purpose: nobody's\n",
        "- id: b\n  actor_type: robot\n  privileged: maybe\n  state: gone\n  id: c\n",
        "- id: d\n  credentials: [{ type: api_key }, { id: ghp_0000 }, { fingerprint: abc }]\n  known_as: x\n",
        "- id: e\n  valid_from: 2026-03-02\n  valid_until: 2026-03-01\n",
        "- kind: team\n- just text\n- { kind: organisation, purpose: x }\n",
        "- id: f\n  created: 2026-03-01T09:30:00\n",
    ));
    insta::assert_snapshot!(mistakes);
}

#[test]
fn what_may_be_a_secret_is_never_quoted() {
    let mistakes = mistakes("- { id: a, credentials: [ghp_abc, { fingerprint: hunter2 }] }\n");
    assert!(!mistakes.contains("ghp_abc") && !mistakes.contains("hunter2"), "{mistakes}");
}

#[test]
fn every_key_of_the_format_is_known_to_the_reader() {
    for key in reader::IDENTITY_KEYS {
        let value = match key {
            "kind" => "identity",
            "actor_type" => "bot",
            "privileged" => "true",
            "state" => "active",
            "created" | "expires" | "review_by" | "valid_from" | "valid_until" => "2026-03-01",
            "known_as" | "credentials" | "scopes" => "[x]",
            _ => "x",
        };
        let id = if key == "id" { "" } else { "id: a, " };
        yaml(&format!("- {{ {id}{key}: {value} }}\n"));
    }
}

#[test]
fn the_organisation_is_gathered_from_all_files() {
    let registry = try_read(&[
        ("1.yaml", Format::Yaml, "kind: organisation\naccounts: [000000000001]\n"),
        ("2.csv", Format::Csv, "kind,accounts\norganisation,000000000002;000000000003\n"),
    ])
    .expect("a registry without mistakes");
    let organisation = registry.organisation();
    assert!(["000000000001", "000000000003"].iter().all(|id| organisation.owns(OwnedKind::Accounts, id)));
    assert!(organisation.is_foreign(OwnedKind::Accounts, "000000000009"));
}

#[test]
fn history_and_entries_are_found_by_id() {
    let registry = yaml(
        "- { id: b, purpose: second, valid_from: 2026-03-01 }\n- { id: a }\n- { id: b, purpose: first, valid_until: 2026-03-01 }\n- { id: c }\n",
    );
    let purposes: Vec<_> = registry.history("b").iter().filter_map(|entry| entry.purpose.as_deref()).collect();
    assert_eq!(purposes, ["first", "second"]);
    assert_eq!(registry.find("b", day("2026-02-01")).and_then(|entry| entry.purpose.as_deref()), Some("first"));
    assert!(registry.history("bb").is_empty() && registry.find("", 0).is_none());
}

#[test]
fn files_and_directories_are_read_and_what_cannot_be_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("teams")).expect("a directory");
    std::fs::write(path("teams/a.yaml"), "- id: a\n").expect("a file");
    std::fs::write(path("b.csv"), "\u{feff}id,purpose\nb,x\n").expect("a file");
    std::fs::write(path("README.md"), "not an entry").expect("a file");
    std::fs::write(path(".hidden.yaml"), "not an entry").expect("a file");
    let registry = Registry::load(&[directory.path().to_path_buf(), path("b.csv"), path("./teams/../b.csv")])
        .expect("no mistakes");
    assert_eq!(registry.entries().iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    std::fs::write(path("c.yaml"), b"- id: c\n  purpose: \xff\n").expect("a file");
    let problems = Registry::load(&[path("c.yaml"), path("missing"), path("README.md")]).expect_err("mistakes");
    let codes: Vec<_> = problems.0.iter().map(|problem| (problem.code, problem.place.line)).collect();
    assert_eq!(codes, [("bad-path", 1), ("encoding", 2), ("unreadable", 1)]);
}

/// The blocks of `language` in the documentation.
fn documented(language: &str) -> Vec<&'static str> {
    let page = include_str!("../../docs/registry.md");
    let opening = format!("```{language}\n");
    page.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_documented_examples_work() {
    let blocks = documented("yaml");
    assert_eq!(blocks.len(), 1);
    let registry = yaml(blocks[0]);
    assert!(registry.organisation().owns(OwnedKind::Accounts, "000000000001"));
    let deployer = activity(&[(Column::ActorId, "deployer@shop-project.example.com")]);
    assert!(attributed(&registry, deployer).contains(r#""actor_owner":"platform-team@example.com""#));
    let ann = activity(&[(Column::ActorEmail, "ann@example.com")]);
    assert!(attributed(&registry, ann).contains(r#""actor_owner":"team-b@example.com""#));

    let tables = documented("csv");
    assert_eq!(tables.len(), 1);
    let registry = try_read(&[("r.csv", Format::Csv, tables[0])]).expect("a registry without mistakes");
    let mut second = activity(&[(Column::ActorId, "svc-backup-2"), (Column::Source, "okta_system")]);
    assert!(attributed(&registry, second.clone()).contains("storage@example.com"));
    second.set(Column::Source, Value::Text("github_audit"));
    assert!(!attributed(&registry, second).contains("storage@example.com"));
}

#[test]
fn every_key_is_documented() {
    let page = include_str!("../../docs/registry.md");
    for key in reader::IDENTITY_KEYS {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in r#"([-{}\[\]:,;"'\n ~&*!|>#]|id|kind|known_as|expires|[a-z0-9]|\PC){0,80}"#) {
        for format in [Format::Yaml, Format::Json, Format::JsonLines, Format::Csv] {
            if let Err(mistakes) = try_read(&[("r", format, &text)]) {
                assert!(!mistakes.0.is_empty());
            }
        }
    }
}
