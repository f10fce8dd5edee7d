//! Dead letters on a queue: the whole letter as JSON. The queue acknowledges it before the message is
//! acknowledged.

use std::convert::Infallible;

use bytes::Bytes;

use super::{DeadLetter, DeadLetterError, Kept, Letter, Pending};
use crate::{
    BoxFuture, answer, error_chain,
    fault::{Blame, Fault},
    source::{Outgoing, Publisher, SourceError},
};

/// Dead letters in one batch.
const LETTERS_AT_ONCE: usize = 100;

/// The size of the letters in one batch in bytes; nsqd accepts 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

/// The number of consecutive batches that may fail because of an outage. After that, the queue is not tried
/// again in this run: each attempt may take as long as the connect timeout, and a run must end.
const MOST_FAILURES: u32 = 2;

/// Connects to a queue, or checks that it answers.
pub type Attempt<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T, SourceError>>>;

/// A queue as a [`DeadLetter`] destination. It connects for the first letter.
pub struct Published {
    place: String,
    connect: Attempt<Box<dyn Publisher>>,
    probe: Attempt<String>,
    publisher: Option<Box<dyn Publisher>>,
    failures: u32,
    /// Why it is not tried again in this run.
    down: Option<DeadLetterError>,
}

impl Published {
    /// Creates a destination. `place` is its name for the user.
    #[must_use]
    pub fn new(place: String, connect: Attempt<Box<dyn Publisher>>, probe: Attempt<String>) -> Self {
        Self { place, connect, probe, publisher: None, failures: 0, down: None }
    }

    fn unusable(&self, error: &SourceError) -> DeadLetterError {
        let is_setup = !matches!(error, SourceError::Unreachable { .. });
        DeadLetterError { place: self.place.clone(), cause: error_chain::text(error), is_setup }
    }

    fn refused(&self, fault: Fault) -> DeadLetterError {
        let is_setup = matches!(fault.blame, Blame::Setup | Blame::Record);
        DeadLetterError { place: self.place.clone(), cause: fault.text, is_setup }
    }

    async fn keep_batch(&mut self, letters: Vec<Pending<'_>>) {
        if let Err(error) = self.connected().await {
            self.down = Some(error);
        }
        let (Some(publisher), None) = (&self.publisher, &self.down) else {
            for letter in letters {
                letter.answer.give(Err(self.down.clone().unwrap_or_else(DeadLetterError::not_answered)));
            }
            return;
        };
        let bodies = letters.iter().map(|letter| Outgoing { body: body(letter.item), ..Outgoing::default() });
        let (batch, verdicts) = answer::batch(bodies);
        publisher.publish(batch).await;
        let verdicts = verdicts.take();
        let fault = |blame| {
            let faults = verdicts.iter().flatten().filter_map(|verdict| verdict.as_ref().err());
            faults.clone().find(|fault| fault.blame == blame).cloned()
        };
        let outage = fault(Blame::Outage);
        self.failures = if outage.is_some() { self.failures + 1 } else { 0 };
        if let Some(fault) = fault(Blame::Setup).or(outage.filter(|_| self.failures >= MOST_FAILURES)) {
            self.down = Some(self.refused(fault));
        }
        for (letter, verdict) in letters.into_iter().zip(verdicts) {
            match verdict {
                Some(Ok(())) => letter.answer.give(Ok(Kept::Durably)),
                Some(Err(fault)) => letter.answer.give(Err(self.refused(fault))),
                None => {}
            }
        }
    }

    async fn connected(&mut self) -> Result<(), DeadLetterError> {
        if self.publisher.is_none() && self.down.is_none() {
            let publisher = (self.connect)().await.map_err(|error| self.unusable(&error))?;
            self.publisher = Some(publisher);
        }
        Ok(())
    }
}

impl DeadLetter for Published {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut letters = letters.into_iter().peekable();
            while let Some(letter) = letters.next() {
                let (mut bytes, mut batch) = (letter.item.body.len(), vec![letter]);
                while batch.len() < LETTERS_AT_ONCE
                    && let Some(letter) =
                        letters.next_if(|letter| bytes + letter.item.body.len() <= BYTES_AT_ONCE)
                {
                    bytes += letter.item.body.len();
                    batch.push(letter);
                }
                self.keep_batch(batch).await;
            }
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        Box::pin(async { (self.probe)().await.map_err(|error| self.unusable(&error)) })
    }

    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        match &self.publisher {
            Some(publisher) => publisher.keep_alive(),
            None => Box::pin(std::future::pending()),
        }
    }
}

fn body(letter: &Letter) -> Bytes {
    let mut line = Vec::new();
    letter.write_line(&mut line).expect("a Vec takes it");
    line.pop(); // a message is one letter, and no line
    line.into()
}
