//! The mappings that come with the program: they compile, and their cases pass.

use std::sync::Arc;

use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::pipeline::cases;

#[test]
fn every_case_passes() {
    let files = mapping_files::shipped();
    let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let results = cases::run(&files, &Arc::new(library), &[]);
    let failed: Vec<String> = results
        .iter()
        .filter(|result| !result.differences.is_empty())
        .map(|result| format!("{}\n    {}", result.path, result.differences.join("\n    ")))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(!results.is_empty());
}

/// A decision that no case shows is a decision that nobody has seen work.
#[test]
fn every_decision_has_a_case_and_every_source_an_event_that_is_not_its_own() {
    let files = mapping_files::shipped();
    let library = Arc::new(Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}")));
    let results = cases::run(&files, &library, &[]);
    let mut missing = Vec::new();
    for plan in library.plans() {
        let of_source = || results.iter().filter(|result| result.source == plan.source);
        for case in &plan.cases {
            if !of_source().any(|result| result.rules.contains(&case.name)) {
                missing.push(format!("{}: {}", plan.source, case.name));
            }
        }
        if !of_source().any(|result| result.is_unmapped) {
            missing.push(format!("{}: an event of another source", plan.source));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
