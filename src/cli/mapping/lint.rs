//! `actorline mapping lint`: what the compiler lets pass and an author should still look at.

use super::super::Failure;
use super::super::mappings::{MappingArguments, compile};
use super::say;
use crate::diagnostic::Diagnostics;
use crate::mapping::lint::lint;
use crate::pipeline::cases;

pub fn run(mappings: &MappingArguments) -> Result<(), Failure> {
    let files = mappings.files()?;
    let library = compile(&files)?;
    let results = cases::run(&files, &library, &[]);
    let mut findings = Diagnostics(library.warnings().0.clone());
    findings.0.extend(library.plans().iter().flat_map(|plan| lint(plan).0));
    findings.0.extend(cases::omissions(&library, &results).0);
    findings.sort();
    let (num_findings, num_mappings) = (findings.0.len(), library.plans().len());
    if num_findings == 0 {
        return say(format!("{num_mappings} mappings, nothing found"));
    }
    say(findings)?;
    Err(Failure::Findings(anyhow::anyhow!("{num_findings} findings in {num_mappings} mappings")))
}
