//! Parsing of a tree, with all its faults.

use std::str::FromStr;

use crate::{Bounds, Fault, Key, Known, Map, Origins, Places, Setting, Value, Word, fault, join};

const NO_VALUE: &str = "has no value; set one or remove the key";
const NO_REQUIRED_VALUE: &str = "has no value; it is required";

/// Collects the faults of a tree while it is parsed, and keeps the path of the current value.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The base folders of relative paths.
    pub places: &'a Places,
    origins: &'a Origins,
    known: &'a Known,
    path: String,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Returns a reader at the top level.
    #[must_use]
    pub fn new(places: &'a Places, origins: &'a Origins, known: &'a Known) -> Self {
        Self { places, origins, known, path: String::new(), faults: Vec::new() }
    }

    /// Returns all faults, in the order in which they were found.
    #[must_use]
    pub fn faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Returns whether no fault was found so far.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Adds a fault of the current value.
    pub fn fault(&mut self, fault: impl Into<String>) {
        let key = self.path.clone();
        self.add(key, fault.into());
    }

    /// Adds a fault of a key below the current value.
    pub fn fault_at(&mut self, key: &str, fault: impl Into<String>) {
        self.add(join(&self.path, key), fault.into());
    }

    fn add(&mut self, key: String, fault: String) {
        let fault = Fault { origin: self.origins.of(&key).to_owned(), key, fault };
        // Alternative keys are parsed by one rule, which may find the same fault twice.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Parses what is below a key.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.len();
        if !key.starts_with('[') && !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = read(self);
        self.path.truncate(outer);
        value
    }

    /// Parses a value and checks these bounds instead of those of its type.
    pub fn value<T: Setting>(&mut self, found: &Value, bounds: Bounds) -> Option<T> {
        let value = T::read(found, self)?;
        value.check(bounds).map_err(|fault| self.fault(fault)).ok()?;
        Some(value)
    }

    /// Parses the value of a key; a null value is a fault.
    pub fn at<T>(
        &mut self,
        name: &str,
        found: &Value,
        read: impl FnOnce(&Value, &mut Self) -> Option<T>,
    ) -> Option<T> {
        self.within(name, |reader| {
            // A `tls:` with all its keys commented out must not mean an unencrypted connection.
            if found.is_null() {
                reader.fault(NO_VALUE);
                return None;
            }
            read(found, reader)
        })
    }

    fn key<T: Setting>(&mut self, key: &Key, found: &Value) -> Option<T> {
        self.at(key.name, found, |found, reader| reader.value(found, key.bounds))
    }

    /// Parses a required key.
    pub fn required<T: Setting>(&mut self, section: &Map<String, Value>, key: &Key) -> Option<T> {
        let Some(found) = section.get(key.name) else {
            self.fault(format!("`{}` is required", key.name));
            return None;
        };
        if found.is_null() {
            self.fault_at(key.name, NO_REQUIRED_VALUE);
            return None;
        }
        self.key(key, found)
    }

    /// Parses an optional key. Returns `None` if its value is invalid.
    pub fn optional<T: Setting>(&mut self, section: &Map<String, Value>, key: &Key) -> Option<Option<T>> {
        match section.get(key.name) {
            None => Some(None),
            Some(found) => self.key(key, found).map(Some),
        }
    }

    /// Parses a key with a default, which is text as in an environment variable.
    pub fn defaulted<T: Setting>(
        &mut self,
        section: &Map<String, Value>,
        key: &Key,
        default: &str,
    ) -> Option<T> {
        match section.get(key.name) {
            None => self.key(key, &Value::String(default.to_owned())),
            Some(found) => self.key(key, found),
        }
    }

    /// Adds a fault for each unknown key of a section.
    pub fn refuse_unknown<'k>(&mut self, section: &Map<String, Value>, keys: impl Iterator<Item = &'k Key>) {
        let keys: Vec<_> = keys.map(|key| key.name).collect();
        for name in section.keys().filter(|name| !keys.contains(&name.as_str())) {
            let fault = self.known.unknown(&self.path, name, &keys);
            self.fault_at(name, fault);
        }
    }

    /// Returns the value as a section.
    pub fn section<'v>(&mut self, found: &'v Value) -> Option<&'v Map<String, Value>> {
        let section = found.as_object();
        if section.is_none() {
            self.wrong(found, "a section");
        }
        section
    }

    /// Returns the value as text.
    pub fn text<'v>(&mut self, found: &'v Value) -> Option<&'v str> {
        let text = found.as_str();
        if text.is_none() {
            self.wrong(found, "text; put it in quotes");
        }
        text
    }

    /// Parses the value with the parser of its type.
    pub fn parsed<T: FromStr<Err = String>>(&mut self, found: &Value) -> Option<T> {
        let parsed = self.text(found)?.parse();
        parsed.map_err(|fault: String| self.fault(fault)).ok()
    }

    /// Adds the fault that the value is not what is expected.
    pub fn wrong(&mut self, found: &Value, expected: &str) {
        let found = match found {
            Value::Null => "nothing".to_owned(),
            Value::Bool(_) | Value::Number(_) => format!("`{found}`"),
            Value::String(text) => format!("{text:?}"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a section".to_owned(),
        };
        self.fault(format!("{found} is not {expected}"));
    }

    /// Parses a choice. Returns the word, and its value if it takes one.
    pub fn choice<'v>(&mut self, found: &'v Value, words: &[Word]) -> Option<(&'v str, Option<&'v Value>)> {
        let (word, given) = match found {
            Value::String(word) => (word, None),
            Value::Object(entries) if entries.len() == 1 => {
                entries.iter().next().map(|(word, value)| (word, Some(value)))?
            }
            Value::Object(_) => {
                self.fault("exactly one choice is required");
                return None;
            }
            other => {
                self.wrong(other, "a word");
                return None;
            }
        };
        let Some(known) = words.iter().find(|known| known.name == word) else {
            self.unknown_word(word, words.iter().map(|known| known.name));
            return None;
        };
        match (&known.value, given) {
            // `dead-letter: {log: }` is valid because `log` takes no value.
            (None, None | Some(Value::Null)) => Some((word, None)),
            (None, Some(other)) => {
                self.within(word, |reader| reader.wrong(other, "allowed: this choice takes no value"));
                None
            }
            (Some(_), Some(value)) if !value.is_null() => Some((word, Some(value))),
            (Some(_), Some(_)) => {
                self.within(word, |reader| reader.fault(NO_VALUE));
                None
            }
            (Some(_), None) => {
                let section = self.path.rsplit('.').next().unwrap_or_default();
                let fault = format!("requires a value: `{section}: {{{word}: VALUE}}`");
                self.fault_at(word, fault);
                None
            }
        }
    }

    /// Adds the fault that the word is unknown.
    pub fn unknown_word<'w>(&mut self, word: &str, known: impl Iterator<Item = &'w str> + Clone) {
        let near = fault::nearest(word, known.clone());
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        self.fault(format!("unknown word {word:?}, allowed: {}{near}", fault::words(known, "or")));
    }
}
