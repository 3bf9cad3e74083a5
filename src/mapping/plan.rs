//! The plan: a mapping as it runs. Everything is resolved; nothing is looked up by name any more.
//!
//! What an author may write is in `grammar`, how it becomes a plan in `compile`, how a plan runs in `evaluate`.

use std::sync::Arc;

use ipnet::IpNet;
use regex::Regex;

use super::functions::{Function, table::Table};
use super::projection::Projection;
use crate::activity::Column;
use crate::activity::taxonomy::{ActorType, Basis};
use crate::diagnostic::Place;
use crate::organisation::OwnedKind;

/// A compiled mapping.
#[derive(Debug)]
pub struct Plan {
    pub source: String,
    pub title: String,
    pub documentation: String,
    pub aliases: Vec<String>,
    pub cannot_tell: Vec<Gap>,
    /// Where the mapping begins.
    pub place: Place,
    /// Whether an event is this source's, seen from the plan's own scan of the event.
    pub recognise: Condition,
    pub event: Projection,
    pub nested: Vec<Nested>,
    pub split: Option<Split>,
    pub variables: Vec<Variable>,
    pub conditions: Vec<NamedCondition>,
    /// In the order of the schema.
    pub columns: Vec<ColumnRule>,
    pub cases: Vec<Case>,
    /// What `$context.name` reads, so that no other header need be kept.
    pub context_names: Vec<String>,
}

/// What the platform's log cannot tell: a control weakness, and what can be done about it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub gap: String,
    pub compensating_control: Option<String>,
}

/// JSON inside a string of the event.
#[derive(Debug)]
pub struct Nested {
    pub name: String,
    pub text: Reference,
    pub projection: Projection,
}

/// One vendor event, many activities.
#[derive(Debug)]
pub struct Split {
    pub array: Reference,
    pub projection: Projection,
}

#[derive(Debug)]
pub struct Variable {
    pub name: String,
    pub value: Expression,
}

#[derive(Debug)]
pub struct NamedCondition {
    pub name: String,
    pub condition: Condition,
}

#[derive(Debug)]
pub struct ColumnRule {
    pub column: Column,
    pub value: Expression,
}

/// One decision about the actor type.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub place: Place,
    pub is: ActorType,
    pub basis: Basis,
    pub when: Condition,
    pub contrary: Option<Condition>,
    /// What the case says of other columns, before `columns` does.
    pub set: Vec<ColumnRule>,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Slot {
        scope: Scope,
        slot: usize,
        text: Arc<str>,
    },
    /// The element at hand itself.
    Element,
    Context(String),
    Variable {
        index: usize,
        text: Arc<str>,
    },
}

/// Which scan a slot belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Event,
    Item,
    /// The n-th JSON string.
    Nested(usize),
    /// The element at hand inside `pick`, `each` and `any_item`.
    Element,
}

/// Where a value comes from.
#[derive(Debug)]
pub struct Expression {
    pub place: Place,
    pub head: Head,
    pub functions: Vec<Box<dyn Function>>,
    pub when: Option<Condition>,
    pub otherwise: Option<Box<Expression>>,
}

#[derive(Debug)]
pub enum Head {
    Reference(Reference),
    Text(String),
    Int(i64),
    Bool(bool),
    First(Vec<Expression>),
    Template(Vec<Piece>),
    Cases(Vec<(Condition, Expression)>),
    Pick(Elements),
    Each(Elements),
    Field { name: Box<Expression>, projection: Projection, take: Box<Expression> },
    List(Vec<Expression>),
    Join { parts: Vec<Expression>, with: String },
    Map(Vec<(String, Expression)>),
    Hops(Vec<Entry>),
    Targets(Vec<Entry>),
}

/// A part of a template.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    Value(Reference),
}

/// Elements of an array, and what to take from those for which a condition holds.
#[derive(Debug)]
pub struct Elements {
    pub array: Reference,
    pub projection: Projection,
    pub filter: Condition,
    pub take: Box<Expression>,
}

/// One entry of `hops` or `targets`, perhaps repeated for each element of an array.
#[derive(Debug)]
pub struct Entry {
    pub each: Option<(Reference, Projection)>,
    pub when: Condition,
    /// In the order of [`ENTRY_FIELDS`].
    pub fields: [Option<Expression>; ENTRY_FIELDS.len()],
}

/// The fields of an entry; a target has the first three.
pub const ENTRY_FIELDS: [&str; 5] = ["type", "id", "name", "relation", "credential_id"];

#[derive(Debug)]
pub struct Condition {
    pub place: Place,
    pub check: Check,
}

#[derive(Debug)]
pub enum Check {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Has(Vec<Reference>),
    HasAny(Vec<Reference>),
    Missing(Vec<Reference>),
    /// The n-th named condition.
    Holds(usize),
    Test {
        operand: Reference,
        test: Test,
    },
}

/// What is asked of one value; all of `wants` must hold.
#[derive(Debug)]
pub struct Test {
    pub ignore_case: bool,
    pub wants: Vec<Want>,
}

#[derive(Debug)]
pub enum Want {
    Exists(bool),
    OneOf(Vec<String>),
    Prefix(Vec<String>),
    Suffix(Vec<String>),
    Contains(Vec<String>),
    Matches(Regex),
    InTable(Arc<Table>),
    Cidr(Vec<IpNet>),
    HasItem(Vec<String>),
    AnyItem { projection: Projection, condition: Box<Condition> },
    SameAs(Reference),
    Own(OwnedKind),
    Foreign(OwnedKind),
    Not(Test),
}
