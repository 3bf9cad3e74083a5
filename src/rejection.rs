//! The rejection: a record from which no event can be cut, with the reason.
//!
//! It is an ordinary value that travels to the dead letters and leaves a `rejected` row in the lake.
//! It never stops a run.

use std::fmt;

/// The step that gave up on the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Decompression and character encoding.
    Decode,
    /// Cutting events out of what wraps them.
    Envelope,
}

/// Why no event could be cut. The set is closed, so that it can label metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No value at all, or no bytes in it.
    Empty,
    /// Not UTF-8, or text that is not Unicode.
    Encoding,
    /// Not JSON.
    Syntax,
    /// Nested too deeply.
    Depth,
    /// Too many keys, too long a key, or too many events.
    Shape,
    /// Larger than a record may be.
    Oversize,
    /// Unpacks to far more than it is.
    Bomb,
    /// Compressed or encoded in a way that does not unpack.
    Codec,
    /// Too many headers.
    Headers,
}

impl Stage {
    pub const ALL: [Stage; 2] = [Stage::Decode, Stage::Envelope];

    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Envelope => "envelope",
        }
    }
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::Encoding => "encoding",
            Reason::Syntax => "syntax",
            Reason::Depth => "depth",
            Reason::Shape => "shape",
            Reason::Oversize => "oversize",
            Reason::Bomb => "bomb",
            Reason::Codec => "codec",
            Reason::Headers => "headers",
        }
    }
}

/// A record that cannot become events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub stage: Stage,
    pub reason: Reason,
    /// What was found and where, for people. Never quotes more than a few bytes of the record.
    pub detail: String,
}

impl Rejection {
    pub fn new(stage: Stage, reason: Reason, detail: impl Into<String>) -> Self {
        Rejection { stage, reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.reason.as_str(), self.stage.as_str(), self.detail)
    }
}
