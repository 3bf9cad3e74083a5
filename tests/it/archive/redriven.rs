//! What a redrive's seal may say: a rejected row gave way to the rows of its record, and nothing else changed.
//!
//! The commits here are what somebody can make who holds the key.

use actorline::activity::Column;
use actorline::activity::arrow::{RowBuilder, index_of};
use actorline::activity::taxonomy::Status;
use actorline::pipeline::normalize::{Route, Scratch};
use actorline::seal::{Change, Digest, Redriven, Redriver};
use actorline::sink::lake::{Lake, LiveFile, Rewrite, Rewritten};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;

use super::place::Archive;
use crate::replay::place::{GROUP, append, before, event, record};

/// What goes, by offset, and the events that come at those offsets.
struct Exchange<'a> {
    gone: &'a [i64],
    come: &'a [(i64, &'a str)],
    /// What is said of the status of the rows that went.
    status: Option<&'a str>,
}

/// Four records of which the second is rejected, and one batch in the place of some of them.
async fn redriven(exchange: &Exchange<'_>) -> Archive {
    let archive = Archive::new();
    let lake = archive.open().await;
    append(&lake, &before(), &[record(0, &event(0)), record(1, "{"), record(2, &event(2)), record(3, &event(3))]).await;
    assert_eq!(bring(&lake, exchange).await, Rewritten::Committed { version: 2 });
    archive
}

async fn bring(lake: &Lake, exchange: &Exchange<'_>) -> Rewritten {
    let history = lake.history().await.expect("a history");
    let removed: Vec<LiveFile> = history.live.values().cloned().collect();
    let mut went = Vec::new();
    let mut change = |live: &LiveFile, stored: Vec<RecordBatch>| {
        let stored = concat_batches(&stored[0].schema(), &stored).expect("rows");
        let offsets = stored.column(index_of(Column::InputOffset)).as_primitive::<Int64Type>();
        let is_gone: BooleanArray =
            (0..stored.num_rows()).map(|row| Some(exchange.gone.contains(&offsets.value(row)))).collect();
        let stays: BooleanArray = is_gone.iter().map(|is_gone| is_gone.map(|it| !it)).collect();
        let gone = filter_record_batch(&stored, &is_gone).expect("rows");
        went.push((live.clone(), exchange.status.map_or(gone.clone(), |status| with_status(&gone, status))));
        Ok(vec![filter_record_batch(&stored, &stays).expect("rows"), rows_of(exchange.come)])
    };
    let remade = lake.remake(&history, &removed, &mut change).await.expect("written");
    let rejected = lake.keep_rejected(&history, &went).await.expect("kept");
    let ranges = remade.recut();
    let by = Redriver { group: GROUP.to_string(), cluster: "cluster".to_string() };
    let redriven = Redriven { by, number: 1, rejected, ranges };
    let change = Change { redriven: Some(redriven), ..Change::default() };
    let rewrite = Rewrite { operation: "REDRIVE", removed, added: remade.added, change };
    lake.rewrite(&history, rewrite).await.expect("a commit")
}

fn rows_of(events: &[(i64, &str)]) -> RecordBatch {
    let mut rows = RowBuilder::default();
    for (offset, value) in events {
        let record = record(*offset, value);
        before().normalize(&record, &Route::default(), &mut Scratch::default(), &mut |row, _| rows.append(row));
    }
    rows.finish().expect("rows")
}

fn with_status(rows: &RecordBatch, status: &str) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    let statuses = arrow::array::StringArray::from(vec![status; rows.num_rows()]);
    columns[index_of(Column::Status)] = std::sync::Arc::new(statuses);
    RecordBatch::try_new(rows.schema(), columns).expect("rows")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_rejected_record_are_accepted_in_its_place() {
    let two = format!("[{},{}]", event(1), event(10));
    let archive = redriven(&Exchange { gone: &[1], come: &[(1, &two)], status: None }).await;
    let verified = archive.verify_anchored();
    assert_eq!(verified.code(), 0, "{}", verified.lines());
    // The same batch again, as it were.
    let lake = archive.open().await;
    let statement = archive.statement(2);
    let history = lake.history().await.expect("a history");
    let removed: Vec<LiveFile> = history.live.values().cloned().collect();
    let remade = lake.remake(&history, &removed, &mut |_, rows| Ok(rows)).await.expect("written");
    let rewrite =
        Rewrite { operation: "REDRIVE", removed, added: remade.added, change: statement.change.expect("a change") };
    lake.rewrite(&history, rewrite).await.expect("a commit");
    assert_ne!(archive.verify_anchored().checks("finding"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_may_change_with_them() {
    let (one, other) = (event(1), event(20));
    let half = r#"[{"acme_id":"1","op":"read","actor":"a"}]"#;
    let rejected = Some(Status::Rejected.as_str());
    let lies: [(&str, Exchange<'_>); 6] = [
        ("a row that was not rejected", Exchange { gone: &[2], come: &[(2, &other)], status: None }),
        ("a row that is only said to be rejected", Exchange { gone: &[2], come: &[(2, &other)], status: rejected }),
        ("another one with it", Exchange { gone: &[1, 2], come: &[(1, &one), (2, &other)], status: rejected }),
        ("a record goes", Exchange { gone: &[1, 2], come: &[(1, &one)], status: rejected }),
        ("a record comes", Exchange { gone: &[1], come: &[(1, &one), (9, half)], status: None }),
        ("nothing comes", Exchange { gone: &[1], come: &[], status: None }),
    ];
    for (what, exchange) in lies {
        let verified = redriven(&exchange).await.verify_anchored();
        assert_eq!(verified.code(), 1, "{what}: {}", verified.lines());
    }
}

/// Without the key not even a true one can be altered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_the_row_that_went_cannot_be_altered() {
    let one = event(1);
    let clean = redriven(&Exchange { gone: &[1], come: &[(1, &one)], status: None }).await;
    let kept = |archive: &Archive| {
        let change = archive.statement(2).change.expect("a change");
        archive.lake().join(change.redriven.expect("a redrive").rejected.path)
    };
    type Spoil<'a> = (&'a str, Box<dyn Fn(&Archive) + 'a>);
    let spoil: [Spoil<'_>; 3] = [
        ("gone", Box::new(|archive| std::fs::remove_file(kept(archive)).expect("removed"))),
        ("altered", Box::new(|archive| super::upkeep::alter(&kept(archive)))),
        (
            "other roots",
            Box::new(|archive| {
                archive.seal_anew(2, &archive.key, |statement| {
                    let change = statement.change.as_mut().expect("a change");
                    change.redriven.as_mut().expect("a redrive").ranges[0].raw_root = Digest::of(b"other");
                });
            }),
        ),
    ];
    for (what, spoil) in spoil {
        let archive = clean.copy();
        spoil(&archive);
        let verified = archive.verify(&[]);
        assert_eq!(verified.code(), 1, "{what}: {}", verified.lines());
    }
}
