//! SQLite in a configuration: the sections `embedded-queue` and `sqlite`.

use std::{num::NonZeroU64, time::Duration};

use x_msrv_core::{
    adapter::{
        Adapter, Common, Existing, KeySetting, LettersRole, SourceFacts, SourceRole, StoreFacts, StoreRole,
        section::{Configured, Letters, LettersSection, SourceSection, StoreSection},
    },
    message::Message,
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};
use x_msrv_settings::{Kind, Reader, Settings, StateFile, text_setting};
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
    summary: "An SQLite file in the state directory, for a machine that has no other server.",
    source: Some(SourceRole::of::<QueueKeys>()),
    store: Some(StoreRole::of::<StoreKeys>()),
    letters: Some(LettersRole::of::<LetterKeys>()),
};

/// The queue is an SQLite file, for a machine that has no other.
#[derive(Debug, Clone, Settings)]
#[setting(section = "embedded-queue")]
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

impl SourceSection for QueueKeys {
    const FACTS: SourceFacts = SourceFacts {
        word: "embedded",
        identity: "file, id, time",
        retry: "delayed, 1 s to 300 s",
        proof_of_empty: "proven",
        tls: "local",
        login: "file permissions",
    };

    type Settings = source::Settings;

    fn settings(&mut self, _: &mut Reader<'_>, common: &Common) -> Option<source::Settings> {
        self.max_messages = None; // it is shown at the top level
        Some(source::Settings {
            path: self.path.0.clone(),
            max_in_flight: *self.max_in_flight.insert(common.max_in_flight(self.max_in_flight)),
            lease_timeout: self.lease_timeout,
        })
    }

    async fn connect(settings: &source::Settings) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(SqliteSource::connect(settings)?))
    }

    async fn publisher(settings: &source::Settings) -> Result<Box<dyn Publisher>, SourceError> {
        Ok(Box::new(SqlitePublisher::connect(settings)?))
    }

    fn letter_source(settings: &source::Settings) -> Result<Option<String>, SourceError> {
        source::origin(settings)
    }

    async fn probe(settings: &source::Settings) -> Result<String, SourceError> {
        source::probe(settings)
    }

    async fn peek(
        settings: &source::Settings,
        limit: NonZeroU64,
        see: &mut dyn FnMut(&Message),
    ) -> Result<Peek, SourceError> {
        source::peek(settings, limit, see).map(|waiting| Peek::Messages { waiting })
    }
}

/// Dead letters go to an embedded queue of their own.
#[derive(Debug, Clone, Settings)]
#[setting(section = "embedded-queue")]
struct LetterKeys {
    /// The file; it is created if it does not exist. Not the queue's own.
    #[setting(example = "dead-letters.db")]
    path: StateFile<Database>,
}

impl LettersSection for LetterKeys {
    type Queue = QueueKeys;

    fn settings(
        &mut self,
        _: &mut Reader<'_>,
        _: &Common,
        _: Option<&Configured<QueueKeys, source::Settings>>,
    ) -> Option<Letters<source::Settings>> {
        let settings = source::Settings {
            path: self.path.0.clone(),
            max_in_flight: NonZeroU64::new(10_000).expect("not zero"),
            lease_timeout: Duration::from_secs(60),
        };
        Some(Letters { settings, inherited: &[] })
    }

    fn place(settings: &source::Settings) -> String {
        format!("the embedded queue {}", settings.path.display())
    }

    async fn probe(settings: &source::Settings) -> Result<String, SourceError> {
        source::check(settings)
    }
}

/// The store is an SQLite file, for a machine that has no other.
///
/// A record is a row with the key in the column `gid` and the message as JSON in the column `document`. The row with
/// the same `gid` is replaced, and no other.
///
/// An existing table may have its own indexes, constraints and triggers; a message that they refuse becomes a dead
/// letter (`refused`). `gid` must be its primary key or unique, and every other column must have a default or allow
/// NULL.
#[derive(Debug, Clone, Settings)]
#[setting(section = "sqlite")]
struct StoreKeys {
    /// The file; it is created if it does not exist.
    #[setting(example = "store.db", suggest = "store.db")]
    path: StateFile<Database>,
    /// The table; it is created if it does not exist. 1 to 63 of `a-zA-Z0-9_.-`; the name must not begin with
    /// `sqlite_`.
    #[setting(example = "orders", flag = "set", ask = "table in the SQLite file", subject)]
    set: TableName,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
}

impl StoreSection for StoreKeys {
    const FACTS: StoreFacts = StoreFacts {
        word: "sqlite",
        idempotence: "writes the same row",
        limits: "",
        tls: "local",
        login: "file permissions",
    };

    type Settings = store::Settings;

    fn settings(&mut self, _: &mut Reader<'_>, _: &Common) -> Option<store::Settings> {
        Some(store::Settings { path: self.path.0.clone(), set: self.set.clone() })
    }

    fn key(&self) -> &KeySetting {
        &self.key
    }

    async fn connect(settings: &store::Settings) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::connect(settings)?))
    }

    async fn existing(settings: &store::Settings) -> Result<Existing, StoreError> {
        let missing = || format!("table {} in {}", settings.set, settings.path.display());
        let found = SqliteStore::connect_to_existing(settings)?;
        Ok(found.map(|store| Box::new(store) as Box<dyn Store>).ok_or_else(missing))
    }

    async fn probe(settings: &store::Settings) -> Result<String, StoreError> {
        SqliteStore::probe(settings)
    }
}
