//! Holds what `docs/architecture.md` says of the folders: who may use whom, and what a stranger can rely on in each file.
//!
//! The rules are read from the page's own table, so that the page cannot become untrue without a failing test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Longest file. Beyond this there are two subjects in it.
const NUM_LINES_MAX: usize = 700;

/// Names that say nothing of what is inside.
const NAMES_FORBIDDEN: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

/// Modules that must give the same for the same input, and so may not read a clock.
const MODULES_WITHOUT_CLOCK: [&str; 4] = ["activity", "envelope", "mapping", "identity"];

#[test]
fn modules_use_only_what_the_architecture_allows() {
    let rules = Rules::read(&fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there"));
    let mut violations = Vec::new();
    for (module, file) in source_files() {
        if !rules.modules.contains_key(&module) {
            violations.push(format!("{}: `{module}` is missing from the table", file.display()));
            continue;
        }
        let text = production_code(&fs::read_to_string(root().join(&file)).expect("sources are UTF-8"));
        for used in paths_used(&text, depth_of(&file)) {
            if !rules.allow(&module, &used) {
                violations.push(format!("{}: `{module}` may not use `{used}`", file.display()));
            }
        }
    }
    violations.sort();
    violations.dedup();
    assert!(violations.is_empty(), "against docs/architecture.md:\n{}", violations.join("\n"));
}

#[test]
fn files_are_short_named_for_what_they_hold_and_say_what_they_are_for() {
    let mut violations = Vec::new();
    for file in files_below("src").into_iter().chain(files_below("tests")) {
        let text = fs::read_to_string(root().join(&file)).expect("sources are UTF-8");
        let num_lines = text.lines().count();
        if num_lines > NUM_LINES_MAX {
            violations.push(format!("{}: {num_lines} lines, at most {NUM_LINES_MAX}", file.display()));
        }
        if !text.starts_with("//! ") {
            violations.push(format!("{}: does not open with `//!`", file.display()));
        }
        let names = file.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
        for name in names.filter(|name| NAMES_FORBIDDEN.contains(name)) {
            violations.push(format!("{}: `{name}` says nothing of what is inside", file.display()));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn what_must_be_deterministic_reads_no_clock() {
    let clock = Regex::new(r"\b(SystemTime|Instant|Timestamp|Zoned)::now\b").expect("a valid pattern");
    for (module, file) in source_files() {
        let text = production_code(&fs::read_to_string(root().join(&file)).expect("sources are UTF-8"));
        let reads_clock = MODULES_WITHOUT_CLOCK.contains(&module.as_str()) && clock.is_match(&text);
        assert!(!reads_clock, "{}: reads a clock; take the time as an argument", file.display());
    }
}

#[test]
fn the_rules_are_those_of_the_table() {
    let rules = Rules::read(concat!(
        "| folder | what it does | may use |\n|---|---|---|\n",
        "| `record`, `event` | plain data | nothing here |\n",
        "| `envelope` | cuts | plain data |\n",
        "| `sink` | writes | plain data |\n",
        "| `query` | asks | plain data, `sink::lake` to open the table |\n",
        "| `pipeline` | order | all of the above, `telemetry` |\n",
        "| `telemetry` | shows | plain data |\n",
        "| `cli` | commands | everything |\n",
    ));
    for (module, used, is_allowed) in [
        ("record", "event", true),
        ("record", "envelope", false),
        ("envelope", "record::Position", true),
        ("envelope", "sink", false),
        ("query", "sink::lake::Lake", true),
        ("query", "sink::siem", false),
        ("query", "sink", false),
        ("pipeline", "query", true),
        ("pipeline", "telemetry", true),
        ("pipeline", "cli", false),
        ("telemetry", "pipeline", false),
        ("cli", "pipeline", true),
        ("sink", "sink::lake", true),
    ] {
        assert_eq!(rules.allow(module, used), is_allowed, "{module} uses {used}");
    }
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let text = production_code(concat!(
        "//! Not `crate::in_a_comment`.\n",
        "use crate::record::Position;\n",
        "use crate::{event::RawEvent, sink::{lake, siem}};\n",
        "use super::super::envelope::cut;\n",
        "use super::sibling;\n",
        "fn f() -> crate::query::Answer { \"crate::in_a_text\" }\n",
        "#[cfg(test)]\nmod tests { use crate::demo; }\n",
    ));
    let used: Vec<_> = paths_used(&text, 2).into_iter().collect();
    assert_eq!(
        used,
        ["envelope::cut", "event::RawEvent", "query::Answer", "record::Position", "sink::lake", "sink::siem"]
    );
}

/// Who may use whom, by module.
struct Rules {
    plain_data: BTreeSet<String>,
    modules: BTreeMap<String, MayUse>,
}

enum MayUse {
    Everything,
    /// Modules, or modules inside modules, beside plain data.
    These(Vec<String>),
}

impl Rules {
    fn read(page: &str) -> Rules {
        let mut rules = Rules { plain_data: BTreeSet::new(), modules: BTreeMap::new() };
        let rows = page.lines().skip_while(|line| !line.contains("| may use |")).skip(2);
        for row in rows.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [folders, _, may_use] = cells[..] else { panic!("three cells in `{row}`") };
            let folders = quoted(folders);
            if may_use == "nothing here" {
                rules.plain_data.extend(folders.iter().cloned());
            }
            let mut allowed = quoted(may_use);
            if may_use.starts_with("all of the above") {
                allowed.extend(rules.modules.keys().cloned());
            }
            for folder in folders {
                let may_use = match may_use {
                    "everything" => MayUse::Everything,
                    _ => MayUse::These(allowed.clone()),
                };
                rules.modules.insert(folder, may_use);
            }
        }
        assert!(!rules.plain_data.is_empty() && rules.modules.len() > rules.plain_data.len(), "the table was found");
        rules
    }

    fn allow(&self, module: &str, used: &str) -> bool {
        let first = used.split("::").next().unwrap_or(used);
        if first == module || self.plain_data.contains(first) {
            return true;
        }
        match &self.modules[module] {
            MayUse::Everything => true,
            MayUse::These(allowed) => allowed.iter().any(|path| used == path || used.starts_with(&format!("{path}::"))),
        }
    }
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the library with the module that they belong to, without those that only hold tests.
fn source_files() -> Vec<(String, PathBuf)> {
    let module_of = |file: &Path| {
        let first = file.iter().nth(1)?;
        Some(Path::new(first).file_stem()?.to_str()?.to_string())
    };
    files_below("src")
        .into_iter()
        .filter(|file| !file.iter().any(|part| part == "tests" || part == "tests.rs"))
        .filter_map(|file| Some((module_of(&file)?, file)))
        .filter(|(module, _)| module != "lib" && module != "main")
        .collect()
}

fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("the folder is readable") {
            let path = item.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root()).expect("it is below the root").to_path_buf());
            }
        }
    }
    files.sort();
    files
}

/// How many modules lie between the crate's root and the code of `file`, itself included.
fn depth_of(file: &Path) -> usize {
    let num_parts = file.iter().count() - 1;
    if file.ends_with("mod.rs") { num_parts - 1 } else { num_parts }
}

/// `text` without comments, texts and the tests at its end.
fn production_code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let noise = Regex::new(r#"(?m)//.*$|"(?:[^"\\]|\\.)*""#).expect("a valid pattern");
    noise.replace_all(text, "").into_owned()
}

/// Every path from the crate's root that `text` names, written as `crate::…` or with enough `super::`.
fn paths_used(text: &str, depth: usize) -> BTreeSet<String> {
    let from_root = format!(r"(?:\bcrate::|\b(?:super::){{{depth}}})");
    let start = Regex::new(&from_root).expect("a valid pattern");
    let mut paths = BTreeSet::new();
    for found in start.find_iter(text) {
        expand(&text[found.end()..], "", &mut paths);
    }
    paths
}

/// Takes the path at the start of `text`; braces hold several.
fn expand(text: &str, prefix: &str, paths: &mut BTreeSet<String>) {
    let Some(rest) = text.strip_prefix('{') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let path = if prefix.is_empty() { text[..end].to_string() } else { format!("{prefix}::{}", &text[..end]) };
        // Two parts are as deep as the rules look.
        match text[end..].strip_prefix("::") {
            Some(rest) if prefix.is_empty() && end > 0 => expand(rest, &path, paths),
            _ if end > 0 => {
                paths.insert(path);
            }
            // `*` or a macro's own notation.
            _ => {
                paths.insert(prefix.to_string());
            }
        }
        return;
    };
    let (mut level, mut start) = (0_usize, 0);
    for (index, character) in rest.char_indices() {
        match character {
            '{' => level += 1,
            ',' | '}' if level == 0 => {
                let item = rest[start..index].trim();
                if !item.is_empty() {
                    expand(item, prefix, paths);
                }
                start = index + 1;
                if character == '}' {
                    return;
                }
            }
            '}' => level -= 1,
            _ => {}
        }
    }
}
