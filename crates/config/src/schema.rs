//! An optional JSON Schema that every document must match. It is checked on decoded fields, so the documents can
//! have any format.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use x_msrv_core::{
    decode::{Rejection, Schema},
    record::Fields,
};

use crate::unique_json::Unique;

/// A compiled JSON Schema. References to other files or hosts are not followed.
#[derive(Debug)]
pub struct JsonSchema(jsonschema::Validator);

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

/// The schema of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the schema {path}")]
pub struct UnusableSchema {
    path: PathBuf,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

impl JsonSchema {
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

    /// Reads and compiles the schema at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, or is not a schema.
    pub(crate) fn load(path: &Path) -> Result<Self, UnusableSchema> {
        let unusable = |cause| UnusableSchema { path: path.to_owned(), cause };
        let text = fs::read(path).map_err(|cause| unusable(cause.into()))?;
        Self::compile(&text).map_err(|cause| unusable(cause.into()))
    }
}

impl Schema for JsonSchema {
    fn check(&self, fields: &Fields) -> Result<(), Rejection> {
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
    use x_msrv_core::{decode::BigIntegers, error_chain};
    use x_msrv_json::parse_object;

    use super::*;

    fn compiled(text: &str) -> Result<JsonSchema, SchemaError> {
        JsonSchema::compile(text.as_bytes())
    }

    fn fields(text: &str) -> Fields {
        parse_object(text.as_bytes(), BigIntegers::Reject).expect("an object")
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

    /// Without the path, a user with several pipelines would not know which file to correct.
    #[test]
    fn a_schema_that_cannot_be_used_is_reported_with_its_path_and_the_reason() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = file.path().display().to_string();
        for (text, reason) in [
            ("{", "not valid JSON: "),
            (r#"{"type":"intger"}"#, r#"not a valid JSON Schema: /type: "intger" is not allowed here"#),
        ] {
            fs::write(file.path(), text).expect("written");
            let error = error_chain::text(&JsonSchema::load(file.path()).expect_err("refused"));
            assert!(error.starts_with(&format!("cannot use the schema {path}: {reason}")), "{error}");
        }
        let error = error_chain::text(&JsonSchema::load(Path::new("/no/such/file")).expect_err("refused"));
        assert!(error.starts_with("cannot use the schema /no/such/file: No such file"), "{error}");
    }
}
