//! The settings of the program: every value is parsed, every default is filled in.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use log::LevelFilter;
use x_msrv_core::{
    adapter::{Adapters, ConfiguredLetters, ConfiguredSource, ConfiguredStore, letters_to},
    dead_letter::{DeadLetter, fallback::Fallback, log::LogOnly},
    decode::{BigIntegers, ContentEncoding, Decoder, Shape, Target},
    run::Limits,
};
use x_msrv_letters::file::{self, FileDeadLetter};
use x_msrv_settings::Told;

use crate::{
    LogFormat, LogTarget,
    schema::{JsonSchema, UnusableSchema},
};

/// Everything that a run needs to know.
#[derive(Debug)]
pub struct Settings {
    /// The adapters of the program.
    pub adapters: Adapters,
    /// The absolute path of the configuration.
    pub file: PathBuf,
    /// The base folder of state files; for a system configuration, the state directory of its service.
    pub state: PathBuf,
    /// N and the time limits.
    pub limits: Limits,
    /// The interval at which the timer starts a run (M), if configured. The generator reads it.
    pub period: Option<Duration>,
    /// Time limit for connecting to the queue and the store.
    pub connect_timeout: Duration,
    /// The largest body that is stored, in bytes.
    pub max_message_size: usize,
    /// How bodies are encoded.
    pub content_encoding: ContentEncoding,
    /// What happens to integers outside the signed 64-bit range.
    pub big_integers: BigIntegers,
    /// A JSON Schema.
    pub schema: Option<PathBuf>,
    /// The rules for the fields of a message; `None` stores them unchanged.
    pub fields: Option<Arc<Shape>>,
    /// Where messages come from.
    pub source: Arc<dyn ConfiguredSource>,
    /// Where records go.
    pub store: Arc<dyn ConfiguredStore>,
    /// Where messages that cannot be stored are kept.
    pub dead_letter: DeadLetterSettings,
    /// A file that may contain dead letters of several configurations; up to 0.1.0 the configurations of one
    /// folder shared one.
    pub shared_letters: Option<PathBuf>,
    /// The file that counts failures for a queue that does not count deliveries.
    pub failures: PathBuf,
    /// Where each run is recorded, unless `history` is `false`.
    pub history: Option<x_msrv_history::Settings>,
    /// The file for the textfile collector of `node_exporter`, if configured.
    pub metrics: Option<x_msrv_history::metrics::Settings>,
    /// What is logged, and where.
    pub log: LogSettings,
    /// Warnings about settings that are valid but unwise.
    pub warnings: Vec<String>,
    /// The settings in force, and the files that they name.
    pub(crate) told: Told,
}

/// The configured dead letter.
#[derive(Debug, Clone)]
pub enum DeadLetterSettings {
    /// `file`
    File(file::Settings),
    /// A queue, and the file for letters that it does not accept.
    Elsewhere(Arc<dyn ConfiguredLetters>, file::Settings),
    /// `log`
    Log,
}

impl DeadLetterSettings {
    /// Returns the dead-letter destination; nothing is opened yet.
    #[must_use]
    pub fn open(&self) -> Box<dyn DeadLetter> {
        match self {
            Self::File(file) => Box::new(FileDeadLetter::new(file.clone())),
            Self::Elsewhere(letters, file) => Box::new(Fallback {
                first: letters_to(letters),
                second: Box::new(FileDeadLetter::new(file.clone())),
            }),
            Self::Log => Box::new(LogOnly),
        }
    }

    /// Returns the file for letters, or for letters that the queue does not accept.
    #[must_use]
    pub fn file(&self) -> Option<&file::Settings> {
        match self {
            Self::File(file) | Self::Elsewhere(_, file) => Some(file),
            Self::Log => None,
        }
    }
}

/// What is logged, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The lowest level that is logged.
    pub level: LevelFilter,
    /// Where log lines go.
    pub target: LogTarget,
    /// The format of a line on standard error.
    pub format: LogFormat,
}

/// Writes one `key: value` per line, as in the configuration file.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)
    }
}

/// The interval of the packaged timer, which applies if the configuration sets none.
pub(crate) const PACKAGED_PERIOD: Duration = Duration::from_secs(10);

impl Settings {
    /// Returns the name of the configuration and its units: the file name without its extension.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.file)
    }

    /// Returns the decoder with the compiled schema.
    ///
    /// # Errors
    /// The schema cannot be used.
    pub fn decoder(&self) -> Result<Decoder, UnusableSchema> {
        let schema = self.schema.as_deref().map(JsonSchema::load).transpose()?;
        Ok(Decoder {
            max_size: self.max_message_size,
            encoding: self.content_encoding,
            key: self.store.key(),
            codec: (self.adapters.codec)(self.big_integers),
            router: None,
            targets: vec![Target { shape: self.fields.clone(), placing: self.store.placing() }],
            schema: schema.map(|schema| Box::new(schema) as _),
        })
    }

    /// Returns the interval at which the timer starts a run, unless an administrator has changed it.
    #[must_use]
    pub fn period_or_packaged(&self) -> Duration {
        self.period.unwrap_or(PACKAGED_PERIOD)
    }
}

pub(crate) fn name_of(file: &Path) -> String {
    file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
