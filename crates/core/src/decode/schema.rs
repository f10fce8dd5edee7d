//! An optional JSON Schema that every document must match.

use jsonschema::{ValidationError, error::ValidationErrorKind};

use super::Rejection;
use crate::{record::Fields, unique_json::Unique};

/// A compiled JSON Schema. References to other files or hosts are not followed.
#[derive(Debug)]
pub struct Schema(jsonschema::Validator);

/// Why a schema cannot be used; the configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON.
    #[error("not valid JSON")]
    Parse(#[source] serde_json::Error),
    /// The text is JSON, but not a schema; contains the place and the fault.
    #[error("not a valid JSON Schema: {0}")]
    Invalid(String),
}

impl Schema {
    /// Compiles a schema from its text.
    ///
    /// # Errors
    /// The text is not JSON, or not a schema.
    pub fn compile(text: &[u8]) -> Result<Self, SchemaError> {
        let Unique(schema) = serde_json::from_slice(text).map_err(SchemaError::Parse)?;
        jsonschema::validator_for(&schema)
            .map(Self)
            .map_err(|fault| SchemaError::Invalid(in_plain_words(&fault)))
    }

    /// Checks a document.
    pub(super) fn check(&self, fields: &Fields) -> Result<(), Rejection> {
        let document = serde_json::Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), serde_json::json!(value))).collect(),
        );
        // Not `iter_errors`: it creates an error for each fault of the document, and there can be as many as
        // bytes.
        let Err(fault) = self.0.validate(&document) else { return Ok(()) };
        let path = match fault.instance_path().to_string() {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        Err(Rejection::Schema { path, fault: fault.masked().to_string() })
    }
}

/// Describes the fault in a schema and its place. The validator's own texts name its Rust features and its
/// own schemas.
fn in_plain_words(fault: &ValidationError<'_>) -> String {
    const SUPPORTED: &str = "drafts 4, 6, 7, 2019-09 and 2020-12 of JSON Schema are supported";
    let place = fault.instance_path().to_string();
    let at = if place.is_empty() { String::new() } else { format!("{place}: ") };
    let words = fault.to_string();
    let words = match fault.kind() {
        ValidationErrorKind::AnyOf { .. } => format!("{} is not allowed here", fault.instance()),
        ValidationErrorKind::Referencing(_) => {
            let named = words.split('\'').nth(1).unwrap_or_default();
            match () {
                () if words.starts_with("Unknown meta-schema") => {
                    format!("`$schema` is `{named}`: only {SUPPORTED}")
                }
                () if words.starts_with("Resource ") => {
                    format!("`$ref` names `{named}`: references to other files or hosts are not followed")
                }
                () => format!("`$ref` names `{named}`, which is not in the schema"),
            }
        }
        _ => words,
    };
    format!("{at}{words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Schema, SchemaError> {
        Schema::compile(text.as_bytes())
    }

    fn fields(text: &str) -> Fields {
        crate::decode::json::parse_object(text.as_bytes(), crate::decode::BigIntegers::Reject)
            .expect("an object")
    }

    #[test]
    fn a_schema_fault_names_the_place_but_not_the_value() {
        let schema = compiled(r#"{"properties":{"a":{"items":{"type":"integer"}}},"required":["id"]}"#)
            .expect("a schema");
        schema.check(&fields(r#"{"id":1,"a":[1]}"#)).expect("fits");
        let Err(Rejection::Schema { path, fault }) = schema.check(&fields(r#"{"id":1,"a":[1,"secret"]}"#))
        else {
            panic!("does not fit")
        };
        assert_eq!(path, "/a/1");
        assert!(fault.contains("integer") && !fault.contains("secret"), "{fault}");
        let Err(Rejection::Schema { path, fault }) = schema.check(&fields("{}")) else {
            panic!("does not fit")
        };
        assert!(path == "/" && fault.contains("id"), "{path} {fault}");
    }

    #[test]
    fn an_invalid_schema_is_a_configuration_error() {
        assert!(matches!(compiled("{"), Err(SchemaError::Parse(_))));
        // The last one won silently, and the first one was not checked.
        assert!(matches!(
            compiled(r#"{"properties":{"a":{"type":"integer","type":"string"}}}"#),
            Err(SchemaError::Parse(_))
        ));
        assert!(matches!(compiled(r#"{"type":"intger"}"#), Err(SchemaError::Invalid(_))));
        assert!(matches!(compiled(r#"{"$ref":"http://127.0.0.1:1/other"}"#), Err(SchemaError::Invalid(_))));
    }

    /// The text was `"intger" is not valid under any of the schemas listed in the 'anyOf' keyword`, and the
    /// name of a Rust crate's feature.
    #[test]
    fn a_fault_in_a_schema_has_its_place_and_no_library_text() {
        let cases = [
            (
                r#"{"properties":{"a":{"type":"intger"}}}"#,
                "/properties/a/type: \"intger\" is not allowed here",
            ),
            (
                r#"{"$ref":"http://h/other"}"#,
                "`$ref` names `http://h/other`: references to other files or hosts are not followed",
            ),
            (
                r#"{"$ref":"other.json"}"#,
                "`$ref` names `other.json`: references to other files or hosts are not followed",
            ),
            (r##"{"$ref":"#/nope"}"##, "`$ref` names `/nope`, which is not in the schema"),
            (
                r#"{"$schema":"http://h/y"}"#,
                "`$schema` is `http://h/y`: only drafts 4, 6, 7, 2019-09 and 2020-12 of JSON Schema are supported",
            ),
        ];
        for (text, words) in cases {
            let Err(SchemaError::Invalid(fault)) = compiled(text) else { panic!("{text}") };
            assert_eq!(fault, words);
        }
    }
}
