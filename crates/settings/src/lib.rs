//! Settings as types.
//!
//! A section of the configuration is a struct and a choice is an enum. `#[derive(Settings)]` generates from
//! both:
//!
//! - [`Setting::KIND`]: a static description of keys, values, defaults and bounds. The man page, the JSON
//!   Schema, the reference tables, and the questions and template of `init` are generated from it. The doc
//!   comments are their text.
//! - [`Setting::read`]: parses a value. It collects every fault, each with the path of the key, the value
//!   found, the allowed values, and the most similar known key.
//! - [`Setting::tell`]: reports the settings in force as lines, the files that they name, and warnings. Of a
//!   secret only its location is shown.
//!
//! This crate is pure: it opens no file and no socket. It joins paths without accessing them.

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

/// The value of a key.
pub trait Setting: Sized {
    /// The type of the value.
    const KIND: Kind;

    /// The bounds if the key sets none: of a number, a duration in nanoseconds, a size in bytes, or the
    /// length of a list.
    const BOUNDS: Bounds = Bounds::NONE;

    /// Parses a value. Returns `None` if it is invalid, after adding the fault to the reader.
    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self>;

    /// Checks that it is within the bounds.
    ///
    /// # Errors
    /// The error message.
    fn check(&self, bounds: Bounds) -> Result<(), String> {
        let _ = bounds;
        Ok(())
    }

    /// Reports the value in force for `key`, and the files that it names.
    fn tell(&self, key: &str, told: &mut Told);
}

/// A section: a struct whose fields are keys.
pub trait Section: Sized {
    /// Its keys, in the order in which they are documented and shown.
    const KEYS: &'static [Key];

    /// Parses its keys and ignores others.
    fn read_keys(section: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Self>;

    /// Parses the section; an unknown key is a fault.
    fn read_section(section: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.refuse_unknown(section, Self::KEYS.iter());
        Self::read_keys(section, reader)
    }

    /// Reports the values in force below `key`.
    fn tell_section(&self, key: &str, told: &mut Told);
}

/// A section with its own name in the configuration: `#[setting(section = "NAME")]` on a struct whose doc comment
/// is the documentation of the section.
pub trait NamedSection: Section {
    /// Its name, documentation and keys.
    const SECTION: Key;
}

/// Returns the path of a key in a section.
#[must_use]
pub fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Implements [`Setting`] for a type that is parsed by [`FromStr`](std::str::FromStr), with a `String` as its
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
