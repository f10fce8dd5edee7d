//! The sections that do not belong to an adapter.

use std::{num::NonZeroU64, time::Duration};

use log::LevelFilter;
use x_msrv_core::{
    decode::{BigIntegers, ContentEncoding, Metadata, OnLongName, Path, RuleFault, Rules, Shape},
    record::Value as Constant,
};
use x_msrv_letters::file;
use x_msrv_settings::{
    Access, Bounds, FileKind, Key, Kind, Presence, ReadFile, Reader, Section as _, Settings, Size, StateFile,
    Table, Told, Word,
};

/// The keys at the top level.
#[derive(Debug, Clone, Settings)]
pub(crate) struct Top {
    /// N, the most messages that a run takes. It can also be set in the queue's section, as
    /// `nsq.max-messages` or `embedded-queue.max-messages`.
    #[setting(
        words = "`10`",
        example = "1000",
        flag = "max-messages",
        ask = "maximum messages per run (N)",
        suggest = "1000"
    )]
    pub(crate) max_messages: Option<NonZeroU64>,
    /// No message is taken after this time.
    #[setting(default = "2s")]
    pub(crate) timeout: Duration,
    /// How long a run keeps listening to an empty queue after the last message.
    ///
    /// A run knows from nsqd's statistics that nothing waits, if nsqlookupd names their address, or if they
    /// are on the port above the one in `nsqd-tcp-address` and list the run's own connection. Without
    /// statistics it relies on silence: 10 ms, and up to 250 ms if an nsqd is far away or slow to answer, if
    /// the machine is busy, if nsqd has just sent as many messages as it was allowed to, and after many
    /// messages in a row.
    ///
    /// An embedded queue is never listened to: the run ends at once when it is empty.
    #[setting(default = "0s", min = 0)]
    pub(crate) idle_timeout: Duration,
    /// Time limit for connecting to the queue and the store.
    #[setting(default = "2s")]
    pub(crate) connect_timeout: Duration,
    /// Time limit for finishing what is in flight at the end of a run.
    #[setting(default = "5s")]
    pub(crate) shutdown_timeout: Duration,
    /// How often the timer starts a run. `x-msrv-generator(8)` reads it at `systemctl daemon-reload`.
    ///
    /// A run does not read it. The alerts learn it from the metrics of the next run: after raising it, also
    /// run `systemctl start x-msrv` once, or an alert may fire because of runs that are not due yet.
    #[setting(words = "`10s`", example = "10s", flag = "period", ask = "time between runs", suggest = "10s")]
    pub(crate) period: Option<Duration>,
    /// A message on which the store fails for an unknown reason becomes a dead letter at this delivery or a
    /// later one; `0` means never. A known outage of the store does not count.
    #[setting(default = "5")]
    pub(crate) max_attempts: u32,
    /// Messages with larger bodies become dead letters.
    #[setting(default = "1MiB", min = 1, max = 1 << 30)]
    pub(crate) max_message_size: Size,
    /// How bodies are encoded.
    ///
    /// `max-message-size` limits the body and the inflated document. A body that is truncated, damaged, or
    /// followed by other bytes becomes a dead letter (`bad-encoding`). A dead letter and `key: body-hash`
    /// refer to the body as it was published.
    #[setting(default = "identity")]
    pub(crate) content_encoding: ContentEncoding,
    /// What happens to a message with integers outside the signed 64-bit range.
    #[setting(default = "reject")]
    pub(crate) big_integers: BigIntegers,
    /// A file with a JSON Schema, in JSON, that every message must match. References in it to other files or
    /// hosts are not followed.
    #[setting(example = "message.schema.json")]
    pub(crate) schema: Option<ReadFile>,
    /// Which fields of a message are stored, and under which names; without this section all are stored as
    /// they are.
    ///
    /// Its keys are applied in the order of this page, each to the result of the previous one. The record's
    /// key, the schema and the body of a dead letter refer to the message as it was published.
    ///
    /// Two fields with the same name make the message a dead letter (`duplicate-field`), and so does a field
    /// whose final name is `gid` (`reserved-field`). What could never be stored, whatever the message
    /// contains, is a configuration error. A message of which no field is left is a record with its key and
    /// nothing else.
    pub(crate) fields: Option<Fields>,
}

/// The keys of `fields`.
#[derive(Debug, Clone, Settings)]
pub(crate) struct Fields {
    /// Only these fields are stored: names, or JSON pointers into objects.
    ///
    /// A name is a field at the top level. One that begins with a slash is a JSON pointer (RFC 6901) to a field
    /// within objects, such as `/customer/name`; the objects around it are stored with what is included of them,
    /// unless that is nothing. List elements cannot be selected.
    #[setting(words = "all", example = "[id, /customer/name]")]
    include: Option<Vec<Path>>,
    /// These fields are not stored: names or JSON pointers, as for `include`.
    #[setting(words = "none", example = "[/customer/password]")]
    exclude: Option<Vec<Path>>,
    /// Nested objects become top-level fields, and this text joins their names: with `"_"` the field `name`
    /// in `customer` becomes `customer_name`.
    ///
    /// Lists stay as they are, with the objects in them, and so does an object without fields. A message whose
    /// names would have over 16 times the bytes of its body becomes a dead letter (`too-large`).
    #[setting(example = "\"_\"")]
    flatten: Option<String>,
    /// New names for fields at the top level.
    #[setting(example = "{a-very-long-name: short}")]
    rename: Option<Table<String>>,
    /// Fields added to every record, each with a text, a number, `true` or `false`.
    #[setting(example = "{origin: web}")]
    constant: Option<Table<Constant>>,
    /// Fields with metadata of the message, each with one of the words `timestamp` (when the queue received
    /// it, in milliseconds since 1970, as an integer), `attempts` (how often it was delivered, including this
    /// time), `topic`, `source` (topic and nsqd, or the embedded queue) and `id`.
    ///
    /// A message that is delivered again may change `attempts` in its record. The embedded queue has no
    /// topics: this field is omitted.
    #[setting(example = "{queued-at: timestamp}")]
    metadata: Option<Table<Metadata>>,
    /// What happens to a field whose name is too long for the store (in Aerospike, over 15 bytes). This also
    /// applies to the names that this section adds.
    #[setting(default = "reject")]
    on_long_name: OnLongName,
}

impl Fields {
    /// Prepares the rules for a store that accepts such names.
    pub(crate) fn shape(self, names: x_msrv_core::adapter::Names, reader: &mut Reader<'_>) -> Option<Shape> {
        fn entries<T>(table: Option<Table<T>>) -> Vec<(String, T)> {
            table.map(|Table(entries)| entries).unwrap_or_default()
        }
        let mut rename = Vec::new();
        for (name, other) in entries(self.rename) {
            match name.parse::<Path>() {
                Ok(path) => rename.push((path, other)),
                Err(fault) => reader.fault_at(&format!("rename.{name}"), fault),
            }
        }
        let rules = Rules {
            include: self.include,
            exclude: self.exclude.unwrap_or_default(),
            flatten: self.flatten,
            rename,
            constant: entries(self.constant),
            metadata: entries(self.metadata),
            on_long_name: self.on_long_name,
        };
        let shape = Shape::new(rules, names.longest, names.check);
        shape.map_err(|RuleFault { key, fault }| reader.fault_at(&key, fault)).ok()
    }

    /// Returns the section for these rules, with the resulting names.
    pub(crate) fn of(shape: &Shape) -> Self {
        fn table<T>(entries: Vec<(String, T)>) -> Option<Table<T>> {
            Some(Table(entries)).filter(|table| !table.0.is_empty())
        }
        let Rules { include, exclude, flatten, rename, constant, metadata, on_long_name } =
            shape.rules().clone();
        Self {
            include,
            exclude: Some(exclude).filter(|paths| !paths.is_empty()),
            flatten,
            rename: table(rename.into_iter().map(|(path, name)| (path.to_string(), name)).collect()),
            constant: table(constant),
            metadata: table(metadata),
            on_long_name,
        }
    }
}

/// `dead-letter`; adapters add words.
pub(crate) const DEAD_LETTER: Key = Key {
    name: "dead-letter",
    doc: "Where messages that cannot be stored are kept.",
    kind: Kind::Choice(LETTERS),
    bounds: Bounds::NONE,
    presence: Presence::Default("file"),
    example: "{file: {path: dead-letter.ndjson}}",
    ask: None,
    check: |_, _| true,
};

/// The words of `dead-letter` without those of adapters.
pub(crate) const LETTERS: &[Word] = &[
    Word { name: "log", doc: "A warning for each message; nothing is kept.", value: None },
    Word {
        name: "file",
        doc: "A file, one JSON object a line.",
        value: Some((Kind::Section(file::Keys::KEYS), Bounds::NONE)),
    },
    PUBLISH_WORD,
];

/// The word of `dead-letter` for a queue.
pub(crate) const PUBLISH_WORD: Word = Word {
    name: "publish",
    doc: "A queue. Letters that it refuses or does not receive go to `dead-letter.ndjson` in the state directory.",
    value: Some((Kind::Section(&[]), Bounds::NONE)), // adapters add the choices
};

/// The section of the queue that dead letters are published to.
pub(crate) const PUBLISH: &str = "dead-letter.publish";

/// The keys at the top level that come after queue, store and dead letters.
#[derive(Debug, Clone, Settings)]
pub(crate) struct Rest {
    /// Whether each run is recorded in a small SQLite file, for `x-msrv status` and `x-msrv history`: `true`,
    /// `false` or a section.
    ///
    /// A run is one row, with the outcomes of the messages, the reasons for rejects, and the depth of the
    /// queue. An error in it is a warning and never fails a run. After a power failure the last rows may be
    /// missing.
    #[setting(default = "true", example = "{max-age: 30d, max-runs: 100000}")]
    pub(crate) history: x_msrv_settings::OnOr<x_msrv_history::Keys>,
    /// Metrics for Prometheus.
    pub(crate) metrics: Option<Metrics>,
    /// What is logged, and where.
    #[setting(example = "{level: info, target: stderr, format: text}")]
    pub(crate) log: Option<Log>,
}

/// The keys of `metrics`.
#[derive(Debug, Clone, Settings)]
pub(crate) struct Metrics {
    /// A file for the textfile collector of Prometheus' `node_exporter`, replaced as a whole at the end of each run,
    /// with the mode 0644. Its name must end in `.prom`.
    ///
    /// Its counters continue from run to run until the machine boots, and are kept in the history, which must
    /// not be `false`. Every metric has the label `pipeline`, which is the configuration's name; each
    /// configuration needs its own file, because a run replaces all of it. A file that cannot be written is a
    /// warning and never fails a run.
    ///
    /// At `systemctl daemon-reload`, `x-msrv-generator(8)` allows the service to write to the file's folder;
    /// the folder must allow its user to do so as well.
    #[setting(example = "/var/lib/prometheus/node-exporter/x-msrv.prom")]
    pub(crate) textfile: StateFile<Textfile>,
}

/// A file for `node_exporter`.
#[derive(Debug, Clone)]
pub(crate) struct Textfile;

impl FileKind for Textfile {
    const ACCESS: Access = Access::Replace;

    fn check(name: &std::path::Path) -> Result<(), String> {
        if name.extension().is_some_and(|extension| extension == "prom") {
            return Ok(());
        }
        // `collector/textfile.go` of node_exporter.
        Err(format!("`{}` does not end in .prom, and node_exporter ignores other files", name.display()))
    }
}

/// The keys of `log`.
#[derive(Debug, Clone, Settings)]
pub(crate) struct Log {
    /// The lowest level that is logged. The summary of a run is `info`. Bodies of messages are never
    /// logged.
    #[setting(default = "info")]
    pub(crate) level: Level,
    /// Where log lines go.
    #[setting(default = "stderr")]
    pub(crate) target: LogTarget,
    /// The format of a line on standard error. The journal has its own fields for values, and is not
    /// affected.
    ///
    /// Errors in the command line or in the configuration are reported as text, because the format is not
    /// known by then.
    #[setting(default = "text")]
    pub(crate) format: LogFormat,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Settings)]
pub(crate) enum Level {
    /// What failed.
    Error,
    /// What may need attention, and each message that was rejected.
    Warn,
    /// The summary of each run.
    Info,
    /// Every step.
    Debug,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

/// The format of a line on standard error, unless that is the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Settings)]
pub enum LogFormat {
    /// Time, level, message and values.
    Text,
    /// One JSON object: `time` (RFC 3339 in UTC), `level`, `message` and, if there are values, `fields`; for
    /// containers and cron. It cannot be used with `target: syslog`.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Settings)]
pub enum LogTarget {
    /// Standard error, or the journal if standard error is the journal's.
    Stderr,
    /// The local syslog socket, for hosts without the journal. If no syslog daemon listens, lines go to
    /// standard error, with a warning.
    Syslog,
}

impl Log {
    /// The default of the section.
    pub(crate) const DEFAULT: Self =
        Self { level: Level::Info, target: LogTarget::Stderr, format: LogFormat::Text };
}

/// Reports the settings of the dead-letter file.
pub(crate) fn tell_letters(keys: &file::Keys, told: &mut Told) {
    keys.tell_section("dead-letter.file", told);
}
