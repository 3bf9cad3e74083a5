//! The plan: what would change, and that nothing does.

use actorline::activity::Column;
use actorline::pipeline::replay::{Flip, Selection};
use actorline::sink::lake::Lake;
use serde_json::json;

use super::place::{DAY, acme, after, append, before, event, of, place, plan, record};
use crate::lake::rows::ask;

#[tokio::test]
async fn the_same_mappings_change_nothing() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let records = [record(0, &event(0)), record(1, "[]"), record(2, "{"), record(3, &format!("[{},{{}}]", event(3)))];
    append(&lake, &before(), &records).await;
    let plan = plan(&lake, &before(), &Selection::default()).await;
    assert_eq!((plan.changes.num_read, plan.changes.num_changed, plan.changes.num_without_event), (5, 0, 2));
    assert_eq!(plan.num_files_affected(), 0);
}

#[tokio::test]
async fn rows_columns_flips_and_examples_are_told_and_nothing_is_written() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let records: Vec<_> = (0..25).map(|offset| record(offset, &event(offset))).collect();
    append(&lake, &before(), &records).await;
    let version = lake.history().await.expect("a history").version;

    let changes = plan(&lake, &after(), &Selection::default()).await.changes;
    assert_eq!((changes.num_read, changes.num_changed), (25, 25));
    let columns: Vec<(&str, u64)> = changes.columns.iter().map(|(column, count)| (column.name(), *count)).collect();
    assert_eq!(columns, [("actor_type", 25), ("actor_class", 25), ("region", 25)]);
    let flip = Flip {
        from: "human".to_string(),
        to: "service_account".to_string(),
        source: "acme".to_string(),
        rule: Some("named".to_string()),
    };
    assert_eq!(changes.flips.into_iter().collect::<Vec<_>>(), [(flip, 25)]);
    let region = changes.examples.iter().find(|example| example.column == Column::Region).expect("an example");
    assert!(region.position.starts_with("audit.test/0/") && region.position.ends_with("/0"), "{region:?}");
    assert_eq!((&region.before, &region.after), (&json!(null), &json!("o-1")));
    assert_eq!(lake.history().await.expect("a history").version, version);
}

#[tokio::test]
async fn only_what_was_selected_is_derived() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let records: Vec<_> = (0..30)
        .map(|offset| record(offset, &if offset % 2 == 0 { event(offset) } else { r#"{"other":1}"#.to_string() }))
        .collect();
    append(&lake, &before(), &records).await;
    let second_day =
        Selection { from: Some(DAY + 86_400_000_000), to: Some(DAY + 2 * 86_400_000_000), ..Selection::default() };
    let of_second_day = plan(&lake, &after(), &second_day).await;
    assert_eq!((of_second_day.num_files_read, of_second_day.changes.num_read), (1, 10));
    assert_eq!(of_second_day.changes.num_changed, 5);
    let to_a_row = Selection { to: Some(DAY + 86_400_000_000 + 12), ..second_day };
    assert_eq!(plan(&lake, &after(), &to_a_row).await.changes.num_read, 2);
    let unrecognised = Selection { source: Some("unrecognised".to_string()), ..Selection::default() };
    let unrecognised = plan(&lake, &after(), &unrecognised).await.changes;
    assert_eq!((unrecognised.num_read, unrecognised.num_changed), (15, 0));
}

/// The SIEM has the rows of before under their indexes, which one row more would shift.
#[tokio::test]
async fn an_event_that_would_give_other_rows_keeps_those_that_it_has() {
    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    let split = acme("human", "").replace("columns:\n", "split: parts\ncolumns:\n  target_id: $item.id\n");
    let value = r#"{"acme_id":"1","op":"read","actor":"a","parts":[{"id":"x"},{"id":"y"}]}"#;
    append(&lake, &of(&split), &[record(0, value), record(1, &event(1))]).await;
    assert_eq!(ask(&lake, "SELECT count(*), max(input_count) FROM activities").await, "3,2");

    let same = plan(&lake, &of(&split), &Selection::default()).await.changes;
    assert_eq!((same.num_changed, same.num_split_otherwise), (0, 0));
    let renamed = plan(&lake, &of(&split.replace("human", "service_account")), &Selection::default()).await.changes;
    assert_eq!((renamed.num_changed, renamed.num_split_otherwise), (3, 0));
    let unsplit = plan(&lake, &after(), &Selection::default()).await.changes;
    assert_eq!((unsplit.num_changed, unsplit.num_split_otherwise), (1, 2));

    let (_folder, location) = place();
    let lake = Lake::open(&location).await.expect("a lake");
    append(&lake, &before(), &[record(0, value)]).await;
    let split_now = plan(&lake, &of(&split), &Selection::default()).await.changes;
    assert_eq!((split_now.num_changed, split_now.num_split_otherwise), (0, 1));
}
