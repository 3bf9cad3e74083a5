//! What compiles and is still likely a mistake: decisions that cannot be reached, tables that leave a column open, gaps
//! without a compensating control.
//!
//! Conditions are compared by how they are written, so what is reported is certain, and what is not reported may be wrong.

use std::cell::Cell;

use super::plan::{Check, Condition, Expression, Head, Plan, Reference, Test, Want};
use crate::activity::Kind;
use crate::diagnostic::{Diagnostics, Place};

/// Steps that comparing two conditions may take. Named conditions of named conditions could double without end; those that
/// people write take some hundreds.
const NUM_STEPS_MAX: usize = 20_000;

/// Everything that the author of `plan` should look at.
pub fn lint(plan: &Plan) -> Diagnostics {
    let mut findings = Diagnostics::default();
    let decisions = plan.cases.iter().map(|case| (&case.place, &case.when));
    report_unreachable(plan, decisions, "decision", &mut findings);
    let set = plan.cases.iter().flat_map(|case| &case.set);
    let values = set.chain(&plan.columns).map(|rule| &rule.value);
    for value in values.chain(plan.variables.iter().map(|variable| &variable.value)) {
        report_unreachable_values(plan, value, &mut findings);
    }
    for rule in &plan.columns {
        let info = rule.column.info();
        if info.required && matches!(info.kind, Kind::Closed(_)) {
            report_open_table(&rule.value, info.name, &mut findings);
        }
    }
    for gap in plan.cannot_tell.iter().filter(|gap| gap.compensating_control.is_none()) {
        findings
            .warning("no-control", &plan.place, format!("found no compensating control for the gap `{}`", gap.gap))
            .help("write `{ gap: …, compensating_control: … }`, which says what an organisation can do about it");
    }
    findings.sort();
    findings
}

/// Reports conditions, of which the first that holds decides, that another before them always forestalls.
fn report_unreachable<'p>(
    plan: &'p Plan,
    cases: impl Iterator<Item = (&'p Place, &'p Condition)>,
    what: &str,
    findings: &mut Diagnostics,
) {
    let mut before: Vec<(&Place, &Condition)> = Vec::new();
    for (place, when) in cases {
        let forestalled = before.iter().find(|(_, first)| Comparison::new(plan).follows(when, first));
        if let Some((first, _)) = forestalled {
            let line = first.line;
            findings
                .warning("unreachable", place, format!("found a {what} that the one in line {line} always forestalls"))
                .help("the first whose condition holds decides; put the narrower one first");
        }
        before.push((place, when));
    }
}

fn report_unreachable_values(plan: &Plan, value: &Expression, findings: &mut Diagnostics) {
    match &value.head {
        Head::Cases(cases) => {
            report_unreachable(plan, cases.iter().map(|(when, value)| (&value.place, when)), "value", findings);
            cases.iter().for_each(|(_, value)| report_unreachable_values(plan, value, findings));
        }
        Head::First(values) => {
            for (index, alternative) in values.iter().enumerate() {
                if always_gives(alternative)
                    && let Some(next) = values.get(index + 1)
                {
                    let line = alternative.place.line;
                    findings.warning(
                        "unreachable",
                        &next.place,
                        format!("found an alternative behind the one in line {line}, which always has a value"),
                    );
                }
                report_unreachable_values(plan, alternative, findings);
            }
        }
        _ => {}
    }
    if let Some(otherwise) = &value.otherwise {
        report_unreachable_values(plan, otherwise, findings);
    }
}

fn always_gives(value: &Expression) -> bool {
    let is_constant = matches!(value.head, Head::Text(_) | Head::Int(_) | Head::Bool(_));
    is_constant && value.when.is_none() && value.functions.is_empty()
}

/// Reports the tables whose silence would leave `column` to the schema's default, without its author having said so.
fn report_open_table(value: &Expression, column: &str, findings: &mut Diagnostics) {
    if let Some(otherwise) = &value.otherwise {
        return report_open_table(otherwise, column, findings);
    }
    match &value.head {
        _ if value.functions.iter().any(|function| function.is_table()) => {
            findings
                .warning(
                    "no-otherwise",
                    &value.place,
                    format!("found a table that leaves `{column}` open for other texts"),
                )
                .help("say with `otherwise` what holds for a text that the table does not list");
        }
        Head::First(values) => {
            if let Some(last) = values.last() {
                report_open_table(last, column, findings);
            }
        }
        Head::Cases(cases) => cases.iter().for_each(|(_, value)| report_open_table(value, column, findings)),
        _ => {}
    }
}

/// One comparison of two conditions of a plan.
struct Comparison<'p> {
    plan: &'p Plan,
    num_steps_left: Cell<usize>,
}

impl<'p> Comparison<'p> {
    fn new(plan: &'p Plan) -> Comparison<'p> {
        Comparison { plan, num_steps_left: Cell::new(NUM_STEPS_MAX) }
    }

    /// Whether `wide` holds whenever `narrow` does, as far as it can be told from how they are written.
    fn follows(&self, narrow: &Condition, wide: &Condition) -> bool {
        let Some(left) = self.num_steps_left.get().checked_sub(1) else { return false };
        self.num_steps_left.set(left);
        match (&narrow.check, &wide.check) {
            (Check::Holds(narrow), Check::Holds(wide)) if narrow == wide => return true,
            (_, Check::All(parts)) => return parts.iter().all(|wide| self.follows(narrow, wide)),
            (_, Check::Holds(index)) => return self.follows(narrow, &self.plan.conditions[*index].condition),
            (_, Check::Any(parts)) if parts.iter().any(|wide| self.follows(narrow, wide)) => return true,
            _ => {}
        }
        match &narrow.check {
            Check::All(parts) => return parts.iter().any(|narrow| self.follows(narrow, wide)),
            Check::Any(parts) => return parts.iter().all(|narrow| self.follows(narrow, wide)),
            Check::Holds(index) => return self.follows(&self.plan.conditions[*index].condition, wide),
            _ => {}
        }
        match (&narrow.check, &wide.check) {
            (Check::Not(narrow), Check::Not(wide)) => self.follows(wide, narrow),
            (Check::Missing(narrow), Check::Missing(wide)) => wide.iter().all(|path| narrow.contains(path)),
            (narrow, Check::Has(paths)) => paths.iter().all(|path| shows(narrow, path)),
            (narrow, Check::HasAny(paths)) => match narrow {
                Check::HasAny(narrow) => narrow.iter().all(|path| paths.contains(path)),
                _ => paths.iter().any(|path| shows(narrow, path)),
            },
            (Check::Test { operand: a, test: narrow }, Check::Test { operand: b, test: wide }) if a == b => {
                self.test_follows(narrow, wide)
            }
            (narrow, Check::Test { operand, test }) => {
                matches!(test.wants[..], [Want::Exists(true)]) && shows(narrow, operand)
            }
            _ => false,
        }
    }

    fn test_follows(&self, narrow: &Test, wide: &Test) -> bool {
        narrow.ignore_case == wide.ignore_case
            && wide.wants.iter().all(|wide| narrow.wants.iter().any(|narrow| self.want_follows(narrow, wide)))
    }

    fn want_follows(&self, narrow: &Want, wide: &Want) -> bool {
        let each = |narrow: &[String], wide: &[String], fits: fn(&str, &str) -> bool| {
            narrow.iter().all(|narrow| wide.iter().any(|wide| fits(narrow, wide)))
        };
        match (narrow, wide) {
            (narrow, Want::Exists(true)) => needs_value(narrow),
            (Want::Exists(false), Want::Exists(false)) => true,
            (Want::OneOf(texts), Want::Matches(regex)) => texts.iter().all(|text| regex.is_match(text)),
            (Want::OneOf(texts), Want::InTable(table)) => texts.iter().all(|text| table.get(text).is_some()),
            (Want::OneOf(a), Want::OneOf(b)) | (Want::HasItem(a), Want::HasItem(b)) => each(a, b, |a, b| a == b),
            (Want::OneOf(a) | Want::Prefix(a), Want::Prefix(b)) => each(a, b, |a, b| a.starts_with(b)),
            (Want::OneOf(a) | Want::Suffix(a), Want::Suffix(b)) => each(a, b, |a, b| a.ends_with(b)),
            (Want::OneOf(a) | Want::Prefix(a) | Want::Suffix(a) | Want::Contains(a), Want::Contains(b)) => {
                each(a, b, |a, b| a.contains(b))
            }
            (Want::Matches(a), Want::Matches(b)) => a.as_str() == b.as_str(),
            (Want::InTable(a), Want::InTable(b)) => std::sync::Arc::ptr_eq(a, b),
            (Want::Cidr(a), Want::Cidr(b)) => a.iter().all(|a| b.iter().any(|b| b.contains(a))),
            (Want::SameAs(a), Want::SameAs(b)) => a == b,
            (Want::Own(a), Want::Own(b)) | (Want::Foreign(a), Want::Foreign(b)) => a == b,
            (Want::Not(a), Want::Not(b)) => self.test_follows(b, a),
            _ => false,
        }
    }
}

/// Whether `check` can hold only where `path` has a value.
fn shows(check: &Check, path: &Reference) -> bool {
    match check {
        Check::Has(paths) => paths.contains(path),
        Check::Test { operand, test } => operand == path && test.wants.iter().any(needs_value),
        _ => false,
    }
}

fn needs_value(want: &Want) -> bool {
    !matches!(want, Want::Exists(false) | Want::Not(_))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::library::Library;
    use super::*;

    /// The findings about a mapping with these named conditions, columns and decisions, as `code:line`.
    fn findings(conditions: &str, columns: &str, cases: &[&str]) -> Vec<String> {
        let cases: String = cases
            .iter()
            .enumerate()
            .map(|(index, when)| format!("  - {{ case: c{index}, is: human, basis: declared, when: {{ {when} }} }}\n"))
            .collect();
        let mapping = format!(
            "source: acme\ntitle: t\ndocumentation: d\nrecognise: {{ has: id }}\ncannot_tell: []\n\
             conditions: {{ {conditions} }}\ncolumns: {{ event_uid: id, {columns} }}\nactor_type:\n{cases}"
        );
        let files = BTreeMap::from([
            ("acme/mapping.yaml".to_string(), mapping),
            ("acme/names.csv".to_string(), "name\nann\nbob\n".to_string()),
        ]);
        let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let found = lint(library.find("acme").expect("it is there"));
        found.0.iter().map(|finding| format!("{}:{}", finding.code, finding.place.line)).collect()
    }

    #[test]
    fn a_decision_behind_a_wider_one_is_found() {
        for (wide, narrow) in [
            ("a: x", "a: x, b: y"),
            ("a: [x, y]", "a: y"),
            ("a: { prefix: ab }", "a: abc"),
            ("a: { prefix: ab }", "a: { prefix: [abc, abd] }"),
            ("a: { contains: b }", "a: { suffix: abc }"),
            ("a: { matches: '^ab' }", "a: [abc, abd]"),
            ("a: { in_table: names.csv }", "a: ann"),
            ("has: a", "a: x"),
            ("has_any: [a, b]", "b: x"),
            ("a: { exists: true }", "has: [b, a]"),
            ("missing: a", "missing: [a, b]"),
            ("any: [{ a: x }, { b: y }]", "b: y, a: z"),
            ("not: { a: x, b: y }", "not: { a: x }"),
            ("a: { not: x }", "a: { not: [x, y] }"),
            ("holds: is_x", "a: x, c: z"),
            ("a: x", "holds: is_x"),
            ("a: { cidr: [10.0.0.0/8] }", "a: { cidr: [10.1.0.0/16] }"),
        ] {
            assert_eq!(findings("is_x: { a: x }", "", &[wide, narrow]), ["unreachable:10"], "{wide} | {narrow}");
            assert_eq!(
                findings("is_x: { a: x }", "", &[narrow, wide]).len(),
                usize::from(narrow == "holds: is_x"),
                "{narrow} | {wide}"
            );
        }
    }

    #[test]
    fn conditions_that_only_look_alike_are_not_reported() {
        for (first, second) in [
            ("a: x", "b: x"),
            ("a: x, b: y", "a: x"),
            ("a: { ignore_case: true, prefix: ab }", "a: abc"),
            ("has: [a, b]", "a: x"),
            ("a: { not: [x, y] }", "a: { not: x }"),
            ("a: { own: accounts }", "a: { foreign: accounts }"),
        ] {
            assert_eq!(findings("", "", &[first, second]), Vec::<String>::new(), "{first} | {second}");
        }
    }

    #[test]
    fn a_table_that_leaves_a_required_column_open_is_found() {
        for (columns, wanted) in [
            ("result: { path: r, table: { OK: success } }", 1),
            ("result: { path: r, table: { OK: success }, otherwise: unknown }", 0),
            ("result: { first: [{ path: r, table: { OK: success } }, { const: failure }] }", 0),
            (
                "result: { cases: [{ when: { has: e }, value: failure }, { value: { path: r, table: { OK: success } } }] }",
                1,
            ),
            ("result_class: { path: r, table: { NO: authz_denied } }", 0),
        ] {
            assert_eq!(findings("", columns, &["a: x"]).len(), wanted, "{columns}");
        }
    }

    #[test]
    fn an_alternative_behind_a_constant_is_found() {
        assert_eq!(findings("", "actor_id: [{ const: x }, a]", &["a: x"]), ["unreachable:7"]);
        assert_eq!(findings("", "actor_id: [{ const: x, when: { b: y } }, a]", &["a: x"]), Vec::<String>::new());
    }

    #[test]
    fn conditions_of_conditions_without_end_are_given_up() {
        let mut named = vec!["c0: { any: [{ a: x }, { b: x }] }".to_string()];
        named.extend(
            (1..40).map(|n| format!("c{n}: {{ any: [{{ holds: c{0}, d: x }}, {{ holds: c{0}, e: x }}] }}", n - 1)),
        );
        assert_eq!(findings(&named.join(", "), "", &["holds: c39", "f: x"]), Vec::<String>::new());
    }
}
