//! One bounded run: receive, decode, put, settle, drain.
//!
//! Everything happens in one task. Batches are written while others are received; what a batch became is
//! settled as soon as it is known. A delivery is in one of three places until then: waiting as it came, in a
//! batch that is being written, or on its way to the dead letter.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    future::{Future, pending, ready},
    num::NonZeroU64,
    pin::Pin,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use log::{Level, debug, log, warn};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    BoxFuture, answer,
    budget::{Budget, StopReason},
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter},
    decode::{Decoder, Rejection},
    message::{Delivery, Settlement},
    outcome::{self, Outcome},
    report::{Depth, Progress, RunReport, Tally},
    source::{Demand, Received, Source, SourceError},
    store::{Put, PutError, Store},
};

/// Bytes of documents after which a batch is complete.
const BYTES_IN_BATCH: usize = 1 << 20;

/// Bytes of documents that are with the store, after which it is given no more. A document takes many times
/// the memory of its text, and no more of them are decoded than the store is given.
const BYTES_WITH_STORE: usize = 2 << 20;

/// What a run works with.
pub struct Parts<'a> {
    /// Where messages come from.
    pub source: Box<dyn Source + 'a>,
    /// Where records go.
    pub store: &'a dyn Store,
    /// Where messages go that can't be stored.
    pub dead_letter: &'a mut dyn DeadLetter,
    /// Makes records of messages.
    pub decoder: &'a Decoder,
    /// The time of day, for dead letters.
    pub clock: fn() -> SystemTime,
    /// When the run began, for its report.
    pub began: Instant,
    /// Told how far the run has come.
    pub progress: &'a Cell<Progress>,
}

/// The bounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages at most: N.
    pub max_messages: NonZeroU64,
    /// No message is taken after this long.
    pub timeout: Duration,
    /// See [`Demand::idle_timeout`].
    pub idle_timeout: Duration,
    /// What is under way then has this long to end.
    pub shutdown_timeout: Duration,
    /// A message that the store fails on for unknown reasons at this delivery or a later one is rejected; 0
    /// means never.
    pub max_attempts: u32,
}

/// Runs until N is reached, the queue is empty or gone, time is up, or `shutdown` is ready; then drains, and
/// closes the source.
///
/// # Errors
/// The source can't be started. Whatever goes wrong later is in the report.
pub async fn run(
    parts: Parts<'_>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<RunReport, SourceError> {
    let began = parts.began;
    let mut drain = Drain {
        parts,
        limits,
        budget: Budget::new(limits.max_messages),
        tally: Tally::default(),
        waiting: VecDeque::new(),
        under_way: BTreeMap::new(),
        bytes_under_way: 0,
        next_batch: 0,
        stop: None,
        until: Instant::now() + limits.timeout,
        fault: None,
        put_off_by: None,
        cause: None,
    };
    let demand = Demand { max_messages: limits.max_messages, idle_timeout: limits.idle_timeout };
    let servers = drain.parts.source.servers();
    let before = drain.parts.source.start(demand).await?;
    let expected = before.map(|depth| depth.min(limits.max_messages.get()));
    drain.parts.progress.set(Progress { done: 0, expected });
    drain.work(Box::pin(shutdown)).await;
    let Drain { parts, mut tally, stop, fault, cause, .. } = drain;
    let closing = parts.source.close().await;
    tally.counters.count_closing(&closing);
    let reason = stop.expect("work ends only after a reason to stop");
    if reason == StopReason::QueueEmpty {
        tally.counters.deferred += closing.late; // the run had room for them: the queue was not empty
    }
    let report =
        RunReport::new(reason, tally, Depth { before, after: closing.depth }, began.elapsed(), fault);
    Ok(RunReport { servers: Some(servers), ..report.because(cause.or(closing.trouble)) })
}

struct Drain<'a> {
    parts: Parts<'a>,
    limits: Limits,
    budget: Budget,
    tally: Tally,
    /// Within N, and not decoded yet.
    waiting: VecDeque<Delivery>,
    /// What the store is writing.
    under_way: BTreeMap<u64, Batch>,
    /// Bytes of all of that.
    bytes_under_way: usize,
    next_batch: u64,
    stop: Option<StopReason>,
    /// Before a stop: the deadline. After it: when what is under way is given up.
    until: Instant,
    fault: Option<String>,
    /// Why messages were put off the last time.
    put_off_by: Option<String>,
    /// Why they were the first time.
    cause: Option<String>,
}

/// A batch that the store is writing.
struct Batch {
    deliveries: Vec<Delivery>,
    /// Bytes of its documents.
    size: usize,
}

/// A batch that the store has answered.
type Written = (u64, Vec<Option<Result<Put, PutError>>>);

impl<'a> Drain<'a> {
    async fn work(&mut self, mut shutdown: Pin<Box<impl Future<Output = ()>>>) {
        let mut batches = FuturesUnordered::new();
        let at_once = self.parts.store.batches().at_once;
        let touch_period = self.parts.source.lease() / 3;
        let mut touch_at = Instant::now() + touch_period;
        let (mut told, mut closed) = (false, false);
        loop {
            if self.stop.is_some() && batches.is_empty() && self.waiting.is_empty() {
                return;
            }
            // Queue and store may be files, which are always ready: without a pause, no signal would be seen
            // and no timer would run.
            yield_now().await;
            // Each step below is short or has a timeout of its own, and what ends a run comes before what
            // makes work.
            tokio::select! {
                biased;
                () = &mut shutdown, if !told => {
                    told = true;
                    self.stop(StopReason::Signal).await;
                    self.until = self.until.min(Instant::now() + self.limits.shutdown_timeout);
                }
                // Before the batches, for a store may always be ready.
                () = sleep_until(self.until), if self.stop.is_none() => self.stop(StopReason::Deadline).await,
                Some(written) = batches.next(), if !batches.is_empty() => self.settle_batch(written).await,
                () = sleep_until(self.until), if self.stop.is_some() => {
                    batches.clear();
                    return self.give_up().await;
                }
                () = sleep_until(touch_at), if !batches.is_empty() || !self.waiting.is_empty() => {
                    self.touch().await;
                    touch_at = Instant::now() + touch_period;
                }
                () = ready(()), if batches.len() < at_once && self.bytes_under_way < BYTES_WITH_STORE && !self.waiting.is_empty() => batches.extend(self.next_batch().await),
                received = Self::receive(&mut self.parts.source, closed) => match received {
                    Received::Deliveries(deliveries) => self.take(deliveries).await,
                    Received::Empty => self.stop(StopReason::QueueEmpty).await,
                    Received::Closed => {
                        closed = true;
                        self.stop(StopReason::QueueClosed).await;
                    }
                },
            }
        }
    }

    /// Also polled when no more is wanted: it answers the queue's heartbeats.
    async fn receive(source: &mut Box<dyn Source + 'a>, closed: bool) -> Received {
        if closed { pending().await } else { source.receive().await }
    }

    /// Decodes what the store is given next; what is no record goes to the dead letter.
    async fn next_batch(&mut self) -> Option<BoxFuture<'a, Written>> {
        let most = self.parts.store.batches().records.min(self.waiting.len());
        let (mut deliveries, mut records, mut rejected, mut size) =
            (Vec::with_capacity(most), Vec::with_capacity(most), Vec::new(), 0);
        while records.len() + rejected.len() < most
            && size < BYTES_IN_BATCH
            && let Some(delivery) = self.waiting.pop_front()
        {
            match self.parts.decoder.decode(&delivery.message) {
                Ok(record) => {
                    size += record.size; // of a compressed body, many times its own
                    deliveries.push(delivery);
                    records.push(record);
                }
                Err(rejection) => {
                    size += delivery.message.body.len();
                    rejected.push((delivery, rejection));
                }
            }
        }
        let decided = self.reject(rejected).await;
        self.settle(decided).await;
        if records.is_empty() {
            return None;
        }
        let number = self.next_batch;
        self.next_batch += 1;
        let size = records.iter().map(|record| record.size).sum();
        self.bytes_under_way += size;
        self.under_way.insert(number, Batch { deliveries, size });
        let store = self.parts.store;
        let (records, verdicts) = answer::batch(records.into_iter());
        Some(Box::pin(async move {
            store.put(records).await;
            (number, verdicts.take())
        }))
    }

    /// Takes deliveries as long as N allows it.
    async fn take(&mut self, deliveries: Vec<Delivery>) {
        let (mut over, mut rejected) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            if self.stop.is_some() || !self.budget.take() {
                over.push((delivery, Outcome::NotStarted));
                continue;
            }
            // What is too large does not wait for its turn: there is no bound for such bodies together.
            match self.parts.decoder.check_size(&delivery.message) {
                Ok(()) => self.waiting.push_back(delivery),
                Err(rejection) => rejected.push((delivery, rejection)),
            }
        }
        let mut decided = self.reject(rejected).await;
        decided.append(&mut over);
        self.settle(decided).await;
        if self.budget.is_spent() {
            self.stop(StopReason::LimitReached).await;
        }
    }

    /// The dead letter first; what it did not take is put off.
    async fn reject(&mut self, rejected: Vec<(Delivery, Rejection)>) -> Vec<(Delivery, Outcome)> {
        if rejected.is_empty() {
            return Vec::new();
        }
        let time = (self.parts.clock)();
        let letters: Vec<_> = rejected
            .iter()
            .map(|(delivery, rejection)| Letter::new(&delivery.message, rejection, time))
            .collect();
        let (batch, verdicts) = answer::batch(letters.iter());
        self.parts.dead_letter.keep(batch).await;
        let results: Vec<_> = verdicts
            .take()
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(DeadLetterError::not_answered())))
            .collect();
        for (letter, _) in letters.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            warn!(
                reason = letter.reason.as_str(), detail = letter.detail.as_str(), source = letter.source.as_str(), id = letter.id.as_str(),
                attempts = letter.attempts;
                "message rejected"
            );
        }
        let outcome =
            |((delivery, rejection), result): ((Delivery, Rejection), Result<Kept, DeadLetterError>)| {
                let attempts = delivery.message.attempts;
                let outcome = match result {
                    Ok(kept) => {
                        self.tally.counters.dead_lettered += u64::from(kept == Kept::Durably);
                        Outcome::Rejected(rejection)
                    }
                    Err(error) => Outcome::Deferred { attempts, cause: error.to_string() },
                };
                (delivery, outcome)
            };
        rejected.into_iter().zip(results).map(outcome).collect()
    }

    async fn settle_batch(&mut self, (number, results): Written) {
        let Batch { deliveries, size } = self.under_way.remove(&number).expect("a batch is answered once");
        self.bytes_under_way -= size;
        let mut results: Vec<_> = results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(PutError::not_answered())))
            .collect();
        outcome::weigh(&mut results, self.tally.counters.stored + self.tally.counters.duplicate > 0);
        let outage = results.iter().all(|result| matches!(result, Err(PutError::Unavailable(_))));
        let (mut decided, mut rejected, mut fault) = (Vec::with_capacity(deliveries.len()), Vec::new(), None);
        for (delivery, result) in deliveries.into_iter().zip(results) {
            let outcome = match result {
                Ok(Put::Stored) => Outcome::Stored,
                Ok(Put::Duplicate) => Outcome::Duplicate,
                Err(error) => {
                    if let PutError::Setup(text) = &error {
                        fault.get_or_insert_with(|| text.clone());
                    }
                    Outcome::of_failure(error, delivery.message.attempts, self.limits.max_attempts)
                }
            };
            match outcome {
                Outcome::Rejected(rejection) => rejected.push((delivery, rejection)),
                outcome => decided.push((delivery, outcome)),
            }
        }
        decided.append(&mut self.reject(rejected).await);
        // Before anything is given back: the queue would deliver it again at once.
        if let Some(fault) = fault {
            self.fault.get_or_insert(fault);
            self.stop(StopReason::StoreSetup).await;
        } else if outage {
            self.stop(StopReason::StoreUnavailable).await;
        }
        self.settle(decided).await;
    }

    async fn settle(&mut self, decided: Vec<(Delivery, Outcome)>) {
        if decided.is_empty() {
            return;
        }
        let deferred = decided.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Deferred { cause, .. } => Some(cause),
            _ => None,
        });
        if let (count @ 1.., Some(cause)) = (deferred.clone().count(), deferred.clone().next()) {
            // A cause that lasts is told once; how many it concerned is in the report.
            let level = if self.put_off_by.as_ref() == Some(cause) { Level::Debug } else { Level::Warn };
            log!(level, messages = count, cause = cause.as_str(); "messages requeued for later");
            self.put_off_by = Some(cause.clone());
            self.cause.get_or_insert_with(|| cause.clone());
        }
        let settlements: Vec<(Delivery, Settlement)> = decided
            .into_iter()
            .map(|(delivery, outcome)| {
                self.tally.count(delivery.message.body.len(), &outcome);
                (delivery, outcome.settlement())
            })
            .collect();
        self.parts
            .progress
            .update(|progress| Progress { done: self.tally.counters.accounted_for(), ..progress });
        self.parts.source.settle(settlements).await;
    }

    async fn touch(&mut self) {
        let deliveries: Vec<_> =
            self.under_way.values().flat_map(|batch| &batch.deliveries).chain(&self.waiting).collect();
        debug!(messages = deliveries.len(); "the store is slow, the queue is asked for more time");
        self.parts.source.touch(deliveries).await;
    }

    /// No message is taken from here on. The first reason counts, but for a fault in the set-up, which is the
    /// cause of whatever came before, and for an outage of the store that showed on the last messages of a
    /// queue.
    async fn stop(&mut self, reason: StopReason) {
        if self.stop.is_none() {
            self.until = match reason {
                StopReason::Deadline => Instant::now() + self.limits.shutdown_timeout,
                _ => self.until + self.limits.shutdown_timeout,
            };
            self.stop = Some(reason);
            if reason != StopReason::QueueClosed {
                self.parts.source.pause().await;
            }
        } else if reason == StopReason::StoreSetup
            || reason == StopReason::StoreUnavailable && self.stop == Some(StopReason::QueueEmpty)
        {
            self.stop = Some(reason);
        } else if self.stop == Some(StopReason::QueueEmpty) && !self.waiting.is_empty() {
            self.stop = Some(reason); // it is why messages go back, and a queue that they go back to is not empty
        }
        // N reached, or an empty queue: what is here is finished. Otherwise what was not started goes back.
        if !matches!(reason, StopReason::LimitReached | StopReason::QueueEmpty) {
            let not_started =
                self.waiting.drain(..).map(|delivery| (delivery, Outcome::NotStarted)).collect();
            self.settle(not_started).await;
        }
    }

    /// The store did not answer in time: what it was given is in doubt, comes again, and hits the same
    /// records.
    async fn give_up(&mut self) {
        let in_doubt = std::mem::take(&mut self.under_way)
            .into_values()
            .flat_map(|batch| batch.deliveries)
            .map(|delivery| {
                let attempts = delivery.message.attempts;
                (
                    delivery,
                    Outcome::Deferred {
                        attempts,
                        cause: "the store did not answer within the shutdown timeout".to_owned(),
                    },
                )
            });
        let not_started = self.waiting.drain(..).map(|delivery| (delivery, Outcome::NotStarted));
        let decided = in_doubt.chain(not_started).collect();
        self.settle(decided).await;
    }
}
