//! Settings in force, as people and other parts of the program are told them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What settings say of themselves.
#[derive(Debug, Default)]
pub struct Told {
    /// Keys with their values, in the words of the configuration file.
    pub lines: Vec<(String, String)>,
    /// The files that they name.
    pub files: Vec<NamedFile>,
    /// What works, and is not wise.
    pub warnings: Vec<String>,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is read, and what is in it is a secret.
    ReadSecret,
    /// It is written in place, and there may be files of the same use beside it.
    Write,
    /// It is replaced as a whole.
    Replace,
}

/// A file that a configuration names, or that it has by default.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// The key that names it; empty for the configuration itself.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is done with it.
    pub access: Access,
    /// Whether the second path is a file that is kept beside the one at the first path.
    pub is_beside: fn(&Path, &Path) -> bool,
}

impl NamedFile {
    /// A file that is read.
    #[must_use]
    pub fn read(key: &str, path: &Path) -> Self {
        Self { key: key.to_owned(), path: path.to_owned(), access: Access::Read, is_beside: |_, _| false }
    }

    /// Whether runs write it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self.access, Access::Write | Access::Replace)
    }

    /// Its key in backticks, or what it is.
    #[must_use]
    pub fn name(&self) -> String {
        if self.key.is_empty() { "the configuration itself".to_owned() } else { format!("`{}`", self.key) }
    }
}

impl Told {
    /// A key with its value.
    pub fn line(&mut self, key: &str, value: impl fmt::Display) {
        self.lines.push((key.to_owned(), value.to_string()));
    }

    /// A file.
    pub fn file(&mut self, file: NamedFile) {
        self.files.push(file);
    }

    /// What is not wise at a key.
    pub fn warning(&mut self, key: &str, text: impl fmt::Display) {
        self.warnings.push(format!("{key}: {text}"));
    }

    /// What `tell` tells of a value, in one piece as it can be written in YAML: `{field: /id}`. Files and
    /// warnings are told as ever.
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

/// A line for each setting.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(key, value)| match value {
            // A name may hold anything, even what looks like the next setting.
            value if value.contains(char::is_control) => writeln!(f, "{key}: {value:?}"),
            value => writeln!(f, "{key}: {value}"),
        })
    }
}
