//! Settings in force, for users and for other parts of the program.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A description of the settings in force.
#[derive(Debug, Default)]
pub struct Told {
    /// Keys with their values, as in the configuration file.
    pub lines: Vec<(String, String)>,
    /// The files that they name.
    pub files: Vec<NamedFile>,
    /// Warnings about settings that are valid but unwise.
    pub warnings: Vec<String>,
}

/// How the program uses a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The file is read.
    Read,
    /// The file is read and contains a secret.
    ReadSecret,
    /// The file is written in place, and may have companion files.
    Write,
    /// The file is replaced as a whole.
    Replace,
}

/// A file that a configuration names or uses by default.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// The key that names it; empty for the configuration itself.
    pub key: String,
    /// Its path.
    pub path: PathBuf,
    /// How it is used.
    pub access: Access,
    /// Returns whether the second path is a companion file of the first.
    pub is_beside: fn(&Path, &Path) -> bool,
}

impl NamedFile {
    /// Returns a file that is only read.
    #[must_use]
    pub fn read(key: &str, path: &Path) -> Self {
        Self { key: key.to_owned(), path: path.to_owned(), access: Access::Read, is_beside: |_, _| false }
    }

    /// Returns whether runs write it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self.access, Access::Write | Access::Replace)
    }

    /// Returns its key in backticks, or a description.
    #[must_use]
    pub fn name(&self) -> String {
        if self.key.is_empty() { "the configuration itself".to_owned() } else { format!("`{}`", self.key) }
    }
}

impl Told {
    /// Adds a key with its value.
    pub fn line(&mut self, key: &str, value: impl fmt::Display) {
        self.lines.push((key.to_owned(), value.to_string()));
    }

    /// Adds a file.
    pub fn file(&mut self, file: NamedFile) {
        self.files.push(file);
    }

    /// Adds a warning about a key.
    pub fn warning(&mut self, key: &str, text: impl fmt::Display) {
        self.warnings.push(format!("{key}: {text}"));
    }

    /// Returns what `tell` reports about a value as one piece of YAML: `{field: /id}`. Files and warnings are
    /// added as usual.
    pub fn inline(&mut self, tell: impl FnOnce(&mut Self)) -> String {
        let before = std::mem::take(&mut self.lines);
        tell(self);
        let lines = std::mem::replace(&mut self.lines, before);
        match &lines[..] {
            [(key, value)] if key.is_empty() => value.clone(),
            _ => {
                let entries: Vec<_> = lines.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// Writes one line for each setting.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(key, value)| match value {
            // A value may contain anything, even text that looks like another setting.
            value if value.contains(char::is_control) => writeln!(f, "{key}: {value:?}"),
            value => writeln!(f, "{key}: {value}"),
        })
    }
}
