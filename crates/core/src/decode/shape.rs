//! Maps a document's fields to those of its record, by the configured rules.
//!
//! The order is fixed, so that a configuration has one meaning: include, exclude, flatten, rename, constants
//! and metadata, long names. Each step works on the result of the previous one. If two fields get the same
//! name, the message is rejected, because one of them would be lost.
//! name are no record: one of them would be lost.

use super::{
    Rejection,
    rules::{OnLongName, RuleFault, Rules, shorten},
    selection::Selection,
};
use crate::{
    message::Message,
    record::{Fields, Value, repeated_name},
};

/// The limit on the total length of flattened field names, as a multiple of the body's length. A name around
/// many fields becomes part of each of their names: a mebibyte could become gigabytes.
pub const NAMES_TO_BODY: usize = 16;

/// Consistent rules, prepared for messages.
#[derive(Debug, PartialEq)]
pub struct Shape {
    rules: Rules,
    include: Option<Selection>,
    exclude: Option<Selection>,
    /// The length of the longest name in bytes, if longer ones are hashed.
    longest: Option<usize>,
}

/// A configuration contains no number that is not equal to itself.
impl Eq for Shape {}

impl Shape {
    /// Prepares the rules for a store. `longest` is the limit on the length of a name in bytes, if there is
    /// one (at least nine), and `check` returns any other fault of a name.
    ///
    /// # Errors
    /// No message could be stored under these rules, or a rule has no effect.
    pub fn new(
        mut rules: Rules,
        longest: Option<usize>,
        check: fn(&str) -> Result<(), String>,
    ) -> Result<Self, RuleFault> {
        let longest = longest.filter(|_| rules.on_long_name == OnLongName::Hash);
        rules.make_ready(longest, check)?;
        Ok(Self {
            include: rules.include.as_deref().map(Selection::of),
            exclude: Some(&rules.exclude).filter(|paths| !paths.is_empty()).map(|paths| Selection::of(paths)),
            longest,
            rules,
        })
    }

    /// Returns the rules, with the resulting names.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns how many bytes every record has in addition to its document.
    #[must_use]
    pub fn added(&self) -> usize {
        let size = |(name, value): &(String, Value)| {
            name.len() + if let Value::Text(text) = value { text.len() } else { size_of::<i64>() }
        };
        self.rules.constant.iter().map(size).sum()
    }

    /// Returns the fields to store for `message`, whose document of `size` bytes contains `fields`.
    ///
    /// # Errors
    /// Two fields would get the same name, or names would become too long.
    pub fn apply(&self, mut fields: Fields, message: &Message, size: usize) -> Result<Fields, Rejection> {
        if let Some(include) = &self.include {
            include.keep(&mut fields);
        }
        if let Some(exclude) = &self.exclude {
            exclude.remove(&mut fields);
        }
        if let Some(separator) = &self.rules.flatten {
            fields = flattened(fields, separator, NAMES_TO_BODY.saturating_mul(size))?;
        }
        for (name, _) in &mut fields {
            match self.rules.rename.iter().find(|(path, _)| path.top() == Some(name)) {
                Some((_, other)) => name.clone_from(other),
                None => shorten(name, self.longest),
            }
        }
        fields.extend(self.rules.constant.iter().cloned());
        fields.extend(
            self.rules.metadata.iter().filter_map(|(name, what)| Some((name.clone(), what.of(message)?))),
        );
        match repeated_name(&fields) {
            Some(name) => Err(Rejection::OneName(name.to_owned())),
            None => Ok(fields),
        }
    }
}

/// Returns nested objects as separate fields; an empty object stays, so that it is not lost. `room` is the
/// limit on the bytes of all names.
fn flattened(fields: Fields, separator: &str, room: usize) -> Result<Fields, Rejection> {
    let mut flat = Flat { fields: Vec::with_capacity(fields.len()), separator, prefix: String::new(), room };
    if flat.add(fields) { Ok(flat.fields) } else { Err(Rejection::LongNames { limit: room }) }
}

struct Flat<'a> {
    fields: Fields,
    separator: &'a str,
    /// The names of the enclosing objects, each followed by the separator.
    prefix: String,
    room: usize,
}

impl Flat<'_> {
    /// Returns whether the names fit.
    fn add(&mut self, fields: Fields) -> bool {
        fields.into_iter().all(|(name, value)| match value {
            Value::Map(inside) if !inside.is_empty() => {
                let outer = self.prefix.len();
                self.prefix.push_str(&name);
                self.prefix.push_str(self.separator);
                let added = self.add(inside);
                self.prefix.truncate(outer);
                added
            }
            value => {
                let Some(room) = self.room.checked_sub(self.prefix.len() + name.len()) else { return false };
                self.room = room;
                self.fields.push((
                    if self.prefix.is_empty() { name } else { [&self.prefix, &*name].concat() },
                    value,
                ));
                true
            }
        })
    }
}
