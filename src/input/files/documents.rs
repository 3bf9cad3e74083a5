//! Splits a stream into its top-level JSON documents: lines, concatenated, or spread over many lines.
//!
//! What is no document is handed on as it is, a line at a time: every byte ends up in some document, but white space
//! between them and a byte-order mark before all. Each byte is looked at twice at most. Memory is bounded by the
//! largest document.

use std::io::{self, Read};

use super::boundary::{Boundary, BoundaryFinder};

/// The most bytes of one document, the same as of any record. CloudTrail's files reach 50 MB unpacked.
///
/// What is longer and spread over lines is taken line by line; a longer line is handed on up to one byte above this,
/// so that whoever cuts it sees that it is too long.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much is read at once: large enough for disks, small enough for caches.
const CHUNK_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One document, or what stands in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Bytes of the stream before it.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Documents<R> {
    reader: R,
    /// What was read and not handed on yet, from `start`.
    buffer: Vec<u8>,
    start: usize,
    /// The stream's offset of the buffer's first byte.
    buffer_offset: u64,
    /// Up to this offset each line stands for itself: a document was found there that does not end.
    lines_until: u64,
    /// The end of the line that was last looked for, so that many documents on one line do not look again each.
    line_end: u64,
    is_at_end: bool,
    failure: Option<io::Error>,
    document_bytes_max: usize,
}

impl<R: Read> Documents<R> {
    pub(super) fn new(reader: R) -> Documents<R> {
        Documents {
            reader,
            buffer: Vec::new(),
            start: 0,
            buffer_offset: 0,
            lines_until: 0,
            line_end: 0,
            is_at_end: false,
            failure: None,
            document_bytes_max: DOCUMENT_BYTES_MAX,
        }
    }

    /// The next document, or nothing at the end. What was read before a failure comes first, then the failure once.
    pub(super) fn next(&mut self) -> io::Result<Option<Document>> {
        match self.skip_white_space() {
            None => return self.failure.take().map_or(Ok(None), Err),
            Some(b'{' | b'[') => {}
            Some(_) => return Ok(Some(self.take_broken())),
        }
        match self.find_boundary() {
            Boundary::End(end) => Ok(Some(self.take_ended(end))),
            Boundary::Broken(at) => {
                let num_whole_lines = memchr::memrchr(b'\n', &self.buffer[self.start..self.start + at]);
                let line_of_break = num_whole_lines.map_or(0, |newline| newline + 1);
                self.lines_until = self.lines_until.max(self.offset() + line_of_break as u64);
                Ok(Some(self.take_broken()))
            }
            Boundary::Further => {
                self.lines_until = u64::MAX;
                Ok(Some(self.take_broken()))
            }
        }
    }

    /// Reads until `num_bytes` are there to take documents from, or there is no more.
    pub(super) fn read_ahead(&mut self, num_bytes: usize) {
        while self.buffer.len() - self.start < num_bytes && self.fill() {}
    }

    /// Whether reading failed, which [`Self::next`] will tell once everything before that is handed on.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The stream's offset of the next document.
    pub(super) fn offset(&self) -> u64 {
        self.buffer_offset + self.start as u64
    }

    /// Moves to the next document and returns its first byte.
    fn skip_white_space(&mut self) -> Option<u8> {
        if self.offset() == 0 {
            while self.buffer.len() < BYTE_ORDER_MARK.len() && self.fill() {}
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.start = BYTE_ORDER_MARK.len();
            }
        }
        loop {
            let byte = self.byte(0)?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.start += 1;
        }
    }

    /// Looks for the end of the document that begins here.
    fn find_boundary(&mut self) -> Boundary {
        let mut finder = BoundaryFinder::default();
        let is_alone = self.offset() < self.lines_until;
        loop {
            let end = if is_alone { self.find_line_end() } else { self.buffer.len() };
            let boundary = finder.look(&self.buffer[self.start..end]);
            let is_over = is_alone || self.buffer.len() - self.start > self.document_bytes_max;
            if boundary != Boundary::Further || is_over || !self.fill() {
                return boundary;
            }
        }
    }

    /// Takes the document that ends at `end`, with the rest of its line if that is neither empty nor a document.
    fn take_ended(&mut self, end: usize) -> Document {
        let mut after = end;
        loop {
            match self.byte(after) {
                Some(b' ' | b'\t' | b'\r') if after - end < CHUNK_BYTES => after += 1,
                None | Some(b'\n' | b'{' | b'[') => return self.take(end),
                // Elements of an array that does not end still are documents.
                Some(b',') if self.offset() < self.lines_until && self.is_line_end(after + 1) => {
                    let document = self.take(end);
                    self.start += after + 1 - end;
                    return document;
                }
                Some(_) => return self.take_broken_from(end),
            }
        }
    }

    fn is_line_end(&mut self, at: usize) -> bool {
        match self.byte(at) {
            None | Some(b'\n') => true,
            Some(b'\r') => self.byte(at + 1) == Some(b'\n'),
            Some(_) => false,
        }
    }

    /// The byte at `at` from here, read if it has to be.
    fn byte(&mut self, at: usize) -> Option<u8> {
        while self.start + at >= self.buffer.len() && self.fill() {}
        self.buffer.get(self.start + at).copied()
    }

    fn take_broken(&mut self) -> Document {
        self.take_broken_from(0)
    }

    /// Takes the line in which byte `from` stands, and the lines below that belong to it: those that are indented or
    /// begin with a closing bracket, as the rest of a broken document does that was spread over lines.
    fn take_broken_from(&mut self, from: usize) -> Document {
        let mut end = from;
        loop {
            match memchr::memchr(b'\n', &self.buffer[self.start + end..]) {
                Some(newline) => end += newline + 1,
                None => end = self.buffer.len() - self.start,
            }
            if end > self.document_bytes_max {
                return self.take_overlong();
            }
            if self.start + end == self.buffer.len() && !self.fill() {
                break;
            }
            let ended_line = end > 0 && self.buffer[self.start + end - 1] == b'\n';
            if ended_line && !matches!(self.buffer[self.start + end], b' ' | b'\t' | b'}' | b']') {
                break;
            }
        }
        let mut document = self.take(end);
        document.bytes.truncate(document.bytes.trim_ascii_end().len());
        document
    }

    /// Takes one byte more than a document may have, and leaves out the rest of the line.
    fn take_overlong(&mut self) -> Document {
        let document = self.take(self.document_bytes_max + 1);
        loop {
            if let Some(newline) = memchr::memchr(b'\n', &self.buffer[self.start..]) {
                self.start += newline;
                return document;
            }
            self.start = self.buffer.len();
            if !self.fill() {
                return document;
            }
        }
    }

    fn take(&mut self, length: usize) -> Document {
        let document = Document { offset: self.offset(), bytes: self.buffer[self.start..self.start + length].to_vec() };
        self.start += length;
        document
    }

    /// The index in the buffer at which the current line ends, or at which a document would be too long.
    fn find_line_end(&mut self) -> usize {
        if self.line_end <= self.offset() {
            let mut at = self.start;
            loop {
                if let Some(newline) = memchr::memchr(b'\n', &self.buffer[at..]) {
                    at += newline;
                    break;
                }
                let length = self.buffer.len() - self.start;
                if length > self.document_bytes_max || !self.fill() {
                    at = self.buffer.len();
                    break;
                }
                at = self.start + length;
            }
            self.line_end = self.buffer_offset + at as u64;
        }
        usize::try_from(self.line_end - self.buffer_offset).unwrap_or(usize::MAX)
    }

    /// Reads more behind what the buffer holds; false if there is no more.
    fn fill(&mut self) -> bool {
        if self.is_at_end {
            return false;
        }
        // Only when that frees more than it moves, or moving would cost more than reading.
        if self.start > self.buffer.len() - self.start {
            self.buffer.drain(..self.start);
            self.buffer_offset += self.start as u64;
            self.start = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK_BYTES, 0);
        let num_read = loop {
            match self.reader.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error);
                    break 0;
                }
                Ok(num_read) => break num_read,
            }
        };
        self.buffer.truncate(length + num_read);
        self.is_at_end = num_read == 0;
        num_read > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a few bytes at a time, as pipes do.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let num_bytes = self.1.min(buffer.len()).min(self.0.len());
            buffer[..num_bytes].copy_from_slice(&self.0[..num_bytes]);
            self.0 = &self.0[num_bytes..];
            Ok(num_bytes)
        }
    }

    fn collect(mut documents: Documents<impl Read>) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while let Some(Document { offset, bytes }) = documents.next().expect("memory does not fail") {
            found.push((offset, String::from_utf8_lossy(&bytes).into_owned()));
        }
        found
    }

    /// The documents of `text` with their offsets, which must not depend on how its bytes arrive.
    fn split_with_offsets(text: &str) -> Vec<(u64, String)> {
        let at_once = collect(Documents::new(text.as_bytes()));
        assert_eq!(collect(Documents::new(Pieces(text.as_bytes(), 1))), at_once);
        at_once
    }

    fn split(text: &str) -> Vec<String> {
        split_with_offsets(text).into_iter().map(|(_, document)| document).collect()
    }

    fn split_with_limit(text: &str, document_bytes_max: usize) -> Vec<String> {
        let mut documents = Documents::new(text.as_bytes());
        documents.document_bytes_max = document_bytes_max;
        collect(documents).into_iter().map(|(_, document)| document).collect()
    }

    #[test]
    fn lines_and_concatenations_are_documents_at_their_offsets() {
        let found = split_with_offsets("{\"a\":1}\r\n\n  {\"a\":2}{\"a\":3} \n[{}]");
        let expected = [(0, "{\"a\":1}"), (12, "{\"a\":2}"), (19, "{\"a\":3}"), (28, "[{}]")];
        assert_eq!(found, expected.map(|(offset, document)| (offset, document.to_string())));
    }

    #[test]
    fn a_document_spread_over_lines_is_one() {
        let text = "{\n  \"a\": [\n    1\n  ]\n}";
        assert_eq!(split(&format!("{text}\n{text}\n")), [text, text]);
    }

    #[test]
    fn an_array_of_objects_a_line_is_one_document() {
        let text = "[\n{\"a\":1},\n{\"a\":2}\n]";
        assert_eq!(split(text), [text]);
    }

    #[test]
    fn nothing_is_found_in_white_space() {
        for text in ["", "\n \r\n\t", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(split(text), [""; 0]);
        }
    }

    #[test]
    fn a_byte_order_mark_before_all_is_skipped() {
        assert_eq!(split_with_offsets("\u{feff}{}\n"), [(3, "{}".to_string())]);
    }

    #[test]
    fn a_broken_line_is_handed_on_and_reading_resumes_at_the_next() {
        for broken in
            ["hello", "{\"a\":", "{\"a\":1", "{\"a\":\"b", "{\"a\" 1}", "{\"a\":1} x", "[", "]]", "{\"a\":[1,", "7"]
        {
            assert_eq!(
                split(&format!("{{}}\n{broken}\n{{\"b\":1}}\n{{\"c\":1}}\n")),
                ["{}", broken, "{\"b\":1}", "{\"c\":1}"]
            );
        }
    }

    #[test]
    fn a_broken_last_line_is_handed_on() {
        assert_eq!(split("{}\n{\"a\":"), ["{}", "{\"a\":"]);
        assert_eq!(split("{\"a\":\n{\"b\":1}"), ["{\"a\":", "{\"b\":1}"]);
    }

    #[test]
    fn a_broken_document_spread_over_lines_is_handed_on_whole() {
        let broken = "{\n  \"a\": [\n    1\n  \"b\": 2\n}";
        assert_eq!(split(&format!("{broken}\n{{}}")), [broken, "{}"]);
    }

    #[test]
    fn elements_of_an_array_without_end_are_documents() {
        assert_eq!(split("[\n{\"a\":1},\r\n{\"a\":2},\n{\"a\""), ["[", "{\"a\":1}", "{\"a\":2}", "{\"a\""]);
    }

    #[test]
    fn elements_of_an_array_that_breaks_are_documents_up_to_the_break() {
        assert_eq!(split("[\n{\"a\":1},\n{\"a\":2}\n{\"a\":3}"), ["[", "{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
    }

    #[test]
    fn a_document_without_end_does_not_swallow_the_rest() {
        let lines = "{\"b\":1},\n".repeat(50);
        let found = split_with_limit(&format!("{{\"a\":[\n{lines}{{\"c\":1}}"), 100);
        assert_eq!((found.len(), found[0].as_str(), found[51].as_str()), (52, "{\"a\":[", "{\"c\":1}"));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_one_byte_behind_the_limit() {
        let too_long = "x".repeat(500);
        assert_eq!(split_with_limit(&format!("{too_long}\n{{}}"), 100), [&too_long[..101], "{}"]);
        let too_long = format!("{{\"a\":\"{too_long}");
        assert_eq!(split_with_limit(&format!("{too_long}\n{{}}"), 100), [&too_long[..101], "{}"]);
    }

    #[test]
    fn a_failure_comes_after_what_was_read_before_it() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut documents = Documents::new(b"{}\n{\"a\"".as_slice().chain(Fails));
        assert_eq!(documents.next().expect("was read").expect("was read").bytes, b"{}");
        assert_eq!(documents.next().expect("was read").expect("was read").bytes, b"{\"a\"");
        assert!(documents.next().is_err());
        assert_eq!(documents.next().expect("told once"), None);
    }

    proptest! {
        // Few: reading byte by byte makes room for a whole chunk each time.
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn every_byte_but_white_space_is_handed_on_in_order(pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ":", "\"", "\\", "\"a\"", "{\"a\":1}", "{\"b\":[2]}", "x", " ", "\n", "\r\n", "\n  ",
            ]), 0..60), limit in 5usize..200) {
            // Without commas, which are left out after the elements of an array that does not end.
            let text = pieces.concat();
            let solid = |text: &str| text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&split(&text).concat()), solid(&text));
            for (offset, document) in split_with_offsets(&text) {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                prop_assert!(text[offset..].starts_with(&document));
            }
            let _ = split_with_limit(&text, limit);
        }
    }
}
