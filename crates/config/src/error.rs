//! Configuration errors, as shown to the user.

use std::{io, path::PathBuf};

use x_msrv_settings::Fault;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("no configuration found; looked at {}", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    Missing(Vec<PathBuf>),
    /// The file exists and cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// The file is not valid YAML, TOML or JSON.
    #[error("{path}: {fault}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The position and the error.
        fault: String,
    },
    /// All invalid keys and values.
    #[error("{}", in_one_line(.0))]
    Faults(Vec<Fault>),
}

/// Joins all faults; consecutive faults of one origin name it once.
fn in_one_line(faults: &[Fault]) -> String {
    let mut origin = None;
    let fault = |fault: &Fault| {
        let text = fault.to_string();
        let is_same = origin.replace(fault.origin.clone()).is_some_and(|before| before == fault.origin);
        let rest = text.strip_prefix(&*fault.origin).and_then(|rest| rest.strip_prefix(": "));
        rest.filter(|_| is_same).map_or(text.clone(), str::to_owned)
    };
    faults.iter().map(fault).collect::<Vec<_>>().join("; ")
}

impl ConfigError {
    /// Returns the error of an invalid command-line option.
    #[must_use]
    pub fn of_flag(flag: &str, fault: String) -> Self {
        Self::Faults(vec![Fault { origin: flag.to_owned(), key: String::new(), fault }])
    }

    /// Returns whether all faults are in the command line.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Faults(faults) if faults.iter().all(Fault::is_of_a_flag))
    }
}
