//! The activity: one row of the common schema, and its forms in memory, in JSON and in Arrow.
//!
//! [`Activity`] borrows from the event that it came from: nothing is copied between the raw bytes and the
//! sinks. This module is plain data. It knows no source, no sink and no I/O.

pub mod arrow;
pub mod column;
pub mod json;
pub mod taxonomy;

pub use self::column::{COLUMNS, Column, ColumnInfo, Kind, SetBy};
use self::taxonomy::{ActorType, Basis};

/// Times outside of these years are kept, but not believed: 2000 and 2100, in microseconds since 1970.
pub const BELIEVABLE_TIMES: std::ops::Range<i64> = 946_684_800_000_000..4_102_444_800_000_000;

/// One value of an activity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    #[default]
    Null,
    Text(&'a str),
    Int(i64),
    Bool(bool),
    /// Microseconds since 1970, UTC.
    Time(i64),
    /// Days since 1970.
    Date(i32),
    TextList(&'a [&'a str]),
    Hops(&'a [Hop<'a>]),
    Targets(&'a [Target<'a>]),
    TextMap(&'a [(&'a str, &'a str)]),
}

impl<'a> Value<'a> {
    pub const fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub const fn as_text(&self) -> Option<&'a str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub const fn as_time(&self) -> Option<i64> {
        match self {
            Value::Time(micros) => Some(*micros),
            _ => None,
        }
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Value::Null, Value::Text)
    }
}

/// One principal of a delegation chain.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hop<'a> {
    pub actor_type: Option<&'a str>,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub relation: Option<&'a str>,
    pub credential_id: Option<&'a str>,
}

/// One thing that was acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Target<'a> {
    pub target_type: Option<&'a str>,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// One row of the common schema.
#[derive(Clone, Debug)]
pub struct Activity<'a> {
    values: [Value<'a>; Column::COUNT],
}

impl Default for Activity<'_> {
    fn default() -> Self {
        Activity { values: [Value::Null; Column::COUNT] }
    }
}

impl<'a> Activity<'a> {
    pub fn get(&self, column: Column) -> Value<'a> {
        self.values[column as usize]
    }

    pub fn text(&self, column: Column) -> Option<&'a str> {
        self.get(column).as_text()
    }

    pub fn set(&mut self, column: Column, value: Value<'a>) {
        self.values[column as usize] = value;
    }

    /// Sets `column` unless something is there already.
    pub fn set_default(&mut self, column: Column, value: Value<'a>) {
        if self.get(column).is_null() {
            self.set(column, value);
        }
    }

    /// Settles who acted: the type, its class and what justified it always change together.
    pub fn set_actor_type(&mut self, actor_type: ActorType, basis: Basis, rule: Option<&'a str>) {
        self.set(Column::ActorType, Value::Text(actor_type.as_str()));
        self.set(Column::ActorClass, Value::Text(actor_type.class().as_str()));
        self.set(Column::ActorTypeBasis, Value::Text(basis.as_str()));
        self.set(Column::ActorTypeRule, rule.into());
    }

    pub fn actor_type(&self) -> ActorType {
        self.text(Column::ActorType).and_then(ActorType::parse).unwrap_or(ActorType::Unknown)
    }

    /// All columns with their values, in the order of the schema.
    pub fn iter(&self) -> impl Iterator<Item = (&'static ColumnInfo, Value<'a>)> + '_ {
        COLUMNS.iter().zip(self.values.iter().copied())
    }
}
