//! The sections of the configuration. Their doc comments become the man page, the reference, the schema, and the
//! questions of `init`; what the roles say becomes the table of what each queue and store promises.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use x_msrv_core::{
    BoxFuture,
    adapter::{
        Adapter, Common, ConfiguredSource, ConfiguredStore, Existing, KeySetting, SourceRole, StoreRole,
    },
    decode::KeyRule,
    message::{Message, Origin},
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};
use x_msrv_settings::{FileKind, Key, Reader, Section as _, Setting as _, Settings, StateFile, Told, Value};

use crate::{
    source::{Folder, Writing},
    store::Records,
};

/// A folder as queue and store.
pub static ADAPTER: Adapter = Adapter {
    name: "folder",
    feature: "folder",
    summary: "A folder of files, as a queue and as a store.",
    source: Some(SourceRole {
        section: Key::section("folder-queue", "The queue is a folder; a message is a file.", QueueKeys::KEYS),
        word: "folder",
        identity: "folder, name",
        retry: "to the next run",
        proof_of_empty: "proven",
        tls: "local",
        login: "file permissions",
        suggestion: |_, _| None,
        read: read_source,
    }),
    store: Some(StoreRole {
        section: Key::section("folder", "The store is a folder; a record is a file.", StoreKeys::KEYS),
        word: "folder",
        idempotence: "writes the same file",
        limits: "keys of at most 99 bytes",
        tls: "local",
        login: "file permissions",
        read: read_store,
    }),
    letters: None,
};

/// A folder among the files of state.
#[derive(Debug, Clone)]
struct IsFolder;

impl FileKind for IsFolder {
    fn is_beside(place: &Path, other: &Path) -> bool {
        other.starts_with(place)
    }
}

/// The keys of `folder-queue`.
#[derive(Debug, Clone, Settings)]
struct QueueKeys {
    /// The folder; it must exist.
    #[setting(example = "incoming")]
    path: StateFile<IsFolder>,
    /// The most messages in flight.
    #[setting(words = "N, at most 10,000", example = "1000")]
    max_in_flight: Option<NonZeroU64>,
}

/// The keys of `folder`.
#[derive(Debug, Clone, Settings)]
struct StoreKeys {
    /// The folder; it must exist.
    #[setting(example = "records")]
    path: StateFile<IsFolder>,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
}

/// A queue as it is configured.
#[derive(Debug)]
struct Queue {
    keys: QueueKeys,
    folder: Folder,
}

fn read_source(found: &Value, reader: &mut Reader<'_>, common: &Common) -> Option<Arc<dyn ConfiguredSource>> {
    let keys = QueueKeys::read(found, reader)?;
    let max_in_flight = common.max_in_flight(keys.max_in_flight).get();
    let folder = Folder { path: keys.path.0.clone(), max_in_flight };
    Some(Arc::new(Queue { keys, folder }))
}

impl ConfiguredSource for Queue {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("folder-queue", told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>> {
        let connected = self.folder.check().map(|()| Box::new(self.folder.clone()) as Box<dyn Source>);
        Box::pin(std::future::ready(connected))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(std::future::ready(self.folder.check()))
    }

    fn peek<'a>(
        &'a self,
        _: NonZeroU64,
        _: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>> {
        Box::pin(std::future::ready(Ok(Peek::Hidden { waiting: None })))
    }

    #[expect(clippy::disallowed_methods, reason = "names of messages are made of the time of day")]
    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let publisher = Box::new(Writing::new(self.folder.clone(), now)) as Box<dyn Publisher>;
        Box::pin(std::future::ready(self.folder.check().map(|()| publisher)))
    }

    fn sample_origin(&self) -> Origin {
        Origin::new("<folder>")
    }

    fn letter_source(&self) -> Result<Option<String>, SourceError> {
        Ok(Some(format!("folder {}", self.folder.path.display())))
    }
}

/// A store as it is configured.
#[derive(Debug)]
struct Place {
    keys: StoreKeys,
    path: PathBuf,
}

fn read_store(found: &Value, reader: &mut Reader<'_>, _: &Common) -> Option<Arc<dyn ConfiguredStore>> {
    let keys = StoreKeys::read(found, reader)?;
    let path = keys.path.0.clone();
    Some(Arc::new(Place { keys, path }))
}

impl Place {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        let records = Records { path: self.path.clone() };
        records.check().map(|()| Box::new(records) as Box<dyn Store>)
    }
}

impl ConfiguredStore for Place {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("folder", told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>> {
        Box::pin(std::future::ready(self.open()))
    }

    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>> {
        Box::pin(std::future::ready(self.open().map(Ok)))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.open().map(drop)))
    }

    fn key(&self) -> KeyRule {
        self.keys.key.rule()
    }
}
