//! What an adapter brings: its sections of the configuration, what it promises, and how a section becomes
//! something that connects.
//!
//! The program has one list of adapters and asks them; nothing else names one.

use std::{any::Any, fmt, num::NonZeroU64, str::FromStr, sync::Arc, time::Duration};

use x_msrv_settings::{Key, Kind, Reader, Settings, Told, Value, text_setting};

use crate::{
    BoxFuture,
    dead_letter::{DeadLetter, published::Published},
    decode::{KeyRule, Placing},
    message::{Message, Origin},
    record::Record,
    run::Limits,
    source::{Peek, Publisher, Source, SourceError},
    store::{Store, StoreError},
};

/// A technology, with all that it can be in a pipeline.
#[derive(Debug)]
pub struct Adapter {
    /// Its name, for people.
    pub name: &'static str,
    /// The cargo feature that builds it in.
    pub feature: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// As a queue.
    pub source: Option<SourceRole>,
    /// As a database.
    pub store: Option<StoreRole>,
    /// As a queue that is published to, `dead-letter: {publish: {SECTION: …}}`.
    pub letters: Option<LettersRole>,
}

/// The adapters of a program. Of those that can be the same, the first is suggested.
pub type Adapters = &'static [&'static Adapter];

/// An adapter as a queue.
#[derive(Debug)]
pub struct SourceRole {
    /// Its section.
    pub section: Key,
    /// What `init --queue` calls it.
    pub word: &'static str,
    /// What makes a message the same when it is delivered again.
    pub identity: &'static str,
    /// What becomes of a message that is requeued.
    pub retry: &'static str,
    /// How it is known that the queue is empty.
    pub proof_of_empty: &'static str,
    /// Whether its connections can be encrypted.
    pub tls: &'static str,
    /// What proves who we are.
    pub login: &'static str,
    /// What `init` suggests for a key of a pipeline, where that depends on its name.
    pub suggestion: fn(key: &str, pipeline: &str) -> Option<String>,
    /// Reads the section.
    pub read: ReadSource,
}

/// An adapter as a database.
#[derive(Debug)]
pub struct StoreRole {
    /// Its section.
    pub section: Key,
    /// What `init --store` calls it.
    pub word: &'static str,
    /// What a repeated delivery does.
    pub idempotence: &'static str,
    /// What limits records have.
    pub limits: &'static str,
    /// Whether its connections can be encrypted.
    pub tls: &'static str,
    /// What proves who we are.
    pub login: &'static str,
    /// Reads the section.
    pub read: ReadStore,
}

/// An adapter as a queue that dead letters are published to.
#[derive(Debug)]
pub struct LettersRole {
    /// Its section in `dead-letter.publish`.
    pub section: Key,
    /// Whether `dead-letter: {SECTION: …}` means the same.
    pub is_direct: bool,
    /// Reads the section; the queue's settings are there where they could be read.
    pub read: ReadLetters,
}

/// Reads the section of a queue.
pub type ReadSource = fn(&Value, &mut Reader<'_>, &Common) -> Option<Arc<dyn ConfiguredSource>>;

/// Reads the section of a database.
pub type ReadStore = fn(&Value, &mut Reader<'_>, &Common) -> Option<Arc<dyn ConfiguredStore>>;

/// Reads the section of a place for dead letters.
pub type ReadLetters =
    fn(&Value, &mut Reader<'_>, &Common, Option<&dyn ConfiguredSource>) -> Option<Arc<dyn ConfiguredLetters>>;

/// What sections need from the top level.
#[derive(Debug, Clone)]
pub struct Common {
    /// N and the bounds of time.
    pub limits: Limits,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Bytes of the largest body that is stored.
    pub max_message_size: usize,
}

/// As many messages in flight as four nsqd allow on their connections by default; one that has less in flight
/// sends in smaller pieces, which costs it more.
const MOST_IN_FLIGHT: NonZeroU64 = NonZeroU64::new(10_000).expect("not zero");

impl Common {
    /// How many messages are in flight where the section does not say it: N, up to a bound.
    #[must_use]
    pub fn max_in_flight(&self, configured: Option<NonZeroU64>) -> NonZeroU64 {
        configured.unwrap_or(self.limits.max_messages.min(MOST_IN_FLIGHT))
    }
}

/// A queue as it is configured.
pub trait ConfiguredSource: fmt::Debug + Any {
    /// Tells its settings, files and warnings.
    fn tell(&self, told: &mut Told);

    /// Connects; asks for no message.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was taken.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>>;

    /// Proves that it answers; subscribes to nothing and takes nothing.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was taken.
    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>>;

    /// Shows at most `limit` messages that wait, without taking them, if it can do that.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Reads only.
    fn peek<'a>(
        &'a self,
        limit: NonZeroU64,
        see: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>>;

    /// Connects to publish to it.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>>;

    /// The origin of a made-up message. What only the queue can tell has a name in angle brackets.
    fn sample_origin(&self) -> Origin;

    /// Returns what dead letters of this queue name as their source; `None` where there is no queue yet.
    ///
    /// # Errors
    /// The queue is a file that cannot be read.
    fn letter_source(&self) -> Result<Option<String>, SourceError>;

    /// What may be mistyped where no run has ever received a message: a name that the queue creates for
    /// everybody who asks for it.
    fn created_on_demand(&self) -> Option<String> {
        None
    }
}

/// A database with what was stored before, or what of it is not there.
pub type Existing = Result<Box<dyn Store>, String>;

/// A database as it is configured.
pub trait ConfiguredStore: fmt::Debug {
    /// Tells its settings, files and warnings.
    fn tell(&self, told: &mut Told);

    /// Connects and checks it.
    ///
    /// # Errors
    /// It can't be reached, or can't do what is configured.
    ///
    /// # Cancel safety
    /// Nothing was written but what makes the place for records.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>>;

    /// Connects to read from it; or says what is not there, because nothing was stored yet or its name is
    /// another.
    ///
    /// # Errors
    /// It can't be reached, or can't do what is configured.
    ///
    /// # Cancel safety
    /// Reads only.
    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>>;

    /// Proves that it answers, can do what is configured, and would take records now; writes nothing.
    ///
    /// # Errors
    /// It can't be reached, can't do what is configured, or takes no record.
    ///
    /// # Cancel safety
    /// Reads only.
    fn probe(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What records' keys are made of.
    fn key(&self) -> KeyRule;

    /// What fields of a message tell it beside what is stored.
    fn placing(&self) -> Placing {
        Placing::default()
    }

    /// The names that a record's fields can have there.
    fn names(&self) -> Names {
        Names { longest: None, check: |_| Ok(()) }
    }

    /// Whether it can hold this record, as far as that is known without asking it.
    ///
    /// # Errors
    /// Why it can't, for a person.
    fn check_record(&self, record: &Record) -> Result<(), String> {
        let _ = record;
        Ok(())
    }
}

/// Which names of fields a store takes.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Bytes of the longest, where that is bounded.
    pub longest: Option<usize>,
    /// What else is wrong with one, for a person.
    pub check: fn(&str) -> Result<(), String>,
}

/// A queue for dead letters as it is configured. The file of dead letters takes what it does not.
pub trait ConfiguredLetters: fmt::Debug {
    /// Tells its settings, files and warnings; `section` is the path of its section.
    fn tell(&self, section: &str, told: &mut Told);

    /// Its name, for a person, such as `the topic orders-dead`.
    fn place(&self) -> String;

    /// Connects to publish letters.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>>;

    /// Proves that it answers; publishes nothing.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was published.
    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>>;

    /// Connects to the letters as to a queue of their own, where they can be read.
    ///
    /// # Errors
    /// It can't be reached, or refuses us.
    ///
    /// # Cancel safety
    /// Nothing was taken.
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

/// What a record's key is made of, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Settings)]
pub enum KeySetting {
    /// The message's origin (topic and nsqd, or the embedded queue), its id, and the time at which the queue
    /// received it. A message that is delivered again writes the same record; two equal documents are two
    /// records.
    Message,
    /// SHA-256 of the body. Equal bodies are one record.
    BodyHash,
    /// A field of the document, by a JSON pointer such as `/order/id` (RFC 6901). A document in which it is
    /// missing, empty, or neither an integer nor text becomes a dead letter.
    Field(Pointer),
    /// Several fields: the compact JSON array of their values, such as `["acme",7]`. The rules for one field
    /// apply to each of them.
    #[setting(min = 1)]
    Fields(Vec<Pointer>),
}

impl KeySetting {
    /// The rule for records.
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
