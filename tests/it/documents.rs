//! Documents are up to date: what is generated from the code is what the code says, and what is written by hand shows
//! what the program does and leaves nothing out.
//!
//! With ACTORLINE_UPDATE=1 the tests write the generated ones instead.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actorline::activity::taxonomy::CLOSED_SETS;
use actorline::activity::{COLUMNS, Kind};
use actorline::config::{self, Config};
use actorline::mapping::functions;
use actorline::mapping::grammar::{CASE, COMPANIONS, CONDITION_WORDS, FRAGMENT, HEADS, HOP, MAPPING, TARGET, TESTS};
use actorline::mapping::schema::json_schema;
use actorline::seal::SealKey;
use regex::Regex;

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

#[test]
fn the_page_of_the_configuration_names_every_key_of_each_section() {
    let page = read("docs/configuration.md");
    for section in ["", "kafka", "topics", "lake", "lake.seal", "siem", "dead_letters", "telemetry"] {
        let known = keys_known_in(section);
        assert!(!known.is_empty(), "`{section}` lists no keys");
        let part = match section {
            "" => &page[..],
            section => part_below(&page, &format!("### `{section}`")),
        };
        let missing: Vec<&String> = known.iter().filter(|key| !part.contains(&format!("`{key}`"))).collect();
        assert_eq!(missing, Vec::<&String>::new(), "of `{section}`");
    }
}

#[test]
fn the_example_of_the_configuration_is_accepted_and_shows_the_defaults() {
    let page = read("docs/configuration.md");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("seal.pem");
    std::fs::write(&key, SealKey::generate().expect("a key").1).expect("written");
    // The one file that the example names is on the machine of its reader.
    let example = block(&page, "yaml", 0).replace("/etc/actorline/seal.pem", &key.display().to_string());
    let shown = parse(&example).expect("the example is accepted");
    let heartbeat = shown.lake.as_ref().and_then(|lake| lake.seal.as_ref()).map(|seal| seal.heartbeat_interval);
    assert_eq!(heartbeat, Some(Duration::from_secs(300)), "the default");
    let smallest = "kafka: { brokers: b, group: g }\ntopics: { t: auto }\nlake: { url: file:///l }\n\
                    siem: { topic: s }\ndead_letters: { topic: d }\n";
    let default = parse(smallest).expect("the smallest is accepted");
    let numbers = |config: &Config| {
        let lake = config.lake.as_ref().expect("a lake");
        let siem = config.siem.as_ref().expect("a siem");
        let dead_letters = config.dead_letters.as_ref().expect("dead letters");
        let sizes = [lake.target_file_bytes, lake.max_buffer_bytes, dead_letters.max_bytes];
        (lake.commit_interval, siem.commit_interval, sizes, siem.include_raw, config.telemetry.listen)
    };
    assert_eq!(numbers(&shown), numbers(&default));
}

/// Both ways: what the page calls refused is, and what the code refuses is in the page.
#[test]
fn the_page_of_the_configuration_names_the_refused_properties_of_kafka() {
    let page = read("docs/configuration.md");
    let table = part_below(&page, "These are refused:");
    let shown = first_cells(table);
    for name in &shown {
        let text = format!(
            "kafka: {{ brokers: b, group: g, properties: {{ {name}: 'file:///x' }} }}\ntopics: {{ t: auto }}\nlake: {{ url: file:///l }}\n"
        );
        assert!(parse(&text).is_err(), "`{name}` is accepted");
    }
    let source = read("src/config/kafka_properties.rs");
    let refused = Regex::new(r#"(?m)^    \("([a-z._]+)", "#).unwrap();
    let missing: Vec<&str> = refused
        .captures_iter(&source)
        .map(|found| found.get(1).unwrap().as_str())
        .filter(|name| !shown.iter().any(|known| known == name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_example_of_the_readme_is_what_comes_out() {
    let readme = read("README.md");
    let event = "docs/examples/events/agent-push.json";
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(json(block(&readme, "json", 0)), json(&read(event)));
    let printed = json(&actorline(&["normalize", "--registry", "docs/examples/registry", event]));
    for (column, value) in json(block(&readme, "json", 1)).as_object().expect("an object") {
        assert_eq!(&printed[column], value, "{column}");
    }
}

#[test]
fn the_sources_that_the_readme_shows_are_there() {
    // A new source is its folder alone, so not every one need stand here.
    let readme = read("README.md");
    let part = part_below(&readme, "## Sources");
    let named = Regex::new("`([a-z0-9_]+)`").unwrap();
    let table = part.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| for"));
    let listed: Vec<&str> =
        table.flat_map(|line| named.captures_iter(line)).map(|found| found.extract::<1>().1[0]).collect();
    assert!(listed.len() > 50, "{listed:?}");
    for source in listed {
        assert!(path("mappings").join(source).join("mapping.yaml").exists(), "there is no source `{source}`");
    }
}

#[test]
fn the_examples_fill_a_lake_and_each_query_finds_something_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake").display().to_string();
    actorline(&["normalize", "--registry", "docs/examples/registry", "--lake", &lake, "docs/examples/events"]);
    for entry in std::fs::read_dir(path("docs/examples/queries")).unwrap() {
        let file = entry.unwrap().path();
        let rows = actorline(&["query", "--lake", &lake, &std::fs::read_to_string(&file).unwrap()]);
        assert!(!rows.is_empty(), "{} finds nothing", file.display());
    }
}

/// Recipes print the queries that they talk of, so that a reader need not look elsewhere.
#[test]
fn the_recipes_show_the_queries_as_they_are() {
    let page = read("docs/recipes.md");
    for entry in std::fs::read_dir(path("docs/examples/queries")).unwrap() {
        let file = entry.unwrap().path();
        let query = std::fs::read_to_string(&file).unwrap();
        assert!(page.contains(&query), "docs/recipes.md lacks {}", file.display());
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)").unwrap();
    let pages = std::fs::read_dir(path("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let mut broken = Vec::new();
    for page in pages.chain([path("README.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        let targets = link.captures_iter(&text).map(|found| page.with_file_name(&found[1]));
        broken.extend(targets.filter(|target| !target.exists()).map(|target| (page.clone(), target)));
    }
    assert_eq!(broken, []);
}

/// The keys that the reader itself names when it meets one that it does not know.
fn keys_known_in(section: &str) -> Vec<String> {
    let text = match section {
        "" => "no_such_key: 1\n".to_string(),
        // Its keys are topics; those of a topic are meant.
        "topics" => "topics: { t: { no_such_key: 1 } }\n".to_string(),
        "lake.seal" => "lake: { url: file:///l, seal: { no_such_key: 1 } }\n".to_string(),
        section => format!("{section}: {{ no_such_key: 1 }}\n"),
    };
    let mistakes = parse(&text).expect_err("an unknown key");
    let known = mistakes.iter().find_map(|mistake| mistake.message.split_once("known here are ")).map(|found| found.1);
    known.map(|names| names.split(", ").map(|name| name.trim_matches('`').to_string()).collect()).unwrap_or_default()
}

fn parse(text: &str) -> Result<Config, Vec<config::Mistake>> {
    config::parse(text, &|_| Some("a secret".to_string()))
}

/// What stands below a heading or line, up to the next heading.
fn part_below<'a>(page: &'a str, line: &str) -> &'a str {
    let (_, below) = page.split_once(&format!("{line}\n")).unwrap_or_else(|| panic!("no `{line}`"));
    below.split("\n#").next().unwrap_or(below)
}

/// The names in backticks in the first column of a table.
fn first_cells(table: &str) -> Vec<String> {
    let name = Regex::new("`([^`]+)`").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| {
            name.captures_iter(cell)
                .map(|found| found[1].to_string())
                .take_while(|name| !name.contains('/'))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The content of the `index`th fenced block of `language`.
fn block<'a>(page: &'a str, language: &str, index: usize) -> &'a str {
    let fence = format!("```{language}\n");
    let below = page.split(&fence).nth(index + 1).unwrap_or_else(|| panic!("no {language} block {index}"));
    below.split("```").next().unwrap_or(below)
}

fn actorline(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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
