//! Letters to an NSQ topic: the whole letter as JSON, acknowledged by nsqd before the message is finished.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use log::warn;

use crate::client::{
    Connection, Identity, NsqError,
    name::{ChannelName, TopicName},
};
use x_msrv_core::{
    BoxFuture,
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter, Pending},
    error_chain,
};
use x_msrv_net::{
    address::HostPort,
    secret::Secret,
    tls::{self, Tls},
};

/// Letters in one batch.
const LETTERS_AT_ONCE: usize = 100;

/// Bytes of the letters in one batch; nsqd takes 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Bytes of the largest frame that nsqd sends a publisher: answers are short.
const MAX_ANSWER: usize = 1 << 20;

/// How dead letters to a topic are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// nsqd that take letters; the first that answers is used.
    pub nsqd: Vec<HostPort>,
    /// The topic.
    pub topic: TopicName,
    /// As what `dead` consumes it.
    pub channel: ChannelName,
    /// What is told to an nsqd that wants authentication.
    pub auth_secret: Option<Secret>,
    /// How connections are encrypted.
    pub tls: Option<Box<tls::Settings>>,
    /// How long connecting to one nsqd, and publishing a batch, may take.
    pub timeout: Duration,
}

/// A topic as a [`DeadLetter`]. It connects when the first letter comes.
#[derive(Debug)]
pub struct NsqDeadLetter {
    settings: Settings,
    connection: Option<Connection>,
    /// Why it could not be reached, did not answer, or takes nothing from us. Such a topic is not tried
    /// again: each time may last as long as the connect timeout, and a run has to end.
    down: Option<DeadLetterError>,
}

impl NsqDeadLetter {
    /// A topic that is connected to when the first letter comes.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: None, down: None }
    }

    fn error(&self, cause: &NsqError) -> DeadLetterError {
        let is_setup = !matches!(cause, NsqError::Io { .. });
        DeadLetterError {
            place: format!("the topic {}", self.settings.topic),
            cause: error_chain::text(cause),
            is_setup,
        }
    }

    async fn connect(&mut self) -> Result<Connection, NsqError> {
        let identity = self.identity()?;
        let mut failure = None;
        for _ in 0..self.settings.nsqd.len() {
            match Connection::open(&self.settings.nsqd[0], &identity, self.settings.timeout).await {
                Ok((connection, _)) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
            // The next time, those come first that may answer.
            self.settings.nsqd.rotate_left(1);
        }
        Err(failure.expect("the configuration names at least one nsqd"))
    }

    async fn probe_each(&self, nsqd: &[HostPort]) -> Vec<Result<(), NsqError>> {
        let probe = async |address: &HostPort| {
            let identity = self.identity()?;
            Connection::open(address, &identity, self.settings.timeout)
                .await?
                .0
                .probe(self.settings.timeout)
                .await
        };
        join_all(nsqd.iter().map(probe)).await
    }

    /// What is told to every nsqd.
    fn identity(&self) -> Result<Identity, NsqError> {
        let tls = self.settings.tls.as_deref().map(Tls::load).transpose();
        let first = || self.settings.nsqd.first().expect("the configuration names at least one nsqd").clone();
        let tls = tls.map_err(|error| NsqError::Tls {
            address: first(),
            fault: format!("dead-letter.nsq.tls: {}", error_chain::text(&error)),
        })?;
        let auth_secret = self.settings.auth_secret.clone();
        Ok(Identity { section: "dead-letter.nsq", msg_timeout: None, max_body: MAX_ANSWER, auth_secret, tls })
    }

    async fn publish(&mut self, bodies: &[Bytes]) -> Result<(), NsqError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await.inspect_err(|error| self.down = Some(self.error(error)))?,
        };
        let published = connection.publish(&self.settings.topic, bodies, self.settings.timeout).await;
        if let Err(error) = &published
            && (error.is_late() || matches!(error, NsqError::Refused { .. }) && !error.is_about_messages())
        {
            self.down = Some(self.error(error));
        }
        published?;
        self.connection = Some(connection); // one that failed is not used again
        Ok(())
    }

    /// Publishes a batch. What nsqd refuses for what is in it is halved until the letter at fault stands
    /// alone.
    fn keep_batch<'a>(
        &'a mut self,
        bodies: &'a [Bytes],
    ) -> BoxFuture<'a, Vec<Result<Kept, DeadLetterError>>> {
        Box::pin(async move {
            if let Some(error) = &self.down {
                return vec![Err(error.clone()); bodies.len()];
            }
            match self.publish(bodies).await {
                Ok(()) => vec![Ok(Kept::Durably); bodies.len()],
                Err(error) if error.is_about_messages() && bodies.len() > 1 => {
                    let (first, second) = bodies.split_at(bodies.len() / 2);
                    let mut results = self.keep_batch(first).await;
                    results.extend(self.keep_batch(second).await);
                    results
                }
                Err(error) => vec![Err(self.error(&error)); bodies.len()],
            }
        })
    }
}

impl DeadLetter for NsqDeadLetter {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let bodies: Vec<_> = letters.iter().map(|letter| body(letter.item)).collect();
            let mut results = Vec::with_capacity(letters.len());
            let mut rest = &bodies[..];
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |body: &&Bytes| {
                    bytes += body.len();
                    bytes <= BYTES_AT_ONCE
                };
                let count = rest.iter().take(LETTERS_AT_ONCE).take_while(fits).count().max(1);
                let (batch, others) = rest.split_at(count);
                results.extend(self.keep_batch(batch).await);
                rest = others;
            }
            for (letter, result) in letters.into_iter().zip(results) {
                letter.answer.give(result);
            }
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(async move {
            let nsqd = self.settings.nsqd.clone();
            let mut failures = Vec::new();
            for (address, probed) in nsqd.iter().zip(self.probe_each(&nsqd).await) {
                if let Err(error) = probed {
                    failures.push((address, self.error(&error)));
                }
            }
            let error = (failures.len() == nsqd.len()).then(|| failures.remove(0).1);
            for (address, error) in failures {
                warn!(address = address.to_string(), cause = error.cause; "nsqd for dead letters does not answer");
            }
            error.map_or(Ok(()), Err)
        })
    }
}

fn body(letter: &Letter) -> Bytes {
    let mut line = Vec::new();
    letter.write_line(&mut line).expect("a Vec takes it");
    line.pop(); // a message is one letter, and no line
    line.into()
}
