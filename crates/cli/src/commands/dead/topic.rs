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
    source::{BYTES_IN_FLIGHT, Closed, Consumer, Demand, Event, Lease, Proof, Source, SourceError, Started},
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

/// Longer than any command.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is said where [`look`] has not seen all.
pub(super) const NOT_ALL: &str = "; more wait in the queue than are looked at in one go";

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
    consumer: Box<dyn Consumer>,
    held: Vec<Delivery>,
    bytes_held: usize,
    /// How often held letters are to be extended, and when next.
    period: Duration,
    extend_at: Instant,
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
    pub(super) async fn start(source: Box<dyn Source>, looks_only: bool) -> Result<Self, CommandError> {
        let period = match source.traits().lease {
            Lease::Renewable(lease) => lease / 3,
            Lease::None | Lease::Fixed(_) => NEVER,
        };
        let demand = Demand { max_messages: MOST, idle_timeout: Duration::ZERO };
        let Started { consumer, .. } = source.start(demand).await?;
        Ok(Self {
            consumer,
            held: Vec::new(),
            bytes_held: 0,
            period,
            extend_at: Instant::now() + period,
            looks_only,
            has_more: false,
            others: 0,
        })
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
                Event::Deliveries(deliveries) => deliveries,
                Event::Lost => return Err(lost().into()),
                Event::Idle(_) => return Ok(Vec::new()),
                Event::Full if self.looks_only || self.held.is_empty() => {
                    self.has_more = true;
                    return Ok(Vec::new());
                }
                Event::Full => {
                    self.send_away().await;
                    continue;
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
    async fn receive(&mut self) -> Event {
        let until = Instant::now() + SILENCE;
        loop {
            if Instant::now() >= self.extend_at {
                self.consumer.extend(self.held.iter().collect()).await;
                self.extend_at = Instant::now() + self.period;
            }
            match timeout_at(until.min(self.extend_at), self.consumer.next()).await {
                Ok(event) => return event,
                Err(_) if Instant::now() >= until => return Event::Idle(Proof::Inferred),
                Err(_) => {}
            }
        }
    }

    /// Keeps a letter from coming again before the command is over.
    pub(super) async fn hold(&mut self, delivery: Delivery) {
        if self.is_full() && !self.looks_only {
            self.consumer.settle(vec![(delivery, Settlement::Retry { after: AWAY })]).await;
        } else {
            self.bytes_held += delivery.message.body.len();
            self.held.push(delivery);
        }
    }

    /// Makes room for others.
    async fn send_away(&mut self) {
        let away = |delivery| (delivery, Settlement::Retry { after: AWAY });
        self.bytes_held = 0;
        self.consumer.settle(std::mem::take(&mut self.held).into_iter().map(away).collect()).await;
    }

    /// Whether no more are to be held.
    fn is_full(&self) -> bool {
        self.held.len() >= HELD || self.bytes_held > BYTES_HELD
    }

    /// They are done with.
    pub(super) async fn finish(&mut self, deliveries: Vec<Delivery>) {
        self.consumer
            .settle(deliveries.into_iter().map(|delivery| (delivery, Settlement::Done)).collect())
            .await;
    }

    /// Gives back what is held, and disconnects. Brings what the queue has confirmed.
    pub(super) async fn close(mut self) -> Closed {
        let held = std::mem::take(&mut self.held);
        self.consumer.want(0).await;
        self.consumer
            .settle(held.into_iter().map(|delivery| (delivery, Settlement::Release)).collect())
            .await;
        self.consumer.close().await
    }
}

fn lost() -> SourceError {
    let cause = "lost the connection to the dead-letter queue before all letters were seen".into();
    SourceError::Unreachable { place: "the dead-letter queue".to_owned(), cause }
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
