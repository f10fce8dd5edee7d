//! Publishing to the configured nsqd.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Settings,
    connect::{connect_error, discover},
};
use crate::client::{Connection, Identity, NsqError, name::TopicName};
use x_msrv_core::{
    BoxFuture,
    source::{Publisher, SourceError},
};

/// One nsqd that takes messages.
pub struct NsqPublisher {
    connection: Connection,
    topic: TopicName,
    timeout: Duration,
}

impl NsqPublisher {
    /// Connects to the first nsqd that answers.
    ///
    /// # Errors
    /// None does.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let identity = Identity { msg_timeout: None, ..settings.identity()? };
        let found = discover(settings, Instant::now() + settings.connect_timeout).await?;
        let mut failure = SourceError::Unreachable {
            place: format!("an nsqd with the topic {}", settings.topic),
            cause: format!("{} knows of none", settings.place()).into(),
        };
        for place in found.places {
            match Connection::open(&place.tcp, &identity, settings.connect_timeout).await {
                Ok((connection, _)) => {
                    return Ok(Self {
                        connection,
                        topic: settings.topic.clone(),
                        timeout: settings.connect_timeout,
                    });
                }
                Err(error) => failure = connect_error(place.explained(error)),
            }
        }
        Err(failure)
    }
}

fn publish_error(error: NsqError) -> SourceError {
    let is_about_messages = error.is_about_messages();
    match error {
        NsqError::Refused { address, fault } if is_about_messages => {
            SourceError::Messages { place: format!("nsqd at {address}"), fault }
        }
        other => connect_error(other),
    }
}

impl Publisher for NsqPublisher {
    fn publish<'a>(&'a mut self, bodies: &'a [Bytes]) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.connection.publish(&self.topic, bodies, self.timeout).await.map_err(publish_error)
        })
    }
}
