//! Names of configurations on the command line, and files beside them.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{self, SYSTEM};

/// A configuration by its name.
#[derive(Debug, Default, Args)]
pub(crate) struct NameArg {
    /// The name of a configuration in /etc/x-msrv, such as orders for orders.yml
    #[arg(value_name = "NAME", conflicts_with = "config", value_parser = name)]
    name: Option<String>,
}

impl NameArg {
    /// Returns the path of the configuration.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.name.as_deref().map(configuration)
    }
}

/// The first argument before files: the name of a configuration, or a file.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameOrFileArg {
    /// The name of a configuration in /etc/x-msrv, such as orders for orders.yml, unless a file with this
    /// name exists
    #[arg(value_name = "NAME")]
    word: Option<PathBuf>,
    /// Whether it can only be a file, because the configuration is given by an option.
    #[arg(skip)]
    pub(super) is_file: bool,
}

impl NameOrFileArg {
    /// Returns the configuration with this name. A name with a dot counts as a missing file, unless such a
    /// configuration exists.
    pub(super) fn configuration(&self) -> Option<PathBuf> {
        let name = self
            .word
            .as_deref()
            .filter(|word| !self.is_file && word.symlink_metadata().is_err())?
            .to_str()?;
        let has_dot = name.contains('.');
        let is_there = || {
            config::FORMATS.iter().any(|format| Path::new(SYSTEM).join(format!("{name}.{format}")).exists())
        };
        (name != "-" && config::is_name(name) && (!has_dot || is_there())).then(|| configuration(name))
    }

    /// Returns the argument if it is a file.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.word.as_ref().filter(|_| self.configuration().is_none())
    }
}

/// The input of a command and its configuration.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    #[command(flatten)]
    pub(super) which: NameOrFileArg,
    /// A file with one message per line; - is standard input, the default
    pub(super) file: Option<PathBuf>,
}

impl InputArgs {
    /// Returns the file with the messages; - is standard input.
    pub(crate) fn file(&self) -> &Path {
        self.which.file().or(self.file.as_ref()).map_or(Path::new("-"), PathBuf::as_path)
    }
}

/// Returns the path of a system configuration.
pub(super) fn configuration(name: &str) -> PathBuf {
    Path::new(SYSTEM).join(format!("{name}.yml"))
}

/// Parses the name of a configuration.
fn name(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "expected a name such as orders for /etc/x-msrv/orders.yml; use --config for a path";
    config::is_name(text).then(|| text.to_owned()).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_valid_in_the_names_of_units() {
        for wrong in ["../x", "a/b", "a b", "x.yml", "x.json", ".hidden", "", "\u{e9}", "a\nb"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        for right in ["orders", "orders.v2", "a-b_c:1"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
    }
}
