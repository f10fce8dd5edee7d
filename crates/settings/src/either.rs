//! A section, or a shorter value instead of it.

use crate::{Kind, Reader, Section, Setting, Told, Value};

/// A section or a boolean: `true` is a section without keys, `false` is no section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnOr<T>(pub Option<T>);

/// A value given as text, or a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextOr<V, S> {
    /// The value that was given as text.
    Text(V),
    /// The section.
    Section(S),
}

impl<T: Section> Setting for OnOr<T> {
    const KIND: Kind = Kind::OnOr(T::KEYS);

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let on = match found {
            Value::Object(section) => {
                return T::read_section(section, reader).map(|section| Self(Some(section)));
            }
            Value::Bool(on) => Some(*on),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match on {
            Some(false) => Some(Self(None)),
            Some(true) => T::read_section(&crate::Map::new(), reader).map(|section| Self(Some(section))),
            None => {
                reader.wrong(found, "true, false or a section");
                None
            }
        }
    }

    fn tell(&self, key: &str, told: &mut Told) {
        match &self.0 {
            None => told.line(key, false),
            Some(section) => section.tell_section(key, told),
        }
    }
}

impl<V: Setting, S: Section> Setting for TextOr<V, S> {
    const KIND: Kind = Kind::TextOr(&V::KIND, S::KEYS);

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        match found {
            Value::Object(section) => S::read_section(section, reader).map(Self::Section),
            Value::String(_) => V::read(found, reader).map(Self::Text),
            _ => {
                reader.wrong(found, "text or a section");
                None
            }
        }
    }

    fn tell(&self, key: &str, told: &mut Told) {
        match self {
            Self::Text(value) => value.tell(key, told),
            Self::Section(section) => {
                let text = told.inline(|told| section.tell_section("", told));
                told.line(key, text);
            }
        }
    }
}
