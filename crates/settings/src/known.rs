//! All known keys.

use crate::{Key, Kind, fault::nearest};

/// Keys in groups, each with the path of the section that they belong to; empty for the top level.
#[derive(Debug, Clone, Default)]
pub struct Known(pub Vec<(&'static str, &'static [Key])>);

impl Known {
    /// Calls `see` with each key and its path; a section comes before its keys.
    pub fn visit(&self, see: &mut dyn FnMut(&str, &'static Key)) {
        let mut path = String::new();
        for (section, keys) in &self.0 {
            (*section).clone_into(&mut path);
            visit(&mut path, keys, see);
        }
    }

    /// Returns the paths of all keys.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.visit(&mut |path, _| paths.push(path.to_owned()));
        paths
    }

    /// Returns the key with this path.
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

    /// Returns the names of the keys directly below this path.
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

    /// Returns the error message for an unknown key, with the known key that is probably meant. `own` are the
    /// keys of its section; they are used if the section has no known path because it is a value of a map.
    #[must_use]
    pub fn unknown(&self, section: &str, name: &str, own: &[&str]) -> String {
        let fault = format!("unknown key `{name}`");
        let paths = self.paths();
        // `nsq-topic`: from a variable with one `_` too few.
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
            None if !elsewhere.is_empty() => format!("{fault}; did you mean {}?", elsewhere.join(" or ")),
            None => format!("{fault}; known keys: {}", names.join(", ")),
        }
    }
}

/// Visits keys and builds all paths in one buffer, because every run visits all keys.
fn visit(path: &mut String, keys: &'static [Key], see: &mut dyn FnMut(&str, &'static Key)) {
    for key in keys {
        let outer = enter(path, key.name);
        see(path, key);
        below(path, &key.kind, see);
        path.truncate(outer);
    }
}

/// Appends a step to a path. Returns the previous length.
fn enter(path: &mut String, name: &str) -> usize {
    let outer = path.len();
    if outer > 0 {
        path.push('.');
    }
    path.push_str(name);
    outer
}

/// Visits the keys below a value. A word of a choice is a value and not a key.
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
