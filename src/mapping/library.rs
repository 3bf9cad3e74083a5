//! The library: all mappings together, and which of them an event belongs to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use sha2::{Digest, Sha256};

use super::compile::{Files, compile_mapping};
use super::evaluate::{NUM_BYTES_MADE_MAX, Surroundings, View};
use super::json::Json;
use super::plan::{Condition, Plan};
use super::projection::Projection;
use crate::diagnostic::{Diagnostics, Place, Severity};
use crate::organisation::Organisation;

/// Every mapping of a folder, compiled.
#[derive(Debug)]
pub struct Library {
    plans: Vec<Plan>,
    /// What all recognitions read, in one scan.
    recognition: Projection,
    /// In the order of `plans`.
    recognise: Vec<Condition>,
    by_name: HashMap<String, usize>,
    headers: Vec<String>,
    /// Everything that the plans were compiled from.
    files: Files,
    content_hash: String,
    warnings: Diagnostics,
}

impl Library {
    /// Compiles all mappings of `files`.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn compile(files: &Files) -> Result<Library, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let mut recognition = Projection::default();
        let (mut plans, mut recognise) = (Vec::new(), Vec::new());
        for source in sources(files) {
            if let Some(compiled) = compile_mapping(source, files, &mut recognition, &mut diagnostics) {
                plans.push(compiled.plan);
                recognise.push(compiled.recognise);
            }
        }
        let by_name = name_all(&plans, &mut diagnostics);
        if plans.is_empty() && !diagnostics.has_errors() {
            let place = Place { file: "mappings".into(), line: 1, column: 1 };
            diagnostics
                .error("no-mapping", &place, "found no `<source>/mapping.yaml`")
                .help("name the folder that holds one folder for each source");
        }
        diagnostics.sort();
        if diagnostics.has_errors() {
            // What can wait would only stand between the mistakes.
            diagnostics.0.retain(|diagnostic| diagnostic.severity == Severity::Error);
            return Err(diagnostics);
        }
        let headers = plans.iter().flat_map(|plan| &plan.context_names);
        let headers = headers.filter_map(|name| name.strip_prefix("header.")).map(str::to_string).collect();
        let used = files.iter().filter(|(path, _)| !path.contains("/tests/"));
        let files: Files = used.map(|(path, text)| (path.clone(), text.clone())).collect();
        let content_hash = hash_files(&files);
        Ok(Library { plans, recognition, recognise, by_name, headers, files, content_hash, warnings: diagnostics })
    }

    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The plan of a source, by its name or an alias.
    pub fn find(&self, name: &str) -> Option<&Plan> {
        self.by_name.get(name).map(|index| &self.plans[*index])
    }

    /// The sources that an event could belong to, by its content. One, if the mappings are right.
    pub fn recognise<'a>(
        &'a self,
        raw: &'a str,
        context: &'a [(String, String)],
        organisation: &'a Organisation,
        arena: &'a Bump,
    ) -> impl Iterator<Item = &'a Plan> {
        let raw = Json::new(raw.trim());
        let scan = self.recognition.scan(raw, arena);
        // Recognition sees the event and what came with it, and none of what a mapping defines: any plan will do.
        let around = self.plans.first().map(|plan| {
            &*arena.alloc(Surroundings {
                plan,
                raw,
                event: scan.slots,
                nested: &[],
                item: &[],
                context,
                organisation,
                arena,
                variables: &[],
                named: &[],
                num_bytes_left: Cell::new(NUM_BYTES_MADE_MAX),
                column: Cell::new(""),
                issues: RefCell::new(ArenaVec::new_in(arena)),
                notes: None,
            })
        });
        let plans = self.plans.iter().zip(&self.recognise);
        plans
            .filter(move |(_, recognise)| around.is_some_and(|around| View::new(around).holds(recognise)))
            .map(|(plan, _)| plan)
    }

    /// What the compiler noticed and let pass.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The headers of a record that some mapping reads.
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The mappings, fragments and tables that the plans were compiled from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// A hash of everything that shapes what mappings derive.
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }
}

/// The sources of a folder, in order.
pub fn sources(files: &Files) -> impl Iterator<Item = &str> {
    files.keys().filter_map(|path| path.strip_suffix("/mapping.yaml")).filter(|source| !source.contains('/'))
}

fn name_all(plans: &[Plan], diagnostics: &mut Diagnostics) -> HashMap<String, usize> {
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (index, plan) in plans.iter().enumerate() {
        for name in std::iter::once(&plan.source).chain(&plan.aliases) {
            if let Some(other) = by_name.insert(name.clone(), index) {
                let other = &plans[other].source;
                diagnostics.error(
                    "duplicate-key",
                    &plan.place,
                    format!("found the name `{name}`, which the mapping `{other}` answers to already"),
                );
            }
        }
    }
    by_name
}

fn hash_files(files: &Files) -> String {
    let mut hasher = Sha256::new();
    for (path, text) in files {
        for part in [path.as_bytes(), text.as_bytes()] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
