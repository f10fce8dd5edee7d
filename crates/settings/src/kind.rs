//! Static descriptions of keys and values.

use std::time::Duration;

use crate::{Reader, Value};

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, such as `max-in-flight`.
    pub name: &'static str,
    /// Its documentation: paragraphs separated by empty lines, in Markdown with only `code` spans. Tables
    /// show the first paragraph.
    pub doc: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The range of its value.
    pub bounds: Bounds,
    /// What applies if it is missing.
    pub presence: Presence,
    /// An example value in YAML.
    pub example: &'static str,
    /// How `init` asks for it.
    pub ask: Option<Ask>,
    /// Returns whether a value is valid; its faults are added to the reader.
    pub check: fn(&Value, &mut Reader<'_>) -> bool,
}

impl Key {
    /// Returns an optional section.
    #[must_use]
    pub const fn section(name: &'static str, doc: &'static str, keys: &'static [Self]) -> Self {
        Self {
            name,
            doc,
            kind: Kind::Section(keys),
            bounds: Bounds::NONE,
            presence: Presence::Optional,
            example: "",
            ask: None,
            check: |_, _| true,
        }
    }
}

/// What applies if a key is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The key is required.
    Required,
    /// No value.
    Optional,
    /// This value, as a user would write it.
    Default(&'static str),
    /// The default that this text describes.
    Words(&'static str),
}

/// How `init` obtains the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The option that sets it, without dashes; empty if `init` uses the suggestion without asking.
    pub flag: &'static str,
    /// The question on a terminal.
    pub question: &'static str,
    /// The suggested value; empty if there is none.
    pub suggest: &'static str,
    /// The word that selects this key, if it is one of several alternative keys.
    pub instead: &'static str,
    /// Whether its value names the subject of the pipeline, such as the topic. A key of the store with this
    /// flag gets the value of the source as its suggestion.
    pub is_subject: bool,
}

/// Bounds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The minimum.
    pub min: u64,
    /// The maximum.
    pub max: u64,
}

impl Bounds {
    /// No limits.
    pub const NONE: Self = Self { min: 0, max: u64::MAX };

    /// The longest duration, 365 days, in nanoseconds.
    pub const LONGEST: u64 = Duration::from_secs(365 * 24 * 3600).as_secs() * 1_000_000_000;
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number.
    Whole,
    /// A duration with a unit.
    Span,
    /// A number of bytes.
    Size,
    /// `true` or `false`.
    Flag,
    /// Text.
    Text,
    /// `HOST:PORT`.
    Address,
    /// The path of a file, relative to the state directory or to the configuration's folder.
    Path {
        /// Whether it is relative to the state directory.
        is_state: bool,
    },
    /// A list; in text its elements are separated by commas.
    List(&'static Kind),
    /// A map of names to values.
    Table(&'static Kind),
    /// Text, a number, `true` or `false`.
    Scalar,
    /// A secret, or where it is kept: `credential: NAME` or `file: PATH`.
    Secret {
        /// Whether text is the path of a file instead of the secret.
        text_is_path: bool,
    },
    /// One of these words.
    Choice(&'static [Word]),
    /// One of these words, or a value of this type.
    WordOr(&'static [&'static str], &'static Kind),
    /// A section.
    Section(&'static [Key]),
    /// `true`, `false` or a section.
    OnOr(&'static [Key]),
    /// A value of this type, or a section.
    TextOr(&'static Kind, &'static [Key]),
}

impl Kind {
    /// Returns the keys of the section.
    #[must_use]
    pub fn keys(&self) -> &'static [Key] {
        match self {
            Self::Section(keys) | Self::OnOr(keys) | Self::TextOr(_, keys) => keys,
            _ => &[],
        }
    }
}

/// One of the words of a choice.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// The type of its value in `{word: VALUE}`; `None` if the word takes no value.
    pub value: Option<(Kind, Bounds)>,
}
