//! The queue: its section of the configuration, [`Source`] connects, [`Consumer`] delivers, and [`Publisher`]
//! is its other end.

use std::{
    cell::Cell, collections::BTreeSet, fs, future::ready, num::NonZeroU64, path::PathBuf, process,
    time::SystemTime,
};

use x_msrv_core::{
    BoxFuture,
    adapter::{Common, SourceFacts, section::SourceSection},
    message::{Delivery, Message, Origin, Receipt, Settlement},
    source::{
        Books, Closed, Consumer, Demand, Depth, Event, Identity, PendingMessage, Proof, Publisher, Source,
        SourceError, SourceTraits, Started,
    },
};
use x_msrv_settings::{Reader, Settings, StateFile};

use crate::{names, write_whole};

/// The queue is a folder; a message is a file.
#[derive(Debug, Settings)]
#[setting(section = "folder-queue")]
pub(crate) struct Keys {
    /// The folder; it must exist.
    #[setting(example = "incoming")]
    path: StateFile,
    /// The most messages in flight.
    #[setting(words = "N, at most 10,000", example = "1000")]
    max_in_flight: Option<NonZeroU64>,
}

impl SourceSection for Keys {
    const FACTS: SourceFacts = SourceFacts {
        word: "folder",
        identity: "folder, name",
        retry: "to the next run",
        proof_of_empty: "proven",
        tls: "local",
        login: "file permissions",
    };

    type Settings = Folder;

    fn settings(&mut self, _: &mut Reader<'_>, common: &Common) -> Option<Folder> {
        let max_in_flight = *self.max_in_flight.insert(common.max_in_flight(self.max_in_flight));
        Some(Folder { path: self.path.0.clone(), max_in_flight: max_in_flight.get() })
    }

    async fn connect(folder: &Folder) -> Result<Box<dyn Source>, SourceError> {
        folder.depth()?;
        Ok(Box::new(folder.clone()))
    }

    async fn publisher(folder: &Folder) -> Result<Box<dyn Publisher>, SourceError> {
        folder.depth()?;
        Ok(Box::new(Writing::new(folder.clone())))
    }

    fn letter_source(folder: &Folder) -> Result<Option<String>, SourceError> {
        Ok(Some(folder.place()))
    }
}

/// A folder of messages: what the section configures, and a source.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// The maximum number of unsettled messages.
    pub max_in_flight: u64,
}

impl Folder {
    fn place(&self) -> String {
        format!("folder {}", self.path.display())
    }

    fn depth(&self) -> Result<Depth, SourceError> {
        let names = names(&self.path).map_err(|cause| SourceError::unreachable(self.place(), cause))?;
        Ok(Depth { ready: Some(names.len() as u64), later: Some(0), elsewhere: None })
    }
}

impl Source for Folder {
    fn traits(&self) -> SourceTraits {
        // The rest is what the simplest queue can do: it cannot delay, and counts no deliveries.
        SourceTraits { identity: Identity::Stable, ..SourceTraits::default() }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let started = self.depth().map(|depth| {
            let (origin, books) = (Origin::new(&self.place()), Books::new(&demand, self.max_in_flight));
            let consumer = Box::new(Reading { folder: *self, origin, books, taken: BTreeSet::new() });
            Started { consumer, depth }
        });
        Box::pin(ready(started))
    }
}

/// The consumer of a folder.
struct Reading {
    folder: Folder,
    origin: Origin,
    books: Books,
    /// The messages that this run has taken: it takes none of them twice.
    taken: BTreeSet<String>,
}

impl Reading {
    fn take(&mut self, most: usize) -> std::io::Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for name in names(&self.folder.path)?.into_iter().filter(|name| !self.taken.contains(name)).take(most)
        {
            if self.books.bytes_left() == 0 {
                break;
            }
            let body = fs::read(self.folder.path.join(&name))?.into();
            let message = Message { attempts: None, ..Message::new(self.origin.clone(), &name, body) };
            let delivery = Delivery { message, receipt: Receipt(self.books.closed.received) };
            self.books.took(&delivery);
            deliveries.push(delivery);
        }
        self.taken.extend(deliveries.iter().map(|delivery| delivery.message.id.to_string()));
        Ok(deliveries)
    }
}

impl Consumer for Reading {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
            let most = match self.books.room().await {
                Ok(most) => most,
                Err(event) => return event,
            };
            match self.take(most) {
                Ok(deliveries) if deliveries.is_empty() => Event::Idle(Proof::Proven),
                Ok(deliveries) => Event::Deliveries(deliveries),
                Err(cause) => {
                    self.books.closed.trouble.get_or_insert_with(|| cause.to_string());
                    Event::Lost
                }
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.books.want(more);
        Box::pin(ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.books.settled(&settled);
        for (delivery, _) in settled.iter().filter(|(_, settlement)| *settlement == Settlement::Done) {
            // A file that cannot be removed is delivered again.
            let removed = fs::remove_file(self.folder.path.join(&*delivery.message.id));
            self.books.closed.unconfirmed += u64::from(removed.is_err());
        }
        Box::pin(ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        let depth = self.folder.depth().unwrap_or_default();
        Box::pin(ready(Closed { depth, ..self.books.closed }))
    }
}

/// Publishes to a folder.
#[derive(Debug)]
pub struct Writing {
    folder: Folder,
    began: u128,
    count: Cell<u64>,
}

impl Writing {
    /// Creates a publisher.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "files are delivered in the order of their names")]
    pub fn new(folder: Folder) -> Self {
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { folder, began, count: Cell::new(0) }
    }
}

impl Publisher for Writing {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for PendingMessage { item, answer } in messages {
            let name = format!("{:020}-{:010}-{}", self.began, self.count.get(), process::id());
            self.count.update(|count| count + 1);
            answer.give(write_whole(&self.folder.path, &name, &item.body));
        }
        Box::pin(ready(()))
    }
}
