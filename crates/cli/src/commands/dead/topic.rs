//! Dead letters in a queue. They can be read only by consuming them; letters that are to stay are released.

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

/// The most letters that one command reads.
const MOST: NonZeroU64 = NonZeroU64::new(1_000_000_000).expect("not zero");

/// The most bytes of letters that are held until the command ends.
const BYTES_HELD: usize = BYTES_IN_FLIGHT / 2;

/// The most letters that are held: fewer than nsqd allows in flight by default (`-max-rdy-count`), so that
/// more can arrive.
const HELD: usize = 2_000;

/// The delay of a letter over these limits, so that the same command does not receive it again.
const AWAY: Duration = Duration::from_secs(60);

/// If the queue delivers nothing for this time while letters are held, it is considered empty.
const SILENCE: Duration = Duration::from_secs(1);

/// Longer than any command runs.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The text added if not all letters were read.
pub(super) const NOT_ALL: &str = "; the queue has more than one command reads";

/// Opens the configured queue for dead letters, unless a file is named.
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

/// The letters of a queue, batch by batch.
pub(super) struct Letters {
    consumer: Box<dyn Consumer>,
    held: Vec<Delivery>,
    bytes_held: usize,
    /// The interval at which the leases of held letters are extended, and the next time.
    period: Duration,
    extend_at: Instant,
    /// Whether to stop at the limits instead of delaying letters.
    looks_only: bool,
    /// Whether the queue may contain more letters.
    pub(super) has_more: bool,
    /// Messages that are not dead letters.
    pub(super) others: u64,
}

/// A letter and its delivery.
pub(super) type Taken = (Delivery, Letter);

impl Letters {
    /// Starts consuming. With `looks_only` all letters stay in the queue.
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

    /// Returns the next selected letters; none if all were seen. The others are held.
    ///
    /// # Errors
    /// The connection to the queue was lost; it may have more letters.
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
                    self.delay_held().await;
                    continue;
                }
            };
            let mut selected = Vec::new();
            for delivery in deliveries {
                match letters::parse(&delivery.message.body) {
                    Line::Letter(letter) if filter.matches(&letter) => selected.push((delivery, letter)),
                    Line::Letter(_) => self.hold(delivery).await,
                    Line::NoLetter => {
                        debug!(id = &*delivery.message.id; "a message is not a dead letter");
                        self.others += 1;
                        self.hold(delivery).await;
                    }
                }
            }
            if !selected.is_empty() {
                return Ok(selected);
            }
        }
    }

    /// Returns the next event. While letters are held, the queue may be unable to prove that it is empty, so
    /// silence counts as empty. Leases of held letters are extended, or the queue would deliver them again.
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

    /// Prevents that a letter is delivered again before the command ends.
    pub(super) async fn hold(&mut self, delivery: Delivery) {
        if self.is_full() && !self.looks_only {
            self.consumer.settle(vec![(delivery, Settlement::Retry { after: AWAY })]).await;
        } else {
            self.bytes_held += delivery.message.body.len();
            self.held.push(delivery);
        }
    }

    /// Delays the held letters to make room for others.
    async fn delay_held(&mut self) {
        let away = |delivery| (delivery, Settlement::Retry { after: AWAY });
        self.bytes_held = 0;
        self.consumer.settle(std::mem::take(&mut self.held).into_iter().map(away).collect()).await;
    }

    /// Returns whether no more letters can be held.
    fn is_full(&self) -> bool {
        self.held.len() >= HELD || self.bytes_held > BYTES_HELD
    }

    /// Acknowledges letters.
    pub(super) async fn acknowledge(&mut self, deliveries: Vec<Delivery>) {
        self.consumer
            .settle(deliveries.into_iter().map(|delivery| (delivery, Settlement::Done)).collect())
            .await;
    }

    /// Releases the held letters and disconnects. Returns what the queue has confirmed.
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

/// Calls `see` with the selected letters. Returns whether all were seen.
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
    letters.close().await; // letters that are not released are delivered again anyway
    Ok(whole)
}
