//! Converts fields to bins and back.

use aerospike::{Bin, IndexMap, Value as AsValue};

use x_msrv_core::record::{Fields, KEY_FIELD, Record, Value};

/// The length of the longest bin name in bytes (`AS_BIN_NAME_MAX_SZ` without the terminator).
pub const MAX_BIN_NAME: usize = 15;

/// The limit on bins of one record (`RECORD_MAX_BINS` in the server's `datamodel.h`), including the key's.
/// The client sends their number in 16 bits and drops the higher bits.
const MAX_BINS: usize = 32_767;

/// How many characters of a name an error shows.
const SHOWN: usize = 40;

/// Returns the bins of a record, including its key.
///
/// A null field is omitted: under `update` it would delete the bin, and under `replace` it is an error.
///
/// # Errors
/// Why Aerospike cannot hold it, as text for the user.
pub fn bins(record: Record) -> Result<Vec<Bin>, String> {
    let mut bins = Vec::with_capacity(record.fields.len() + 1);
    bins.push(Bin::new(KEY_FIELD, as_value(record.key.into())));
    for (name, value) in record.fields {
        check_name(&name)?;
        if !matches!(value, Value::Null) && name != KEY_FIELD {
            bins.push(Bin::new(name, as_value(value)));
        }
    }
    if bins.len() > MAX_BINS {
        let (fields, most) = (bins.len() - 1, MAX_BINS - 1);
        return Err(format!("the document has {fields} fields (limit {most})"));
    }
    Ok(bins)
}

/// Checks that a bin can have this name.
///
/// # Errors
/// Why it cannot, as text for the user.
pub fn check_name(name: &str) -> Result<(), String> {
    let shown = || {
        let shown: String = name.chars().take(SHOWN).collect();
        if shown.len() < name.len() { format!("`{shown}…`") } else { format!("`{shown}`") }
    };
    match name.len() {
        // The server accepts it, but no tool can then access the bin.
        0 => Err("a field without a name cannot be a bin".to_owned()),
        length if length > MAX_BIN_NAME => Err(format!(
            "the field name {} has {length} bytes (limit for a bin name: {MAX_BIN_NAME})",
            shown()
        )),
        _ if name.contains('\0') => {
            Err(format!("the field name {} contains a NUL, which ends a bin name", shown()))
        }
        _ => Ok(()),
    }
}

fn as_value(value: Value) -> AsValue {
    match value {
        Value::Null => AsValue::Nil,
        Value::Bool(value) => AsValue::Bool(value),
        Value::Int(value) => AsValue::Int(value),
        // The server has no such integer, and no type for timestamps.
        Value::UInt(value) => AsValue::String(value.to_string()),
        Value::Timestamp(value) => AsValue::String(value.to_string()),
        Value::Bytes(value) => AsValue::Blob(value.into()),
        Value::Float(value) => AsValue::from(value),
        Value::Text(value) => AsValue::String(value),
        Value::List(values) => AsValue::List(values.into_iter().map(as_value).collect()),
        Value::Map(fields) => AsValue::OrderedMap(
            fields
                .into_iter()
                .map(|(name, value)| (AsValue::String(name), as_value(value)))
                .collect::<IndexMap<_, _>>(),
        ),
    }
}

/// Returns the fields that bins represent.
pub fn fields(bins: impl IntoIterator<Item = (String, AsValue)>) -> Fields {
    bins.into_iter().map(|(name, value)| (name, value_of(value))).collect()
}

fn value_of(value: AsValue) -> Value {
    match value {
        AsValue::Nil => Value::Null,
        AsValue::Bool(value) => Value::Bool(value),
        AsValue::Int(value) => Value::Int(value),
        AsValue::Float(value) => Value::Float(value.into()),
        AsValue::String(value) => Value::Text(value),
        AsValue::List(values) => Value::List(values.into_iter().map(value_of).collect()),
        AsValue::OrderedMap(map) => {
            Value::Map(map.into_iter().map(|(name, value)| (name_of(name), value_of(value))).collect())
        }
        AsValue::HashMap(map) => {
            Value::Map(map.into_iter().map(|(name, value)| (name_of(name), value_of(value))).collect())
        }
        AsValue::SortedMap(map) => {
            Value::Map(map.into_iter().map(|(name, value)| (name_of(name), value_of(value))).collect())
        }
        // Types without a JSON equivalent, which only other programs can have written: displayed as text.
        other => Value::Text(other.to_string()),
    }
}

fn name_of(key: AsValue) -> String {
    match key {
        AsValue::String(name) => name,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: Fields) -> Record {
        Record { key: x_msrv_core::record::Key::Int(7), fields, size: 0, set: None, ttl: None, message: None }
    }

    /// A name longer than 15 bytes made the original's consumer back off for 2 s and drop the message.
    #[test]
    fn a_name_over_the_limit_in_bytes_is_refused_with_the_name() {
        let field = |name: &str| record(vec![(name.to_owned(), Value::Int(1))]);
        assert_eq!(bins(field("äöüäöüä1")).expect("15 bytes").len(), 2);
        assert!(bins(field("äöüäöüäö")).expect_err("16 bytes").contains("`äöüäöüäö` has 16 bytes"));
        let long = bins(field(&"ä".repeat(1_000))).expect_err("2,000 bytes");
        assert!(
            long.contains("…` has 2000 bytes") && long.chars().count() < 160,
            "the fault is after the name: {long}"
        );
        assert!(bins(field("")).is_err());
    }

    #[test]
    fn null_fields_are_omitted_and_an_empty_document_still_has_its_key() {
        let names = |fields| {
            bins(record(fields)).expect("bins").iter().map(|bin| bin.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(vec![("a".into(), Value::Null), ("b".into(), Value::Int(1))]), ["gid", "b"]);
        assert_eq!(names(Vec::new()), ["gid"]);
        assert_eq!(names(vec![("gid".into(), Value::Int(7))]), ["gid"]);
    }
}
