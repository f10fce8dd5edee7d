//! One bounded run: receive, decode, route, write, settle, drain.
//!
//! Everything happens in one task. Batches are written while others are received, and each message is settled
//! as soon as its outcome is known. Until then a delivery is in one of four places: waiting undecoded,
//! gathered for its store, in a batch that is being written, or on its way to the dead letter. On a queue
//! that cannot delay, a delivery to retry is held until the run asks for no more.

mod outlet;

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    future::{Future, pending, ready},
    num::{NonZeroU32, NonZeroU64},
    pin::Pin,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use log::{Level, debug, error, log, warn};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    BoxFuture, answer,
    budget::{Budget, StopReason},
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter},
    decode::{Decoder, Rejection},
    fault::{Blame, Fault},
    message::{Delivery, Settlement},
    outcome::Outcome,
    record::Key,
    report::{Depth, Progress, RunReport, Tally},
    source::{
        Attempts, Closed, Consumer, Demand, Event, Lease, Proof, Retry, Source, SourceError, SourceTraits,
        Started,
    },
    store::{Put, Store},
};
use outlet::{Outlet, Prepared};

/// The limit on decoded and unwritten documents over all stores, in bytes. A decoded document takes many
/// times the memory of its text.
const BYTES_GATHERED: usize = 8 << 20;

/// The limit on the bodies that become dead letters in one batch, in bytes. A dead letter can be six times as
/// large as its message.
const BYTES_REJECTED: usize = 1 << 20;

/// The minimum size that each counts for, because of the other fields of a dead letter.
const LEAST_BYTES_REJECTED: usize = 1 << 10;

/// How often a run continues after a queue that seemed empty was not. Each time costs a round trip; after
/// that, the rest is left to the next run.
const MOST_REFUTATIONS: u32 = 16;

/// The parts that a run uses.
pub struct Parts<'a> {
    /// The source of messages.
    pub source: Box<dyn Source>,
    /// The connected stores, in the order of the decoder's targets.
    pub stores: Vec<&'a dyn Store>,
    /// The destination for messages that cannot be stored.
    pub dead_letter: &'a mut dyn DeadLetter,
    /// Decodes messages into records.
    pub decoder: &'a Decoder,
    /// Counts failures for queues that do not count deliveries.
    pub failures: &'a mut dyn Failures,
    /// The wall clock, for dead letters.
    pub clock: fn() -> SystemTime,
    /// When the run started, for its report.
    pub began: Instant,
    /// Receives the progress of the run.
    pub progress: &'a Cell<Progress>,
}

/// Counts failures by record across runs, for queues that do not count deliveries.
pub trait Failures {
    /// Counts a failure of unknown cause, and returns the number of failures so far, including this one.
    /// Returns zero if counting is not possible, so that no message is rejected because of that.
    fn count(&mut self, key: &Key) -> u32;

    /// Forgets a record that is settled for good.
    fn forget(&mut self, key: &Key);
}

/// For queues that count deliveries themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotCounted;

impl Failures for NotCounted {
    fn count(&mut self, _key: &Key) -> u32 {
        0
    }

    fn forget(&mut self, _key: &Key) {}
}

/// The limits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of messages: N.
    pub max_messages: NonZeroU64,
    /// After this time, no message is taken.
    pub timeout: Duration,
    /// See [`Demand::idle_timeout`].
    pub idle_timeout: Duration,
    /// The time for work in progress to finish after that.
    pub shutdown_timeout: Duration,
    /// A message on which the store fails for unknown reasons at this attempt or a later one is rejected; 0
    /// means never.
    pub max_attempts: u32,
}

/// Runs until N is reached, the queue is empty or lost, the time is up, or `shutdown` is ready. Then drains,
/// and closes the source.
///
/// # Errors
/// The source cannot be started. Later failures are in the report.
pub async fn run(
    parts: Parts<'_>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<RunReport, SourceError> {
    let Parts { source, stores, dead_letter, decoder, failures, clock, began, progress } = parts;
    let (servers, traits) = (source.servers(), source.traits());
    let until = Instant::now() + limits.timeout;
    let demand = Demand { max_messages: limits.max_messages, idle_timeout: limits.idle_timeout };
    let Started { consumer, depth } = source.start(demand).await?;
    let before = depth.waiting();
    let expected = before.map(|depth| depth.min(limits.max_messages.get()));
    progress.set(Progress { done: 0, expected });
    let mut drain = Drain {
        consumer,
        traits,
        outlets: stores.into_iter().map(Outlet::new).collect(),
        dead_letter,
        decoder,
        failures,
        clock,
        progress,
        limits,
        budget: Budget::new(limits.max_messages),
        tally: Tally::default(),
        waiting: VecDeque::new(),
        in_progress: BTreeMap::new(),
        held: Vec::new(),
        next_batch: 0,
        flush: false,
        refutations: 0,
        doubt: false,
        stop: None,
        until,
        fault: None,
        retried_for: None,
        cause: None,
    };
    let reason = drain.work(Box::pin(shutdown)).await;
    let Drain { consumer, mut tally, fault, cause, .. } = drain;
    let closed = consumer.close().await;
    log_trouble(reason, &closed);
    tally.counters.count_closed(&closed);
    if reason == StopReason::QueueEmpty {
        tally.counters.deferred += closed.late; // the run had room for them: the queue was not empty
    }
    let depth = Depth { before, after: closed.depth.waiting() };
    let report = RunReport::new(reason, tally, depth, began.elapsed(), fault).found(servers);
    Ok(report.because(cause, closed.trouble))
}

/// Logs why the queue was lost, or why its messages may be delivered again. An adapter has to log neither.
fn log_trouble(reason: StopReason, closed: &Closed) {
    let cause = closed.trouble.as_deref().unwrap_or("unknown");
    if reason == StopReason::QueueClosed {
        error!(cause; "connection to the queue lost");
    } else if closed.unconfirmed > 0 {
        warn!(messages = closed.unconfirmed, cause; "settlements may not have reached the queue");
    }
}

struct Drain<'a> {
    consumer: Box<dyn Consumer>,
    traits: SourceTraits,
    outlets: Vec<Outlet<'a>>,
    dead_letter: &'a mut dyn DeadLetter,
    decoder: &'a Decoder,
    failures: &'a mut dyn Failures,
    clock: fn() -> SystemTime,
    progress: &'a Cell<Progress>,
    limits: Limits,
    budget: Budget,
    tally: Tally,
    /// Within N, and not decoded yet.
    waiting: VecDeque<Delivery>,
    /// The batches that stores are writing.
    in_progress: BTreeMap<u64, Batch>,
    /// To retry, and held until the run asks for no more: the queue would deliver them to this run at once.
    held: Vec<(Delivery, Settlement)>,
    next_batch: u64,
    /// Whether nothing more can be gathered for now.
    flush: bool,
    /// How often the queue seemed empty and was not.
    refutations: u32,
    /// Whether the queue seems empty, and the run has stopped asking to confirm it.
    doubt: bool,
    stop: Option<StopReason>,
    /// Before a stop: the deadline. After it: when work in progress is given up.
    until: Instant,
    fault: Option<String>,
    /// The last cause of a retry.
    retried_for: Option<String>,
    /// The first cause of a retry.
    cause: Option<String>,
}

/// A batch that a store is writing.
struct Batch {
    store: usize,
    deliveries: Vec<Delivery>,
    /// The keys of the records, if failures are counted by key.
    keys: Vec<Key>,
    /// The size of its documents in bytes.
    size: usize,
}

/// A batch with the store's answers.
type Written = (u64, Vec<Option<Result<Put, Fault>>>);

impl<'a> Drain<'a> {
    async fn work(&mut self, mut shutdown: Pin<Box<impl Future<Output = ()>>>) -> StopReason {
        let mut batches = FuturesUnordered::new();
        let extend_period = match self.traits.lease {
            Lease::Renewable(lease) => Some(lease / 3),
            Lease::None | Lease::Fixed(_) => None,
        };
        let mut extend_at = extend_period.map(|period| Instant::now() + period);
        let (mut signalled, mut lost) = (false, false);
        loop {
            if let Some(reason) = self.stop
                && batches.is_empty()
                && self.has_nothing_left()
            {
                return reason;
            }
            // Queue and store may be files, which are always ready: without a pause, no signal would be
            // handled and no timer would fire.
            yield_now().await;
            // Each step below is short or has its own timeout. Events that end the run are polled before
            // events that create work.
            tokio::select! {
                biased;
                () = &mut shutdown, if !signalled => {
                    signalled = true;
                    self.stop(StopReason::Signal).await;
                    self.until = self.until.min(Instant::now() + self.limits.shutdown_timeout);
                }
                // Before the batches, because a store may always be ready.
                () = sleep_until(self.until), if self.stop.is_none() => self.stop(StopReason::Deadline).await,
                Some(written) = batches.next(), if !batches.is_empty() => self.settle_batch(written).await,
                () = sleep_until(self.until), if self.stop.is_some() => {
                    batches.clear();
                    self.give_up().await;
                    return self.stop.unwrap_or(StopReason::Deadline);
                }
                () = at(extend_at), if self.holds_deliveries() => {
                    self.extend().await;
                    extend_at = extend_period.map(|period| Instant::now() + period);
                }
                () = ready(()), if self.can_write() => batches.extend(self.next_batch().await),
                event = Self::next(&mut *self.consumer, lost) => match event {
                    Event::Deliveries(deliveries) => self.take(deliveries).await,
                    Event::Idle(proof) => self.idle(proof).await,
                    Event::Full => self.full().await,
                    Event::Lost => {
                        lost = true;
                        self.stop(StopReason::QueueClosed).await;
                    }
                },
                never = self.dead_letter.keep_alive() => match never {},
            }
        }
    }

    /// Also polled when no more is wanted, because it answers the queue's heartbeats.
    async fn next(consumer: &mut dyn Consumer, lost: bool) -> Event {
        if lost { pending().await } else { consumer.next().await }
    }

    fn has_nothing_left(&self) -> bool {
        self.waiting.is_empty() && self.outlets.iter().all(|outlet| outlet.gathered.is_empty())
    }

    fn holds_deliveries(&self) -> bool {
        !self.in_progress.is_empty() || !self.held.is_empty() || !self.has_nothing_left()
    }

    /// Returns whether [`next_batch`](Self::next_batch) has work to do.
    fn can_write(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.is_due(self.flushes())) || self.can_prepare()
    }

    /// Returns whether a message may be decoded: a store accepts more, and decoded documents are within their
    /// limit.
    fn can_prepare(&self) -> bool {
        !self.waiting.is_empty()
            && self.gathered_bytes() < BYTES_GATHERED
            && self.outlets.iter().any(Outlet::wants_records)
    }

    /// Returns whether incomplete batches are written, even for stores that wait for more.
    fn flushes(&self) -> bool {
        self.flush || self.stop.is_some() || self.gathered_bytes() >= BYTES_GATHERED
    }

    fn gathered_bytes(&self) -> usize {
        self.outlets.iter().map(|outlet| outlet.gathered_bytes).sum()
    }

    /// Decodes messages until a batch is due, and starts writing it. Rejected messages become dead letters.
    async fn next_batch(&mut self) -> Option<BoxFuture<'a, Written>> {
        let (mut decided, mut rejected, mut rejected_bytes) = (Vec::new(), Vec::new(), 0);
        let due = loop {
            if let Some(due) = self.outlets.iter().position(Outlet::is_complete) {
                break Some(due);
            }
            if rejected_bytes >= BYTES_REJECTED || !self.can_prepare() {
                break self.outlets.iter().position(|outlet| outlet.is_due(self.flushes()));
            }
            let Some(delivery) = self.waiting.pop_front() else { break None };
            match self.decoder.decode(&delivery.message) {
                Ok(routed) => {
                    if let Some(left) = self.outlets[routed.store].gather(delivery, routed.record) {
                        decided.push(left);
                    }
                }
                Err(rejection) => {
                    rejected_bytes += delivery.message.body.len().max(LEAST_BYTES_REJECTED);
                    rejected.push((delivery, rejection));
                }
            }
        };
        decided.append(&mut self.reject(rejected).await);
        self.settle(decided).await;
        let due = due?;
        let number = self.next_batch;
        self.next_batch += 1;
        let keeps_keys = self.traits.attempts != Attempts::Counted;
        let outlet = &mut self.outlets[due];
        let Prepared { deliveries, records, size } = outlet.take_batch();
        let keys =
            if keeps_keys { records.iter().map(|record| record.key.clone()).collect() } else { Vec::new() };
        let store = outlet.store;
        self.in_progress.insert(number, Batch { store: due, deliveries, keys, size });
        let (records, verdicts) = answer::batch(records.into_iter());
        Some(Box::pin(async move {
            store.write(records).await;
            (number, verdicts.take())
        }))
    }

    /// Takes deliveries as long as N allows it.
    async fn take(&mut self, deliveries: Vec<Delivery>) {
        self.flush = false;
        let (mut over, mut rejected) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            if self.stop.is_some() || !self.budget.take() {
                over.push((delivery, Outcome::NotStarted));
                continue;
            }
            // A body that is too large is rejected at once, because the total of such bodies has no limit.
            let has_place = self.traits.retry != Retry::Reply || delivery.message.reply_to().is_some();
            let checked =
                if has_place { self.decoder.check_size(&delivery.message) } else { Err(Rejection::NoReply) };
            match checked {
                Ok(()) => self.waiting.push_back(delivery),
                Err(rejection) => rejected.push((delivery, rejection)),
            }
        }
        let mut decided = self.reject(rejected).await;
        decided.append(&mut over);
        self.settle(decided).await;
        if self.budget.is_spent() {
            self.stop(StopReason::LimitReached).await;
        } else if self.doubt && self.stop.is_none() {
            // The queue was not empty: a later sign that contradicts an inference wins.
            self.doubt = false;
            self.refutations += 1;
            debug!(refutations = self.refutations; "the queue seemed empty and was not");
            self.consumer.want(self.budget.left()).await;
        }
    }

    /// The queue seems empty. If that is not proven, the run stops asking, and a delivery that still arrives
    /// refutes it.
    async fn idle(&mut self, proof: Proof) {
        self.flush = true;
        if self.stop.is_some() {
            return;
        }
        if proof == Proof::Proven || self.doubt || self.refutations == MOST_REFUTATIONS {
            return self.stop(StopReason::QueueEmpty).await;
        }
        self.doubt = true;
        self.consumer.want(0).await;
    }

    /// No delivery can arrive before something is settled, so gathered records are written. If only held
    /// messages are left, only a later run can continue.
    async fn full(&mut self) {
        self.flush = true;
        self.stop_if_only_held().await;
    }

    async fn stop_if_only_held(&mut self) {
        let is_stuck = self.flush && self.in_progress.is_empty() && self.has_nothing_left();
        if is_stuck && !self.held.is_empty() && self.stop.is_none() {
            self.stop(StopReason::StoreUnavailable).await;
        }
    }

    /// Keeps the dead letters first. Messages whose letters were not kept are retried.
    async fn reject(&mut self, rejected: Vec<(Delivery, Rejection)>) -> Vec<(Delivery, Outcome)> {
        if rejected.is_empty() {
            return Vec::new();
        }
        let time = (self.clock)();
        let letters: Vec<_> = rejected
            .iter()
            .map(|(delivery, rejection)| Letter::new(&delivery.message, rejection, time))
            .collect();
        let (batch, verdicts) = answer::batch(letters.iter());
        self.dead_letter.keep(batch).await;
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
                let attempts = delivery.message.attempts.map(NonZeroU32::get);
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
        let Batch { store, deliveries, keys, size } =
            self.in_progress.remove(&number).expect("a batch is answered once");
        let mut results: Vec<_> =
            results.into_iter().map(|result| result.unwrap_or_else(|| Err(Fault::not_answered()))).collect();
        let outlet = &mut self.outlets[store];
        outlet.answered(&mut results, size);
        let mut keys = keys.into_iter();
        let (mut decided, mut rejected, mut setup) = (Vec::with_capacity(deliveries.len()), Vec::new(), None);
        for (delivery, result) in deliveries.into_iter().zip(results) {
            let key = keys.next();
            let outcome = match result {
                Ok(Put::Stored) => Outcome::Stored,
                Ok(Put::Duplicate) => Outcome::Duplicate,
                Err(fault) => {
                    if fault.blame == Blame::Setup {
                        setup.get_or_insert_with(|| fault.text.clone());
                    }
                    let attempts = self.attempts(&delivery, key.as_ref(), &fault);
                    Outcome::of_failure(fault, attempts, self.limits.max_attempts)
                }
            };
            if let (Some(key), Settlement::Done) = (&key, outcome.settlement()) {
                self.failures.forget(key);
            }
            match outcome {
                Outcome::Rejected(rejection) => rejected.push((delivery, rejection)),
                outcome => decided.push((delivery, outcome)),
            }
        }
        decided.append(&mut self.reject(rejected).await);
        // Before anything is requeued, because the queue would deliver it again at once.
        if let Some(fault) = setup {
            self.fault.get_or_insert(fault);
            self.stop(StopReason::StoreSetup).await;
        } else if self.outlets.iter().all(|outlet| outlet.is_down) {
            self.stop(StopReason::StoreUnavailable).await;
        }
        self.settle(decided).await;
        self.stop_if_only_held().await;
    }

    /// Returns how often the message was delivered: the queue's count, or the number of failures of unknown
    /// cause.
    fn attempts(&mut self, delivery: &Delivery, key: Option<&Key>, fault: &Fault) -> Option<u32> {
        match (delivery.message.attempts, key) {
            (_, Some(key)) if matches!(fault.blame, Blame::Unknown | Blame::Suspect) => {
                Some(self.failures.count(key))
            }
            (attempts, _) => attempts.map(NonZeroU32::get),
        }
    }

    async fn settle(&mut self, decided: Vec<(Delivery, Outcome)>) {
        let decided = self.keep_last_deliveries(decided).await;
        if decided.is_empty() {
            return;
        }
        self.log_retries(&decided);
        let mut settlements = Vec::with_capacity(decided.len());
        let holds = self.traits.retry == Retry::Immediate && self.stop.is_none();
        for (delivery, outcome) in decided {
            self.tally.count(delivery.message.body.len(), &outcome);
            let settlement = outcome.settlement();
            if holds && settlement != Settlement::Done {
                self.held.push((delivery, settlement));
            } else {
                settlements.push((delivery, settlement));
            }
        }
        self.progress.update(|progress| Progress { done: self.tally.counters.accounted_for(), ..progress });
        if !settlements.is_empty() {
            self.consumer.settle(settlements).await;
        }
    }

    /// Rejects messages that the queue would drop instead of delivering them again.
    async fn keep_last_deliveries(
        &mut self,
        mut decided: Vec<(Delivery, Outcome)>,
    ) -> Vec<(Delivery, Outcome)> {
        let would_be_dropped = |(delivery, outcome): &mut (Delivery, Outcome)| {
            delivery.message.last && outcome.settlement() != Settlement::Done
        };
        if !decided.iter_mut().any(would_be_dropped) {
            return decided;
        }
        let dropped: Vec<_> = decided.extract_if(.., would_be_dropped).collect();
        let rejected =
            dropped.into_iter().filter_map(|(delivery, outcome)| match outcome.of_last_delivery() {
                Outcome::Rejected(rejection) => Some((delivery, rejection)),
                _ => None,
            });
        decided.append(&mut self.reject(rejected.collect()).await);
        decided
    }

    /// Logs a lasting cause once, with the messages known by then; the report has the number of all of them.
    fn log_retries(&mut self, decided: &[(Delivery, Outcome)]) {
        let mut causes = decided.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Deferred { cause, .. } => Some(cause),
            _ => None,
        });
        let Some(cause) = causes.next() else { return };
        let level = if self.retried_for.as_ref() == Some(cause) { Level::Debug } else { Level::Warn };
        log!(level, messages = 1 + causes.count(), cause = cause.as_str(); "messages requeued for later so far");
        self.retried_for = Some(cause.clone());
        self.cause.get_or_insert_with(|| cause.clone());
    }

    async fn extend(&mut self) {
        let gathered = self.outlets.iter().flat_map(|outlet| &outlet.gathered).map(|(delivery, _)| delivery);
        let deliveries: Vec<_> = self
            .in_progress
            .values()
            .flat_map(|batch| &batch.deliveries)
            .chain(gathered)
            .chain(&self.waiting)
            .chain(self.held.iter().map(|(delivery, _)| delivery))
            .collect();
        debug!(messages = deliveries.len(); "the store is slow, asking the queue for more time");
        self.consumer.extend(deliveries).await;
    }

    /// Stops taking messages. The first reason counts, with two exceptions: a setup fault, which is the cause
    /// of what happened before, and an outage of the store on the last messages of a queue.
    async fn stop(&mut self, reason: StopReason) {
        if self.stop.is_none() {
            self.until = match reason {
                StopReason::Deadline => Instant::now() + self.limits.shutdown_timeout,
                _ => self.until + self.limits.shutdown_timeout,
            };
            self.stop = Some(reason);
            if reason != StopReason::QueueClosed {
                self.consumer.want(0).await;
            }
            let held = std::mem::take(&mut self.held);
            if !held.is_empty() {
                self.consumer.settle(held).await;
            }
        } else if reason == StopReason::StoreSetup
            || reason == StopReason::StoreUnavailable && self.stop == Some(StopReason::QueueEmpty)
        {
            self.stop = Some(reason);
        } else if self.stop == Some(StopReason::QueueEmpty)
            && (!self.has_nothing_left() || reason == StopReason::QueueClosed && !self.in_progress.is_empty())
        {
            self.stop = Some(reason); // messages are requeued because of it, so the queue is not empty
        }
        // After N or an empty queue, everything received is finished. Otherwise, what was not started is
        // released, except for requests: their requesters would have to ask again. What a store gathers has
        // waited for a full batch: released, it would never be stored if no run fills one.
        let is_in_time = matches!(reason, StopReason::Signal | StopReason::Deadline);
        let finishes = matches!(reason, StopReason::LimitReached | StopReason::QueueEmpty)
            || self.traits.retry == Retry::Reply && is_in_time;
        if !finishes {
            let not_started = self.take_not_started(is_in_time);
            self.settle(not_started).await;
        }
    }

    /// Takes what is not started. With `writes_batches`, the batches of stores that gather are left.
    fn take_not_started(&mut self, writes_batches: bool) -> Vec<(Delivery, Outcome)> {
        let outlets = self.outlets.iter_mut().filter(|outlet| !(writes_batches && outlet.gathers()));
        let gathered = outlets.flat_map(Outlet::take_gathered);
        gathered.chain(self.waiting.drain(..)).map(|delivery| (delivery, Outcome::NotStarted)).collect()
    }

    /// A store did not answer in time: its records are in doubt, the messages are delivered again, and they
    /// hit the same records.
    async fn give_up(&mut self) {
        let in_doubt = std::mem::take(&mut self.in_progress)
            .into_values()
            .flat_map(|batch| batch.deliveries)
            .map(|delivery| {
                let attempts = delivery.message.attempts.map(NonZeroU32::get);
                let cause = "the store did not answer within the shutdown timeout".to_owned();
                (delivery, Outcome::Deferred { attempts, cause })
            });
        let decided = in_doubt.collect::<Vec<_>>().into_iter().chain(self.take_not_started(false)).collect();
        self.settle(decided).await;
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
