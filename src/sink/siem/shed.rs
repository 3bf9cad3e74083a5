//! What an activity gives up on its way to the SIEM when it is too large for the topic. The lake keeps all of it.
//!
//! In steps, and no further than needed: `targets` and `attributes`, then every other list and map and the raw event,
//! then the ends of long texts. Each step says in `issues` what it took.

use crate::activity::{Activity, Column, Kind, Value, json};

/// Longest `actor_id` that serves as a key. Ids are far shorter; beyond it the key is the source.
pub(super) const KEY_BYTES_MAX: usize = 4_096;

/// Least that a topic must take in one record.
///
/// With every text cut to the shortest length of [`TEXT_CHARS`], each character escaped, all columns of the schema
/// and the longest key fit into this.
pub const RECORD_BYTES_MIN: usize = 65_536;

/// Lengths to which texts are cut, one after the other, until the record fits.
const TEXT_CHARS: [usize; 3] = [4_096, 512, 64];

/// Appends `activity` as JSON of at most `bytes_max` bytes.
pub(super) fn write_within(out: &mut Vec<u8>, activity: &Activity<'_>, include_raw: bool, bytes_max: usize) {
    let start = out.len();
    let wanted = |column: Column| include_raw || !matches!(column, Column::Raw | Column::RawEncoding);
    json::write_object(out, activity, wanted);
    if out.len() - start <= bytes_max {
        return;
    }

    let mut shed = Shed { activity: activity.clone(), issues: Vec::new() };
    shed.leave_out([Column::Targets, Column::Attributes]);
    if shed.fits(out, start, bytes_max, &wanted) {
        return;
    }
    let lists = crate::activity::COLUMNS.iter().filter(|info| is_many(info.kind)).map(|info| info.column);
    shed.leave_out(lists.filter(|column| wanted(*column) && *column != Column::Issues));
    if include_raw {
        shed.leave_out([Column::Raw, Column::RawEncoding]);
    }
    // Issues quote what was found, so they can be what is too large; these here say that they went.
    shed.drop_earlier_issues();
    if shed.fits(out, start, bytes_max, &wanted) {
        return;
    }
    for chars in TEXT_CHARS {
        if shed.cut_texts(chars).fits(out, start, bytes_max, &wanted) {
            return;
        }
    }
}

struct Shed<'a> {
    activity: Activity<'a>,
    issues: Vec<String>,
}

impl<'a> Shed<'a> {
    fn leave_out(&mut self, columns: impl IntoIterator<Item = Column>) {
        for column in columns {
            if !self.activity.get(column).is_null() {
                self.activity.set(column, Value::Null);
                self.issues.push(format!("oversize:{}:left out of the record for the SIEM", column.name()));
            }
        }
    }

    fn drop_earlier_issues(&mut self) {
        if !self.activity.get(Column::Issues).is_null() {
            self.activity.set(Column::Issues, Value::Null);
            self.issues.push(format!("oversize:{}:left out of the record for the SIEM", Column::Issues.name()));
        }
    }

    /// The activity with every text no longer than `chars` characters.
    fn cut_texts(&self, chars: usize) -> Shed<'a> {
        let mut cut = Shed { activity: self.activity.clone(), issues: self.issues.clone() };
        for info in crate::activity::COLUMNS {
            let Some(text) = cut.activity.text(info.column) else { continue };
            if let Some((end, _)) = text.char_indices().nth(chars) {
                cut.activity.set(info.column, Value::Text(&text[..end]));
                cut.issues.push(format!("oversize:{}:cut to {chars} characters", info.name));
            }
        }
        cut
    }

    /// Writes the activity with its issues in place of what stands from `start`, and says whether it fits.
    fn fits(&self, out: &mut Vec<u8>, start: usize, bytes_max: usize, wanted: &dyn Fn(Column) -> bool) -> bool {
        let mut issues: Vec<&str> = match self.activity.get(Column::Issues) {
            Value::TextList(issues) => issues.to_vec(),
            _ => Vec::new(),
        };
        issues.extend(self.issues.iter().map(String::as_str));
        let mut activity: Activity<'_> = self.activity.clone();
        activity.set(Column::Issues, Value::TextList(&issues));
        out.truncate(start);
        json::write_object(out, &activity, wanted);
        out.len() - start <= bytes_max
    }
}

const fn is_many(kind: Kind) -> bool {
    matches!(kind, Kind::TextList | Kind::Hops | Kind::Targets | Kind::TextMap)
}
