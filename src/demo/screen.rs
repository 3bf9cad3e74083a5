//! What the demo prints: lines of at most 100 columns, with colours on a terminal alone.
//!
//! Nothing that came from an event can act on the screen: control characters are written out.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::activity::json::is_screen_control;

/// Columns of a line. Wide enough for a step of a story, narrow enough for half a screen and for a README.
pub(super) const WIDTH: usize = 100;

const HEADING: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const NAME: Style = AnsiColor::Cyan.on_default();

/// Where the story goes.
pub struct Screen<W: Write> {
    out: W,
    has_colours: bool,
}

/// How a part of a line is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Heading,
    Dim,
    Good,
    Bad,
    Name,
}

impl<W: Write> Screen<W> {
    pub fn new(out: W, has_colours: bool) -> Screen<W> {
        Screen { out, has_colours }
    }

    /// A heading with an empty line before it and a rule below.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.line("")?;
        self.parts(&[(Look::Heading, text)])?;
        self.parts(&[(Look::Dim, &"─".repeat(WIDTH))])
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.parts(&[(Look::Plain, text)])
    }

    pub(super) fn dim_line(&mut self, text: &str) -> io::Result<()> {
        self.parts(&[(Look::Dim, text)])
    }

    /// One line of several looks.
    pub(super) fn parts(&mut self, parts: &[(Look, &str)]) -> io::Result<()> {
        // Spaces at the end of a line are of no use to anybody.
        let mut parts = parts;
        while let Some(((_, last), rest)) = parts.split_last()
            && last.trim_end().is_empty()
        {
            parts = rest;
        }
        for (index, (look, text)) in parts.iter().enumerate() {
            let text = if index + 1 == parts.len() { text.trim_end() } else { text };
            let style = look.style();
            if self.has_colours && *look != Look::Plain {
                write!(self.out, "{style}{}{style:#}", shown(text))?;
            } else {
                self.out.write_all(shown(text).as_bytes())?;
            }
        }
        self.out.write_all(b"\n")
    }

    /// # Errors
    /// Those of what is written to.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Look {
    fn style(self) -> Style {
        match self {
            Look::Plain => Style::new(),
            Look::Heading => HEADING,
            Look::Dim => DIM,
            Look::Good => GOOD,
            Look::Bad => BAD,
            Look::Name => NAME,
        }
    }
}

/// `text` in at most `width` characters: what is too long loses its middle, because names differ at both ends.
pub(super) fn clipped(text: &str, width: usize) -> String {
    let text = shown(text);
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text;
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let head: String = characters.iter().take(head).collect();
    let tail: String = characters.iter().skip(characters.len() - tail).collect();
    format!("{head}…{tail}")
}

/// Control characters as `\u` and four digits.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_screen_control(character) {
            out.push_str(&format!("\\u{:04x}", character as u32));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(has_colours: bool, parts: &[(Look, &str)]) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, has_colours);
        screen.parts(parts).expect("writes to memory");
        screen.finish().expect("writes to memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn nothing_from_an_event_acts_on_the_screen() {
        assert_eq!(printed(false, &[(Look::Name, "a\u{1b}[2J\nb")]), "a\\u001b[2J\\u000ab\n");
    }

    #[test]
    fn colours_come_only_where_they_are_wanted() {
        assert_eq!(printed(false, &[(Look::Bad, "denied")]), "denied\n");
        assert_eq!(printed(true, &[(Look::Bad, "denied")]), "\u{1b}[31mdenied\u{1b}[0m\n");
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(clipped("short", 5), "short");
        assert_eq!(clipped("JTI=5e2f1a70-4a65", 9), "JTI=…4a65");
        assert_eq!(clipped("a\nb", 4).chars().count(), 4);
    }
}
