//! A file's content as it was written: texts, lists and maps, each with its place.
//!
//! YAML, JSON and CSV all become nodes, so that one reader checks them the same way. Scalars stay text: what a value
//! means is for its key to say, and `0123`, `no` and `1e3` stay what somebody wrote.

use super::problem::Place;

/// Deepest nesting. An entry needs four levels: the list, the entry, its credentials, one of them.
pub(super) const DEPTH_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub place: Place,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Null,
    Text(String),
    List(Vec<Node>),
    /// In the order written, and with keys that stand twice: the reader says so.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub place: Place,
    pub name: String,
}

impl Node {
    /// What kind of thing stands here, for messages.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}
