//! Data files: how rows stand in them, and what readers can skip by.

use std::fs::File;
use std::path::Path;

use actorline::sink::lake::Lake;
use arrow::array::{AsArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ColumnChunkMetaData;

use super::rows::{DAY, Row, at, batch, folder};

/// Writes `rows` and opens the only file that comes of it.
async fn written(rows: &[Row<'_>]) -> (tempfile::TempDir, ParquetRecordBatchReaderBuilder<File>) {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let files = lake.write_files(&[batch(rows)]).await.expect("files");
    assert_eq!(files.len(), 1);
    let file = open(folder.path(), &files[0].path);
    (folder, file)
}

fn open(lake: &Path, path: &str) -> ParquetRecordBatchReaderBuilder<File> {
    let file = File::open(lake.join("activities").join(path)).expect("a data file");
    ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file")
}

fn column<'a>(file: &'a ParquetRecordBatchReaderBuilder<File>, name: &str) -> &'a ColumnChunkMetaData {
    let columns = file.metadata().row_group(0).columns();
    columns.iter().find(|column| column.column_path().string() == name).expect("a column of that name")
}

#[tokio::test]
async fn rows_stand_by_source_action_actor_and_time() {
    let row = |offset, source, action, actor, seconds| Row { source, action, actor, seconds, ..at(offset) };
    let (_folder, file) = written(&[
        row(0, "okta_system", "b", "u-1", 1),
        row(1, "okta_system", "a", "u-2", 1),
        row(2, "okta_system", "a", "u-1", 9),
        row(3, "okta_system", "a", "u-1", 2),
        row(4, "aws_cloudtrail", "z", "u-9", 1),
    ])
    .await;
    let batches: Vec<RecordBatch> = file.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
    let offsets = batches[0].column_by_name("input_offset").expect("the column");
    assert_eq!(offsets.as_primitive::<arrow::datatypes::Int64Type>().values(), &[4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn batches_are_put_in_order_together() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let (even, odd): (Vec<Row<'_>>, Vec<Row<'_>>) = (0..40).rev().map(at).partition(|row| row.offset % 2 == 0);
    let files = lake.write_files(&[batch(&even), batch(&[]), batch(&odd)]).await.expect("files");
    let rows = open(folder.path(), &files[0].path).build().expect("a reader").next().expect("rows").expect("rows");
    let offsets = rows.column_by_name("input_offset").expect("the column");
    assert!(offsets.as_primitive::<arrow::datatypes::Int64Type>().values().iter().copied().eq(0..40));
}

#[tokio::test]
async fn each_day_of_receipt_is_a_file_of_its_own() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let rows: Vec<Row<'_>> = (0..50).map(|offset| Row { day: DAY + (offset % 25) as i32, ..at(offset) }).collect();
    let files = lake.write_files(&[batch(&rows)]).await.expect("files");
    assert_eq!(files.len(), 25);
    assert!(files.iter().all(|file| file.num_rows == 2), "{files:?}");
    assert!(files[0].path.starts_with("received_date=2024-03-01/"), "{files:?}");
}

#[tokio::test]
async fn a_day_that_no_reader_takes_does_not_spoil_the_table() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    for day in [i32::MAX, i32::MIN, 2_932_897, -719_163] {
        let rows = batch(&[Row { seconds: 0, ..at(0) }]);
        let days = arrow::array::Date32Array::from(vec![day]);
        let mut columns = rows.columns().to_vec();
        let index = rows.schema().index_of("received_date").expect("the column");
        columns[index] = std::sync::Arc::new(days);
        let rows = RecordBatch::try_new(rows.schema(), columns).expect("rows");
        let files = lake.write_files(&[rows]).await.expect("files");
        assert_eq!(files[0].received_date, None);
        lake.commit("audit", files, &Default::default()).await.expect("a commit");
    }
    assert_eq!(super::rows::ask(&lake, "SELECT count(*) FROM activities WHERE received_date IS NULL").await, "4");
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let (_folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    assert!(lake.write_files(&[]).await.expect("files").is_empty());
    assert!(lake.write_files(&[batch(&[])]).await.expect("files").is_empty());
}

#[tokio::test]
async fn look_up_ids_have_bloom_filters_and_raw_has_no_statistics() {
    let (_folder, file) = written(&[at(0), at(1)]).await;
    for looked_up in ["event_uid", "actor_id", "issued_credential_id", "on_behalf_of"] {
        assert!(column(&file, looked_up).bloom_filter_offset().is_some(), "{looked_up}");
    }
    assert!(column(&file, "action").bloom_filter_offset().is_none());
    assert!(column(&file, "raw").statistics().is_none());
    assert!(column(&file, "event_time").statistics().is_some());
}

#[tokio::test]
async fn unique_columns_have_no_dictionary_and_the_rest_has() {
    let (_folder, file) = written(&[at(0), at(1)]).await;
    assert!(column(&file, "event_uid").dictionary_page_offset().is_none());
    assert!(column(&file, "source").dictionary_page_offset().is_some());
}

#[tokio::test]
async fn the_log_has_statistics_of_times_positions_and_ids_and_none_of_raw() {
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    super::rows::commit_range(&lake, 0, 3, 6).await.expect("a commit");
    let entry = std::fs::read_to_string(folder.path().join("activities/_delta_log/00000000000000000001.json"));
    let add = entry.expect("a commit").lines().find(|line| line.starts_with("{\"add\"")).map(str::to_string);
    let add: serde_json::Value = serde_json::from_str(&add.expect("a file")).expect("JSON");
    let statistics: serde_json::Value =
        serde_json::from_str(add["add"]["stats"].as_str().expect("statistics")).expect("JSON");
    assert_eq!(
        (&statistics["minValues"]["input_offset"], &statistics["maxValues"]["input_offset"]),
        (&3.into(), &5.into())
    );
    assert_eq!(statistics["maxValues"]["event_time"], "2024-03-01T00:00:05.000Z");
    assert_eq!(statistics["minValues"]["actor_id"], "u-1");
    assert_eq!(statistics["nullCount"]["session_id"], 3);
    assert!(!statistics.to_string().contains("raw"), "{statistics}");
}

#[tokio::test]
async fn a_file_is_described_by_the_hash_of_its_bytes() {
    use sha2::{Digest, Sha256};
    let (folder, location) = folder();
    let lake = Lake::open(&location).await.expect("a lake");
    let files = lake.write_files(&[batch(&[at(0)])]).await.expect("files");
    let bytes = std::fs::read(folder.path().join("activities").join(&files[0].path)).expect("a data file");
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((files[0].sha256.to_string(), files[0].num_bytes), (hash, bytes.len() as u64));
}
