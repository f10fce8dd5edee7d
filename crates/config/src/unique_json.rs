//! JSON as a tree without duplicate fields. `serde_json` silently keeps the last one. Pure.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Any JSON value; a duplicate field at any level is an error that names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unique(pub(crate) Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Unique(value)) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut fields = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    let Unique(value) = map.next_value()?;
                    fields.insert(name, value);
                }
                Ok(Value::Object(fields))
            }
        }

        deserializer.deserialize_any(Anything).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_duplicates_is_parsed_as_by_serde_json() {
        for text in [
            r#"{"a": [1, -1, 0.5, null, true, "x", {"a": {"a": 1}}], "b": 18446744073709551615}"#,
            "null",
            "[]",
            r#""ü""#,
            "1e400",
            "[1",
        ] {
            let (ours, theirs) = (serde_json::from_str::<Unique>(text), serde_json::from_str::<Value>(text));
            assert_eq!(
                ours.map(|Unique(value)| value).map_err(|error| error.to_string()),
                theirs.map_err(|error| error.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duplicate_field_is_found_at_every_level_with_any_value_and_any_escaping() {
        for text in
            [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": {}, "c": 1, "a": []}}]"#, r#"{"a": null, "\u0061": 2}"#]
        {
            let error = serde_json::from_str::<Unique>(text).expect_err(text).to_string();
            assert!(error.starts_with("duplicate field `a` at line 1 column "), "{error}");
        }
    }
}
