//! The mappings that come with the program: they compile, their cases pass, and `lint` finds nothing.

use std::sync::Arc;

use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::mapping::left_out::left_out;
use actorline::mapping::lint::lint;
use actorline::pipeline::cases;

#[test]
fn every_case_passes() {
    let files = mapping_files::shipped();
    let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let results = cases::run(&files, &Arc::new(library), &[]);
    let failed: Vec<String> = results
        .iter()
        .filter(|result| !result.differences.is_empty())
        .map(|result| {
            let differences: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
            format!("{}\n    {}", result.path, differences.join("\n    "))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(!results.is_empty());
}

/// A decision that no case shows is a decision that nobody has seen work.
#[test]
fn lint_finds_nothing() {
    let files = mapping_files::shipped();
    let library = Arc::new(Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}")));
    let results = cases::run(&files, &library, &[]);
    let mut findings: Vec<String> = cases::omissions(&library, &results).0.iter().map(ToString::to_string).collect();
    findings.extend(library.warnings().0.iter().map(ToString::to_string));
    findings.extend(library.plans().iter().flat_map(|plan| lint(plan).0).map(|finding| finding.to_string()));
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn what_is_left_out_says_why_and_a_neighbour_that_answers_knows_it() {
    let files = mapping_files::shipped();
    let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let left_out = left_out(&files);
    assert!(!left_out.is_empty());
    for source in left_out {
        assert!(!source.why.is_empty(), "{source:?}");
        let answers = library.find(&source.source).map(|plan| plan.source.clone());
        assert_eq!(answers, source.answered_by, "{}", source.source);
        assert_ne!(answers.as_deref(), Some(source.source.as_str()));
    }
}
