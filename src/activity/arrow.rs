//! The Arrow form of activities: the lake's schema and the builder that rows are appended to.
//!
//! Every field is nullable, so that any engine reads the table; which columns are always there is ours to keep.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch,
    StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::{Activity, COLUMNS, Column, Hop, Kind, Target, Value};

const HOP_FIELDS: [&str; 5] = ["type", "id", "name", "relation", "credential_id"];
const TARGET_FIELDS: [&str; 3] = ["type", "id", "name"];

/// The lake's schema.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(
        COLUMNS.iter().map(|info| Field::new(info.name, data_type(info.kind), true)).collect::<Vec<_>>(),
    ))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::Closed(_) => DataType::Utf8,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::TextList => list_of(DataType::Utf8),
        Kind::Hops => list_of(DataType::Struct(text_fields(&HOP_FIELDS))),
        Kind::Targets => list_of(DataType::Struct(text_fields(&TARGET_FIELDS))),
        Kind::TextMap => {
            let entries =
                Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
        }
    }
}

fn list_of(item: DataType) -> DataType {
    // "element" is the name that Delta and Parquet prescribe for the items of a list.
    DataType::List(Arc::new(Field::new("element", item, true)))
}

fn text_fields(names: &[&str]) -> Fields {
    names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect()
}

/// Collects activities as Arrow columns.
pub struct RowBuilder {
    columns: Vec<ColumnBuilder>,
    num_rows: usize,
    num_bytes: usize,
}

enum ColumnBuilder {
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    TextList(ListBuilder<StringBuilder>),
    Structs(ListBuilder<StructBuilder>),
    TextMap(MapBuilder<StringBuilder, StringBuilder>),
}

impl Default for RowBuilder {
    fn default() -> Self {
        RowBuilder {
            columns: COLUMNS.iter().map(|info| ColumnBuilder::new(info.kind)).collect(),
            num_rows: 0,
            num_bytes: 0,
        }
    }
}

impl RowBuilder {
    pub fn append(&mut self, activity: &Activity<'_>) {
        for (builder, (_, value)) in self.columns.iter_mut().zip(activity.iter()) {
            self.num_bytes += builder.append(value);
        }
        self.num_rows += 1;
    }

    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Roughly how much memory the rows take.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// The rows so far as one batch; the builder is empty afterwards.
    ///
    /// # Errors
    /// Only if the builders and the schema disagree, which a test rules out.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.num_rows = 0;
        self.num_bytes = 0;
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(schema(), arrays)
    }
}

impl ColumnBuilder {
    fn new(kind: Kind) -> ColumnBuilder {
        let list_field = |item: DataType| Arc::new(Field::new("element", item, true));
        let structs = |names: &[&str]| {
            let fields = text_fields(names);
            let item = StructBuilder::from_fields(fields.clone(), 0);
            ColumnBuilder::Structs(ListBuilder::new(item).with_field(list_field(DataType::Struct(fields))))
        };
        match kind {
            Kind::Text | Kind::Closed(_) => ColumnBuilder::Text(StringBuilder::new()),
            Kind::Time => ColumnBuilder::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Date => ColumnBuilder::Date(Date32Builder::new()),
            Kind::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            Kind::Int => ColumnBuilder::Int(Int64Builder::new()),
            Kind::TextList => {
                ColumnBuilder::TextList(ListBuilder::new(StringBuilder::new()).with_field(list_field(DataType::Utf8)))
            }
            Kind::Hops => structs(&HOP_FIELDS),
            Kind::Targets => structs(&TARGET_FIELDS),
            Kind::TextMap => {
                let names = MapFieldNames {
                    entry: "key_value".to_string(),
                    key: "key".to_string(),
                    value: "value".to_string(),
                };
                ColumnBuilder::TextMap(MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()))
            }
        }
    }

    /// Appends `value`, or null where its type is not the column's, and returns the bytes it takes.
    fn append(&mut self, value: Value<'_>) -> usize {
        match self {
            ColumnBuilder::Text(builder) => {
                builder.append_option(value.as_text());
                4 + value.as_text().map_or(0, str::len)
            }
            ColumnBuilder::Time(builder) => {
                builder.append_option(value.as_time());
                8
            }
            ColumnBuilder::Date(builder) => {
                builder.append_option(if let Value::Date(days) = value { Some(days) } else { None });
                4
            }
            ColumnBuilder::Bool(builder) => {
                builder.append_option(if let Value::Bool(truth) = value { Some(truth) } else { None });
                1
            }
            ColumnBuilder::Int(builder) => {
                builder.append_option(if let Value::Int(number) = value { Some(number) } else { None });
                8
            }
            ColumnBuilder::TextList(builder) => {
                let Value::TextList(items) = value else {
                    builder.append_null();
                    return 4;
                };
                for item in items {
                    builder.values().append_value(item);
                }
                builder.append(true);
                4 + items.iter().map(|item| 4 + item.len()).sum::<usize>()
            }
            ColumnBuilder::Structs(builder) => append_structs(builder, value),
            ColumnBuilder::TextMap(builder) => {
                let Value::TextMap(entries) = value else {
                    let appended = builder.append(false);
                    debug_assert!(appended.is_ok(), "keys and values are always appended in pairs");
                    return 4;
                };
                for (key, value) in entries {
                    builder.keys().append_value(key);
                    builder.values().append_value(value);
                }
                let appended = builder.append(true);
                debug_assert!(appended.is_ok(), "keys and values are always appended in pairs");
                4 + entries.iter().map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>()
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Text(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Time(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Date(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Bool(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int(builder) => Arc::new(builder.finish()),
            ColumnBuilder::TextList(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Structs(builder) => Arc::new(builder.finish()),
            ColumnBuilder::TextMap(builder) => Arc::new(builder.finish()),
        }
    }
}

fn append_structs(builder: &mut ListBuilder<StructBuilder>, value: Value<'_>) -> usize {
    let mut num_bytes = 4;
    let mut append_row = |fields: &[Option<&str>]| {
        let row = builder.values();
        for (index, field) in fields.iter().enumerate() {
            num_bytes += 4 + field.map_or(0, str::len);
            if let Some(texts) = row.field_builder::<StringBuilder>(index) {
                texts.append_option(*field);
            }
        }
        row.append(true);
    };
    match value {
        Value::Hops(hops) => {
            for Hop { actor_type, id, name, relation, credential_id } in hops {
                append_row(&[*actor_type, *id, *name, *relation, *credential_id]);
            }
            builder.append(true);
        }
        Value::Targets(targets) => {
            for Target { target_type, id, name } in targets {
                append_row(&[*target_type, *id, *name]);
            }
            builder.append(true);
        }
        _ => builder.append_null(),
    }
    num_bytes
}

/// The index of `column` in batches of [`schema`].
pub const fn index_of(column: Column) -> usize {
    column as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    #[test]
    fn every_kind_of_value_survives() {
        let hops = [Hop { actor_type: Some("human"), id: Some("u-1"), ..Hop::default() }];
        let targets = [Target { id: Some("b"), ..Target::default() }, Target { name: Some("c"), ..Target::default() }];
        let mut activity = Activity::default();
        activity.set(Column::EventUid, Value::Text("s:t:1"));
        activity.set(Column::EventTime, Value::Time(5));
        activity.set(Column::ReceivedDate, Value::Date(1));
        activity.set(Column::Mfa, Value::Bool(true));
        activity.set(Column::Asn, Value::Int(64496));
        activity.set(Column::Scope, Value::TextList(&["read", "write"]));
        activity.set(Column::DelegationChain, Value::Hops(&hops));
        activity.set(Column::Targets, Value::Targets(&targets));
        activity.set(Column::Attributes, Value::TextMap(&[("tool", "Copilot")]));
        let mut builder = RowBuilder::default();
        builder.append(&activity);
        builder.append(&Activity::default());
        let batch = builder.finish().expect("builders fit the schema");

        assert_eq!((batch.num_rows(), batch.num_columns()), (2, Column::COUNT));
        let uids = batch.column(index_of(Column::EventUid)).as_string::<i32>();
        assert_eq!((uids.value(0), uids.is_null(1)), ("s:t:1", true));
        let targets = batch.column(index_of(Column::Targets)).as_list::<i32>();
        assert_eq!(targets.value(0).as_struct().column(1).as_string::<i32>().value(0), "b");
        assert_eq!(batch.column(index_of(Column::Attributes)).as_map().value(0).len(), 1);
        assert_eq!(batch.columns().iter().filter(|column| column.is_null(1)).count(), Column::COUNT);
    }
}
