//! The story of one incident, from the lake: who did what to what, with which credential, and what ties each step to
//! the one before.
//!
//! Steps that follow each other on the same thread stand together under their actor.

use std::io::{self, Write};

use super::screen::{Look, Screen, WIDTH, clipped};
use super::threads::{self, Kind, Thread, Ties};
use super::{Answers, DemoError, Row, text};

/// Columns of `queries/incident.sql`, in its order.
const CHAPTER: usize = 0;
const TIME: usize = 1;
const SOURCE: usize = 2;
const ACTOR_TYPE: usize = 3;
const ACTOR_ID: usize = 4;
const ACTOR_NAME: usize = 5;
const ACTOR_OWNER: usize = 6;
const POLICY_STATE: usize = 7;
const ACTION: usize = 8;
const TARGET_RESOURCE: usize = 9;
const TARGET_NAME: usize = 10;
const RESULT: usize = 11;
const CREDENTIAL: usize = 12;
const ISSUED: usize = 13;
const SESSION: usize = 14;
const CORRELATION: usize = 15;
const ADDRESS: usize = 16;
const RAW: usize = 17;

/// Columns of what stands before an action, and of an outcome behind it.
const INDENT: usize = 15;
const RESULT_WIDTH: usize = 8;

/// Columns of an id. Long enough for AWS's keys, which people search for whole.
const ID_WIDTH: usize = 24;

pub(super) async fn tell<W: Write>(answers: &Answers, screen: &mut Screen<W>) -> Result<(), DemoError> {
    let steps = answers.ask(include_str!("queries/incident.sql")).await?;
    write(&steps, screen).map_err(DemoError::Output)
}

fn write<W: Write>(steps: &[Row], screen: &mut Screen<W>) -> io::Result<()> {
    let ties: Vec<Ties> = steps.iter().map(ties_of).collect();
    screen.heading("One incident of that day: an AI agent, a leaked CI key, and where they lead")?;
    let mut previous: Option<&Row> = None;
    for (index, step) in steps.iter().enumerate() {
        let is_new_chapter = previous.is_none_or(|previous| text(previous, CHAPTER) != text(step, CHAPTER));
        if is_new_chapter {
            screen.line("")?;
            screen.parts(&[(Look::Heading, text(step, CHAPTER))])?;
        }
        let thread = threads::find(&ties, index);
        let is_same_actor = previous.is_some_and(|previous| {
            [SOURCE, ACTOR_TYPE, ACTOR_ID].iter().all(|column| text(previous, *column) == text(step, *column))
        });
        if is_new_chapter || !is_same_actor {
            write_actor(step, screen)?;
        }
        write_action(index, step, screen)?;
        if let Some(thread) = &thread {
            // The line just above, by the same hand with the same credential, needs no words.
            let is_plain = is_same_actor
                && !is_new_chapter
                && thread.step + 1 == index
                && matches!(thread.kind, Kind::Credential | Kind::Session);
            if !is_plain {
                write_note(&tied(thread, &ties, index), screen)?;
            }
        }
        if let Some(named) = threads::named_credential(&ties, index)
            && thread.is_none_or(|thread| thread.value != named.value)
        {
            write_note(&format!("names {} of {}", id(&named.value), named.step + 1), screen)?;
        }
        if !text(step, ISSUED).is_empty() {
            write_note(&format!("issues {}", id(text(step, ISSUED))), screen)?;
        }
        previous = Some(step);
    }
    Ok(())
}

fn ties_of(step: &Row) -> Ties {
    let cell = |column| text(step, column).to_string();
    Ties {
        credential: cell(CREDENTIAL),
        issued: cell(ISSUED),
        session: cell(SESSION),
        correlation: cell(CORRELATION),
        target: cell(TARGET_RESOURCE),
        address: cell(ADDRESS),
        raw: cell(RAW),
    }
}

fn write_actor<W: Write>(step: &Row, screen: &mut Screen<W>) -> io::Result<()> {
    let name = match (text(step, ACTOR_NAME), text(step, ACTOR_ID)) {
        ("", "") => "somebody whom the platform does not name",
        ("", id) => id,
        (name, _) => name,
    };
    let state = match text(step, POLICY_STATE) {
        state @ ("review_overdue" | "expired" | "quarantined" | "retired") => format!(" ({})", state.replace('_', " ")),
        _ => String::new(),
    };
    let owner = match text(step, ACTOR_OWNER) {
        "" => "no known owner".to_string(),
        owner => format!("owner {owner}"),
    };
    let source = format!("     {}  ", text(step, SOURCE));
    let actor_type = format!("{}  ", text(step, ACTOR_TYPE));
    let rest = WIDTH - source.chars().count() - actor_type.chars().count();
    let owner = format!(" · {owner}{state}");
    let name = clipped(short_arn(name), rest.saturating_sub(owner.chars().count()));
    screen.parts(&[
        (Look::Dim, &source),
        (Look::Name, &actor_type),
        (Look::Heading, &name),
        (Look::Plain, &clipped(&owner, rest.saturating_sub(name.chars().count()))),
    ])
}

fn write_action<W: Write>(index: usize, step: &Row, screen: &mut Screen<W>) -> io::Result<()> {
    let resource = short_arn(text(step, TARGET_RESOURCE));
    // A resource that is an opaque id is told by its name.
    let target = match text(step, TARGET_NAME) {
        name if !name.is_empty() && !resource.contains(name) => name,
        _ => resource,
    };
    let action =
        if target.is_empty() { text(step, ACTION).to_string() } else { format!("{} → {target}", text(step, ACTION)) };
    let width = WIDTH - INDENT - RESULT_WIDTH - 1;
    let action = format!("{:<width$} ", clipped(&action, width));
    let result = text(step, RESULT);
    let look = match result {
        "denied" | "failure" => Look::Bad,
        "success" => Look::Good,
        _ => Look::Plain,
    };
    screen.parts(&[
        (Look::Plain, &format!("{:>3}  ", index + 1)),
        (Look::Dim, &format!("{}  ", text(step, TIME))),
        (Look::Plain, &action),
        (look, &clipped(result, RESULT_WIDTH)),
    ])
}

fn write_note<W: Write>(note: &str, screen: &mut Screen<W>) -> io::Result<()> {
    screen.dim_line(&format!("{:INDENT$}└ {note}", ""))
}

/// The thread in words. Steps are counted from 1.
fn tied(thread: &Thread, steps: &[Ties], index: usize) -> String {
    let number = thread.step + 1;
    let value = id(&thread.value);
    let address = &steps[index].address;
    let from_elsewhere = if !address.is_empty() && *address != steps[thread.step].address {
        // An address that another step came from is a tie of its own.
        match (0..index).rev().find(|other| steps[*other].address == *address) {
            Some(other) => format!(", now from {address} like {}", other + 1),
            None => format!(", now from {address}"),
        }
    } else {
        String::new()
    };
    match thread.kind {
        Kind::Issued => format!("credential {value}, issued by {number}{from_elsewhere}"),
        Kind::Credential => format!("credential {value}, as in {number}{from_elsewhere}"),
        Kind::Session => format!("session {value}, as in {number}"),
        Kind::Correlation => format!("correlation id {value}, as in {number}"),
        Kind::Names => format!("names {value} of {number}"),
        Kind::Target => format!("{value}, as in {number}"),
        Kind::Address => format!("from {value}, like {number}"),
    }
}

fn id(value: &str) -> String {
    clipped(value, ID_WIDTH)
}

/// An ARN's last part: what stands before it is the same on every line. Anything else as it is.
fn short_arn(text: &str) -> &str {
    match text.find("arn:") {
        Some(start) => text[start..].splitn(6, ':').nth(5).filter(|rest| !rest.is_empty()).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(cells: &[(usize, &str)]) -> Row {
        let mut row = vec![None; RAW + 1];
        for (column, value) in cells {
            row[*column] = Some((*value).to_string());
        }
        row
    }

    fn told(steps: &[Row]) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, false);
        write(steps, &mut screen).expect("writes to memory");
        screen.finish().expect("writes to memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_step_says_what_ties_it_to_the_one_before() {
        let text = told(&[
            step(&[(ACTION, "CreateAccessKey"), (CREDENTIAL, "AKIA1"), (ISSUED, "AKIA2"), (ADDRESS, "192.0.2.1")]),
            step(&[(ACTION, "ListBuckets"), (CREDENTIAL, "AKIA2"), (ADDRESS, "192.0.2.2"), (RESULT, "denied")]),
        ]);
        assert!(text.contains("└ issues AKIA2"), "{text}");
        assert!(text.contains("└ credential AKIA2, issued by 1, now from 192.0.2.2"), "{text}");
    }

    #[test]
    fn whatever_an_event_holds_a_line_fits_the_screen() {
        let huge = "\u{1b}[31mx".repeat(500);
        let all: Vec<(usize, &str)> = (SOURCE + 2..RAW).map(|column| (column, huge.as_str())).collect();
        let text = told(&[step(&all), step(&all)]);
        assert!(!text.contains('\u{1b}'));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn an_arn_is_told_by_its_end() {
        assert_eq!(short_arn("arn:aws:iam::111122223333:role/exa"), "role/exa");
        assert_eq!(short_arn("AWS::S3::Object:arn:aws:s3:::bucket/key"), "bucket/key");
        assert_eq!(short_arn("repository:exa/shop"), "repository:exa/shop");
        assert_eq!(short_arn("arn:"), "arn:");
    }
}
