//! What an adapter provides: its configuration sections, what it guarantees, and how a section becomes a
//! connection.
//!
//! An adapter implements the traits of [`section`] for the keys of its sections. The program has one list of
//! adapters and queries that list. Nothing else names an adapter.

pub mod section;

use std::{any::Any, fmt, num::NonZeroU64, str::FromStr, sync::Arc, time::Duration};

use x_msrv_settings::{Key, Kind, Reader, Settings, Told, Value, text_setting};

use crate::{
    BoxFuture,
    dead_letter::{DeadLetter, published::Published},
    decode::{BigIntegers, Codec, KeyRule, Placing},
    message::{Message, Origin},
    record::Record,
    run::Limits,
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};

/// A technology and every role that it can have in a pipeline.
#[derive(Debug)]
pub struct Adapter {
    /// Its display name.
    pub name: &'static str,
    /// The cargo feature that enables it.
    pub feature: &'static str,
    /// A description in one sentence.
    pub summary: &'static str,
    /// The source role.
    pub source: Option<SourceRole>,
    /// The store role.
    pub store: Option<StoreRole>,
    /// The dead-letter role, `dead-letter: {publish: {SECTION: …}}`.
    pub letters: Option<LettersRole>,
}

/// What a program is put together from: its adapters, and the format of its documents.
#[derive(Debug, Clone, Copy)]
pub struct Adapters {
    /// The first adapter that fits a role is the suggested one.
    pub list: &'static [&'static Adapter],
    /// Returns the codec for the documents in messages.
    pub codec: fn(BigIntegers) -> Box<dyn Codec>,
}

impl Adapters {
    /// Returns the adapters in the order of the list.
    pub fn iter(self) -> std::slice::Iter<'static, &'static Adapter> {
        self.list.iter()
    }
}

/// An adapter in the role of a source.
#[derive(Debug)]
pub struct SourceRole {
    /// Its section.
    pub section: Key,
    /// What holds for the queue.
    pub facts: SourceFacts,
    /// The value that `init` suggests for a key that depends on the pipeline's name.
    pub suggestion: fn(key: &str, pipeline: &str) -> Option<String>,
    /// Parses the section.
    pub read: ReadSource,
}

/// What holds for a queue, as the table of promises shows it.
#[derive(Debug, Clone, Copy)]
pub struct SourceFacts {
    /// The value of `init --queue`.
    pub word: &'static str,
    /// What identifies a message across deliveries.
    pub identity: &'static str,
    /// How a requeued message is delivered again.
    pub retry: &'static str,
    /// How the adapter detects that the queue is empty.
    pub proof_of_empty: &'static str,
    /// Whether connections can use TLS.
    pub tls: &'static str,
    /// How the client authenticates.
    pub login: &'static str,
}

/// An adapter in the role of a store.
#[derive(Debug)]
pub struct StoreRole {
    /// Its section.
    pub section: Key,
    /// What holds for the store.
    pub facts: StoreFacts,
    /// Parses the section.
    pub read: ReadStore,
}

/// What holds for a store, as the table of promises shows it.
#[derive(Debug, Clone, Copy)]
pub struct StoreFacts {
    /// The value of `init --store`.
    pub word: &'static str,
    /// The effect of a repeated delivery.
    pub idempotence: &'static str,
    /// The limits on records.
    pub limits: &'static str,
    /// Whether connections can use TLS.
    pub tls: &'static str,
    /// How the client authenticates.
    pub login: &'static str,
}

/// An adapter in the role of a queue for dead letters.
#[derive(Debug)]
pub struct LettersRole {
    /// The name of its section in `dead-letter.publish`.
    pub section: Key,
    /// Whether `dead-letter: {SECTION: …}` means the same.
    pub is_direct: bool,
    /// Parses the section. The source's settings are passed in if they could be parsed.
    pub read: ReadLetters,
}

/// Parses the section of a source.
pub type ReadSource = fn(&Value, &mut Reader<'_>, &Common) -> Option<Arc<dyn ConfiguredSource>>;

/// Parses the section of a store.
pub type ReadStore = fn(&Value, &mut Reader<'_>, &Common) -> Option<Arc<dyn ConfiguredStore>>;

/// Parses the section of a dead-letter destination.
pub type ReadLetters =
    fn(&Value, &mut Reader<'_>, &Common, Option<&dyn ConfiguredSource>) -> Option<Arc<dyn ConfiguredLetters>>;

/// The top-level settings that sections use.
#[derive(Debug, Clone)]
pub struct Common {
    /// N and the time limits.
    pub limits: Limits,
    /// The limit on the time to connect.
    pub connect_timeout: Duration,
    /// The largest body that is stored, in bytes.
    pub max_message_size: usize,
}

/// The number of messages in flight that four nsqd allow on their connections by default. With a smaller
/// window, nsqd sends in smaller pieces, which costs it more.
const MOST_IN_FLIGHT: NonZeroU64 = NonZeroU64::new(10_000).expect("not zero");

impl Common {
    /// Returns the limit on messages in flight if the section does not set it: N, up to a bound.
    #[must_use]
    pub fn max_in_flight(&self, configured: Option<NonZeroU64>) -> NonZeroU64 {
        configured.unwrap_or(self.limits.max_messages.min(MOST_IN_FLIGHT))
    }
}

/// A configured source: a [`section::SourceSection`] that was parsed.
pub trait ConfiguredSource: fmt::Debug + Any {
    /// Reports its settings, files and warnings.
    fn tell(&self, told: &mut Told);

    /// Connects, without asking for messages.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// No message was taken.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>>;

    /// Checks that the queue answers, without subscribing or taking messages, and returns what that proves, as
    /// text for the user.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// No message was taken.
    fn probe(&self) -> BoxFuture<'_, Result<String, SourceError>>;

    /// Shows at most `limit` waiting messages without taking them, if the queue supports that.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// Only reads.
    fn peek<'a>(
        &'a self,
        limit: NonZeroU64,
        see: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>>;

    /// Connects for publishing to the queue.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>>;

    /// Returns the origin of a sample message. Parts that only the queue knows have a placeholder in angle
    /// brackets.
    fn sample_origin(&self) -> Origin;

    /// Returns the source name that dead letters of this queue carry; `None` if the queue does not exist yet.
    ///
    /// # Errors
    /// The queue is a file that cannot be read.
    fn letter_source(&self) -> Result<Option<String>, SourceError>;

    /// Returns the setting that may be mistyped if no run has ever received a message: a name that the queue
    /// creates for every client that asks for it. In the form `SECTION.KEY: VALUE`.
    fn created_on_demand(&self) -> Option<String>;
}

/// A store that contains records, or a description of what is missing.
pub type Existing = Result<Box<dyn Store>, String>;

/// A configured store: a [`section::StoreSection`] that was parsed.
pub trait ConfiguredStore: fmt::Debug {
    /// Reports its settings, files and warnings.
    fn tell(&self, told: &mut Told);

    /// Connects and checks the store.
    ///
    /// # Errors
    /// The store cannot be reached, or it cannot do what is configured.
    ///
    /// # Cancel safety
    /// Nothing was written, except what creates the place for records.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>>;

    /// Connects for reading. Returns what is missing if nothing was stored yet or a name is wrong.
    ///
    /// # Errors
    /// The store cannot be reached, or it cannot do what is configured.
    ///
    /// # Cancel safety
    /// Only reads.
    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>>;

    /// Checks that the store answers, can do what is configured, and accepts records now. Writes no record.
    /// Returns what that proves, as text for the user.
    ///
    /// # Errors
    /// The store cannot be reached, cannot do what is configured, or accepts no record.
    ///
    /// # Cancel safety
    /// Only reads.
    fn probe(&self) -> BoxFuture<'_, Result<String, StoreError>>;

    /// Returns how keys of records are made.
    fn key(&self) -> KeyRule;

    /// Returns which fields of a message control where and how long its record is stored.
    fn placing(&self) -> Placing;

    /// Returns the field names that the store accepts.
    fn names(&self) -> Names;

    /// Checks whether the store can hold this record, as far as that is known without asking the server.
    ///
    /// # Errors
    /// The reason why it cannot, as text for the user.
    fn check_record(&self, record: &Record) -> Result<(), String>;
}

/// Which field names a store accepts.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The limit on their length in bytes, if there is one.
    pub longest: Option<usize>,
    /// Returns any other fault of a name, as text for the user.
    pub check: fn(&str) -> Result<(), String>,
}

/// A configured queue for dead letters: a [`section::LettersSection`] that was parsed. Letters that it does not take are written to the dead-letter file.
pub trait ConfiguredLetters: fmt::Debug {
    /// Reports its settings, files and warnings; `section` is the path of its section.
    fn tell(&self, section: &str, told: &mut Told);

    /// Returns its name for the user, such as `the topic orders-dead`.
    fn place(&self) -> String;

    /// Connects for publishing dead letters.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>>;

    /// Checks that it answers, and returns what that proves, as text for the user. Publishes nothing.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn probe(&self) -> BoxFuture<'_, Result<String, SourceError>>;

    /// Connects to the letters as to a queue of their own, where they can be read.
    ///
    /// # Errors
    /// The queue cannot be reached, or it refuses the connection.
    ///
    /// # Cancel safety
    /// No message was taken.
    fn queue(&self) -> BoxFuture<'_, Result<Option<Box<dyn Source>>, SourceError>>;
}

/// Returns a configured queue as a [`DeadLetter`]; nothing is opened yet.
#[must_use]
pub fn letters_to(queue: &Arc<dyn ConfiguredLetters>) -> Box<dyn DeadLetter> {
    let (connect, probe) = (Arc::clone(queue), Arc::clone(queue));
    Box::new(Published::new(
        queue.place(),
        Box::new(move || {
            let queue = Arc::clone(&connect);
            Box::pin(async move { queue.publisher().await })
        }),
        Box::new(move || {
            let queue = Arc::clone(&probe);
            Box::pin(async move { queue.probe().await })
        }),
    ))
}

/// A JSON pointer (RFC 6901) to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(pub String);

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a JSON pointer such as /id or /order/id"))
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Pointer, Kind::Text);

/// The configured rule for a record's key.
#[derive(Debug, Clone, PartialEq, Eq, Settings)]
pub enum KeySetting {
    /// The message's origin (topic and nsqd, or the embedded queue), its id, and the time at which the queue
    /// received it. A message that is delivered again writes the same record. Two equal documents are two
    /// records.
    Message,
    /// SHA-256 of the body. Equal bodies are one record.
    BodyHash,
    /// A field of the document, as a JSON pointer such as `/order/id` (RFC 6901). A message becomes a dead
    /// letter if the field is missing, empty, or neither an integer nor text.
    Field(Pointer),
    /// Several fields: the compact JSON array of their values, such as `["acme",7]`. The rules for one field
    /// apply to each of them.
    #[setting(min = 1)]
    Fields(Vec<Pointer>),
}

impl KeySetting {
    /// Returns the rule for records.
    #[must_use]
    pub fn rule(&self) -> KeyRule {
        match self {
            Self::Message => KeyRule::Message,
            Self::BodyHash => KeyRule::BodyHash,
            Self::Field(Pointer(pointer)) => KeyRule::Field(pointer.clone()),
            Self::Fields(pointers) => {
                KeyRule::Fields(pointers.iter().map(|Pointer(pointer)| pointer.clone()).collect())
            }
        }
    }
}
