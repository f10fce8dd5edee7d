//! Letters in a queue: they can be looked at only by taking them, so those that stay are given back.

use std::{num::NonZeroU64, time::Duration};

use log::debug;
use tokio::time::{Instant, timeout_at};

use crate::{
    cli::SelectArgs,
    commands::CommandError,
    config::{DeadLetterSettings, Settings},
};
use x_msrv_core::{
    dead_letter::Letter,
    message::{Delivery, Settlement},
    source::{BYTES_IN_FLIGHT, Closing, Demand, Received, Source, SourceError},
};
use x_msrv_letters::{
    filter::Filter,
    letters::{self, Line},
};

/// Letters that are looked at in one command, at most.
const MOST: NonZeroU64 = NonZeroU64::new(1_000_000_000).expect("not zero");

/// Bytes of letters that are kept from the queue until the command is over.
const BYTES_HELD: usize = BYTES_IN_FLIGHT / 2;

/// Letters that are kept from it: some fewer than an nsqd lets be in flight by default (`-max-rdy-count`), so
/// that others go on coming.
const HELD: usize = 2_000;

/// How long a letter stays away that is over these bounds, so that it does not come again in the same
/// command.
const AWAY: Duration = Duration::from_secs(60);

/// A queue that brings nothing for so long while letters are held has no more of them.
const SILENCE: Duration = Duration::from_secs(1);

/// What is said where [`look`] has not seen all.
pub(super) const NOT_ALL: &str = "; more wait in the topic than are looked at in one go";

/// The configured topic, where letters go to one and no file is named.
pub(super) async fn open(
    settings: &Settings,
    arguments: &SelectArgs,
) -> Result<Option<Box<dyn Source>>, CommandError> {
    match &settings.dead_letter {
        DeadLetterSettings::Elsewhere(letters, _) if arguments.files().is_empty() => {
            Ok(letters.queue().await?)
        }
        _ => Ok(None),
    }
}

/// The letters of a queue, one batch after the other.
pub(super) struct Letters {
    source: Box<dyn Source>,
    held: Vec<Delivery>,
    bytes_held: usize,
    touch_at: Instant,
    /// Whether to stop rather than to send letters away for a while.
    looks_only: bool,
    /// Whether it has stopped for that, or could have brought more for another reason.
    pub(super) has_more: bool,
    /// Messages that are no letters.
    pub(super) others: u64,
}

/// A letter with its delivery.
pub(super) type Taken = (Delivery, Letter);

impl Letters {
    /// To look at them, or to do something with those that are meant.
    pub(super) async fn start(mut source: Box<dyn Source>, looks_only: bool) -> Result<Self, CommandError> {
        source.start(Demand { max_messages: MOST, idle_timeout: Duration::ZERO }).await?;
        let touch_at = Instant::now() + source.lease() / 3;
        Ok(Self { source, held: Vec::new(), bytes_held: 0, touch_at, looks_only, has_more: false, others: 0 })
    }

    /// The next letters that are meant; none when all have been seen. The others are held back.
    ///
    /// # Errors
    /// The queue is gone; what it may still have is not known.
    pub(super) async fn next(&mut self, filter: &Filter) -> Result<Vec<Taken>, CommandError> {
        loop {
            if self.looks_only && self.is_full() {
                self.has_more = true;
                return Ok(Vec::new());
            }
            let deliveries = match self.receive().await {
                Received::Deliveries(deliveries) => deliveries,
                Received::Closed => return Err(lost().into()),
                Received::Empty => {
                    self.has_more = self.source.is_full();
                    return Ok(Vec::new());
                }
            };
            let mut meant = Vec::new();
            for delivery in deliveries {
                match letters::parse(&delivery.message.body) {
                    Line::Letter(letter) if filter.matches(&letter) => meant.push((delivery, letter)),
                    Line::Letter(_) => self.hold(delivery).await,
                    Line::NoLetter => {
                        debug!(id = &*delivery.message.id; "a message is no dead letter");
                        self.others += 1;
                        self.hold(delivery).await;
                    }
                }
            }
            if !meant.is_empty() {
                return Ok(meant);
            }
        }
    }

    /// While letters are held, a queue may not be able to say that it is empty, so silence says it; and they
    /// would come again if the queue were left to wonder what became of them.
    async fn receive(&mut self) -> Received {
        let until = Instant::now() + SILENCE;
        loop {
            if Instant::now() >= self.touch_at {
                self.source.touch(self.held.iter().collect()).await;
                self.touch_at = Instant::now() + self.source.lease() / 3;
            }
            match timeout_at(until.min(self.touch_at), self.source.receive()).await {
                Ok(received) => return received,
                Err(_) if Instant::now() >= until => return Received::Empty,
                Err(_) => {}
            }
        }
    }

    /// Keeps a letter from coming again before the command is over.
    pub(super) async fn hold(&mut self, delivery: Delivery) {
        if self.is_full() && !self.looks_only {
            self.source.settle(vec![(delivery, Settlement::Requeue { delay: AWAY })]).await;
        } else {
            self.bytes_held += delivery.message.body.len();
            self.held.push(delivery);
        }
    }

    /// Whether no more are to be held.
    fn is_full(&self) -> bool {
        self.held.len() >= HELD || self.bytes_held > BYTES_HELD || self.source.is_full()
    }

    /// They are done with.
    pub(super) async fn finish(&mut self, deliveries: Vec<Delivery>) {
        self.source
            .settle(deliveries.into_iter().map(|delivery| (delivery, Settlement::Finish)).collect())
            .await;
    }

    /// Gives back what is held, and disconnects. Brings what the queue has confirmed.
    pub(super) async fn close(mut self) -> Closing {
        let held = std::mem::take(&mut self.held);
        self.source.pause().await;
        self.source
            .settle(held.into_iter().map(|delivery| (delivery, Settlement::REQUEUE_NOW)).collect())
            .await;
        self.source.close().await
    }
}

fn lost() -> SourceError {
    let cause = "lost the connection to the dead-letter topic before all letters were seen".into();
    SourceError::Unreachable { place: "the dead-letter topic".to_owned(), cause }
}

/// Looks at the letters that are meant. Whether that was all of them.
pub(super) async fn look(
    source: Box<dyn Source>,
    filter: &Filter,
    mut see: impl FnMut(Letter),
) -> Result<bool, CommandError> {
    let mut letters = Letters::start(source, true).await?;
    loop {
        let taken = letters.next(filter).await?;
        if taken.is_empty() {
            break;
        }
        for (delivery, letter) in taken {
            see(letter);
            letters.hold(delivery).await;
        }
    }
    let whole = !letters.has_more;
    letters.close().await; // what is not given back comes again by itself
    Ok(whole)
}
