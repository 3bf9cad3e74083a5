//! Compiling tables: CSV files beside the mapping, and tables written inline.

use std::sync::Arc;

use super::super::functions::table::Table;
use super::Compiler;
use crate::diagnostic::Place;
use crate::yaml::Node;

/// Most rows of one table. The longest operation lists of vendors have some thousands.
const NUM_ROWS_MAX: usize = 50_000;

/// Most keys of one table that are patterns. Each text that no exact key fits is compared with all of them.
const NUM_PATTERNS_MAX: usize = 1_000;

impl Compiler<'_> {
    /// The table that `node` names or writes.
    pub fn table(&mut self, node: &Node) -> Option<Arc<Table>> {
        if node.entries().is_some() {
            return self.inline_table(node);
        }
        let Some(name) = node.text() else {
            self.wrong_argument(node, "a file name such as `verbs.csv`, or keys and values");
            return None;
        };
        let path = if name.starts_with("_shared/") { name.to_string() } else { format!("{}/{name}", self.folder) };
        let column = self.table_column.clone();
        if self.closed.is_none()
            && let Some(known) = self.tables.get(&(path.clone(), column.clone()))
        {
            return known.clone();
        }
        let table = self.table_file(&path, column.as_deref(), node);
        self.tables.insert((path, column), table.clone());
        table
    }

    fn inline_table(&mut self, node: &Node) -> Option<Arc<Table>> {
        let mut table = Table::default();
        for (key, value) in node.entries().unwrap_or_default() {
            let (Some(key), Some(value_text)) = (key.text(), value.text()) else {
                self.wrong_argument(value, "a text");
                continue;
            };
            self.check_closed(value_text, &value.place);
            table.add(key, value_text);
        }
        if table.is_empty() {
            self.wrong_argument(node, "a table with at least one key");
            return None;
        }
        Some(Arc::new(table))
    }

    fn table_file(&mut self, path: &str, column: Option<&str>, node: &Node) -> Option<Arc<Table>> {
        let Some(text) = self.files.get(path) else {
            let tables: Vec<&str> =
                self.files.keys().map(String::as_str).filter(|file| file.ends_with(".csv")).collect();
            self.diagnostics
                .error("unknown-table", &node.place, format!("found `{path}`, which is no file of the mapping folder"))
                .did_you_mean(path, tables);
            return None;
        };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
        let place =
            |line: u64| Place { file: path.into(), line: usize::try_from(line).unwrap_or(usize::MAX), column: 1 };
        let headers = match reader.headers() {
            Ok(headers) => headers.clone(),
            Err(error) => {
                self.diagnostics.error("bad-table", &place(1), format!("found a table that is not CSV: {error}"));
                return None;
            }
        };
        let value_index = match column {
            None => 1,
            Some(column) => match headers.iter().position(|header| header == column) {
                Some(index) => index,
                None => {
                    self.diagnostics
                        .error("unknown-table", &node.place, format!("found no column `{column}` in `{path}`"))
                        .did_you_mean(column, headers.iter());
                    return None;
                }
            },
        };
        if headers.len() < 2 && self.closed.is_some() {
            self.diagnostics.error("bad-table", &place(1), "found one column, wanted a key and at least one value");
            return None;
        }
        let mut table = Table::default();
        for (index, row) in reader.records().enumerate() {
            let row = match row {
                Ok(row) if index < NUM_ROWS_MAX => row,
                Ok(_) => {
                    self.diagnostics.error("bad-table", &place(1), format!("found more than {NUM_ROWS_MAX} rows"));
                    return None;
                }
                Err(error) => {
                    let line = error.position().map_or(1, csv::Position::line);
                    self.diagnostics.error(
                        "bad-table",
                        &place(line),
                        format!("found a row that is not like the others: {error}"),
                    );
                    return None;
                }
            };
            let line = row.position().map_or(1, csv::Position::line);
            let key = row.get(0).unwrap_or_default();
            // A table with keys only is a set; its keys stand for themselves.
            let value = row.get(value_index).unwrap_or(key);
            if !value.is_empty() {
                self.check_closed(value, &place(line));
            }
            if table.num_patterns() >= NUM_PATTERNS_MAX && key.contains('*') {
                self.diagnostics
                    .error("bad-table", &place(line), format!("found more than {NUM_PATTERNS_MAX} keys with `*`"))
                    .help("write out the keys that are known, or cut the text to what they have in common");
                return None;
            }
            if !table.add(key, value) {
                self.diagnostics
                    .error("duplicate-key", &place(line), format!("found `{key}` twice in this table"))
                    .help("keep the row that is right");
            } else if key.contains('*')
                && let Some(first) = table.forestalls(key)
            {
                self.diagnostics
                    .warning(
                        "unreachable",
                        &place(line),
                        format!("found `{key}` behind `{first}`, which takes all of it"),
                    )
                    .help("of keys with `*` the first that fits decides; put the narrower one first");
            }
        }
        Some(Arc::new(table))
    }
}
