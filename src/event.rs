//! The raw event: one event's bytes as they stand in the decoded record, and what its envelope said beside it.

/// One event cut from a record.
///
/// A mapping sees `raw` and `context` and nothing else, so that deriving it again later gives the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// Valid JSON, within the limits of `envelope`.
    pub raw: &'a str,
    /// Names and values from outside the event: `eventbridge.account`, `header.tenant`, `set.tenant`.
    pub context: Context,
}

/// What a mapping may see beside the event itself, in the order in which it was found.
pub type Context = Vec<(String, String)>;
