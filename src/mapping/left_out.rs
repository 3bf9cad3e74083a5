//! Sources without a mapping of their own: which mapping answers for them, or why there is none.

use super::compile::Files;

/// Where the list stands in a mapping folder. A folder without it leaves nothing out.
const FILE: &str = "_shared/left_out.csv";

/// One source without a mapping of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub source: String,
    /// The mapping that has the source as an alias.
    pub answered_by: Option<String>,
    pub why: String,
}

/// The list, in its order. Rows that are not like the others are left out of it.
pub fn left_out(files: &Files) -> Vec<LeftOut> {
    let Some(text) = files.get(FILE) else { return Vec::new() };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let rows = reader.records().filter_map(Result::ok).filter(|row| row.len() == 3);
    rows.map(|row| LeftOut {
        source: row[0].to_string(),
        answered_by: Some(row[1].to_string()).filter(|name| !name.is_empty()),
        why: row[2].to_string(),
    })
    .collect()
}
