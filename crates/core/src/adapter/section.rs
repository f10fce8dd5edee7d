//! What an adapter writes for a section of the configuration, and what follows from it for all adapters.
//!
//! The keys of a section are a struct with `#[derive(Settings)]`, and the struct implements the trait of its
//! role: [`SourceSection`], [`StoreSection`], or [`LettersSection`]. [`SourceRole::of`] and its like turn that
//! into what the program uses.

#![expect(async_fn_in_trait, reason = "everything runs on one thread")]

use std::{any::Any, fmt, num::NonZeroU64, sync::Arc};

use x_msrv_settings::{NamedSection, Reader, Setting, Told, Value, join};

use super::{
    Common, ConfiguredLetters, ConfiguredSource, ConfiguredStore, Existing, KeySetting, LettersRole, Names,
    SourceFacts, SourceRole, StoreFacts, StoreRole,
};
use crate::{
    BoxFuture,
    decode::{KeyRule, Placing},
    message::{Message, Origin},
    record::Record,
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};

/// The keys of a queue's section.
///
/// All functions bound the time that they take. Cancelling one of them takes no message and publishes none.
pub trait SourceSection: NamedSection + Setting + fmt::Debug + 'static {
    /// What holds for the queue.
    const FACTS: SourceFacts;

    /// What connections are made from.
    type Settings: fmt::Debug + 'static;

    /// Returns the settings, or reports what is wrong. The keys can be changed to what is shown as in force,
    /// for example to the default of a key that was left out.
    fn settings(&mut self, reader: &mut Reader<'_>, common: &Common) -> Option<Self::Settings>;

    /// Connects, without asking for messages.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    async fn connect(settings: &Self::Settings) -> Result<Box<dyn Source>, SourceError>;

    /// Connects for publishing to the queue.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    async fn publisher(settings: &Self::Settings) -> Result<Box<dyn Publisher>, SourceError>;

    /// Returns the source name that dead letters of this queue carry; `None` if the queue does not exist yet.
    ///
    /// # Errors
    /// The queue is a file that cannot be read.
    fn letter_source(settings: &Self::Settings) -> Result<Option<String>, SourceError>;

    /// Checks that the queue answers, without subscribing or taking messages, and returns what that proves, as
    /// text for the user. Override it if connecting creates something, or proves less.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    async fn probe(settings: &Self::Settings) -> Result<String, SourceError> {
        let servers = Self::connect(settings).await?.servers();
        let reached = servers.named.iter().filter(|server| server.is_reached);
        let reached: Vec<_> = reached.map(|server| server.name.as_str()).collect();
        Ok(format!("connected to {}", reached.join(", ")))
    }

    /// Shows at most `_limit` waiting messages to `_see` without taking them, if the queue supports that.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    async fn peek(
        settings: &Self::Settings,
        _limit: NonZeroU64,
        _see: &mut dyn FnMut(&Message),
    ) -> Result<Peek, SourceError> {
        Self::probe(settings).await.map(|_| Peek::Hidden { waiting: None })
    }

    /// Returns the origin of a sample message. Parts that only the queue knows have a placeholder in angle
    /// brackets.
    fn sample_origin(settings: &Self::Settings) -> Origin {
        let _ = settings;
        Origin::new("<queue>")
    }

    /// Returns the key and the value of the setting that may be mistyped if no run has ever received a
    /// message: a name that the queue creates for every client that asks for it.
    fn created_on_demand(settings: &Self::Settings) -> Option<(&'static str, String)> {
        let _ = settings;
        None
    }

    /// Returns the value that `init` suggests for a key that depends on the pipeline's name.
    #[must_use]
    fn suggestion(key: &str, pipeline: &str) -> Option<String> {
        let _ = (key, pipeline);
        None
    }

    /// Warns about settings that work and are unwise.
    fn warn(settings: &Self::Settings, told: &mut Told) {
        let _ = (settings, told);
    }
}

/// The keys of a store's section.
///
/// All functions bound the time that they take. Cancelling one of them writes nothing, except what creates the
/// place for records.
pub trait StoreSection: NamedSection + Setting + fmt::Debug + 'static {
    /// What holds for the store.
    const FACTS: StoreFacts;

    /// What connections are made from.
    type Settings: fmt::Debug + 'static;

    /// Returns the settings, or reports what is wrong. The keys can be changed to what is shown as in force.
    fn settings(&mut self, reader: &mut Reader<'_>, common: &Common) -> Option<Self::Settings>;

    /// Returns how keys of records are made.
    fn key(&self) -> &KeySetting;

    /// Connects and checks the store.
    ///
    /// # Errors
    /// The store cannot be reached, or it cannot do what is configured.
    async fn connect(settings: &Self::Settings) -> Result<Box<dyn Store>, StoreError>;

    /// Connects for reading. Returns what is missing if nothing was stored yet or a name is wrong. Override it
    /// if connecting creates something, or refuses a store that can only be read.
    ///
    /// # Errors
    /// The store cannot be reached, or it cannot do what is configured.
    async fn existing(settings: &Self::Settings) -> Result<Existing, StoreError> {
        Self::connect(settings).await.map(Ok)
    }

    /// Checks that the store answers, can do what is configured, and accepts records now. Writes no record.
    /// Returns what that proves, as text for the user. Override it if connecting creates something, or proves
    /// less or more.
    ///
    /// # Errors
    /// The store cannot be reached, cannot do what is configured, or accepts no record.
    async fn probe(settings: &Self::Settings) -> Result<String, StoreError> {
        Self::connect(settings).await?.close().await?;
        Ok(format!("connected to {}", Self::SECTION.name))
    }

    /// Returns which fields of a message control where and how long its record is stored.
    fn placing(settings: &Self::Settings) -> Placing {
        let _ = settings;
        Placing::default()
    }

    /// Returns the field names that the store accepts.
    #[must_use]
    fn names() -> Names {
        Names { longest: None, check: |_| Ok(()) }
    }

    /// Checks whether the store can hold this record, as far as that is known without asking the server.
    ///
    /// # Errors
    /// The reason why it cannot, as text for the user.
    fn check_record(settings: &Self::Settings, record: &Record) -> Result<(), String> {
        let _ = (settings, record);
        Ok(())
    }
}

/// The keys of a section of `dead-letter.publish`: a queue of the same technology, for dead letters.
pub trait LettersSection: NamedSection + Setting + fmt::Debug + 'static {
    /// The queue that letters go to, and are read from.
    type Queue: SourceSection;

    /// Whether `dead-letter: {SECTION: …}` means the same.
    const IS_DIRECT: bool = false;

    /// Returns the settings of the queue for letters, or reports what is wrong. `source` is the queue that
    /// messages come from, if it is one of this kind and could be parsed.
    fn settings(
        &mut self,
        reader: &mut Reader<'_>,
        common: &Common,
        source: Option<&Configured<Self::Queue, QueueOf<Self>>>,
    ) -> Option<Letters<QueueOf<Self>>>;

    /// Returns its name for the user, such as `the topic orders-dead`.
    fn place(settings: &QueueOf<Self>) -> String;

    /// Checks that it answers, and returns what that proves, as text for the user. Publishes nothing. Override
    /// it if reading from it takes more than publishing to it.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    async fn probe(settings: &QueueOf<Self>) -> Result<String, SourceError> {
        Self::Queue::probe(settings).await
    }

    /// Warns about settings that work and are unwise; `section` is the path of the section.
    fn warn(settings: &QueueOf<Self>, section: &str, told: &mut Told) {
        let _ = (settings, section, told);
    }
}

/// The settings of the queue for letters.
pub type QueueOf<K> = <<K as LettersSection>::Queue as SourceSection>::Settings;

/// A queue for letters, as it is configured.
#[derive(Debug)]
pub struct Letters<S> {
    /// Its settings.
    pub settings: S,
    /// Keys that have their values from the source's section, which reports their files and warnings.
    pub inherited: &'static [&'static str],
}

/// A section that was read: its keys as they are shown, and the settings made of them.
#[derive(Debug)]
pub struct Configured<K, S> {
    /// Its keys.
    pub keys: K,
    /// Its settings.
    pub settings: S,
}

impl SourceRole {
    /// Returns the role of a queue with this section.
    #[must_use]
    pub const fn of<K: SourceSection>() -> Self {
        Self {
            section: K::SECTION,
            facts: K::FACTS,
            suggestion: K::suggestion,
            read: |found, reader, common| {
                let mut keys = K::read(found, reader)?;
                let settings = keys.settings(reader, common)?;
                Some(Arc::new(Configured { keys, settings }))
            },
        }
    }
}

impl StoreRole {
    /// Returns the role of a store with this section.
    #[must_use]
    pub const fn of<K: StoreSection>() -> Self {
        Self {
            section: K::SECTION,
            facts: K::FACTS,
            read: |found, reader, common| {
                let mut keys = K::read(found, reader)?;
                let settings = keys.settings(reader, common)?;
                Some(Arc::new(Configured { keys, settings }))
            },
        }
    }
}

impl LettersRole {
    /// Returns the role of a queue for dead letters with this section.
    #[must_use]
    pub const fn of<K: LettersSection>() -> Self {
        Self { section: K::SECTION, is_direct: K::IS_DIRECT, read: read_letters::<K> }
    }
}

impl<K: SourceSection> ConfiguredSource for Configured<K, K::Settings> {
    fn tell(&self, told: &mut Told) {
        self.keys.tell(K::SECTION.name, told);
        K::warn(&self.settings, told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>> {
        Box::pin(K::connect(&self.settings))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(K::probe(&self.settings))
    }

    fn peek<'a>(
        &'a self,
        limit: NonZeroU64,
        see: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>> {
        Box::pin(K::peek(&self.settings, limit, see))
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(K::publisher(&self.settings))
    }

    fn sample_origin(&self) -> Origin {
        K::sample_origin(&self.settings)
    }

    fn letter_source(&self) -> Result<Option<String>, SourceError> {
        K::letter_source(&self.settings)
    }

    fn created_on_demand(&self) -> Option<String> {
        let (key, value) = K::created_on_demand(&self.settings)?;
        Some(format!("{}.{key}: {value}", K::SECTION.name))
    }
}

impl<K: StoreSection> ConfiguredStore for Configured<K, K::Settings> {
    fn tell(&self, told: &mut Told) {
        self.keys.tell(K::SECTION.name, told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>> {
        Box::pin(K::connect(&self.settings))
    }

    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>> {
        Box::pin(K::existing(&self.settings))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, StoreError>> {
        Box::pin(K::probe(&self.settings))
    }

    fn key(&self) -> KeyRule {
        self.keys.key().rule()
    }

    fn placing(&self) -> Placing {
        K::placing(&self.settings)
    }

    fn names(&self) -> Names {
        K::names()
    }

    fn check_record(&self, record: &Record) -> Result<(), String> {
        K::check_record(&self.settings, record)
    }
}

/// A section for dead letters that was read.
#[derive(Debug)]
struct LettersOf<K, S> {
    keys: K,
    letters: Letters<S>,
}

fn read_letters<K: LettersSection>(
    found: &Value,
    reader: &mut Reader<'_>,
    common: &Common,
    source: Option<&dyn ConfiguredSource>,
) -> Option<Arc<dyn ConfiguredLetters>> {
    let mut keys = K::read(found, reader)?;
    let letters =
        keys.settings(reader, common, source.and_then(|source| (source as &dyn Any).downcast_ref()))?;
    Some(Arc::new(LettersOf { keys, letters }))
}

impl<K: LettersSection> ConfiguredLetters for LettersOf<K, QueueOf<K>> {
    fn tell(&self, section: &str, told: &mut Told) {
        let mut all = Told::default();
        self.keys.tell(section, &mut all);
        let inherited: Vec<_> = self.letters.inherited.iter().map(|key| join(section, key)).collect();
        let is_own = |text: &str| !inherited.iter().any(|key| text.starts_with(key));
        told.lines.extend(all.lines);
        told.files.extend(all.files.into_iter().filter(|file| is_own(&file.key)));
        told.warnings.extend(all.warnings.into_iter().filter(|warning| is_own(warning)));
        K::warn(&self.letters.settings, section, told);
    }

    fn place(&self) -> String {
        K::place(&self.letters.settings)
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(K::Queue::publisher(&self.letters.settings))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(K::probe(&self.letters.settings))
    }

    fn queue(&self) -> BoxFuture<'_, Result<Option<Box<dyn Source>>, SourceError>> {
        Box::pin(async { K::Queue::connect(&self.letters.settings).await.map(Some) })
    }
}
