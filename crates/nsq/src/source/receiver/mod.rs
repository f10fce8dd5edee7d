//! Receiving from, and settling with, all nsqd at once.

mod silence;
mod statistics;

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    io,
    num::{NonZeroI64, NonZeroU32},
    task::{Context, Poll},
    time::Duration,
};

use log::{Level, debug, log, warn};
use tokio::time::{Instant, sleep_until, timeout};

use silence::Test;
use statistics::Question;

use super::{
    Settings,
    connect::{self, CloseState, Connected, Lane},
    flow::{Flow, LaneStart},
};
use crate::client::wire::{self, Frame, WireMessage};
use x_msrv_core::{
    BoxFuture,
    message::{Delivery, Message, Receipt, Settlement, bytes},
    servers::Servers,
    source::{
        Attempts, BYTES_IN_FLIGHT, Closed, Consumer, Demand, Event, Identity, Lease, Proof, Retry, Source,
        SourceError, SourceTraits, Started,
    },
};

/// How long a write or the orderly end of a connection may take before the connection counts as lost.
const SEND_BOUND: Duration = Duration::from_secs(1);

/// Messages over what nsqd may send that are given back at most before it has read that they are.
const MOST_STRAYS: u64 = 2_500;

/// Bytes of commands for each message that may be unsettled. More than that wait only where nsqd sends what
/// it was not asked for and does not read.
const COMMANDS_PER_MESSAGE: u64 = 100;

/// How long a message is waited for that nsqd had taken from the queue just when it was told to stop.
const STRAY_TIME: Duration = Duration::from_millis(1);

/// nsqd as a [`Source`]: connected and subscribed.
pub struct NsqSource {
    settings: Settings,
    lanes: Vec<Lane>,
    servers: Servers,
    are_all: bool,
}

impl NsqSource {
    /// Finds nsqd, connects and subscribes, but asks for no message.
    ///
    /// # Errors
    /// No nsqlookupd or no nsqd answers within the connect timeout, or all of them refuse. One that does not
    /// answer is warned of.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let Connected { lanes, servers, are_all } = connect::connect(settings).await?;
        Ok(Self { settings: settings.clone(), lanes, servers, are_all })
    }

    /// How long nsqd waits for a settlement; the least of all.
    fn lease(&self) -> Duration {
        self.lanes.iter().map(|lane| lane.lease).min().unwrap_or(Duration::from_secs(60))
    }
}

impl Source for NsqSource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            // `nsqd/options.go`, `MaxReqTimeout`: an hour by default; a longer delay is cut to it.
            retry: Retry::Delayed { most: Duration::from_secs(3600) },
            attempts: Attempts::Counted,
            lease: Lease::Renewable(self.lease()),
            identity: Identity::Stable,
        }
    }

    fn servers(&self) -> Servers {
        self.servers.clone()
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let Self { settings, lanes, servers: _, are_all } = *self;
        let starts: Vec<LaneStart> = lanes.iter().map(|lane| lane.start).collect();
        let (max_messages, max_in_flight) = (demand.max_messages.get(), settings.max_in_flight.get());
        let flow = Flow::new(max_messages, max_in_flight, demand.idle_timeout, &starts, Instant::now());
        let depth = statistics::depth(lanes.iter().map(|lane| lane.told)).filter(|_| are_all);
        let consumer = NsqConsumer {
            settings,
            lanes,
            first: 0,
            test: None,
            tests: 0,
            asked_at: None,
            answered_at: None,
            are_all,
            question: None,
            may_stray: false,
            flow,
            wants: true,
            told: None,
            ready: VecDeque::new(),
            bytes: 0,
            is_empty: false,
            closed: Closed::default(),
            timed_out: BTreeSet::new(),
            frames: Vec::new(),
        };
        consumer.warn_of_pauses();
        let started = Started { consumer: Box::new(consumer), depth: depth.unwrap_or_default() };
        Box::pin(std::future::ready(Ok(started)))
    }
}

/// What the run was told last, and need not be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Full,
    Stopped,
}

/// nsqd as a [`Consumer`].
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct NsqConsumer {
    settings: Settings,
    /// Those that were asked to end, and from `first` on those that messages come from.
    lanes: Vec<Lane>,
    first: usize,
    /// How far the test of a silence has come.
    test: Option<Test>,
    /// Silences that were put to the test.
    tests: u32,
    /// When nsqd was asked to end the connections that messages come from.
    asked_at: Option<Instant>,
    /// When nsqd confirmed the end of one for the last time.
    answered_at: Option<Instant>,
    /// Whether there is a lane to every nsqd that may have messages: what the others hold is not known.
    are_all: bool,
    /// What nsqd's statistics were asked, until they answer or a message does.
    question: Option<Question>,
    /// Whether nsqd had the right to send more when it was told to stop.
    may_stray: bool,
    /// The books.
    flow: Flow,
    /// Whether the run wants more.
    wants: bool,
    told: Option<Told>,
    /// Received, on the books and not handed out.
    ready: VecDeque<Delivery>,
    /// Bytes of all bodies that are not settled.
    bytes: usize,
    /// Whether nothing has come since the queue was known to be empty.
    is_empty: bool,
    closed: Closed,
    /// How nsqd has told that messages had timed out: each is warned of once.
    timed_out: BTreeSet<&'static str>,
    frames: Vec<Frame>,
}

impl NsqConsumer {
    /// Reads what came on every lane, and tries to send what is waiting.
    fn poll_lanes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        // Looked at once for all lanes: one that is not read would be taken for one that has nothing.
        let full = self.bytes >= BYTES_IN_FLIGHT;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].closing == CloseState::Lost {
                continue;
            }
            let read = if full { Poll::Pending } else { self.poll_lane(lane, cx) };
            match read {
                Poll::Ready(Ok(())) => progress = Poll::Ready(()),
                Poll::Ready(Err(cause)) => {
                    self.lose(lane, &cause);
                    progress = Poll::Ready(());
                    continue;
                }
                Poll::Pending => {}
            }
            self.put_change_of_rdy(lane);
            if let Poll::Ready(Err(cause)) = self.lanes[lane].connection.poll_flush(cx) {
                self.lose(lane, &cause);
                progress = Poll::Ready(());
            } else if self.lanes[lane].connection.commands().len() as u64
                > COMMANDS_PER_MESSAGE * (MOST_STRAYS + self.settings.max_in_flight.get())
            {
                self.lose(
                    lane,
                    &io::Error::new(
                        io::ErrorKind::InvalidData,
                        "nsqd sends what it was not asked for, and does not read",
                    ),
                );
                progress = Poll::Ready(());
            }
        }
        if progress.is_ready() && self.question.take().is_some() {
            self.flow.not_asked(Instant::now()); // the answers would be about what was before
        }
        progress
    }

    fn poll_lane(&mut self, lane: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut frames = std::mem::take(&mut self.frames);
        let read = self.lanes[lane].connection.poll_frames(cx, &mut frames);
        for frame in frames.drain(..) {
            self.take(lane, frame);
        }
        self.frames = frames;
        read
    }

    fn put_change_of_rdy(&mut self, lane: usize) {
        if let Some(change) = self.flow.change_of_rdy(lane) {
            self.lanes[lane].put_rdy(change.rdy);
        }
    }

    fn take(&mut self, lane: usize, frame: Frame) {
        match frame {
            Frame::Message(message) => self.take_message(lane, message),
            Frame::Response(data) if data == wire::HEARTBEAT => {
                self.lanes[lane].connection.answer_heartbeat();
            }
            Frame::Response(data) if data == wire::CLOSE_WAIT => {
                self.lanes[lane].closing = CloseState::Confirmed;
                self.lanes[lane].proof.confirmed();
                self.answered_at = Some(Instant::now());
            }
            Frame::Response(_) => {}
            Frame::Error(text) => {
                let text = String::from_utf8_lossy(&text);
                // None of these ends the connection: the message had timed out, and comes again. Anything
                // else does.
                let timed_out = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"]
                    .into_iter()
                    .find(|code| text.starts_with(code));
                let place = &mut self.lanes[lane];
                if timed_out.is_some_and(|code| code != "E_TOUCH_FAILED") {
                    self.closed.unconfirmed += 1;
                    place.proof.refused();
                    let trouble =
                        || format!("nsqd at {} refuses a command: {text}", place.connection.address());
                    self.closed.trouble.get_or_insert_with(trouble);
                }
                // One line tells; where all messages of a run have timed out, thousands tell no more.
                let is_known = timed_out.is_some_and(|code| !self.timed_out.insert(code));
                let level = if is_known { Level::Debug } else { Level::Warn };
                log!(level, address = place.connection.address().to_string(), answer = text.as_ref(); "nsqd refuses a command");
            }
        }
    }

    fn take_message(&mut self, lane: usize, message: WireMessage) {
        self.closed.received += 1;
        let on_the_books = self.flow.received(lane, Instant::now());
        let WireMessage { timestamp, attempts, id, body } = message;
        self.lanes[lane].proof.delivered();
        self.is_empty = false;
        let text = std::str::from_utf8(&id.0).expect("the decoder lets visible ASCII through only");
        if on_the_books {
            let message = Message {
                origin: self.lanes[lane].origin.clone(),
                id: text.into(),
                body,
                attempts: NonZeroU32::new(attempts.into()),
                published: NonZeroI64::new(timestamp),
                last: false,
                details: None,
            };
            self.bytes += message.body.len();
            self.ready.push_back(Delivery { message, receipt: Receipt(lane as u64) });
        } else {
            debug!(id = text; "a message over N is requeued");
            wire::put_req(self.lanes[lane].connection.commands(), text, 0);
            self.lanes[lane].proof.settled(1);
            self.closed.returned += 1;
            self.closed.late += u64::from(self.flow.is_paused());
        }
    }

    fn lose(&mut self, lane: usize, cause: &io::Error) {
        let lost = &mut self.lanes[lane];
        if lost.closing == CloseState::Lost {
            return; // what it could not send any more is not sent a second time
        }
        if lost.closing == CloseState::HungUp && cause.kind() == io::ErrorKind::UnexpectedEof {
            lost.proof.confirmed(); // it closes when it has read everything
        } else if !matches!(lost.closing, CloseState::Confirmed | CloseState::HungUp) {
            let address = lost.connection.address();
            warn!(address = address.to_string(), cause = cause.to_string(); "connection to nsqd lost");
            self.closed
                .trouble
                .get_or_insert_with(|| format!("connection to nsqd at {address} lost: {cause}"));
        }
        lost.closing = CloseState::Lost;
        self.closed.unconfirmed += lost.proof.in_doubt(Instant::now());
        self.flow.lost(lane, Instant::now());
    }

    /// Sends everything that waits, within a bound; reads meanwhile, so that neither side blocks the other.
    async fn flush(&mut self) {
        let flushed = poll_fn(|cx| {
            let _progress: Poll<()> = self.poll_lanes(cx);
            let waiting = self
                .lanes
                .iter()
                .any(|lane| lane.closing != CloseState::Lost && !lane.connection.is_flushed());
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(SEND_BOUND, flushed).await.is_err() {
            for lane in 0..self.lanes.len() {
                if !self.lanes[lane].connection.is_flushed() {
                    self.lose(lane, &io::ErrorKind::TimedOut.into());
                }
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        loop {
            let now = Instant::now();
            let mut asks = false;
            // Lanes that are not read are silent, and that says nothing.
            if self.bytes < BYTES_IN_FLIGHT && self.test.is_none() {
                self.flow.tick(now);
                asks = self.question.is_none() && self.flow.wants_to_ask(now);
            }
            if asks {
                self.flow.asked();
                self.question = Some(self.ask(now));
            }
            if !self.ready.is_empty() {
                if asks {
                    // It is on its way while the store gets these.
                    poll_fn(|cx| {
                        let _progress: Poll<()> = self.poll_lanes_and_question(cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                return Event::Deliveries(self.ready.drain(..).collect());
            }
            if let Some(event) = self.known(now) {
                self.is_empty = if self.wants { matches!(event, Event::Idle(_)) } else { self.is_empty };
                return event;
            }
            let tick = self.next_judgement().or_else(|| self.flow.next_tick(now));
            let wake = async {
                match tick {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                known = poll_fn(|cx| self.poll_everything(cx)) => if let Some(known) = known {
                    return known;
                },
                () = wake => {
                    if let Some(tick) = tick {
                        self.flow.woke(Instant::now() - tick);
                    }
                }
            }
        }
    }

    /// What there is to say while no delivery is here, if something.
    fn known(&mut self, now: Instant) -> Option<Event> {
        if self.lanes.is_empty() && self.wants {
            return Some(Event::Idle(Proof::Proven)); // nsqlookupd lists no nsqd: there is nobody to receive from
        }
        let is_lost = |lane: &Lane| lane.closing == CloseState::Lost;
        if !self.lanes.is_empty() && self.lanes[self.first..].iter().all(is_lost) {
            return Some(Event::Lost);
        }
        if let Some(event) = self.judge(now) {
            return Some(event);
        }
        let (told, event) = match self.wants {
            // Whether nsqd had sent more is not known before the connection has ended in order.
            false => (Told::Stopped, Event::Idle(Proof::Inferred)),
            true if self.is_full() => (Told::Full, Event::Full),
            true => return None,
        };
        (self.told.replace(told) != Some(told)).then_some(event)
    }

    fn is_full(&self) -> bool {
        self.bytes >= BYTES_IN_FLIGHT || self.flow.is_full()
    }

    fn poll_lanes_and_question(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_lanes(cx).is_ready() { Poll::Ready(()) } else { self.poll_question(cx) }
    }

    fn poll_everything(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.poll_lanes_and_question(cx).is_ready() { Poll::Ready(None) } else { self.poll_reopening(cx) }
    }

    async fn end(mut self) -> Closed {
        self.pause_flow();
        let open = |lane: &&mut Lane| lane.closing == CloseState::Open;
        self.bytes = 0;
        for delivery in std::mem::take(&mut self.ready) {
            let lane = &mut self.lanes[lane_of(&delivery.receipt)];
            if lane.closing == CloseState::Lost {
                self.closed.unconfirmed += 1;
            } else {
                wire::put_req(lane.connection.commands(), &delivery.message.id, 0);
                lane.proof.settled(1);
            }
            self.closed.returned += 1;
            self.closed.late += 1;
        }
        for lane in self.lanes.iter_mut().filter(open) {
            lane.closing = CloseState::Asked;
            wire::put_cls(lane.connection.commands());
        }
        let bound = self.left_to_confirm(Instant::now());
        let confirmed = poll_fn(|cx| {
            while self.poll_lanes(cx).is_ready() {}
            let waiting = self.lanes.iter().any(|lane| lane.closing == CloseState::Asked);
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(bound, confirmed).await.is_err() {
            warn!("nsqd does not confirm the end of the connection");
        }
        // Its answer is there before nsqd has hung up, or soon after.
        let depth = timeout(SEND_BOUND, self.depth());
        let end = async {
            if self.may_stray {
                self.requeue_strays().await;
            }
            self.hang_up().await;
        };
        let (depth, ()) = tokio::join!(depth, end);
        self.closed.depth = depth.ok().flatten().unwrap_or_default();
        let now = Instant::now();
        let open = self.lanes.iter().filter(|lane| lane.closing != CloseState::Lost);
        self.closed.unconfirmed += open.map(|lane| lane.proof.in_doubt(now)).sum::<u64>();
        self.closed
    }

    /// nsqd's message pump may have taken a message just when it was told to stop, and have sent it behind
    /// `CLOSE_WAIT`.
    async fn requeue_strays(&mut self) {
        // `timeout`, not a sleep beside the reading: one who never stops sending would use up all turns of
        // this task before the sleep has one.
        let reading = poll_fn(|cx| -> Poll<()> {
            while self.poll_lanes(cx).is_ready() {}
            Poll::Pending
        });
        timeout(STRAY_TIME, reading).await.unwrap_or_default();
    }

    /// The last barrier: nsqd reads all commands before it sees our end of the stream, and closes only then.
    async fn hang_up(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.closing == CloseState::Confirmed) {
            lane.closing = CloseState::HungUp;
        }
        let ended = poll_fn(|cx| {
            let mut waiting = false;
            for lane in self.lanes.iter_mut().filter(|lane| lane.closing == CloseState::HungUp) {
                waiting |= lane.connection.poll_flush(cx).is_pending()
                    || lane.connection.poll_shutdown(cx).is_pending();
            }
            while self.poll_lanes(cx).is_ready() {}
            waiting |= self.lanes.iter().any(|lane| lane.closing == CloseState::HungUp);
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(SEND_BOUND, ended).await.is_err() {
            debug!("nsqd does not close the connection");
        }
    }

    fn pause_flow(&mut self) {
        self.test = None;
        self.may_stray |= self.flow.pause();
        for lane in 0..self.lanes.len() {
            self.put_change_of_rdy(lane);
        }
    }

    fn put_settlements(&mut self, settled: &[(Delivery, Settlement)]) {
        let was_full = self.bytes >= BYTES_IN_FLIGHT;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
        let flow = &mut self.flow;
        self.told = self.told.filter(|told| *told != Told::Full);
        if was_full && self.bytes < BYTES_IN_FLIGHT {
            flow.resumed(Instant::now());
        }
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let here = || settled.iter().filter(|(delivery, _)| lane_of(&delivery.receipt) == index);
            let count = here().count() as u64;
            if count == 0 {
                continue;
            }
            if lane.closing == CloseState::Lost {
                self.closed.unconfirmed += count;
                continue;
            }
            flow.settled(index, count, Instant::now());
            lane.proof.settled(count);
            let change = flow.change_of_rdy(index);
            if let Some(change) = change.filter(|change| change.sinks) {
                lane.put_rdy(change.rdy);
            }
            let commands = lane.connection.commands();
            for (delivery, settlement) in here() {
                match settlement {
                    Settlement::Done => wire::put_fin(commands, &delivery.message.id),
                    Settlement::Retry { .. } | Settlement::Release => {
                        let after = match settlement {
                            Settlement::Retry { after } => *after,
                            _ => Duration::ZERO,
                        };
                        lane.gave_back = true;
                        wire::put_req(commands, &delivery.message.id, after.as_millis());
                    }
                }
            }
            if let Some(change) = change.filter(|change| !change.sinks) {
                lane.put_rdy(change.rdy);
            }
        }
    }
}

impl Consumer for NsqConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(self.next_event())
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.wants = more > 0;
            self.told = None;
            if self.wants {
                self.flow.resume(more, Instant::now());
                for lane in 0..self.lanes.len() {
                    self.put_change_of_rdy(lane);
                }
            } else if matches!(self.test, Some(Test::Passed)) {
                return; // nsqd was asked to end its connections; what comes all the same is still taken
            } else {
                self.pause_flow();
            }
            self.flush().await;
        })
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.put_settlements(&settled);
            self.flush().await;
        })
    }

    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for delivery in deliveries {
                let lane = &mut self.lanes[lane_of(&delivery.receipt)];
                if lane.closing != CloseState::Lost {
                    wire::put_touch(lane.connection.commands(), &delivery.message.id);
                }
            }
            self.flush().await;
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(Self::end(*self))
    }
}

fn lane_of(receipt: &Receipt) -> usize {
    usize::try_from(receipt.0).expect("receipts of this source are indexes of lanes")
}
