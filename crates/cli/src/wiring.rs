//! Settings to adapters: the only place that names concrete ones. A new queue or store is added here, and
//! nowhere above.

use std::{
    fs, io,
    num::{NonZeroI64, NonZeroU64},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{
    config::{self, DeadLetterSettings, Overrides, Settings, SourceSettings, StoreSettings},
    schema_file::{self, UnusableSchema},
};
use x_msrv_aerospike::{AerospikeStore, Set};
use x_msrv_core::{
    dead_letter::{DeadLetter, fallback::Fallback, log::LogOnly},
    decode::{Decoder, Placing},
    message::{Message, Origin},
    record::Record,
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};
use x_msrv_history::Logbook;
use x_msrv_letters::file::FileDeadLetter;
use x_msrv_nsq::{
    dead_letter::NsqDeadLetter,
    source::{NsqPublisher, NsqSource},
};
use x_msrv_sqlite::{
    source::{SqlitePublisher, SqliteSource},
    store::SqliteStore,
};

/// Connects to the configured queue; asks for no message.
///
/// # Errors
/// It can't be reached, or refuses us.
pub async fn source(settings: &SourceSettings) -> Result<Box<dyn Source>, SourceError> {
    Ok(match settings {
        SourceSettings::Nsq(settings) => Box::new(NsqSource::connect(settings).await?),
        SourceSettings::Sqlite(settings) => Box::new(SqliteSource::connect(settings)?),
    })
}

/// Proves that the configured queue answers; subscribes to nothing and takes nothing.
///
/// # Errors
/// It can't be reached, or refuses us.
pub async fn probe_source(settings: &SourceSettings) -> Result<(), SourceError> {
    match settings {
        SourceSettings::Nsq(settings) => x_msrv_nsq::source::probe(settings).await,
        SourceSettings::Sqlite(settings) => x_msrv_sqlite::source::probe(settings),
    }
}

/// Shows at most `limit` messages that wait in the configured queue, without taking them, if it can do that.
///
/// # Errors
/// It can't be reached, or refuses us.
pub async fn peek(
    settings: &SourceSettings,
    limit: NonZeroU64,
    see: &mut dyn FnMut(&Message),
) -> Result<Peek, SourceError> {
    match settings {
        SourceSettings::Nsq(settings) => {
            x_msrv_nsq::source::waiting(settings).await.map(|waiting| Peek::Hidden { waiting })
        }
        SourceSettings::Sqlite(settings) => {
            x_msrv_sqlite::source::peek(settings, limit, see).map(|waiting| Peek::Messages { waiting })
        }
    }
}

/// Connects to the configured queue to publish to it.
///
/// # Errors
/// It can't be reached, or refuses us.
pub async fn publisher(settings: &SourceSettings) -> Result<Box<dyn Publisher>, SourceError> {
    Ok(match settings {
        SourceSettings::Nsq(settings) => Box::new(NsqPublisher::connect(settings).await?),
        SourceSettings::Sqlite(settings) => Box::new(SqlitePublisher::connect(settings)?),
    })
}

/// Connects to the configured database and checks it.
///
/// # Errors
/// It can't be reached, or can't do what is configured.
pub async fn store(settings: &StoreSettings) -> Result<Box<dyn Store>, StoreError> {
    Ok(match settings {
        StoreSettings::Aerospike(settings) => Box::new(AerospikeStore::connect(settings).await?),
        StoreSettings::Sqlite(settings) => Box::new(SqliteStore::connect(settings)?),
    })
}

/// The configured database to read from, or the table or file that is not there, because nothing was stored
/// yet or its name is another.
///
/// # Errors
/// It can't be reached, or can't do what is configured.
pub async fn existing_store(settings: &StoreSettings) -> Result<Result<Box<dyn Store>, String>, StoreError> {
    Ok(match settings {
        StoreSettings::Aerospike(settings) => {
            Ok(Box::new(AerospikeStore::connect_to_existing(settings).await?))
        }
        StoreSettings::Sqlite(settings) => match SqliteStore::connect_to_existing(settings)? {
            Some(store) => Ok(Box::new(store)),
            None => Err(format!("table {} in {}", settings.set, settings.path.display())),
        },
    })
}

/// Proves that the configured database answers, can do what is configured, and would take records now; writes
/// nothing.
///
/// # Errors
/// It can't be reached, can't do what is configured, or takes no record.
pub async fn probe_store(settings: &StoreSettings) -> Result<(), StoreError> {
    match settings {
        StoreSettings::Aerospike(settings) => AerospikeStore::probe(settings).await,
        StoreSettings::Sqlite(settings) => SqliteStore::probe(settings),
    }
}

/// The configured dead letter; nothing is opened yet.
#[must_use]
pub fn dead_letter(settings: &DeadLetterSettings) -> Box<dyn DeadLetter> {
    match settings {
        DeadLetterSettings::File(settings) => Box::new(FileDeadLetter::new(settings.clone())),
        DeadLetterSettings::Nsq(topic, file) => Box::new(Fallback {
            first: Box::new(NsqDeadLetter::new(topic.clone())),
            second: Box::new(FileDeadLetter::new(file.clone())),
        }),
        DeadLetterSettings::Log => Box::new(LogOnly),
    }
}

/// A file of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether letters of other configurations may be in it.
    pub is_shared: bool,
}

/// Returns the files of dead letters that there are, the oldest first: the one that configurations of a
/// folder shared once, and their own.
///
/// # Errors
/// We may not look into their folder.
pub fn letter_files(settings: &Settings) -> io::Result<Vec<LetterFile>> {
    let (DeadLetterSettings::File(own) | DeadLetterSettings::Nsq(_, own)) = &settings.dead_letter else {
        return Ok(Vec::new());
    };
    let all = |path: &Path, is_shared| {
        let files = x_msrv_letters::file::all(path)?.into_iter();
        io::Result::Ok(files.map(|path| LetterFile { path, is_shared }).collect::<Vec<_>>())
    };
    match &settings.shared_letters {
        Some(shared) if *shared == own.path => all(shared, has_neighbours(&settings.file)),
        Some(shared) => Ok([all(shared, true)?, all(&own.path, false)?].concat()),
        None => all(&own.path, false),
    }
}

/// Whether there are other configurations in the folder.
fn has_neighbours(file: &Path) -> bool {
    let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok());
    let mut others = entries
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path != file);
    let has_format = |path: &Path| {
        path.extension().is_some_and(|extension| config::FORMATS.iter().any(|format| extension == *format))
    };
    others.any(|path| has_format(&path) && config::load(Some(&path), &Overrides::default()).is_ok())
}

/// Returns what dead letters of the configured queue name as their source, as in
/// [`x_msrv_letters::filter::Filter::source`]; `None` where there is no queue yet.
///
/// # Errors
/// The queue is a file that cannot be read.
pub fn letter_source(settings: &SourceSettings) -> Result<Option<String>, SourceError> {
    match settings {
        SourceSettings::Nsq(settings) => Ok(Some(format!("{}@", settings.topic))),
        SourceSettings::Sqlite(settings) => x_msrv_sqlite::source::origin(settings),
    }
}

/// Deletes dead letters that are over the configured limits, and renames a file that is too old.
///
/// # Errors
/// Their folder, or one of them, can't be read or changed.
pub async fn tidy_letters(
    settings: &DeadLetterSettings,
    now: SystemTime,
    previous: Option<SystemTime>,
) -> io::Result<()> {
    match settings {
        DeadLetterSettings::File(file) | DeadLetterSettings::Nsq(_, file) => {
            x_msrv_letters::tidy::tidy(file, now, previous).await
        }
        DeadLetterSettings::Log => Ok(()),
    }
}

/// The files of dead letters that somebody has compressed, and that nobody reads.
///
/// # Errors
/// We may not look into their folder.
pub fn compressed_letters(settings: &Settings) -> io::Result<Vec<PathBuf>> {
    let (DeadLetterSettings::File(own) | DeadLetterSettings::Nsq(_, own)) = &settings.dead_letter else {
        return Ok(Vec::new());
    };
    let shared = settings.shared_letters.iter().filter(|shared| **shared != own.path);
    let files: io::Result<Vec<_>> =
        shared.chain([&own.path]).map(|path| x_msrv_letters::file::compressed(path)).collect();
    Ok(files?.concat())
}

/// The dead letters of a topic as a queue of their own, where letters go to one.
///
/// # Errors
/// It can't be reached, or refuses us.
pub async fn letter_queue(settings: &DeadLetterSettings) -> Result<Option<Box<dyn Source>>, SourceError> {
    match settings {
        DeadLetterSettings::Nsq(topic, _) => {
            Ok(Some(Box::new(NsqSource::connect(&letters_of(topic)).await?)))
        }
        DeadLetterSettings::File(_) | DeadLetterSettings::Log => Ok(None),
    }
}

fn letters_of(topic: &x_msrv_nsq::dead_letter::Settings) -> x_msrv_nsq::source::Settings {
    x_msrv_nsq::source::Settings {
        servers: x_msrv_nsq::source::Servers::Nsqd(topic.nsqd.clone()),
        topic: topic.topic.clone(),
        channel: topic.channel.clone(),
        max_in_flight: NonZeroU64::new(10_000).expect("not zero"),
        max_message_size: 1 << 30,
        connect_timeout: topic.timeout,
        auth_secret: topic.auth_secret.clone(),
        tls: topic.tls.clone(),
        longest_run: Duration::from_secs(60),
    }
}

/// Where the run is remembered; nothing is opened yet.
#[must_use]
pub fn logbook(settings: &Settings) -> Logbook {
    Logbook::new(settings.history.clone(), settings.metrics.clone())
}

/// The message that `body` would be in this queue, published now. What only the queue can tell has a name in
/// angle brackets.
#[must_use]
pub fn sample(settings: &SourceSettings, body: Bytes, now: SystemTime) -> Message {
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let published = i64::try_from(nanos).ok().and_then(NonZeroI64::new);
    let origin = match settings {
        SourceSettings::Nsq(nsq) => Origin::of_topic(&nsq.topic.to_string(), "<nsqd>"),
        SourceSettings::Sqlite(_) => Origin::new("<queue>"),
    };
    Message { origin, id: "<id>".into(), body, attempts: 1, published }
}

/// Whether the configured database can hold this record, as far as that is known without asking it.
///
/// # Errors
/// Why it can't, for a person.
pub fn check_record(settings: &StoreSettings, record: &Record) -> Result<(), String> {
    match settings {
        StoreSettings::Aerospike(_) => x_msrv_aerospike::values::bins(record.clone()).map(drop),
        StoreSettings::Sqlite(_) => Ok(()),
    }
}

/// The decoder, with its schema compiled.
///
/// # Errors
/// The schema can't be used.
pub fn decoder(settings: &Settings) -> Result<Decoder, UnusableSchema> {
    let placing = match &settings.store {
        StoreSettings::Aerospike(store) => Placing {
            set: match &store.set {
                Set::OfField(rule) => Some(rule.clone()),
                Set::Named(_) => None,
            },
            ttl: store.own_ttl.clone(),
        },
        StoreSettings::Sqlite(_) => Placing::default(),
    };
    Ok(Decoder {
        max_size: settings.max_message_size,
        encoding: settings.content_encoding,
        key: settings.key.clone(),
        big_integers: settings.big_integers,
        shape: settings.fields.clone(),
        placing,
        schema: settings.schema.as_deref().map(schema_file::load).transpose()?,
    })
}
