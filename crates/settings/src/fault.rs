//! Configuration errors, as shown to the user.

use std::{collections::BTreeMap, fmt};

/// An invalid key or value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, the environment variable or the flag that it comes from.
    pub origin: String,
    /// The path of the key, such as `nsq.topic`; empty if the fault is in the configuration as a whole.
    pub key: String,
    /// What was found, what is allowed, and the nearest known key.
    pub fault: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, fault } = self;
        if key.is_empty() || self.is_of_a_flag() {
            write!(f, "{origin}: {fault}")
        } else {
            write!(f, "{origin}: {key}: {fault}")
        }
    }
}

impl Fault {
    /// Returns whether the fault is in a command-line option, not in the configuration.
    #[must_use]
    pub fn is_of_a_flag(&self) -> bool {
        self.origin.starts_with("--")
    }
}

/// Which file, variable or option each value comes from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// The file.
    pub file: String,
    /// The keys that are not set by the file, each with the variable or option that sets it.
    pub others: BTreeMap<String, String>,
}

impl Origins {
    /// Returns the file, variable or option that sets this key.
    #[must_use]
    pub fn of(&self, key: &str) -> &str {
        let is_inside = |other: &str| {
            key.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let other = self.others.iter().find(|(other, _)| is_inside(other));
        other.map_or(&self.file, |(_, origin)| origin)
    }
}

/// Returns the known word that is most similar, if one is similar enough.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |word: &&str| strsim::damerau_levenshtein(unknown, word);
    known.filter(|word| distance(word) <= 1 + unknown.len() / 3).min_by_key(distance)
}

/// Returns the words in backticks: `` `a`, `b` and `c` ``.
pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>, last: &str) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match &words[..] {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., end] => format!("{} {last} {end}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_word_is_suggested() {
        let near = |unknown| nearest(unknown, ["topic", "channel", "max-in-flight"].into_iter());
        assert_eq!(near("topc"), Some("topic"));
        assert_eq!(near("max_in_flight"), Some("max-in-flight"));
        assert_eq!(near("password"), None);
    }

    /// Otherwise a user looks in the file for a value that a variable sets.
    #[test]
    fn a_fault_names_the_origin_of_its_value() {
        let others = [("nsq.topic", "A"), ("fields.rename", "B"), ("timeout", "--timeout")];
        let others = others.map(|(key, origin)| (key.to_owned(), origin.to_owned())).into();
        let origins = Origins { file: "x.yml".to_owned(), others };
        for (key, origin) in [
            ("nsq.topic", "A"),
            ("nsq.topics", "x.yml"),
            ("fields.rename.a", "B"),
            ("nsq.topic[0]", "A"),
            ("timeout", "--timeout"),
            ("nsq", "x.yml"),
        ] {
            assert_eq!(origins.of(key), origin, "{key}");
        }
    }
}
