//! What is wrong with a configuration, for the person who has to correct it.

use std::{io, path::PathBuf};

use x_msrv_settings::Fault;

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("no configuration found; looked at {}", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    Missing(Vec<PathBuf>),
    /// The file exists and can't be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is none of YAML, TOML and JSON.
    #[error("{path}: {fault}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        fault: String,
    },
    /// Keys or values are wrong: all of them.
    #[error("{}", in_one_line(.0))]
    Faults(Vec<Fault>),
}

/// All faults, each origin named where it begins.
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
    /// An option of the command line that can't be followed.
    #[must_use]
    pub fn of_flag(flag: &str, fault: String) -> Self {
        Self::Faults(vec![Fault { origin: flag.to_owned(), key: String::new(), fault }])
    }

    /// Whether only the command line is wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Faults(faults) if faults.iter().all(Fault::is_of_a_flag))
    }
}
