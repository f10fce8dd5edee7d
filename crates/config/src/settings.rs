//! What the program works with: every value parsed, every default filled in.

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
    /// The adapters that were known when it was read.
    pub adapters: Adapters,
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
    /// A JSON Schema.
    pub schema: Option<PathBuf>,
    /// What becomes of a document's fields, unless they are stored as they are.
    pub fields: Option<Arc<Shape>>,
    /// Where messages come from.
    pub source: Arc<dyn ConfiguredSource>,
    /// Where records go.
    pub store: Arc<dyn ConfiguredStore>,
    /// Where messages go that can't be stored.
    pub dead_letter: DeadLetterSettings,
    /// A file in which there may be dead letters of several configurations of one folder; until 0.1.0 they
    /// had one.
    pub shared_letters: Option<PathBuf>,
    /// Where failures are counted for a queue that does not count deliveries.
    pub failures: PathBuf,
    /// Where each run is remembered, unless that is not wanted.
    pub history: Option<x_msrv_history::Settings>,
    /// The file for the textfile collector of `node_exporter`, where one is wanted.
    pub metrics: Option<x_msrv_history::metrics::Settings>,
    /// What is logged, and where.
    pub log: LogSettings,
    /// What works, and is not wise.
    pub warnings: Vec<String>,
    /// What is in force, and the files that it names.
    pub(crate) told: Told,
}

/// The configured dead letter.
#[derive(Debug, Clone)]
pub enum DeadLetterSettings {
    /// `file`
    File(file::Settings),
    /// A place of an adapter's, and the file that takes what it does not.
    Elsewhere(Arc<dyn ConfiguredLetters>, file::Settings),
    /// `log`
    Log,
}

impl DeadLetterSettings {
    /// The dead letter; nothing is opened yet.
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

    /// The file that letters go to, or that takes what another place does not.
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
    /// The least important level that is logged.
    pub level: LevelFilter,
    /// Where to.
    pub target: LogTarget,
    /// What a line on standard error is.
    pub format: LogFormat,
}

/// One `key: value` a line, in the words of the configuration file.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)
    }
}

/// The interval of the packaged timer, which holds where the configuration has none.
pub(crate) const PACKAGED_PERIOD: Duration = Duration::from_secs(10);

impl Settings {
    /// The configuration's name, which is also that of its units: the file's, without what it ends with.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.file)
    }

    /// The decoder, with its schema compiled.
    ///
    /// # Errors
    /// The schema can't be used.
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

    /// How often the timer starts a run, unless an administrator says otherwise.
    #[must_use]
    pub fn period_or_packaged(&self) -> Duration {
        self.period.unwrap_or(PACKAGED_PERIOD)
    }
}

pub(crate) fn name_of(file: &Path) -> String {
    file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
