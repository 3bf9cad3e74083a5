//! Damage: what senders, transports and attackers do to events and to mapping files, the same for the same seed.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Values that no rule expects, and pieces that change what a text means to a parser.
const PIECES: [&str; 20] = [
    "null",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[[[[1]]]]",
    "{\"a\":{\"a\":1}}",
    ",",
    "\"",
    "\"\u{202e}\"",
    "true",
    "\"9999-12-31T23:59:59Z\"",
    "\"::ffff:192.0.2.1%x\"",
    "{\"id\":\"x\",\"id\":\"y\"}",
    "\"arn:aws:iam::::\"",
    "\"{\\\"a\\\":\"",
];

/// Depth and length of what floods: beyond what is allowed, or nearly.
const NUM_FLOOD: usize = 50_000;

/// A stream of choices (SplitMix64), so that a failure can be seen again.
pub struct Chooser(u64);

impl Chooser {
    pub fn new(seed: u64) -> Chooser {
        Chooser(seed)
    }

    /// A number below `end`, or 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (end.max(1) as u64)).unwrap_or_default()
    }

    pub fn one_of<'a, T: ?Sized>(&mut self, values: &[&'a T]) -> &'a T {
        values[self.below(values.len())]
    }

    /// An event with one to five damages.
    pub fn damaged(&mut self, event: &str) -> Vec<u8> {
        let mut bytes = event.as_bytes().to_vec();
        for _ in 0..=self.below(5) {
            bytes = match self.below(8) {
                0..=3 => self.value_replaced(&bytes),
                4 => self.bytes_changed(bytes),
                5 => self.part_repeated(bytes),
                6 => self.cut(bytes),
                _ => self.flooded(&bytes),
            };
        }
        bytes
    }

    /// Wraps a record as transports do, or breaks such a wrapping.
    pub fn wrapped(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wrapped = bytes.to_vec();
        for _ in 0..=self.below(3) {
            wrapped = match self.below(7) {
                0 => gzip(&wrapped),
                1 => zstd::bulk::compress(&wrapped, 1).expect("compresses"),
                2 => BASE64.encode(&wrapped).into_bytes(),
                3 => format!("{{\"message\":{{\"data\":\"{}\"}},\"subscription\":\"s\"}}", BASE64.encode(&wrapped))
                    .into_bytes(),
                4 => [b"[".as_slice(), &wrapped, b",", &wrapped, b"]"].concat(),
                5 => [b"{\"Records\":[".as_slice(), &wrapped, b"]}"].concat(),
                _ => self.bytes_changed(wrapped),
            };
        }
        wrapped
    }

    /// A mapping file with one to four damages: lines that moved, vanished or came twice, and pieces put in.
    pub fn damaged_lines(&mut self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        for _ in 0..=self.below(4) {
            let at = self.below(lines.len());
            match self.below(6) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at].insert_str(0, "  "),
                3 => lines[at] = lines[at].trim_start().to_string(),
                4 => {
                    let piece = self.one_of(&[
                        "{",
                        "}",
                        "]",
                        "&a",
                        "*a",
                        "!x",
                        "(a{1000}){1000}",
                        "$",
                        ": ",
                        "\u{202e}",
                        "'",
                        "#",
                        "- - -",
                    ]);
                    let ends: Vec<usize> = lines[at].char_indices().map(|(end, _)| end).collect();
                    let end = ends.get(self.below(ends.len())).copied().unwrap_or_default();
                    lines[at].insert_str(end, piece);
                }
                _ => {
                    let other = self.below(lines.len());
                    lines.swap(at, other);
                }
            }
        }
        lines.join("\n")
    }

    /// Replaces the JSON value behind some colon, as far as it can be told without parsing.
    fn value_replaced(&mut self, bytes: &[u8]) -> Vec<u8> {
        let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b':').map(|at| at + 1).collect();
        let piece = self.one_of(&PIECES).as_bytes();
        let Some(start) = starts.get(self.below(starts.len())).copied() else { return piece.to_vec() };
        let length = bytes[start..].iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
        let end = length.map_or(bytes.len(), |length| start + length);
        [&bytes[..start], piece, &bytes[end..]].concat()
    }

    fn bytes_changed(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(8) {
            if !bytes.is_empty() {
                let at = self.below(bytes.len());
                bytes[at] = u8::try_from(self.below(256)).unwrap_or_default();
            }
        }
        bytes
    }

    fn part_repeated(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let (a, b) = (self.below(bytes.len()), self.below(bytes.len()));
        let part = &bytes[a.min(b)..a.max(b)];
        [&bytes[..a.max(b)], part, &bytes[a.max(b)..]].concat()
    }

    fn cut(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(self.below(bytes.len()));
        bytes
    }

    /// A value that is deep, long, or of very many parts.
    fn flooded(&mut self, bytes: &[u8]) -> Vec<u8> {
        let piece = match self.below(4) {
            0 => "[".repeat(NUM_FLOOD),
            1 => format!("\"{}\"", "x\\u0041".repeat(NUM_FLOOD)),
            2 => format!("[{}1]", "{\"type\":\"User\",\"id\":\"x\"},".repeat(NUM_FLOOD / 10)),
            _ => format!("{{{}\"z\":1}}", (0..NUM_FLOOD / 10).map(|n| format!("\"k{n}\":1,")).collect::<String>()),
        };
        let colons: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b':').collect();
        let Some(at) = colons.get(self.below(colons.len())).copied() else { return piece.into_bytes() };
        [&bytes[..=at], piece.as_bytes(), b",\"rest\":", &bytes[at + 1..]].concat()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("compresses")
}
