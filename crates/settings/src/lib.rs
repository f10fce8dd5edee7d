//! Settings as types.
//!
//! A section of the configuration is a struct, a choice is an enum, and `#[derive(Settings)]` makes of both what
//! the program, its documentation and its users need:
//!
//! - [`Setting::KIND`]: a static description of keys, values, defaults and bounds. The man page, the JSON Schema,
//!   the reference tables, the questions of `init` and its template are made of it. The doc comments are the text.
//! - [`Setting::read`]: a value of a configuration as this type. It collects every fault, each with the key's
//!   path, what was found, what is allowed, and the nearest known key.
//! - [`Setting::tell`]: the settings in force as lines, the files that they name, and warnings. Secrets are shown
//!   by their place only.
//!
//! This crate is pure: it opens no file and no socket. Paths are joined and never looked at.

extern crate self as x_msrv_settings;

pub mod duration;
mod either;
mod fault;
mod kind;
mod known;
mod list;
mod path;
mod reader;
mod scalar;
#[cfg(test)]
mod tests;
mod told;

pub use either::{OnOr, TextOr};
pub use fault::{Fault, Origins};
pub use kind::{Ask, Bounds, Key, Kind, Presence, Word};
pub use known::Known;
pub use list::Table;
pub use path::{AnyFile, FileKind, Places, ReadFile, StateFile};
pub use reader::Reader;
pub use scalar::{Size, Span, rounded_size};
pub use serde_json::{Map, Value};
pub use told::{Access, NamedFile, Told};
pub use x_msrv_settings_derive::Settings;

/// What a key of a configuration can hold.
pub trait Setting: Sized {
    /// What is allowed, in words and figures.
    const KIND: Kind;

    /// The bounds where a key names none: of a number, a duration in nanoseconds, a size in bytes, or the length
    /// of a list.
    const BOUNDS: Bounds = Bounds::NONE;

    /// Reads a value. Returns `None` where something is wrong with it, after telling the reader.
    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self>;

    /// Whether it is within the bounds.
    ///
    /// # Errors
    /// What is wrong, for a person.
    fn check(&self, bounds: Bounds) -> Result<(), String> {
        let _ = bounds;
        Ok(())
    }

    /// Tells what is in force at `key`, with the files that it names.
    fn tell(&self, key: &str, told: &mut Told);
}

/// A section: a struct whose fields are keys.
pub trait Section: Sized {
    /// Its keys, in the order in which they are documented and shown.
    const KEYS: &'static [Key];

    /// Reads its keys, and leaves others alone.
    fn read_keys(section: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Self>;

    /// Reads the section; a key that it does not have is a fault.
    fn read_section(section: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.refuse_unknown(section, Self::KEYS.iter());
        Self::read_keys(section, reader)
    }

    /// Tells what is in force below `key`.
    fn tell_section(&self, key: &str, told: &mut Told);
}

/// A section with a name of its own in the configuration: `#[setting(section = "NAME")]` at the struct, whose
/// doc comment is the section's documentation.
pub trait NamedSection: Section {
    /// Its name, documentation and keys.
    const SECTION: Key;
}

/// The path of a key in a section.
#[must_use]
pub fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Makes a [`Setting`] of a type that is read from text by [`FromStr`](std::str::FromStr) with a text for its
/// error, and shown by [`Display`](std::fmt::Display).
#[macro_export]
macro_rules! text_setting {
    ($type:ty, $kind:expr) => {
        impl $crate::Setting for $type {
            const KIND: $crate::Kind = $kind;

            fn read(found: &$crate::Value, reader: &mut $crate::Reader<'_>) -> Option<Self> {
                reader.parsed(found)
            }

            fn tell(&self, key: &str, told: &mut $crate::Told) {
                told.line(key, self);
            }
        }
    };
}
