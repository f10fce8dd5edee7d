//! The section `history` of the configuration.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use x_msrv_settings::{self as settings, FileKind, Places, StateFile};
use x_msrv_state::sqlite::Database;

use crate::mark;

/// The settings of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; it is created if it does not exist.
    pub path: PathBuf,
    /// Runs that started longer ago are deleted.
    pub max_age: Duration,
    /// The oldest runs over this number are deleted.
    pub max_runs: NonZeroU64,
}

/// A database with the mark of the newest run beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log;

impl FileKind for Log {
    fn is_beside(place: &Path, other: &Path) -> bool {
        Database::is_beside(place, other) || mark::path(place) == other
    }
}

/// The keys of `history`.
#[derive(Debug, Clone, PartialEq, Eq, settings::Settings)]
pub struct Keys {
    /// The file; it is created by the first run.
    ///
    /// Each configuration needs its own: if two write the same file, `status`, `history` and the metrics mix
    /// the runs of both.
    #[setting(
        words = "`history.db`; `NAME-history.db` beside a configuration `NAME.yml` that is not below `/etc`",
        example = "history.db"
    )]
    path: Option<StateFile<Log>>,
    /// Runs that started longer ago are deleted.
    #[setting(default = "30d")]
    max_age: Duration,
    /// The oldest runs over this number are deleted, at most 100 of them at each run. The default is eleven
    /// days of runs that start every 10 s, about 15 MB.
    #[setting(default = "100000")]
    max_runs: NonZeroU64,
}

impl Keys {
    /// Returns the effective settings; without a path, the file has its default name.
    #[must_use]
    pub fn settings(&mut self, places: &Places) -> Settings {
        let path = self.path.get_or_insert_with(|| StateFile::by_default(places, "history.db"));
        Settings { path: path.0.clone(), max_age: self.max_age, max_runs: self.max_runs }
    }
}
