//! Publishing to the configured nsqd.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use log::debug;
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    Settings,
    connect::{Place, connect_error, discover},
};
use crate::client::{Connection, Identity, NsqError, Role};
use x_msrv_core::{
    BoxFuture, error_chain,
    fault::{Blame, Fault},
    layers::bisect,
    source::{PendingMessage, Publisher, SourceError},
};

/// nsqd as a [`Publisher`]: the first one that answers. Each batch in progress has its own connection, which is
/// kept for the next one. While idle, [`keep_alive`](Publisher::keep_alive) answers its heartbeats.
pub struct NsqPublisher {
    settings: Settings,
    identity: Identity,
    /// The one that answered last is first.
    places: RefCell<Vec<Place>>,
    idle: RefCell<Vec<Idle>>,
    /// Signals that other idle connections must be polled, or by another task.
    changed: Notify,
}

/// A connection that publishes nothing at the moment.
struct Idle {
    connection: Connection,
    /// When nsqd last sent something.
    heard: Instant,
}

impl Idle {
    /// Answers heartbeats. Returns whether the connection can be used.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let lost = |connection: &Connection, cause: &str| {
            debug!(address = connection.address().to_string(), cause = cause; "idle connection to nsqd lost");
            false
        };
        loop {
            match self.connection.poll_heartbeats(cx) {
                Poll::Ready(Ok(())) => self.heard = Instant::now(),
                Poll::Ready(Err(cause)) => return lost(&self.connection, &cause.to_string()),
                Poll::Pending if self.lost_at().is_some_and(|at| at <= Instant::now()) => {
                    return lost(&self.connection, "no heartbeat");
                }
                Poll::Pending => return true,
            }
        }
    }

    /// Returns when it counts as lost if nothing arrives.
    fn lost_at(&self) -> Option<Instant> {
        Some(self.heard + self.connection.longest_silence()?)
    }
}

/// nsqlookupd lists only nsqd that have the topic, so none for a new one.
fn lists_none(settings: &Settings) -> String {
    format!(
        "{} lists none; to create the topic, with one of your nsqd as NSQD: \
         curl -X POST 'http://NSQD:4151/topic/create?topic={}'",
        settings.place(),
        settings.topic.to_string().replace('#', "%23")
    )
}

impl NsqPublisher {
    /// Connects to the first nsqd that answers.
    ///
    /// # Errors
    /// None answers.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let identity = Identity { role: Role::PUBLISHER, ..settings.identity()? };
        let found = discover(settings, Instant::now() + settings.connect_timeout).await?;
        let publisher = Self {
            settings: settings.clone(),
            identity,
            places: RefCell::new(found.places),
            idle: RefCell::default(),
            changed: Notify::new(),
        };
        match publisher.open().await {
            Some(Ok(connection)) => publisher.keep(connection),
            Some(Err(error)) => return Err(connect_error(error)),
            None => {
                return Err(SourceError::Unreachable {
                    place: format!("an nsqd with the topic {}", settings.topic),
                    cause: lists_none(settings).into(),
                });
            }
        }
        Ok(publisher)
    }

    fn keep(&self, connection: Connection) {
        self.idle.borrow_mut().push(Idle { connection, heard: Instant::now() });
        self.changed.notify_one();
    }

    /// Connects to the first nsqd that answers, or returns the last error; `None` if there is no nsqd.
    async fn open(&self) -> Option<Result<Connection, NsqError>> {
        let places = self.places.borrow().clone();
        let mut failure = None;
        for place in &places {
            match Connection::open(&place.tcp, &self.identity, self.settings.connect_timeout).await {
                Ok((connection, _)) => return Some(Ok(connection)),
                Err(error) => failure = Some(Err(place.explained(error))),
            }
            // The next attempt starts with the others, which may answer.
            self.places.borrow_mut().rotate_left(1);
        }
        failure
    }

    /// Answers the heartbeats of all idle connections, and drops the lost ones.
    fn poll_idle(&self, cx: &mut Context<'_>) {
        self.idle.borrow_mut().retain_mut(|idle| idle.poll(cx));
    }

    async fn connection(&self) -> Result<Connection, Fault> {
        // What arrived while the task did something else is known after a yield.
        yield_now().await;
        poll_fn(|cx| {
            self.poll_idle(cx);
            Poll::Ready(())
        })
        .await;
        self.changed.notify_one();
        let idle = self.idle.borrow_mut().pop();
        match idle {
            Some(idle) => Ok(idle.connection),
            None => match self.open().await {
                Some(Ok(connection)) => Ok(connection),
                Some(Err(error)) => Err(Fault { in_doubt: false, ..fault(&error) }),
                None => Err(Fault::new(Blame::Outage, format!("{} lists no nsqd", self.settings.place()))),
            },
        }
    }

    /// Publishes all messages or none.
    async fn publish_batch(&self, bodies: &[Bytes]) -> Result<(), Fault> {
        let mut connection = self.connection().await?;
        let published = connection.publish(&self.settings.topic, bodies, self.settings.connect_timeout).await;
        match published {
            Ok(()) => self.keep(connection),
            Err(error) => return Err(fault(&error)), // nsqd closes the connection when it refuses
        }
        Ok(())
    }
}

/// Returns the fault of the messages for an error.
fn fault(error: &NsqError) -> Fault {
    let text = error_chain::text(error);
    match error {
        NsqError::Io { .. } => Fault::in_doubt(text),
        error if error.is_about_messages() => Fault::new(Blame::Record, text),
        _ => Fault::new(Blame::Setup, text),
    }
}

impl Publisher for NsqPublisher {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        bisect(
            messages,
            Rc::new(move |messages: Vec<PendingMessage>| {
                Box::pin(async move {
                    let bodies: Vec<_> = messages.iter().map(|message| message.item.body.clone()).collect();
                    let published = self.publish_batch(&bodies).await;
                    for message in messages {
                        message.answer.give(published.clone());
                    }
                }) as BoxFuture<'_, ()>
            }),
        )
    }

    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        Box::pin(async move {
            loop {
                let lost_at = self.idle.borrow().iter().filter_map(Idle::lost_at).min();
                tokio::select! {
                    biased;
                    never = poll_fn(|cx| {
                        self.poll_idle(cx);
                        Poll::Pending
                    }) => return never,
                    () = self.changed.notified() => {}
                    () = sleep_until(lost_at.unwrap_or_else(Instant::now)), if lost_at.is_some() => {}
                }
            }
        })
    }
}
