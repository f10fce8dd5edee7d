//! Lists and maps.

use crate::{Bounds, Kind, Reader, Setting, Told, Value};

/// A map of names to values, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<T>(pub Vec<(String, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Setting> Setting for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        // Parse every element, because each may have its own fault.
        let read: Vec<Option<T>> = match found {
            Value::String(text) => {
                let elements = text.split(',').map(|element| Value::String(element.trim().to_owned()));
                elements.map(|element| T::read(&element, reader)).collect()
            }
            Value::Array(elements) => {
                let element = |(index, element)| {
                    reader.within(&format!("[{index}]"), |reader| T::read(element, reader))
                };
                elements.iter().enumerate().map(element).collect()
            }
            other => {
                reader.wrong(other, "a list");
                return None;
            }
        };
        read.into_iter().collect()
    }

    fn check(&self, bounds: Bounds) -> Result<(), String> {
        if self.is_empty() && bounds.min > 0 {
            return Err("the list is empty, at least one element is required".to_owned());
        }
        if u64::try_from(self.len()).unwrap_or(u64::MAX) > bounds.max {
            return Err(format!("the list has {} elements, at most {} are allowed", self.len(), bounds.max));
        }
        Ok(())
    }

    fn tell(&self, key: &str, told: &mut Told) {
        let elements: Vec<_> = self
            .iter()
            .map(|element| match told.inline(|told| element.tell("", told)) {
                text if needs_quotes(&text) && !matches!(T::KIND, Kind::Address) => format!("{text:?}"),
                text => text,
            })
            .collect();
        told.line(key, format!("[{}]", elements.join(", ")));
    }
}

/// Returns whether the text contains a separator of elements.
fn needs_quotes(text: &str) -> bool {
    text.contains([',', '[', ']', '"']) || text.trim() != text
}

impl<T: Setting> Setting for Table<T> {
    const KIND: Kind = Kind::Table(&T::KIND);

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Object(entries) = found else {
            reader.wrong(found, "a map of names to values");
            return None;
        };
        let mut entry = |(name, value): (&String, &Value)| {
            Some((name.clone(), reader.within(name, |reader| T::read(value, reader))?))
        };
        let read: Vec<_> = entries.iter().map(&mut entry).collect();
        read.into_iter().collect::<Option<_>>().map(Self)
    }

    /// Reports JSON, the form that an environment variable takes.
    fn tell(&self, key: &str, told: &mut Told) {
        if self.0.is_empty() {
            return;
        }
        let entry = |(name, value): &(String, T)| {
            let value = told.inline(|told| value.tell("", told));
            // A scalar is already valid JSON; every other value is text and is quoted.
            let value = match T::KIND {
                Kind::Scalar => value,
                _ => Value::String(value).to_string(),
            };
            format!("{}:{value}", Value::String(name.clone()))
        };
        let entries: Vec<_> = self.0.iter().map(entry).collect();
        told.line(key, format!("{{{}}}", entries.join(",")));
    }
}
