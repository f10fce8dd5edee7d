//! Publishing to the configured nsqd.

use std::{cell::RefCell, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Settings,
    connect::{Place, connect_error, discover},
};
use crate::client::{Connection, Identity, NsqError};
use x_msrv_core::{
    BoxFuture, error_chain,
    fault::{Blame, Fault},
    layers::bisect,
    source::{PendingMessage, Publisher, SourceError},
};

/// How long an idle connection is kept. nsqd closes one that does not answer a heartbeat, which it sends
/// every 30 s by default; reconnecting costs a millisecond.
const MOST_IDLE: Duration = Duration::from_secs(20);

/// nsqd as a [`Publisher`]: the first one that answers. Each batch in progress has its own connection.
pub struct NsqPublisher {
    settings: Settings,
    identity: Identity,
    /// The one that answered last is first.
    places: RefCell<Vec<Place>>,
    idle: RefCell<Vec<(Connection, Instant)>>,
}

impl NsqPublisher {
    /// Connects to the first nsqd that answers.
    ///
    /// # Errors
    /// None answers.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let identity = Identity { msg_timeout: None, ..settings.identity()? };
        let found = discover(settings, Instant::now() + settings.connect_timeout).await?;
        let publisher = Self {
            settings: settings.clone(),
            identity,
            places: RefCell::new(found.places),
            idle: RefCell::default(),
        };
        match publisher.open().await {
            Some(Ok(connection)) => publisher.keep(connection),
            Some(Err(error)) => return Err(connect_error(error)),
            None => {
                return Err(SourceError::Unreachable {
                    place: format!("an nsqd with the topic {}", settings.topic),
                    cause: format!("{} lists none", settings.place()).into(),
                });
            }
        }
        Ok(publisher)
    }

    fn keep(&self, connection: Connection) {
        self.idle.borrow_mut().push((connection, Instant::now()));
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

    async fn connection(&self) -> Result<Connection, Fault> {
        self.idle.borrow_mut().retain(|(_, since)| since.elapsed() < MOST_IDLE);
        let idle = self.idle.borrow_mut().pop();
        match idle {
            Some((connection, _)) => Ok(connection),
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
}
