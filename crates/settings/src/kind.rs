//! What a configuration may hold, as static data.

use std::time::Duration;

use crate::{Reader, Value};

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, such as `max-in-flight`.
    pub name: &'static str,
    /// What it means: paragraphs with an empty line between them, in Markdown with nothing but `code`. The first
    /// one stands in tables.
    pub doc: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// How much it may be.
    pub bounds: Bounds,
    /// What holds without it.
    pub presence: Presence,
    /// A value, as it can be written in YAML.
    pub example: &'static str,
    /// How `init` asks for it.
    pub ask: Option<Ask>,
    /// Whether a value can be read; what is wrong with it is told to the reader.
    pub check: fn(&Value, &mut Reader<'_>) -> bool,
}

impl Key {
    /// A section that may be left out.
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

/// What holds where a key is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing: it has to be there.
    Required,
    /// Nothing is set.
    Optional,
    /// This value, as it can be written.
    Default(&'static str),
    /// What these words say.
    Words(&'static str),
}

/// How `init` finds out what a key is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The option that answers it, without dashes; empty where nobody is asked and the suggestion holds.
    pub flag: &'static str,
    /// The question on a terminal.
    pub question: &'static str,
    /// What is suggested; empty where nothing can be.
    pub suggest: &'static str,
    /// The word for this key where another key of the section can be set in its place.
    pub instead: &'static str,
    /// Whether it names what is consumed: a store's key that has no suggestion is suggested the same.
    pub is_subject: bool,
}

/// Bounds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Bounds {
    /// Everything is allowed.
    pub const NONE: Self = Self { min: 0, max: u64::MAX };

    /// The nanoseconds of the longest duration: 365 days.
    pub const LONGEST: u64 = Duration::from_secs(365 * 24 * 3600).as_secs() * 1_000_000_000;
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number.
    Whole,
    /// A duration with its unit.
    Span,
    /// A number of bytes.
    Size,
    /// `true` or `false`.
    Flag,
    /// Text.
    Text,
    /// `HOST:PORT`.
    Address,
    /// The name of a file. A relative one begins at the state directory, or else at the configuration's folder.
    Path {
        /// Whether it begins at the state directory.
        is_state: bool,
    },
    /// A list; as text its elements are separated by commas.
    List(&'static Kind),
    /// Names with a value each.
    Table(&'static Kind),
    /// Text, a number, `true` or `false`, as it is written.
    Scalar,
    /// A secret, `credential: NAME` or `file: PATH`.
    Secret {
        /// Whether text is the path of a file, and not the secret.
        text_is_path: bool,
    },
    /// One of these.
    Choice(&'static [Word]),
    /// One of these words, or a value of this kind.
    WordOr(&'static [&'static str], &'static Kind),
    /// A section.
    Section(&'static [Key]),
    /// `true`, `false` or a section.
    OnOr(&'static [Key]),
    /// A value of this kind, or a section.
    TextOr(&'static Kind, &'static [Key]),
}

impl Kind {
    /// The keys below it.
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
    /// What it means.
    pub doc: &'static str,
    /// What stands behind it: `word: VALUE`; nothing where the word is all.
    pub value: Option<(Kind, Bounds)>,
}
