//! Rows on stdout: a table for people, NDJSON, JSON and CSV for programs.
//!
//! Rows are written as they come. What is held is one batch, or for a table one page, however long the answer is.
//! Nothing in a row can act on the screen that shows it as a table or as JSON, or on the spreadsheet that opens it as
//! CSV.

use std::io::{self, IsTerminal, Write};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use clap::ValueEnum;
use serde_json::Value;

use crate::activity::json::{is_screen_control, write_string};

/// Rows of a table that share their column widths. A longer answer is shown as several tables.
const ROWS_PER_PAGE: usize = 500;

/// Characters of a table's cell. A table is for looking; the other formats have everything.
const CELL_CHARS_MAX: usize = 100;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; long cells are cut
    Table,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
    /// With a header line
    Csv,
}

impl Format {
    /// The format that was asked for, else `table` on a terminal and `ndjson` in a pipe.
    pub fn or_default(asked: Option<Format>) -> Format {
        asked.unwrap_or(if io::stdout().is_terminal() { Format::Table } else { Format::Ndjson })
    }
}

/// Writes rows under fixed column names.
///
/// A cell travels as JSON, whatever it came from, and each format makes of it what it can show.
pub struct RowWriter<W: Write> {
    format: Format,
    out: W,
    columns: Vec<String>,
    num_rows: usize,
    page: Vec<Vec<String>>,
}

impl<W: Write> RowWriter<W> {
    /// Begins the output.
    ///
    /// # Errors
    /// Those of `out`, here and in all that follows. [`is_closed_pipe`] tells the harmless one.
    pub fn new(format: Format, columns: impl IntoIterator<Item = impl Into<String>>, out: W) -> io::Result<Self> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let mut writer = RowWriter { format, out, columns, num_rows: 0, page: Vec::new() };
        match format {
            Format::Csv => {
                let header: Vec<String> = writer.columns.iter().map(|name| defused(name.clone())).collect();
                writer.write_csv(&header)?;
            }
            Format::Json => writer.out.write_all(b"[")?,
            Format::Table | Format::Ndjson => {}
        }
        Ok(writer)
    }

    /// Writes rows that come from Arrow. Their columns are those of the writer, in order.
    pub fn write_batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let schema = batch.schema();
        let options = EncoderOptions::default();
        let encoders: Result<Vec<NullableEncoder<'_>>, ArrowError> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| make_encoder(field, column.as_ref(), &options))
            .collect();
        let mut encoders = encoders.map_err(io::Error::other)?;
        let mut cells: Vec<Vec<u8>> = vec![Vec::new(); encoders.len()];
        for row in 0..batch.num_rows() {
            for (encoder, cell) in encoders.iter_mut().zip(&mut cells) {
                cell.clear();
                if encoder.is_null(row) {
                    cell.extend_from_slice(b"null");
                } else {
                    encoder.encode(row, cell);
                }
            }
            self.write_cells(&cells)?;
        }
        Ok(())
    }

    /// Writes one row, a value a column.
    pub fn write_row(&mut self, values: &[Value]) -> io::Result<()> {
        let cells: Vec<Vec<u8>> = values.iter().map(|value| value.to_string().into_bytes()).collect();
        self.write_cells(&cells)
    }

    /// Writes one row of the columns that it has a value for; the others are null.
    pub fn write_named(&mut self, values: &[(&str, Value)]) -> io::Result<()> {
        let value = |column: &String| {
            values.iter().find(|(name, _)| name == column).map_or(Value::Null, |(_, value)| value.clone())
        };
        let row: Vec<Value> = self.columns.iter().map(value).collect();
        self.write_row(&row)
    }

    /// Ends the output and returns how many rows it had.
    pub fn finish(mut self) -> io::Result<usize> {
        match self.format {
            Format::Json => self.out.write_all(b"\n]\n")?,
            // An answer without rows still shows its columns.
            Format::Table if !self.page.is_empty() || self.num_rows == 0 => self.write_page()?,
            Format::Table | Format::Ndjson | Format::Csv => {}
        }
        self.out.flush()?;
        Ok(self.num_rows)
    }

    fn write_cells(&mut self, cells: &[Vec<u8>]) -> io::Result<()> {
        match self.format {
            Format::Ndjson => self.write_object(cells)?,
            Format::Json => {
                self.out.write_all(if self.num_rows == 0 { b"\n" } else { b",\n" })?;
                self.write_object(cells)?;
            }
            Format::Csv => {
                let texts: Vec<String> = cells.iter().map(|cell| csv_text(cell)).collect();
                self.write_csv(&texts)?;
            }
            Format::Table => self.page.push(cells.iter().map(|cell| shown(&text_of(cell))).collect()),
        }
        if self.format == Format::Ndjson {
            self.out.write_all(b"\n")?;
        }
        self.num_rows += 1;
        if self.page.len() >= ROWS_PER_PAGE {
            self.write_page()?;
        }
        Ok(())
    }

    /// An object with the columns that have a value, as in the native JSON form of an activity.
    fn write_object(&mut self, cells: &[Vec<u8>]) -> io::Result<()> {
        let mut object = vec![b'{'];
        for (name, cell) in self.columns.iter().zip(cells).filter(|(_, cell)| cell.as_slice() != b"null") {
            if object.len() > 1 {
                object.push(b',');
            }
            write_string(&mut object, name);
            object.push(b':');
            escape_json(&mut object, cell);
        }
        object.push(b'}');
        self.out.write_all(&object)
    }

    fn write_csv(&mut self, texts: &[String]) -> io::Result<()> {
        let mut line = csv::Writer::from_writer(&mut self.out);
        line.write_record(texts).map_err(io_error)?;
        line.flush()
    }

    fn write_page(&mut self) -> io::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header(self.columns.iter().map(|name| shown(name)));
        for row in self.page.drain(..) {
            table.add_row(row);
        }
        writeln!(self.out, "{table}")
    }
}

/// Whether the reader of our output has seen enough, as `head` does. That is no mistake.
pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// A cell's JSON as text: strings as they are, nothing for null, the rest as JSON.
fn text_of(cell: &[u8]) -> String {
    match serde_json::from_slice::<Value>(cell) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => String::from_utf8_lossy(cell).into_owned(),
    }
}

/// A cell as CSV shows it. A number is itself, also below zero.
fn csv_text(cell: &[u8]) -> String {
    let text = text_of(cell);
    if cell.starts_with(b"\"") { defused(text) } else { text }
}

/// A text that no spreadsheet takes for a formula: a leading apostrophe makes it text.
fn defused(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// A text as a table's cell shows it: cut, and with its control characters written out.
fn shown(text: &str) -> String {
    let mut cell = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == CELL_CHARS_MAX {
            cell.push('…');
            break;
        }
        if is_screen_control(character) {
            cell.push_str(&format!("\\u{:04x}", character as u32));
        } else {
            cell.push(character);
        }
    }
    cell
}

/// Appends JSON with the characters escaped that the encoders let through and that act on a screen. Outside of strings
/// JSON has none of them, and inside an escape reads as the same character.
fn escape_json(out: &mut Vec<u8>, cell: &[u8]) {
    let text = String::from_utf8_lossy(cell);
    let mut buffer = [0; 4];
    for character in text.chars() {
        if is_screen_control(character) {
            out.extend_from_slice(format!("\\u{:04x}", character as u32).as_bytes());
        } else {
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::activity::arrow::{RowBuilder, schema};
    use crate::activity::{Activity, Column, Value as Field};

    fn printed(format: Format, columns: &[&str], rows: &[Vec<Value>]) -> String {
        let mut out = Vec::new();
        let mut writer = RowWriter::new(format, columns.iter().copied(), &mut out).expect("writes to memory");
        for row in rows {
            writer.write_row(row).expect("writes to memory");
        }
        assert_eq!(writer.finish().expect("writes to memory"), rows.len());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn json_forms_leave_nulls_out() {
        let rows = [vec![json!("u-1"), json!(null)], vec![json!("u-2"), json!(3)]];
        assert_eq!(
            printed(Format::Ndjson, &["actor", "n"], &rows),
            "{\"actor\":\"u-1\"}\n{\"actor\":\"u-2\",\"n\":3}\n"
        );
        assert_eq!(
            printed(Format::Json, &["actor", "n"], &rows),
            "[\n{\"actor\":\"u-1\"},\n{\"actor\":\"u-2\",\"n\":3}\n]\n"
        );
    }

    #[test]
    fn an_empty_answer_is_valid_in_every_format() {
        assert_eq!(printed(Format::Json, &["a"], &[]), "[\n]\n");
        assert_eq!(printed(Format::Ndjson, &["a"], &[]), "");
        assert_eq!(printed(Format::Csv, &["a"], &[]), "a\n");
        assert!(printed(Format::Table, &["a"], &[]).contains('a'));
    }

    #[test]
    fn csv_cells_are_no_formulas() {
        let hostile = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "plain, quoted"];
        let rows: Vec<Vec<Value>> = hostile.iter().map(|text| vec![json!(text)]).collect();
        let text = printed(Format::Csv, &["a"], &rows);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let cells: Vec<String> = reader.records().map(|record| record.expect("valid CSV")[0].to_string()).collect();
        assert!(cells[..6].iter().all(|cell| cell.starts_with('\'')), "{cells:?}");
        assert_eq!(cells[6], "plain, quoted");
    }

    #[test]
    fn a_negative_number_in_csv_stays_a_number() {
        assert_eq!(printed(Format::Csv, &["n"], &[vec![json!(-5)]]), "n\n-5\n");
    }

    #[test]
    fn nothing_in_a_table_acts_on_the_screen() {
        let text = printed(Format::Table, &["a"], &[vec![json!("x\u{1b}[31m\u{202e}y\nz")]]);
        assert!(text.contains("x\\u001b[31m\\u202ey\\u000az"), "{text}");
    }

    #[test]
    fn a_tables_long_cell_is_cut() {
        let text = printed(Format::Table, &["a"], &[vec![json!("x".repeat(5000))]]);
        assert!(text.contains('…') && text.len() < 5000, "{text}");
    }

    #[test]
    fn a_long_table_is_shown_page_by_page() {
        let rows: Vec<Vec<Value>> = (0..ROWS_PER_PAGE + 1).map(|row| vec![json!(row)]).collect();
        let text = printed(Format::Table, &["number"], &rows);
        assert_eq!(text.matches("number").count(), 2);
    }

    #[test]
    fn activities_are_written_like_their_native_json() {
        let mut activity = Activity::default();
        activity.set(Column::EventTime, Field::Time(1_700_000_000_123_456));
        activity.set(Column::ReceivedDate, Field::Date(19_675));
        activity.set(Column::ActorName, Field::Text("a\u{9b}\u{202e}\"b"));
        activity.set(Column::Scope, Field::TextList(&["read"]));
        activity.set(Column::Attributes, Field::TextMap(&[("tool", "Copilot")]));
        let mut rows = RowBuilder::default();
        rows.append(&activity);
        let batch = rows.finish().expect("rows of the schema");
        let names: Vec<String> = schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut out = Vec::new();
        let mut writer = RowWriter::new(Format::Ndjson, names, &mut out).expect("writes to memory");
        writer.write_batch(&batch).expect("writes to memory");
        writer.finish().expect("writes to memory");

        let mut native = Vec::new();
        crate::activity::json::write_object(&mut native, &activity, |_| true);
        native.push(b'\n');
        assert_eq!(String::from_utf8(out), String::from_utf8(native));
    }
}
