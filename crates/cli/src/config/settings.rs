//! What the program works with: every value parsed, every default filled in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use log::LevelFilter;
use serde::Deserialize;

use x_msrv_core::{
    decode::{BigIntegers, ContentEncoding, KeyRule, Shape},
    run::Limits,
};
use x_msrv_history as history;

/// Everything that a run needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that it was read from, by its absolute path.
    pub file: PathBuf,
    /// Where relative paths of state begin; for a configuration of the system's it is its service's state
    /// directory.
    pub state: PathBuf,
    /// N and the bounds of time.
    pub limits: Limits,
    /// How often the timer starts a run: M, where it is configured. Read by the generator.
    pub period: Option<Duration>,
    /// How long connecting to queue and store may take.
    pub connect_timeout: Duration,
    /// Bytes of the largest body that is stored.
    pub max_message_size: usize,
    /// How bodies are encoded.
    pub content_encoding: ContentEncoding,
    /// What becomes of integers over 64 bits.
    pub big_integers: BigIntegers,
    /// What records' keys are made of.
    pub key: KeyRule,
    /// A JSON Schema.
    pub schema: Option<PathBuf>,
    /// What becomes of a document's fields, unless they are stored as they are.
    pub fields: Option<Arc<Shape>>,
    /// Where messages come from.
    pub source: SourceSettings,
    /// Where records go.
    pub store: StoreSettings,
    /// Where messages go that can't be stored.
    pub dead_letter: DeadLetterSettings,
    /// A file in which there may be dead letters of several configurations of one folder; until 0.1.0 they
    /// had one.
    pub shared_letters: Option<PathBuf>,
    /// Where each run is remembered, unless that is not wanted.
    pub history: Option<history::Settings>,
    /// The file for the textfile collector of `node_exporter`, where one is wanted.
    pub metrics: Option<history::metrics::Settings>,
    /// What is logged, and where.
    pub log: LogSettings,
    /// What works, and is not wise.
    pub warnings: Vec<String>,
}

/// The configured queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSettings {
    /// `nsq`
    Nsq(x_msrv_nsq::source::Settings),
    /// `embedded-queue`
    Sqlite(x_msrv_sqlite::source::Settings),
}

/// The configured database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// `aerospike`
    Aerospike(x_msrv_aerospike::Settings),
    /// `sqlite`
    Sqlite(x_msrv_sqlite::store::Settings),
}

/// The configured dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSettings {
    /// `file`
    File(x_msrv_letters::file::Settings),
    /// `nsq`, and the file that takes what the topic does not.
    Nsq(x_msrv_nsq::dead_letter::Settings, x_msrv_letters::file::Settings),
    /// `log`
    Log,
}

/// What is logged, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important level that is logged.
    pub level: LevelFilter,
    /// Where to.
    pub target: LogTarget,
    /// What a line on standard error is.
    pub format: LogFormat,
}

/// What a line on standard error is, where that is not the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Time, level, message and values.
    Text,
    /// The same as one JSON object.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// Standard error; with priorities where that is the journal.
    Stderr,
    /// The local syslog socket.
    Syslog,
}

/// The interval of the packaged timer, which holds where the configuration has none.
pub(super) const PACKAGED_PERIOD: Duration = Duration::from_secs(10);

impl Settings {
    /// The configuration's name, which is also that of its units: the file's, without what it ends with.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.file)
    }

    /// How often the timer starts a run, unless an administrator says otherwise.
    #[must_use]
    pub fn period_or_packaged(&self) -> Duration {
        self.period.unwrap_or(PACKAGED_PERIOD)
    }
}

pub(super) fn name_of(file: &Path) -> String {
    file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
