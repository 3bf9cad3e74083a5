//! What a plan reads of an event, so that its author can see what it does not.

use super::fields::{FieldPath, Segment};
use super::path::Step;
use super::plan::{Check, Condition, Elements, Entry, Expression, Head, Piece, Plan, Reference, Scope, Test, Want};
use super::projection::Projection;

/// The fields that a plan's rules look at.
#[derive(Debug, Default)]
pub struct Reads(Vec<Read>);

#[derive(Debug, PartialEq)]
struct Read {
    path: FieldPath,
    /// The value is taken as it stands, with all that is in it.
    whole: bool,
}

impl Reads {
    pub fn of(plan: &Plan) -> Reads {
        let mut reader = Reader { plan, variables: Vec::new(), reads: Vec::new() };
        // A variable sees those before it.
        for variable in &plan.variables {
            let mut paths = reader.paths_of_value(&variable.value);
            paths.sort();
            paths.dedup();
            reader.variables.push(paths);
        }
        reader.plan();
        Reads(reader.reads)
    }

    /// Whether a rule looks at `field`.
    pub fn includes(&self, field: &FieldPath) -> bool {
        self.0.iter().any(|read| {
            let fits = |(read, found): (&Segment, &Segment)| {
                read == found || (*read == Segment::AnyKey && matches!(found, Segment::Key(_)))
            };
            let (read_length, length) = (read.path.0.len(), field.0.len());
            (read_length == length || (read.whole && read_length < length))
                && read.path.0.iter().zip(&field.0).all(fits)
        })
    }
}

/// Where a rule stands: inside the elements at a path, which its own scan reads.
#[derive(Clone, Copy)]
struct Inside<'p> {
    path: &'p FieldPath,
    projection: &'p Projection,
}

struct Reader<'p> {
    plan: &'p Plan,
    /// The fields that each variable can stand for.
    variables: Vec<Vec<FieldPath>>,
    reads: Vec<Read>,
}

impl<'p> Reader<'p> {
    fn plan(&mut self) {
        let plan = self.plan;
        // Recognition is compiled against the plan's own scan too.
        self.condition(&plan.recognise, None);
        for nested in &plan.nested {
            self.read(&nested.text, None, false);
        }
        plan.variables.iter().for_each(|variable| self.expression(&variable.value, None));
        plan.conditions.iter().for_each(|named| self.condition(&named.condition, None));
        plan.columns.iter().for_each(|rule| self.expression(&rule.value, None));
        for case in &plan.cases {
            self.condition(&case.when, None);
            case.contrary.iter().for_each(|contrary| self.condition(contrary, None));
            case.set.iter().for_each(|rule| self.expression(&rule.value, None));
        }
    }

    fn expression(&mut self, expression: &'p Expression, inside: Option<Inside<'_>>) {
        match &expression.head {
            Head::Reference(reference) => self.read(reference, inside, true),
            Head::Text(_) | Head::Int(_) | Head::Bool(_) => {}
            Head::First(parts) | Head::List(parts) | Head::Join { parts, .. } => {
                parts.iter().for_each(|part| self.expression(part, inside));
            }
            Head::Template(pieces) => {
                for piece in pieces {
                    if let Piece::Value(reference) = piece {
                        self.read(reference, inside, true);
                    }
                }
            }
            Head::Cases(cases) => {
                for (when, value) in cases {
                    self.condition(when, inside);
                    self.expression(value, inside);
                }
            }
            Head::Pick(elements) | Head::Each(elements) => self.elements(elements, inside),
            Head::Field { name, projection, take } => {
                self.expression(name, inside);
                let path = FieldPath(vec![Segment::AnyKey]);
                self.expression(take, Some(Inside { path: &path, projection }));
            }
            Head::Map(entries) => entries.iter().for_each(|(_, value)| self.expression(value, inside)),
            Head::Hops(entries) | Head::Targets(entries) => entries.iter().for_each(|entry| self.entry(entry, inside)),
        }
        expression.when.iter().for_each(|when| self.condition(when, inside));
        expression.otherwise.iter().for_each(|otherwise| self.expression(otherwise, inside));
    }

    fn elements(&mut self, elements: &'p Elements, inside: Option<Inside<'_>>) {
        for path in self.paths_of(&elements.array, inside) {
            let path = path.below(Segment::Element);
            let element = Some(Inside { path: &path, projection: &elements.projection });
            self.condition(&elements.filter, element);
            self.expression(&elements.take, element);
        }
    }

    fn entry(&mut self, entry: &'p Entry, inside: Option<Inside<'_>>) {
        let Some((array, projection)) = &entry.each else {
            self.condition(&entry.when, inside);
            entry.fields.iter().flatten().for_each(|field| self.expression(field, inside));
            return;
        };
        for path in self.paths_of(array, inside) {
            let path = path.below(Segment::Element);
            let element = Some(Inside { path: &path, projection });
            self.condition(&entry.when, element);
            entry.fields.iter().flatten().for_each(|field| self.expression(field, element));
        }
    }

    fn condition(&mut self, condition: &'p Condition, inside: Option<Inside<'_>>) {
        match &condition.check {
            Check::All(parts) | Check::Any(parts) => parts.iter().for_each(|part| self.condition(part, inside)),
            Check::Not(part) => self.condition(part, inside),
            Check::Has(paths) | Check::HasAny(paths) | Check::Missing(paths) => {
                paths.iter().for_each(|path| self.read(path, inside, false));
            }
            // Named conditions are read where they stand.
            Check::Holds(_) => {}
            Check::Test { operand, test } => {
                self.read(operand, inside, false);
                self.test(operand, test, inside);
            }
        }
    }

    fn test(&mut self, operand: &'p Reference, test: &'p Test, inside: Option<Inside<'_>>) {
        for want in &test.wants {
            match want {
                Want::HasItem(_) => {
                    let paths = self.paths_of(operand, inside);
                    self.add(paths.into_iter().map(|path| path.below(Segment::Element)).collect(), false);
                }
                Want::AnyItem { projection, condition } => {
                    for path in self.paths_of(operand, inside) {
                        let path = path.below(Segment::Element);
                        self.condition(condition, Some(Inside { path: &path, projection }));
                    }
                }
                Want::SameAs(other) => self.read(other, inside, false),
                Want::Not(test) => self.test(operand, test, inside),
                _ => {}
            }
        }
    }

    fn read(&mut self, reference: &Reference, inside: Option<Inside<'_>>, whole: bool) {
        let paths = self.paths_of(reference, inside);
        self.add(paths, whole);
    }

    fn add(&mut self, paths: Vec<FieldPath>, whole: bool) {
        for path in paths {
            let read = Read { path, whole };
            if !self.reads.contains(&read) {
                self.reads.push(read);
            }
        }
    }

    /// The fields that a reference can stand for: one, but for a variable that is the first of several.
    fn paths_of(&self, reference: &Reference, inside: Option<Inside<'_>>) -> Vec<FieldPath> {
        match reference {
            Reference::Context(_) => Vec::new(),
            Reference::Element => inside.map(|inside| inside.path.clone()).into_iter().collect(),
            Reference::Variable { index, .. } => self.variables.get(*index).cloned().unwrap_or_default(),
            Reference::Slot { scope, slot, .. } => {
                let (bases, projection) = match scope {
                    Scope::Event => (vec![FieldPath::default()], &self.plan.event),
                    Scope::Item => {
                        let Some(split) = &self.plan.split else { return Vec::new() };
                        let arrays = self.paths_of(&split.array, None).into_iter();
                        (arrays.map(|path| path.below(Segment::Element)).collect(), &split.projection)
                    }
                    Scope::Nested(index) => {
                        let nested = &self.plan.nested[*index];
                        let texts = self.paths_of(&nested.text, None);
                        // Some pipelines unpack the string on the way.
                        let inside = texts.iter().map(|path| path.below(Segment::Text));
                        (inside.chain(texts.iter().cloned()).collect(), &nested.projection)
                    }
                    Scope::Element => {
                        let Some(inside) = inside else { return Vec::new() };
                        (vec![inside.path.clone()], inside.projection)
                    }
                };
                let Some(steps) = projection.paths().get(*slot) else { return Vec::new() };
                bases.into_iter().map(|base| steps.iter().fold(base, |path, step| path.below(segment(step)))).collect()
            }
        }
    }

    fn paths_of_value(&self, value: &Expression) -> Vec<FieldPath> {
        match &value.head {
            Head::Reference(reference) => self.paths_of(reference, None),
            Head::First(parts) => parts.iter().flat_map(|part| self.paths_of_value(part)).collect(),
            Head::Cases(cases) => cases.iter().flat_map(|(_, value)| self.paths_of_value(value)).collect(),
            _ => Vec::new(),
        }
    }
}

fn segment(step: &Step) -> Segment {
    match step {
        Step::Key(key) => Segment::Key(key.clone()),
        Step::Index(_) | Step::Last => Segment::Element,
    }
}
