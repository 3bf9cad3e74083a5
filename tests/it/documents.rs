//! Documents that are generated from the code, and checked for being up to date.
//!
//! With ACTORLINE_UPDATE=1 the tests write them instead.

use std::fmt::Write as _;
use std::path::Path;

use actorline::activity::taxonomy::CLOSED_SETS;
use actorline::activity::{COLUMNS, Kind};
use actorline::mapping::functions;
use actorline::mapping::grammar::{CASE, COMPANIONS, CONDITION_WORDS, FRAGMENT, HEADS, HOP, MAPPING, TARGET, TESTS};
use actorline::mapping::schema::json_schema;

#[test]
fn the_schema_of_mapping_files_is_up_to_date() {
    check("schemas/mapping.json", &(json_schema() + "\n"));
}

#[test]
fn the_page_of_the_schema_is_up_to_date() {
    let mut page = String::from(
        "# The schema: one activity, one row\n\n\
         The same names in the lake (Parquet columns), in the JSON on the SIEM topic (where null is left out), in SQL, and in mapping\n\
         files. Types: `str` UTF-8 · `time` microseconds in UTC (RFC 3339 with `Z` in JSON) · `date` · `bool` · `int` 64 bits ·\n\
         lists, and maps of texts. Columns marked `!` are never null. The values of closed sets are in [taxonomy.md](taxonomy.md).\n\
         Columns are added over time; none changes its meaning or goes without a new version of the schema.\n",
    );
    let mut section = "";
    for info in COLUMNS {
        if info.section != section {
            section = info.section;
            let _ = write!(page, "\n## {section}\n\n| column | type | meaning |\n|---|---|---|\n");
        }
        let mark = if info.required { " !" } else { "" };
        let kind = match info.kind {
            Kind::Closed(set) => format!("[{}](taxonomy.md#{})", info.kind.name(), set.name),
            other => other.name().replace('|', "\\|"),
        };
        let _ = writeln!(page, "| `{}`{mark} | {kind} | {} |", info.name, info.meaning);
    }
    check("docs/schema.md", &page);
}

#[test]
fn the_page_of_the_taxonomy_is_up_to_date() {
    let mut page = String::from(
        "# The taxonomy: what each value means\n\n\
         Columns with a closed set hold one of these values and no other. The actor type says what kind of principal the platform\n\
         authenticated for the request; who asked for it stands in `on_behalf_of`, the identity that was borrowed in `acting_as`,\n\
         all of them in `delegation_chain`. `unknown` is an answer: nothing in the event justifies another.\n",
    );
    for set in CLOSED_SETS {
        let _ = write!(page, "\n## {}\n\n{}\n\n| value | meaning |\n|---|---|\n", set.name, set.about);
        for term in set.terms {
            let _ = writeln!(page, "| `{}` | {} |", term.value, term.meaning);
        }
    }
    check("docs/taxonomy.md", &page);
}

/// The page is written by hand; what it must not do is leave something out.
#[test]
fn the_page_of_the_mapping_language_names_every_key_and_function() {
    let page = std::fs::read_to_string(path("docs/mapping-language.md")).unwrap();
    let keys = [&MAPPING, &FRAGMENT, &CASE, &HEADS, &COMPANIONS, &HOP, &TARGET, &CONDITION_WORDS, &TESTS];
    let names = keys.iter().flat_map(|part| part.keys).map(|key| key.name);
    let names = names.chain(functions::ALL.iter().map(|function| function.name));
    let is_named = |name: &str| page.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name);
    let missing: Vec<&str> = names.filter(|name| !is_named(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn check(name: &str, current: &str) {
    if std::env::var_os("ACTORLINE_UPDATE").is_some() {
        std::fs::write(path(name), current).unwrap();
    }
    let stored = std::fs::read_to_string(path(name)).unwrap_or_default();
    assert!(stored == current, "{name} is not what the code says: run `ACTORLINE_UPDATE=1 cargo test documents`");
}
