//! Letters to an NSQ topic: the whole letter as JSON, acknowledged by nsqd before the message is finished.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{DeadLetter, DeadLetterError, Letter};
use crate::{
    BoxFuture,
    address::HostPort,
    nsq::{Connection, Identity, NsqError, name::TopicName},
};

/// Bytes of the largest frame that nsqd sends a publisher: answers are short.
const MAX_ANSWER: usize = 1 << 20;

/// How dead letters to a topic are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// nsqd that take letters; the first that answers is used.
    pub nsqd: Vec<HostPort>,
    /// The topic.
    pub topic: TopicName,
    /// How long connecting to one nsqd, and publishing, may take.
    pub timeout: Duration,
}

/// A topic as a [`DeadLetter`]. It connects when the first letter comes.
#[derive(Debug)]
pub struct NsqDeadLetter {
    settings: Settings,
    connection: Option<Connection>,
}

impl NsqDeadLetter {
    /// A topic that is connected to when the first letter comes.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: None }
    }

    async fn connect(&self) -> Result<Connection, NsqError> {
        let identity = Identity { msg_timeout: None, max_body: MAX_ANSWER };
        let mut failure = None;
        for address in &self.settings.nsqd {
            match Connection::open(address, identity, self.settings.timeout).await {
                Ok((connection, _)) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("the configuration names at least one nsqd"))
    }

    async fn publish(&mut self, letters: &[Letter]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let bodies: Vec<_> = letters.iter().map(|letter| Bytes::from(letter.to_line().trim_end().to_owned())).collect();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        timeout(self.settings.timeout, connection.publish(&self.settings.topic, &bodies)).await??;
        self.connection = Some(connection); // one that failed is not used again
        Ok(())
    }
}

impl DeadLetter for NsqDeadLetter {
    fn keep<'a>(&'a mut self, letters: &'a [Letter]) -> BoxFuture<'a, Result<usize, DeadLetterError>> {
        Box::pin(async move {
            let kept = self.publish(letters).await.map(|()| letters.len());
            kept.map_err(|cause| DeadLetterError { place: format!("the topic {}", self.settings.topic), cause })
        })
    }
}
