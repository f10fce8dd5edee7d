//! What is wrong with a configuration, for the person who has to mend it.

use std::{io, path::PathBuf};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("no configuration found; looked at {}", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    Missing(Vec<PathBuf>),
    /// The file is there and can't be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is none of YAML, TOML and JSON.
    #[error("{path}: {fault}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        fault: String,
    },
    /// A key or a value is wrong.
    #[error("{origin}: {}{fault}", if key.is_empty() || origin.starts_with("--") { String::new() } else { format!("{key}: ") })]
    Value {
        /// The file, the environment variable or the flag that it comes from.
        origin: String,
        /// The path to it, such as `nsq.topic`.
        key: String,
        /// What was found, what is allowed, and the nearest known key.
        fault: String,
    },
}

/// A fault before it is known which layer it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) fault: String,
}

impl Fault {
    pub(super) fn new(key: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { key: key.into(), fault: fault.into() }
    }
}

/// An error of serde's about a key, without the words that serde has for Rust's types.
pub(super) fn in_plain_words(key: &str, text: String) -> String {
    if text == "invalid type: unit variant, expected newtype variant" {
        let mut steps = key.rsplit('.');
        let (choice, parent) = (steps.next().unwrap_or_default(), steps.next().unwrap_or_default());
        return format!("is not complete: `{parent}: {{{choice}: VALUE}}` is required");
    }
    if text == "invalid value: map, expected map with a single key" {
        return "exactly one choice is required".to_owned();
    }
    let Some((found, expected)) = text.split_once(", expected ") else { return text };
    if expected == "unit" {
        return format!("{found}, but this choice takes no value");
    }
    let expected = if expected == "string or map" { "one word" } else { expected };
    let found = match found {
        "invalid type: sequence" => "invalid type: a list",
        "invalid type: map" => "invalid type: a section",
        "invalid type: null" => "no value",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// Adds the nearest known word to an error of serde's that names an unknown one: it lists the known ones in
/// backticks behind the unknown.
pub(super) fn with_nearest(text: String) -> String {
    if !text.starts_with("unknown ") {
        return text;
    }
    let mut words = text.split('`').skip(1).step_by(2);
    let Some(unknown) = words.next() else { return text };
    let close = |word: &&str| strsim::damerau_levenshtein(unknown, word) <= 1 + unknown.len() / 3;
    match words.filter(close).min_by_key(|word| strsim::damerau_levenshtein(unknown, word)) {
        Some(nearest) => format!("{text}; did you mean `{nearest}`?"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_suggested_and_no_far_one() {
        let error = |unknown: &str| {
            with_nearest(format!(
                "unknown field `{unknown}`, expected one of `topic`, `channel`, `max-in-flight`"
            ))
        };
        assert!(error("topc").ends_with("did you mean `topic`?"));
        assert!(error("max_in_flight").ends_with("did you mean `max-in-flight`?"));
        assert!(!error("password").contains("did you mean"));
    }
}
