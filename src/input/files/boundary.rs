//! Where a JSON document in a stream of bytes ends, or stops being one.
//!
//! Follows brackets, strings and the order of values and separators, so that a document that was cut off is noticed
//! where the next one begins and not at the end of the file. Whether numbers and escapes are right is left to whoever
//! cuts the document. Sees each byte once, however the bytes arrive, and remembers one byte a level.

/// What is known after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// The document goes on.
    Further,
    /// The document ends before this byte.
    End(usize),
    /// No document goes on with this byte.
    Broken(usize),
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    SeparatorOrEnd,
}

/// Looks for the end of one object or array.
pub(super) struct BoundaryFinder {
    at: usize,
    open: Vec<u8>,
    expected: Expected,
    in_string: bool,
    in_scalar: bool,
}

impl Default for BoundaryFinder {
    fn default() -> BoundaryFinder {
        BoundaryFinder { at: 0, open: Vec::new(), expected: Expected::Value, in_string: false, in_scalar: false }
    }
}

impl BoundaryFinder {
    /// Looks at `bytes`, which begin where they began the last time and are longer now.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Boundary {
        while self.at < bytes.len() {
            if self.in_string {
                match self.skip_string(bytes) {
                    Some(boundary) => return boundary,
                    None => continue,
                }
            }
            if !self.take(bytes[self.at]) {
                return Boundary::Broken(self.at);
            }
            self.at += 1;
            if self.open.is_empty() {
                return Boundary::End(self.at);
            }
        }
        Boundary::Further
    }

    /// Moves behind the string, or as far as its bytes are known.
    fn skip_string(&mut self, bytes: &[u8]) -> Option<Boundary> {
        let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', &bytes[self.at..]) else {
            self.at = bytes.len();
            return Some(Boundary::Further);
        };
        self.at += found;
        match bytes[self.at] {
            b'"' => {
                self.at += 1;
                self.in_string = false;
                None
            }
            b'\\' if self.at + 1 == bytes.len() => Some(Boundary::Further),
            b'\\' => {
                // A line break is not skipped.
                self.at += if bytes[self.at + 1] == b'\n' { 1 } else { 2 };
                None
            }
            // Strings do not span lines: this one lost its end.
            _ => Some(Boundary::Broken(self.at)),
        }
    }

    /// Whether `byte` may stand here.
    fn take(&mut self, byte: u8) -> bool {
        let was_in_scalar = std::mem::take(&mut self.in_scalar);
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => true,
            b'"' => {
                self.in_string = true;
                match self.expected {
                    Expected::Key | Expected::KeyOrEnd => self.expect(Expected::Colon),
                    Expected::Value | Expected::ValueOrEnd => self.expect(Expected::SeparatorOrEnd),
                    Expected::Colon | Expected::SeparatorOrEnd => false,
                }
            }
            b'{' => self.takes_value() && self.enter(b'{', Expected::KeyOrEnd),
            b'[' => self.takes_value() && self.enter(b'[', Expected::ValueOrEnd),
            b'}' => self.open.pop() == Some(b'{') && self.expect(Expected::SeparatorOrEnd),
            b']' => self.open.pop() == Some(b'[') && self.expect(Expected::SeparatorOrEnd),
            b':' => self.expected == Expected::Colon && self.expect(Expected::Value),
            b',' if self.expected == Expected::SeparatorOrEnd => match self.open.last() {
                Some(b'{') => self.expect(Expected::Key),
                _ => self.expect(Expected::Value),
            },
            b',' => false,
            _ => {
                self.in_scalar = true;
                was_in_scalar || (self.takes_value() && self.expect(Expected::SeparatorOrEnd))
            }
        }
    }

    fn takes_value(&self) -> bool {
        matches!(self.expected, Expected::Value | Expected::ValueOrEnd)
    }

    fn enter(&mut self, bracket: u8, next: Expected) -> bool {
        self.open.push(bracket);
        self.expect(next)
    }

    fn expect(&mut self, next: Expected) -> bool {
        self.expected = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in `text`, shown at once and byte by byte.
    fn find(text: &str) -> Boundary {
        let at_once = BoundaryFinder::default().look(text.as_bytes());
        let mut finder = BoundaryFinder::default();
        let mut in_pieces = Boundary::Further;
        for end in 0..=text.len() {
            in_pieces = finder.look(&text.as_bytes()[..end]);
            if in_pieces != Boundary::Further {
                break;
            }
        }
        assert_eq!(at_once, in_pieces, "{text}");
        at_once
    }

    #[test]
    fn a_document_ends_at_its_last_bracket() {
        for document in ["{}", "[]", "{\"a\":[1,{\"b\":\"}\\\"]\\\\\"}],\n \"c\" : -1.5e3}", "[[],[true , null]]"] {
            assert_eq!(find(&format!("{document}{{}}")), Boundary::End(document.len()), "{document}");
        }
    }

    #[test]
    fn an_unfinished_document_goes_on() {
        for text in ["{", "{\"a", "{\"a\\", "{\"a\":", "{\"a\":1", "[{},", "[[1,2]"] {
            assert_eq!(find(text), Boundary::Further, "{text}");
        }
    }

    #[test]
    fn the_next_document_shows_that_one_was_cut_off() {
        for cut_off in
            ["{\"a\":1", "{\"a\":tru", "{\"a\":\"b", "{\"a\":\"b\\", "{\"a\"", "{\"a\":1,", "[{}", "{\"a\":{\"b\":[1]"]
        {
            let text = format!("{cut_off}\n{{\"b\":2}}");
            assert!(matches!(find(&text), Boundary::Broken(at) if at >= cut_off.len()), "{text}");
        }
        assert_eq!(find("{\"a\":\n{\"b\":2}\n{\"c\":3}"), Boundary::Broken(14));
    }

    #[test]
    fn what_cannot_stand_there_breaks_the_document() {
        for (text, at) in
            [("{a:1}", 1), ("{\"a\" 1}", 5), ("[1 2]", 3), ("[1}", 2), ("{\"a\":1]", 6), ("[,]", 1), ("{{}}", 1)]
        {
            assert_eq!(find(text), Boundary::Broken(at), "{text}");
        }
    }
}
