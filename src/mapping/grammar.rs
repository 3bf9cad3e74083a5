//! The grammar: every key that an author may write, once, with what it wants and what it is for.
//!
//! The compiler refuses what is not listed here, and the JSON Schema for editors is generated from it, so that the two
//! cannot differ.

/// What stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Texts,
    TextOrTexts,
    Truth,
    Path,
    PathOrPaths,
    Expression,
    Expressions,
    Condition,
    Conditions,
    Test,
    /// Names with expressions.
    NamedExpressions,
    /// Names with conditions.
    NamedConditions,
    /// Names with paths.
    NamedPaths,
    /// Columns with expressions.
    Columns,
    /// Names with a fragment and its parameters.
    Fragments,
    /// The values of a closed set.
    ActorType,
    Basis,
    OwnedKind,
    /// A list of objects with the keys of another part of the grammar.
    ListOf(&'static Part),
    /// The same, where a text alone stands for an object with its first key.
    TextsOrListOf(&'static Part),
}

/// A key, what it wants, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    pub about: &'static str,
}

/// A group of keys that may stand together.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// What the keys make up, for messages and documents.
    pub name: &'static str,
    pub keys: &'static [Key],
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

pub const MAPPING: Part = Part {
    name: "mapping",
    keys: &[
        required("source", Shape::Text, "the source's name, which is its folder's"),
        required("title", Shape::Text, "the name that people know the log by"),
        required("documentation", Shape::Text, "where the vendor documents the log"),
        key("aliases", Shape::Texts, "other names that a command or a topic may use for the source"),
        key(
            "nested_json",
            Shape::NamedPaths,
            "strings of the event that hold JSON, and the names to read their fields under",
        ),
        key("split", Shape::Path, "an array whose elements become an activity each, read as $item"),
        key("use", Shape::Fragments, "fragments, and what their parameters are here"),
        required("recognise", Shape::Condition, "how an event of this source is told from all others"),
        key("let", Shape::NamedExpressions, "values that several rules use, read as $name"),
        key("conditions", Shape::NamedConditions, "conditions that several rules use, asked with `holds`"),
        required("columns", Shape::Columns, "where each column comes from"),
        required(
            "actor_type",
            Shape::ListOf(&CASE),
            "the decisions about the actor type; the first that holds decides",
        ),
        required(
            "cannot_tell",
            Shape::TextsOrListOf(&GAP),
            "what the platform's log leaves open: a control weakness that reports show",
        ),
    ],
};

pub const GAP: Part = Part {
    name: "gap",
    keys: &[
        required("gap", Shape::Text, "what the platform's log cannot tell"),
        key("compensating_control", Shape::Text, "what an organisation can do about it elsewhere"),
    ],
};

pub const FRAGMENT: Part = Part {
    name: "fragment",
    keys: &[
        required("parameters", Shape::Texts, "the names of what the fragment is given, read as $name"),
        key("let", Shape::NamedExpressions, "values, read as $fragment.name"),
        key("conditions", Shape::NamedConditions, "conditions, asked with `holds: fragment.name`"),
    ],
};

pub const CASE: Part = Part {
    name: "case",
    keys: &[
        required("case", Shape::Text, "the decision's name, as actor_type_rule shows it"),
        required("is", Shape::ActorType, "the actor type"),
        required("basis", Shape::Basis, "what justifies it"),
        key("when", Shape::Condition, "what must hold; only the last case may do without"),
        key("contrary", Shape::Condition, "evidence against the decision: sets actor_type_conflict"),
        key("set", Shape::Columns, "columns that this decision settles, before `columns` does"),
    ],
};

/// The keys of which an expression has exactly one.
pub const HEADS: Part = Part {
    name: "expression",
    keys: &[
        key("path", Shape::Path, "a field's value"),
        key("const", Shape::Text, "a constant text"),
        key("first", Shape::Expressions, "the first of these that has a value"),
        key("template", Shape::Text, "text with values in braces; no value if one of them is missing"),
        key("cases", Shape::ListOf(&VALUE_CASE), "the value of the first case whose condition holds"),
        key("pick", Shape::Path, "an array, of which one element is taken (`where`, `take`)"),
        key("each", Shape::Path, "an array, of which every element is taken (`where`, `take`)"),
        key(
            "field",
            Shape::Expression,
            "the field of the event whose name is this value (`take`, seen from that field)",
        ),
        key("list", Shape::Expressions, "these values as a list"),
        key("join", Shape::Expressions, "these values as one text (`with`)"),
        key("map", Shape::NamedExpressions, "named texts"),
        key("hops", Shape::ListOf(&HOP), "a delegation chain, outermost first"),
        key("targets", Shape::ListOf(&TARGET), "what was acted upon"),
    ],
};

/// What may stand beside an expression's head and its functions.
pub const COMPANIONS: Part = Part {
    name: "expression",
    keys: &[
        key("where", Shape::Condition, "which elements, seen from the element (with `pick` and `each`)"),
        key("take", Shape::Expression, "what of the element or field, seen from it (with `pick`, `each` and `field`)"),
        key("with", Shape::Text, "what stands between the parts (with `join`)"),
        key("column", Shape::Text, "the table's column (with `table`)"),
        key("when", Shape::Condition, "no value unless this holds"),
        key("otherwise", Shape::Expression, "what stands in where there is no value"),
    ],
};

pub const VALUE_CASE: Part = Part {
    name: "case of a value",
    keys: &[
        key("when", Shape::Condition, "what must hold; the last case may do without"),
        required("value", Shape::Expression, "the value"),
    ],
};

pub const HOP: Part = Part {
    name: "hop",
    keys: &[
        key("each", Shape::Path, "an array; the entry is repeated for each element and seen from it"),
        key("where", Shape::Condition, "which elements (with `each`)"),
        key("when", Shape::Condition, "no entry unless this holds"),
        key("type", Shape::Expression, "the principal's actor type"),
        key("id", Shape::Expression, "the principal's id"),
        key("name", Shape::Expression, "the principal's name"),
        key("relation", Shape::Expression, "how it leads to the next hop"),
        key("credential_id", Shape::Expression, "the credential it used"),
    ],
};

pub const TARGET: Part = Part {
    name: "target",
    keys: &[
        key("each", Shape::Path, "an array; the entry is repeated for each element and seen from it"),
        key("where", Shape::Condition, "which elements (with `each`)"),
        key("when", Shape::Condition, "no entry unless this holds"),
        key("type", Shape::Expression, "the target's type"),
        key("id", Shape::Expression, "the target's id"),
        key("name", Shape::Expression, "the target's name"),
    ],
};

/// The words of a condition; every other key is a path with a test.
pub const CONDITION_WORDS: Part = Part {
    name: "condition",
    keys: &[
        key("all", Shape::Conditions, "all of these hold"),
        key("any", Shape::Conditions, "one of these holds"),
        key("not", Shape::Condition, "this does not hold"),
        key("has", Shape::PathOrPaths, "all of these have a value"),
        key("has_any", Shape::Texts, "one of these has a value"),
        key("missing", Shape::PathOrPaths, "none of these has a value"),
        key("holds", Shape::TextOrTexts, "named conditions that must hold"),
    ],
};

pub const TESTS: Part = Part {
    name: "test",
    keys: &[
        key("exists", Shape::Truth, "there is a value, or (false) there is none"),
        key("equals", Shape::TextOrTexts, "is this, or one of these"),
        key("prefix", Shape::TextOrTexts, "starts with this, or one of these"),
        key("suffix", Shape::TextOrTexts, "ends with this, or one of these"),
        key("contains", Shape::TextOrTexts, "contains this, or one of these"),
        key("matches", Shape::Text, "matches this regular expression"),
        key("in_table", Shape::Text, "is a key of this table"),
        key("cidr", Shape::TextOrTexts, "is an address in one of these networks"),
        key("has_item", Shape::TextOrTexts, "is an array with this text, or one of these"),
        key("any_item", Shape::Condition, "is an array with an element for which this holds"),
        key("same_as", Shape::Path, "equals another field's value"),
        key("own", Shape::OwnedKind, "is one of the organisation's own"),
        key("foreign", Shape::OwnedKind, "is none of the organisation's own, and it lists some"),
        key("ignore_case", Shape::Truth, "the other tests ignore case"),
        key("not", Shape::Test, "this test does not hold"),
    ],
};

impl Part {
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
