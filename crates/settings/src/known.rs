//! All keys that a program knows.

use crate::{Key, Kind, fault::nearest};

/// Keys in groups, each with the path of the section that they belong to; empty for the top level.
#[derive(Debug, Clone, Default)]
pub struct Known(pub Vec<(&'static str, &'static [Key])>);

impl Known {
    /// Calls `see` with each key and its path, sections before what is in them.
    pub fn visit(&self, see: &mut dyn FnMut(&str, &'static Key)) {
        let mut path = String::new();
        for (section, keys) in &self.0 {
            (*section).clone_into(&mut path);
            visit(&mut path, keys, see);
        }
    }

    /// The paths of all keys.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.visit(&mut |path, _| paths.push(path.to_owned()));
        paths
    }

    /// The key with this path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&'static Key> {
        let mut found = None;
        self.visit(&mut |other, key| {
            if other == path {
                found = Some(key);
            }
        });
        found
    }

    /// The names of keys right below this path.
    fn names(&self, path: &str) -> Vec<String> {
        let below = |other: String| {
            let rest =
                if path.is_empty() { Some(&*other) } else { other.strip_prefix(path)?.strip_prefix('.') };
            let name = rest?.split('.').next()?;
            Some(name.to_owned())
        };
        let mut names: Vec<_> = self.paths().into_iter().filter_map(below).collect();
        names.dedup();
        names
    }

    /// What is wrong with a key that nobody knows, with the key that may be meant. `own` are the keys of the section,
    /// which has no path of its own where it is a value of a table.
    #[must_use]
    pub fn unknown(&self, section: &str, name: &str, own: &[&str]) -> String {
        let fault = format!("unknown key `{name}`");
        let paths = self.paths();
        // `nsq-topic`, from a variable with one `_` too few.
        let meant = paths.iter().find(|key| key.contains('.') && key.replace('.', "-") == name);
        if let Some(meant) = meant {
            let variable = meant.to_ascii_uppercase().replace('.', "__").replace('-', "_");
            return format!("{fault}; did you mean `{meant}`, X_MSRV__{variable}?");
        }
        let is_elsewhere = |key: &&String| key.rsplit('.').next() == Some(name);
        let elsewhere: Vec<_> = paths.iter().filter(is_elsewhere).map(|key| format!("`{key}`")).collect();
        let mut names = self.names(section);
        if names.is_empty() {
            names = own.iter().map(ToString::to_string).collect();
        }
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("{fault}; did you mean `{near}`?"),
            None if !elsewhere.is_empty() => format!("{fault}; there is {}", elsewhere.join(" and ")),
            None => format!("{fault}; known here: {}", names.join(", ")),
        }
    }
}

/// Visits keys in one buffer for their paths: a run looks at all of them.
fn visit(path: &mut String, keys: &'static [Key], see: &mut dyn FnMut(&str, &'static Key)) {
    for key in keys {
        let outer = enter(path, key.name);
        see(path, key);
        below(path, &key.kind, see);
        path.truncate(outer);
    }
}

/// Adds a step to a path. Returns how long it was.
fn enter(path: &mut String, name: &str) -> usize {
    let outer = path.len();
    if outer > 0 {
        path.push('.');
    }
    path.push_str(name);
    outer
}

/// A word of a choice is a value; only what is below it can be a key.
fn below(path: &mut String, kind: &'static Kind, see: &mut dyn FnMut(&str, &'static Key)) {
    visit(path, kind.keys(), see);
    if let Kind::Choice(words) = kind {
        for word in *words {
            if let Some((kind, _)) = &word.value {
                let outer = enter(path, word.name);
                below(path, kind, see);
                path.truncate(outer);
            }
        }
    }
}
