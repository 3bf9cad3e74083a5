//! The records of the files that a command is given, with a progress bar on a terminal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use crate::input::files::{Files, Progress};
use crate::record::RawRecord;

/// Records between two looks at how far reading is: often enough to move, too seldom to cost.
const NUM_RECORDS_PER_LOOK: usize = 256;

/// Calls `take` with every record of `files` (standard input if there are none), in order.
///
/// # Errors
/// What `take` says, at once. A file that cannot be read is reported in its place and the others are still read; in the end
/// that is trouble outside.
pub fn each(files: &[PathBuf], take: &mut dyn FnMut(&RawRecord) -> Result<(), Failure>) -> Result<(), Failure> {
    let files = Files::new(files);
    let progress = files.progress();
    let bar = progress_bar(&progress);
    let mut num_unreadable = 0;
    for (number, record) in files.enumerate() {
        match record {
            Ok(record) => take(&record)?,
            Err(error) => {
                num_unreadable += 1;
                bar.suspend(|| eprintln!("error: {}", super::chain(&anyhow::Error::new(error))));
            }
        }
        if number % NUM_RECORDS_PER_LOOK == 0 {
            bar.set_position(progress.num_bytes_read());
        }
    }
    bar.finish_and_clear();
    if num_unreadable > 0 {
        let files = if num_unreadable == 1 { "one file" } else { "several files" };
        return Err(Failure::Outside(anyhow::anyhow!("{files} could not be read to the end; the rest was")));
    }
    Ok(())
}

/// Draws on a terminal and nowhere else.
fn progress_bar(progress: &Arc<Progress>) -> ProgressBar {
    let (bar, template) = match progress.num_bytes_total() {
        Some(total) => (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
