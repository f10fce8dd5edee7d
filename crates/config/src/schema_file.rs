//! The JSON Schema that a configuration names, from its file.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use x_msrv_core::decode::Schema;

/// The schema of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the schema {path}")]
pub struct UnusableSchema {
    path: PathBuf,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

/// Reads and compiles the schema at `path`.
///
/// # Errors
/// The file cannot be read, is not JSON or is no schema.
pub(crate) fn load(path: &Path) -> Result<Schema, UnusableSchema> {
    let unusable = |cause| UnusableSchema { path: path.to_owned(), cause };
    let text = fs::read(path).map_err(|cause| unusable(cause.into()))?;
    Schema::compile(&text).map_err(|cause| unusable(cause.into()))
}

#[cfg(test)]
mod tests {
    use x_msrv_core::error_chain;

    use super::*;

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
            let error = error_chain::text(&load(file.path()).expect_err("refused"));
            assert!(error.starts_with(&format!("cannot use the schema {path}: {reason}")), "{error}");
        }
        let error = error_chain::text(&load(Path::new("/no/such/file")).expect_err("refused"));
        assert!(error.starts_with("cannot use the schema /no/such/file: No such file"), "{error}");
    }
}
