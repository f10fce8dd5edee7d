//! One bounded run: receive, decode, route, write, settle, drain.
//!
//! Everything happens in one task. Batches are written while others are received; what a batch became is
//! settled as soon as it is known. Until then a delivery is in one of four places: waiting as it came,
//! gathered for its store, in a batch that is being written, or on its way to the dead letter. On a queue that
//! cannot delay, one that is to come again is held until the run asks for no more.

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
    fault::{Blame, Fault},
    message::{Delivery, Settlement},
    outcome::Outcome,
    record::Key,
    report::{Depth, Progress, RunReport, Tally},
    source::{
        Attempts, Consumer, Demand, Event, Lease, Proof, Retry, Source, SourceError, SourceTraits, Started,
    },
    store::{Put, Store},
};
use outlet::{Outlet, Prepared};

/// Bytes of documents that are decoded and not yet written, over all stores. A document takes many times the
/// memory of its text.
const BYTES_GATHERED: usize = 8 << 20;

/// Bytes of bodies that become dead letters in one batch. A letter may have six times the size of its message.
const BYTES_REJECTED: usize = 1 << 20;

/// Bytes that each of them counts at least, for what a letter has beside the body.
const LEAST_BYTES_REJECTED: usize = 1 << 10;

/// How often a run goes on after a queue that seemed empty was not. Each time costs a round trip; a queue that
/// is wrong more often is left to the next run.
const MOST_REFUTATIONS: u32 = 16;

/// What a run works with.
pub struct Parts<'a> {
    /// Where messages come from.
    pub source: Box<dyn Source>,
    /// Where records go, in the order of the decoder's targets. All of them are connected.
    pub stores: Vec<&'a dyn Store>,
    /// Where messages go that cannot be stored.
    pub dead_letter: &'a mut dyn DeadLetter,
    /// Makes records of messages.
    pub decoder: &'a Decoder,
    /// Counts failures for queues that do not count deliveries.
    pub failures: &'a mut dyn Failures,
    /// The time of day, for dead letters.
    pub clock: fn() -> SystemTime,
    /// When the run began, for its report.
    pub began: Instant,
    /// Receives how far the run has come.
    pub progress: &'a Cell<Progress>,
}

/// Counts the failures of records whose queue does not count deliveries, over runs.
pub trait Failures {
    /// Counts a failure of unknown cause, and returns how many there were, this one included. Zero where it
    /// cannot be counted, so that no message is given up for that.
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

/// The bounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages at most: N.
    pub max_messages: NonZeroU64,
    /// No message is taken after this long.
    pub timeout: Duration,
    /// See [`Demand::idle_timeout`].
    pub idle_timeout: Duration,
    /// What is in progress then has this long to end.
    pub shutdown_timeout: Duration,
    /// A message on which the store fails for unknown reasons at this delivery or a later one is rejected; 0
    /// means never.
    pub max_attempts: u32,
}

/// Runs until N is reached, the queue is empty or gone, time is up, or `shutdown` is ready; then drains, and
/// closes the source.
///
/// # Errors
/// The source cannot be started. Whatever goes wrong later is in the report.
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
    tally.counters.count_closed(&closed);
    if reason == StopReason::QueueEmpty {
        tally.counters.deferred += closed.late; // the run had room for them: the queue was not empty
    }
    let depth = Depth { before, after: closed.depth.waiting() };
    let report = RunReport::new(reason, tally, depth, began.elapsed(), fault);
    let report = RunReport { servers: Some(servers), behind: closed.behind, ..report };
    Ok(report.because(cause.or(closed.trouble)))
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
    /// What the stores are writing.
    in_progress: BTreeMap<u64, Batch>,
    /// To come again, and kept until the run asks for no more: the queue would deliver them to us at once.
    held: Vec<(Delivery, Settlement)>,
    next_batch: u64,
    /// Whether nothing more can be gathered for now.
    flush: bool,
    /// How often the queue seemed empty and was not.
    refutations: u32,
    /// Whether the queue seems empty, and was asked for no more to make sure.
    doubt: bool,
    stop: Option<StopReason>,
    /// Before a stop: the deadline. After it: when what is in progress is given up.
    until: Instant,
    fault: Option<String>,
    /// Why messages were retried the last time.
    retried_for: Option<String>,
    /// Why they were the first time.
    cause: Option<String>,
}

/// A batch that a store is writing.
struct Batch {
    store: usize,
    deliveries: Vec<Delivery>,
    /// Of their records, where failures are counted by them.
    keys: Vec<Key>,
    /// Bytes of its documents.
    size: usize,
}

/// A batch that a store has answered.
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
            // Queue and store may be files, which are always ready: without a pause, no signal would be seen
            // and no timer would run.
            yield_now().await;
            // Each step below is short or has a timeout of its own, and what ends a run comes before what
            // makes work.
            tokio::select! {
                biased;
                () = &mut shutdown, if !signalled => {
                    signalled = true;
                    self.stop(StopReason::Signal).await;
                    self.until = self.until.min(Instant::now() + self.limits.shutdown_timeout);
                }
                // Before the batches, for a store may always be ready.
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
            }
        }
    }

    /// Also polled when no more is wanted: it answers the queue's heartbeats.
    async fn next(consumer: &mut dyn Consumer, lost: bool) -> Event {
        if lost { pending().await } else { consumer.next().await }
    }

    fn has_nothing_left(&self) -> bool {
        self.waiting.is_empty() && self.outlets.iter().all(|outlet| outlet.gathered.is_empty())
    }

    fn holds_deliveries(&self) -> bool {
        !self.in_progress.is_empty() || !self.held.is_empty() || !self.has_nothing_left()
    }

    /// Whether [`next_batch`](Self::next_batch) has something to do.
    fn can_write(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.is_due(self.flushes())) || self.can_prepare()
    }

    /// Whether a message may be decoded: some store takes more, and what is decoded is within its bound.
    fn can_prepare(&self) -> bool {
        let gathered: usize = self.outlets.iter().map(|outlet| outlet.gathered_bytes).sum();
        !self.waiting.is_empty()
            && gathered < BYTES_GATHERED
            && self.outlets.iter().any(Outlet::wants_records)
    }

    /// Whether incomplete batches are written, whatever their stores would wait for.
    fn flushes(&self) -> bool {
        self.flush || self.stop.is_some()
    }

    /// Decodes messages until a batch is due, and starts to write it; what is no record goes to the dead
    /// letter.
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
            // What is too large does not wait for its turn: there is no bound for such bodies together.
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
            // The queue was not empty: the sign that contradicts an inference wins.
            self.doubt = false;
            self.refutations += 1;
            debug!(refutations = self.refutations; "the queue seemed empty and was not");
            self.consumer.want(self.budget.left()).await;
        }
    }

    /// The queue seems to have nothing. Where that is not proven, it is asked for no more, and what arrives
    /// all the same refutes it.
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

    /// Nothing can come before something is settled: what is gathered is written, and if all that is left is
    /// held, only a later run can go on.
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

    /// The dead letter first; what it did not take is retried.
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
        // Before anything is given back: the queue would deliver it again at once.
        if let Some(fault) = setup {
            self.fault.get_or_insert(fault);
            self.stop(StopReason::StoreSetup).await;
        } else if self.outlets.iter().all(|outlet| outlet.is_down) {
            self.stop(StopReason::StoreUnavailable).await;
        }
        self.settle(decided).await;
        self.stop_if_only_held().await;
    }

    /// How often the message was delivered, by the queue's count or by that of failures of unknown cause.
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
        self.tell_of_retries(&decided);
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

    /// What the queue would drop instead of delivering it again becomes a dead letter.
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

    /// A cause that lasts is told once; how many messages it concerned is in the report.
    fn tell_of_retries(&mut self, decided: &[(Delivery, Outcome)]) {
        let mut causes = decided.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Deferred { cause, .. } => Some(cause),
            _ => None,
        });
        let Some(cause) = causes.next() else { return };
        let level = if self.retried_for.as_ref() == Some(cause) { Level::Debug } else { Level::Warn };
        log!(level, messages = 1 + causes.count(), cause = cause.as_str(); "messages requeued for later");
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
        debug!(messages = deliveries.len(); "the store is slow, the queue is asked for more time");
        self.consumer.extend(deliveries).await;
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
            self.stop = Some(reason); // it is why messages go back, and a queue that they go back to is not empty
        }
        // N reached, or an empty queue: what is here is finished. Otherwise what was not started goes back,
        // but for requests: who waits for a reply would have to ask again.
        let finishes = matches!(reason, StopReason::LimitReached | StopReason::QueueEmpty)
            || self.traits.retry == Retry::Reply
                && matches!(reason, StopReason::Signal | StopReason::Deadline);
        if !finishes {
            let not_started = self.take_not_started();
            self.settle(not_started).await;
        }
    }

    fn take_not_started(&mut self) -> Vec<(Delivery, Outcome)> {
        let gathered = self.outlets.iter_mut().flat_map(Outlet::take_gathered);
        gathered.chain(self.waiting.drain(..)).map(|delivery| (delivery, Outcome::NotStarted)).collect()
    }

    /// A store did not answer in time: what it was given is in doubt, comes again, and hits the same records.
    async fn give_up(&mut self) {
        let in_doubt = std::mem::take(&mut self.in_progress)
            .into_values()
            .flat_map(|batch| batch.deliveries)
            .map(|delivery| {
                let attempts = delivery.message.attempts.map(NonZeroU32::get);
                let cause = "the store did not answer within the shutdown timeout".to_owned();
                (delivery, Outcome::Deferred { attempts, cause })
            });
        let decided = in_doubt.collect::<Vec<_>>().into_iter().chain(self.take_not_started()).collect();
        self.settle(decided).await;
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
