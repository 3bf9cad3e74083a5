//! From a value on its way to a value of a column: the last check before the row.

use bumpalo::Bump;

use super::evaluate::Operand;
use super::json::Json;
use crate::activity::{Kind, Value};

/// `operand` as a value of `kind`.
///
/// # Errors
/// Says why the value cannot stand in such a column.
pub fn coerce<'a>(operand: Operand<'a>, kind: Kind, arena: &'a Bump) -> Result<Value<'a>, String> {
    if operand.is_missing() {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Text => plain_text(operand, arena).map(Value::Text),
        Kind::Closed(set) => {
            let text = plain_text(operand, arena)?;
            // The set's own copy: whatever the event wrote, the column holds the taxonomy's word.
            set.find(text).map(Value::Text).ok_or_else(|| format!("no value of {}", set.name))
        }
        Kind::Time => match operand {
            Operand::Time(micros) => Ok(Value::Time(micros)),
            _ => Err("not a time".to_string()),
        },
        Kind::Bool => match plain_text(operand, arena)? {
            "true" | "True" | "TRUE" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" => Ok(Value::Bool(false)),
            _ => Err("neither true nor false".to_string()),
        },
        Kind::Int => {
            let text = plain_text(operand, arena)?;
            text.parse().map(Value::Int).map_err(|_| "not a whole number of 64 bits".to_string())
        }
        Kind::TextList => match operand.texts(arena) {
            // An array of nothing says as little as no array.
            [] if is_list_of_nothing(operand) => Ok(Value::Null),
            [] => Err("an object where a list was wanted".to_string()),
            list => Ok(Value::TextList(list)),
        },
        Kind::Hops => match operand {
            Operand::Hops(hops) => Ok(Value::Hops(hops)),
            _ => Err("not a delegation chain".to_string()),
        },
        Kind::Targets => match operand {
            Operand::Targets(targets) => Ok(Value::Targets(targets)),
            _ => Err("no targets".to_string()),
        },
        Kind::TextMap => match operand {
            Operand::Map(map) => Ok(Value::TextMap(map)),
            _ => Err("no named texts".to_string()),
        },
        Kind::Date => Err("a date, which no mapping sets".to_string()),
    }
}

fn plain_text<'a>(operand: Operand<'a>, arena: &'a Bump) -> Result<&'a str, String> {
    match operand {
        Operand::List([only]) => Ok(only),
        Operand::List(_) => Err("a list where one value was wanted".to_string()),
        _ => operand.text(arena).ok_or_else(|| "an object or list where one value was wanted".to_string()),
    }
}

fn is_list_of_nothing(operand: Operand<'_>) -> bool {
    matches!(operand, Operand::Json(json) if json.is_array() && json.elements().into_iter().all(Json::is_missing))
}
