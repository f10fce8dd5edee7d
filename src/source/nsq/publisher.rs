//! Publishing to the configured nsqd.

use bytes::Bytes;

use super::{Settings, connect_error, discover};
use crate::{
    BoxFuture,
    nsq::{Connection, name::TopicName},
    source::{Publisher, SourceError},
};

/// One nsqd that takes messages.
pub struct NsqPublisher {
    connection: Connection,
    topic: TopicName,
}

impl NsqPublisher {
    /// Connects to the first nsqd that answers.
    ///
    /// # Errors
    /// None does.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let places = discover(settings).await?;
        let mut failure = SourceError::Refused {
            place: settings.place(),
            fault: format!("no nsqd has the topic {} yet, so it is unknown where to publish", settings.topic),
        };
        for place in places {
            match Connection::open(&place.tcp, settings.identity(), settings.connect_timeout).await {
                Ok((connection, _)) => return Ok(Self { connection, topic: settings.topic.clone() }),
                Err(error) => failure = connect_error(error),
            }
        }
        Err(failure)
    }
}

impl Publisher for NsqPublisher {
    fn publish<'a>(&'a mut self, bodies: &'a [Bytes]) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.connection.publish(&self.topic, bodies).await.map_err(connect_error) })
    }
}
