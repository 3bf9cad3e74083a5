//! The summary: what was read, who acted in it, for whom nobody answers and why, and what could not be read.
//!
//! Everything but the dead letters' reasons is asked of the lake; those are read from the dead-letter topic itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::screen::{Look, Screen, WIDTH, clipped};
use super::{DemoError, Outcome, Row, number, text};
use crate::activity::taxonomy::ActorType;

/// Between two columns of a table.
const GAP: u16 = 2;

/// Columns for the actors of one reason.
const EXAMPLES_WIDTH: usize = 42;

pub(super) async fn tell<W: Write>(outcome: &Outcome, screen: &mut Screen<W>) -> Result<(), DemoError> {
    let actors = outcome.answers.ask(include_str!("queries/actors.sql")).await?;
    let owners = outcome.answers.ask(include_str!("queries/owners.sql")).await?;
    let unattributed = outcome.answers.ask(include_str!("queries/unattributed.sql")).await?;
    write(outcome, &actors, &owners, &unattributed, screen).map_err(DemoError::Output)
}

fn write<W: Write>(
    outcome: &Outcome,
    actors: &[Row],
    owners: &[Row],
    unattributed: &[Row],
    screen: &mut Screen<W>,
) -> std::io::Result<()> {
    let sent = &outcome.sent;
    let num_sources = actors.iter().map(|row| text(row, 0)).collect::<BTreeSet<_>>().len();
    screen.heading("actorline demo")?;
    screen.parts(&[
        (Look::Plain, "read       "),
        (Look::Name, &format!("{} records", sent.num_records)),
        (Look::Plain, &format!(" of {num_sources} sources, from {} topics", sent.num_topics)),
        (Look::Plain, &format!(" with {} partitions", sent.num_partitions)),
    ])?;
    screen.parts(&[
        (Look::Plain, "wrote      "),
        (Look::Name, &format!("{} activities", outcome.siem.len())),
        (Look::Plain, " to the lake and to the SIEM topic: the same ones, each exactly once"),
    ])?;
    screen.parts(&[
        (Look::Plain, "set aside  "),
        (Look::Name, &format!("{} dead letters", outcome.dead_letters.len())),
        (Look::Plain, ", which the lake keeps as well"),
    ])?;
    screen
        .parts(&[(Look::Plain, "took       "), (Look::Name, &format!("{:.1} seconds", outcome.taken.as_secs_f64()))])?;

    screen.heading("Who acted")?;
    write_table(&actors_by_source(actors), screen)?;

    screen.heading("Who answers for them")?;
    for row in owners {
        let (whose, all, known) = (text(row, 0), number(row, 1), number(row, 2));
        let whose = if whose == "human" { "people" } else { "machines" };
        let share = format!("{:>3} %", known * 100 / all.max(1));
        let how = format!("  {known} of {all} have a known owner: {}", answered_by(row));
        screen.parts(&[(Look::Plain, &format!("{whose:<10}")), (Look::Good, &share), (Look::Plain, &how)])?;
    }

    screen.heading("Nobody is known to answer for")?;
    let mut table = table();
    for row in unattributed {
        table.add_row([text(row, 1).to_string(), text(row, 0).to_string(), beginning_of(text(row, 2), EXAMPLES_WIDTH)]);
    }
    align_right(&mut table, 0..1);
    write_table(&table, screen)?;

    screen.heading("Dead letters")?;
    write_table(&dead_letters_by_reason(outcome), screen)
}

/// Sources across, actor types down in the taxonomy's order, with sums at both ends.
fn actors_by_source(rows: &[Row]) -> Table {
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows {
        *sources.entry(text(row, 0)).or_default() += number(row, 2);
        counts.insert((text(row, 1), text(row, 0)), number(row, 2));
    }
    let mut table = table();
    // The first word of a source's name is the vendor, which is enough here and fits.
    let vendors = sources.keys().map(|source| source.split('_').next().unwrap_or(source));
    table.set_header(std::iter::once("").chain(vendors).chain(std::iter::once("all")));
    for actor_type in ActorType::SET.terms.iter().map(|term| term.value) {
        let by_source: Vec<usize> =
            sources.keys().map(|source| counts.get(&(actor_type, *source)).copied().unwrap_or(0)).collect();
        let all: usize = by_source.iter().sum();
        if all > 0 {
            let cells = by_source.iter().map(|count| if *count == 0 { "·".to_string() } else { count.to_string() });
            table.add_row(std::iter::once(actor_type.to_string()).chain(cells).chain([all.to_string()]));
        }
    }
    let all: usize = sources.values().sum();
    let sums = sources.values().map(ToString::to_string).chain([all.to_string()]);
    table.add_row(std::iter::once("all".to_string()).chain(sums));
    align_right(&mut table, 1..sources.len() + 2);
    table
}

fn answered_by(row: &Row) -> String {
    let (registry, event, overdue) = (number(row, 3), number(row, 4), number(row, 5));
    let mut parts = vec![format!("{registry} by the registry")];
    if event > 0 {
        parts.push(format!("{event} by the event"));
    }
    let mut text = parts.join(", ");
    if overdue > 0 {
        text.push_str(&format!("; {overdue} are past their review or expiry"));
    }
    text
}

/// What the dead letters' own headers say, with the topics they came from.
fn dead_letters_by_reason(outcome: &Outcome) -> Table {
    let mut reasons: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for letter in &outcome.dead_letters {
        let header = |name| letter.headers.get(name).map_or("", String::as_str);
        let topic = letter.position.split('/').next().unwrap_or_default();
        reasons
            .entry((header("actorline-stage"), header("actorline-reason")))
            .or_default()
            .push((topic, header("actorline-detail")));
    }
    let mut table = table();
    for ((stage, reason), letters) in reasons {
        for (index, (topic, detail)) in letters.iter().enumerate() {
            // What the lines of one reason share stands on the first.
            let (count, what) = match index {
                0 => (letters.len().to_string(), format!("{reason} ({stage})")),
                _ => (String::new(), String::new()),
            };
            table.add_row([count, what, (*topic).to_string(), beginning_of(detail, 48)]);
        }
    }
    align_right(&mut table, 0..1);
    table
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn write_table<W: Write>(table: &Table, screen: &mut Screen<W>) -> std::io::Result<()> {
    let mut table = table.clone();
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let has_header = table.header().is_some();
    for (index, line) in table.lines().enumerate() {
        let look = if has_header && index == 0 { Look::Dim } else { Look::Plain };
        screen.parts(&[(look, line.trim_end())])?;
    }
    Ok(())
}

/// As much of `text` as fits, from its beginning.
fn beginning_of(text: &str, width: usize) -> String {
    let width = width.min(WIDTH);
    match text.char_indices().nth(width) {
        None => clipped(text, width),
        Some(_) => format!("{}…", text.chars().take(width - 1).collect::<String>()),
    }
}
