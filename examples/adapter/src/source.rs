//! The queue: [`Source`] connects, [`Consumer`] delivers, [`Publisher`] is its other end.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    future::{pending, ready},
    path::PathBuf,
    time::Duration,
};

use x_msrv_core::{
    BoxFuture,
    fault::{Blame, Fault},
    message::{Delivery, Message, Origin, Receipt, Settlement, bytes},
    source::{
        Attempts, BYTES_IN_FLIGHT, Closed, Consumer, Demand, Depth, Event, Identity, Lease, PendingMessage,
        Proof, Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};

use crate::{names, write_whole};

/// A folder of messages.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// The maximum number of unsettled messages.
    pub max_in_flight: u64,
}

impl Folder {
    fn depth(&self) -> Depth {
        let ready = names(&self.path).ok().map(|names| names.len() as u64);
        Depth { ready, later: Some(0), elsewhere: None }
    }

    /// Checks that the folder can be used.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn check(&self) -> Result<(), SourceError> {
        let place = || format!("the folder {}", self.path.display());
        names(&self.path)
            .map(drop)
            .map_err(|cause| SourceError::Unreachable { place: place(), cause: cause.into() })
    }
}

impl Source for Folder {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            // There is no delay: a returned message is available to the next run.
            retry: Retry::Immediate,
            attempts: Attempts::Unknown,
            lease: Lease::None,
            identity: Identity::Stable,
        }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let started = self.check().map(|()| Started {
            depth: self.depth(),
            consumer: Box::new(Reading {
                origin: Origin::new(&format!("folder {}", self.path.display())),
                folder: *self,
                left: demand.max_messages.get(),
                taken: BTreeSet::new(),
                unsettled: 0,
                bytes: 0,
                reported: None,
                closed: Closed::default(),
            }),
        });
        Box::pin(ready(started))
    }
}

/// The consumer of a folder.
struct Reading {
    folder: Folder,
    origin: Origin,
    left: u64,
    /// The messages that this run has taken: it takes none of them twice.
    taken: BTreeSet<String>,
    unsettled: u64,
    bytes: usize,
    /// The event that was reported last: idle (true) or full (false); each is reported once.
    reported: Option<bool>,
    closed: Closed,
}

impl Reading {
    fn take(&mut self) -> std::io::Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for name in names(&self.folder.path)?.into_iter().filter(|name| !self.taken.contains(name)) {
            let is_full = self.unsettled == self.folder.max_in_flight || self.bytes >= BYTES_IN_FLIGHT;
            if self.left == 0 || is_full {
                break;
            }
            let body = fs::read(self.folder.path.join(&name))?;
            self.left -= 1;
            self.unsettled += 1;
            self.bytes += body.len();
            self.closed.received += 1;
            let message = Message { attempts: None, ..Message::new(self.origin.clone(), &name, body.into()) };
            deliveries.push(Delivery { message, receipt: Receipt(self.closed.received) });
        }
        self.taken.extend(deliveries.iter().map(|delivery| delivery.message.id.to_string()));
        Ok(deliveries)
    }
}

impl Consumer for Reading {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        let is_full = self.unsettled == self.folder.max_in_flight || self.bytes >= BYTES_IN_FLIGHT;
        if self.left == 0 || is_full {
            let stopped = self.left == 0;
            if self.reported.replace(stopped) == Some(stopped) {
                return Box::pin(pending());
            }
            return Box::pin(ready(if stopped { Event::Idle(Proof::Proven) } else { Event::Full }));
        }
        self.reported = None;
        let event = match self.take() {
            Ok(deliveries) if deliveries.is_empty() => Event::Idle(Proof::Proven),
            Ok(deliveries) => Event::Deliveries(deliveries),
            Err(cause) => {
                self.closed.trouble.get_or_insert_with(|| cause.to_string());
                Event::Lost
            }
        };
        Box::pin(ready(event))
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        (self.left, self.reported) = (more, None);
        Box::pin(ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.unsettled -= settled.len() as u64;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
        for (delivery, _) in settled.iter().filter(|(_, settlement)| *settlement == Settlement::Done) {
            // A file that cannot be removed is delivered again.
            let removed = fs::remove_file(self.folder.path.join(&*delivery.message.id));
            self.closed.unconfirmed += u64::from(removed.is_err());
        }
        Box::pin(ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(ready(Closed { depth: self.folder.depth(), ..self.closed }))
    }
}

/// Publishes to a folder.
#[derive(Debug)]
pub struct Writing {
    folder: Folder,
    began: Duration,
    count: Cell<u64>,
}

impl Writing {
    /// Creates a publisher. `now` is the time since the epoch: it makes its file names unique.
    #[must_use]
    pub fn new(folder: Folder, now: Duration) -> Self {
        Self { folder, began: now, count: Cell::new(0) }
    }
}

impl Publisher for Writing {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for PendingMessage { item, answer } in messages {
            self.count.update(|count| count + 1);
            let name =
                format!("{:020}-{:010}-{}", self.began.as_nanos(), self.count.get(), std::process::id());
            let written = write_whole(&self.folder.path, &name, &item.body);
            answer.give(written.map_err(|cause| Fault::new(Blame::Outage, cause.to_string())));
        }
        Box::pin(ready(()))
    }
}
