//! SQLite in a configuration: the sections `embedded-queue` and `sqlite`.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use x_msrv_core::{
    BoxFuture,
    adapter::{
        Adapter, Common, ConfiguredLetters, ConfiguredSource, ConfiguredStore, Existing, KeySetting,
        LettersRole, SourceRole, StoreRole,
    },
    decode::KeyRule,
    message::{Message, Origin},
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};
use x_msrv_settings::{
    Key, Kind, Reader, Section as _, Setting as _, Settings, StateFile, Told, Value, text_setting,
};
use x_msrv_state::sqlite::Database;

use crate::{
    source::{self, SqlitePublisher, SqliteSource},
    store::{self, SqliteStore, TableName},
};

text_setting!(TableName, Kind::Text);

/// SQLite as queue and store.
pub static ADAPTER: Adapter = Adapter {
    name: "SQLite file",
    feature: "sqlite",
    summary: "A queue and a store in files of the state directory, for a machine that has no other.",
    source: Some(SourceRole {
        section: Key::section(
            "embedded-queue",
            "The queue is an SQLite file, for a machine that has no other.",
            QueueKeys::KEYS,
        ),
        word: "embedded",
        identity: "file, id, time",
        retry: "delayed, 1 s to 300 s",
        proof_of_empty: "proven",
        tls: "local",
        login: "file permissions",
        suggestion: |_, _| None,
        read: read_source,
    }),
    store: Some(StoreRole {
        section: Key::section(
            "sqlite",
            "The store is an SQLite file, for a machine that has no other.\n\n\
            A record is a row with the key in the column `gid` and the message as JSON in the column `document`. The \
            row with the same `gid` is replaced, and no other.\n\n\
            An existing table may have its own indexes, constraints and triggers; a message that they refuse becomes \
            a dead letter (`refused`). `gid` must be its primary key or unique, and every other column must have a \
            default or allow NULL.",
            StoreKeys::KEYS,
        ),
        word: "sqlite",
        idempotence: "writes the same row",
        limits: "",
        tls: "local",
        login: "file permissions",
        read: read_store,
    }),
    letters: Some(LettersRole {
        section: Key::section(
            "embedded-queue",
            "Dead letters go to an embedded queue of their own.",
            LetterKeys::KEYS,
        ),
        is_direct: false,
        read: read_letters,
    }),
};

/// The keys of `embedded-queue`.
#[derive(Debug, Clone, Settings)]
struct QueueKeys {
    /// The file; it is created if it does not exist.
    #[setting(example = "queue.db", suggest = "queue.db")]
    path: StateFile<Database>,
    /// The most messages in flight.
    #[setting(words = "N, at most 10,000", example = "1000")]
    max_in_flight: Option<NonZeroU64>,
    /// A message that is not settled within this time is delivered again.
    #[setting(default = "60s")]
    lease_timeout: Duration,
    /// The same as `max-messages` at the top level. If both are set, they must be equal.
    #[setting(words = "`max-messages`", example = "1000")]
    max_messages: Option<NonZeroU64>,
}

/// The keys of `sqlite`.
#[derive(Debug, Clone, Settings)]
struct StoreKeys {
    /// The file; it is created if it does not exist.
    #[setting(example = "store.db", suggest = "store.db")]
    path: StateFile<Database>,
    /// The table; it is created if it does not exist. 1 to 63 of `a-zA-Z0-9_.-`; the name must not begin with
    /// `sqlite_`.
    #[setting(example = "orders", flag = "set", ask = "set, or table", subject)]
    set: TableName,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
}

/// The keys of `dead-letter.publish.embedded-queue`.
#[derive(Debug, Clone, Settings)]
struct LetterKeys {
    /// The file; it is created if it does not exist. Not the queue's own.
    #[setting(example = "dead-letters.db")]
    path: StateFile<Database>,
}

/// A queue in a file.
#[derive(Debug)]
struct Queue {
    keys: QueueKeys,
    settings: source::Settings,
}

fn read_source(found: &Value, reader: &mut Reader<'_>, common: &Common) -> Option<Arc<dyn ConfiguredSource>> {
    let mut keys = QueueKeys::read(found, reader)?;
    let settings = source::Settings {
        path: keys.path.0.clone(),
        max_in_flight: *keys.max_in_flight.insert(common.max_in_flight(keys.max_in_flight)),
        lease_timeout: keys.lease_timeout,
    };
    keys.max_messages = None; // it is shown at the top level
    Some(Arc::new(Queue { keys, settings }))
}

impl ConfiguredSource for Queue {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("embedded-queue", told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>> {
        Box::pin(async { Ok(Box::new(SqliteSource::connect(&self.settings)?) as Box<dyn Source>) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { source::probe(&self.settings) })
    }

    fn peek<'a>(
        &'a self,
        limit: NonZeroU64,
        see: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>> {
        Box::pin(
            async move { source::peek(&self.settings, limit, see).map(|waiting| Peek::Messages { waiting }) },
        )
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(async { Ok(Box::new(SqlitePublisher::connect(&self.settings)?) as Box<dyn Publisher>) })
    }

    fn sample_origin(&self) -> Origin {
        Origin::new("<queue>")
    }

    fn letter_source(&self) -> Result<Option<String>, SourceError> {
        source::origin(&self.settings)
    }
}

/// A queue for dead letters.
#[derive(Debug)]
struct Letters {
    keys: LetterKeys,
    settings: source::Settings,
}

fn read_letters(
    found: &Value,
    reader: &mut Reader<'_>,
    _: &Common,
    _: Option<&dyn ConfiguredSource>,
) -> Option<Arc<dyn ConfiguredLetters>> {
    let keys = LetterKeys::read(found, reader)?;
    let settings = source::Settings {
        path: keys.path.0.clone(),
        max_in_flight: NonZeroU64::new(10_000).expect("not zero"),
        lease_timeout: Duration::from_secs(60),
    };
    Some(Arc::new(Letters { keys, settings }))
}

impl ConfiguredLetters for Letters {
    fn tell(&self, section: &str, told: &mut Told) {
        self.keys.tell(section, told);
    }

    fn place(&self) -> String {
        format!("the embedded queue {}", self.settings.path.display())
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(async { Ok(Box::new(SqlitePublisher::connect(&self.settings)?) as Box<dyn Publisher>) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { source::check(&self.settings) })
    }

    fn queue(&self) -> BoxFuture<'_, Result<Option<Box<dyn Source>>, SourceError>> {
        Box::pin(async { Ok(Some(Box::new(SqliteSource::connect(&self.settings)?) as Box<dyn Source>)) })
    }
}

/// A table in a file.
#[derive(Debug)]
struct Table {
    keys: StoreKeys,
    settings: store::Settings,
}

fn read_store(found: &Value, reader: &mut Reader<'_>, _: &Common) -> Option<Arc<dyn ConfiguredStore>> {
    let keys = StoreKeys::read(found, reader)?;
    let settings = store::Settings { path: keys.path.0.clone(), set: keys.set.clone() };
    Some(Arc::new(Table { keys, settings }))
}

impl ConfiguredStore for Table {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("sqlite", told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>> {
        Box::pin(async { Ok(Box::new(SqliteStore::connect(&self.settings)?) as Box<dyn Store>) })
    }

    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>> {
        Box::pin(async {
            let found = SqliteStore::connect_to_existing(&self.settings)?;
            let missing = || format!("table {} in {}", self.settings.set, self.settings.path.display());
            Ok(found.map(|store| Box::new(store) as Box<dyn Store>).ok_or_else(missing))
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { SqliteStore::probe(&self.settings) })
    }

    fn key(&self) -> KeyRule {
        self.keys.key.rule()
    }
}
