//! Receives from all nsqd, and settles with them.

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

/// The time limit for a write or for closing a connection, after which the connection counts as lost.
const SEND_BOUND: Duration = Duration::from_secs(1);

/// The limit on messages over RDY that are requeued before nsqd has read the new RDY.
const MOST_STRAYS: u64 = 2_500;

/// The size of the command buffer for each message that may be unsettled, in bytes. It fills up only if nsqd
/// sends messages that were not requested and does not read.
const COMMANDS_PER_MESSAGE: u64 = 100;

/// How long to wait for a message that nsqd had taken from the queue just when it was asked to stop.
const STRAY_TIME: Duration = Duration::from_millis(1);

/// nsqd as a [`Source`]: connected and subscribed.
pub struct NsqSource {
    settings: Settings,
    lanes: Vec<Lane>,
    servers: Servers,
    are_all: bool,
}

impl NsqSource {
    /// Discovers nsqd, connects and subscribes, but asks for no message.
    ///
    /// # Errors
    /// No nsqlookupd or no nsqd answers within the connect timeout, or all of them refuse. A warning is
    /// logged for each one that does not answer.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let Connected { lanes, servers, are_all } = connect::connect(settings).await?;
        Ok(Self { settings: settings.clone(), lanes, servers, are_all })
    }

    /// Returns the shortest lease of all nsqd.
    fn lease(&self) -> Duration {
        self.lanes.iter().map(|lane| lane.lease).min().unwrap_or(Duration::from_secs(60))
    }
}

impl Source for NsqSource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            // `nsqd/options.go`, `MaxReqTimeout`: an hour by default; a longer delay is reduced to it.
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

/// The last event that the run received; it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Full,
    Stopped,
}

/// nsqd as a [`Consumer`].
#[expect(clippy::struct_excessive_bools, reason = "each flag is independent")]
struct NsqConsumer {
    settings: Settings,
    /// Closing lanes, and from `first` on the lanes that deliver messages.
    lanes: Vec<Lane>,
    first: usize,
    /// The progress of the test of a silence.
    test: Option<Test>,
    /// How many silences were tested.
    tests: u32,
    /// When nsqd was asked to close the delivering connections.
    asked_at: Option<Instant>,
    /// When nsqd last confirmed the end of one.
    answered_at: Option<Instant>,
    /// Whether every nsqd that may have messages is connected: the depth of others is unknown.
    are_all: bool,
    /// The pending request for nsqd's statistics.
    question: Option<Question>,
    /// Whether nsqd was allowed to send more when it was asked to stop.
    may_stray: bool,
    /// The permits of all lanes.
    flow: Flow,
    /// Whether the run wants more.
    wants: bool,
    told: Option<Told>,
    /// Received, counted and not handed out.
    ready: VecDeque<Delivery>,
    /// Bytes of all unsettled bodies.
    bytes: usize,
    /// Whether nothing has arrived since the queue was known to be empty.
    is_empty: bool,
    closed: Closed,
    /// The error codes with which nsqd has reported timed-out messages: each is logged as a warning once.
    timed_out: BTreeSet<&'static str>,
    frames: Vec<Frame>,
}

impl NsqConsumer {
    /// Reads from every lane, and tries to send queued commands.
    fn poll_lanes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        // One timestamp for all lanes: a lane that is not read would seem to have nothing.
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
                        "nsqd sends messages that were not requested, and does not read",
                    ),
                );
                progress = Poll::Ready(());
            }
        }
        if progress.is_ready() && self.question.take().is_some() {
            self.flow.not_asked(Instant::now()); // the responses would be outdated
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
                // None of these ends the connection: the message had timed out, and is delivered again. Any
                // other error ends it.
                let timed_out = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"]
                    .into_iter()
                    .find(|code| text.starts_with(code));
                let place = &mut self.lanes[lane];
                if timed_out.is_some_and(|code| code != "E_TOUCH_FAILED") {
                    self.closed.unconfirmed += 1;
                    place.proof.refused();
                    let trouble =
                        || format!("nsqd at {} refused a command: {text}", place.connection.address());
                    self.closed.trouble.get_or_insert_with(trouble);
                }
                // One line is enough; if all messages of a run have timed out, thousands of lines say no
                // more.
                let is_known = timed_out.is_some_and(|code| !self.timed_out.insert(code));
                let level = if is_known { Level::Debug } else { Level::Warn };
                log!(level, address = place.connection.address().to_string(), answer = text.as_ref(); "nsqd refused a command");
            }
        }
    }

    fn take_message(&mut self, lane: usize, message: WireMessage) {
        self.closed.received += 1;
        let on_the_books = self.flow.received(lane, Instant::now());
        let WireMessage { timestamp, attempts, id, body } = message;
        self.lanes[lane].proof.delivered();
        self.is_empty = false;
        let text = std::str::from_utf8(&id.0).expect("the decoder accepts only visible ASCII");
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
            debug!(id = text; "requeuing a message over N");
            wire::put_req(self.lanes[lane].connection.commands(), text, 0);
            self.lanes[lane].proof.settled(1);
            self.closed.returned += 1;
            self.closed.late += u64::from(self.flow.is_paused());
        }
    }

    fn lose(&mut self, lane: usize, cause: &io::Error) {
        let lost = &mut self.lanes[lane];
        if lost.closing == CloseState::Lost {
            return; // its unsent commands are not sent twice
        }
        if lost.closing == CloseState::HungUp && cause.kind() == io::ErrorKind::UnexpectedEof {
            lost.proof.confirmed(); // it closes after it has read everything
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

    /// Sends all queued commands, within a time limit. It also reads, so that the two sides do not block each
    /// other.
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
            // Lanes that are not read are silent, which means nothing.
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
                    // It is sent while the store works on these deliveries.
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

    /// Returns the event to report while no delivery is waiting, if any.
    fn known(&mut self, now: Instant) -> Option<Event> {
        if self.lanes.is_empty() && self.wants {
            return Some(Event::Idle(Proof::Proven)); // nsqlookupd lists no nsqd: there is nothing to receive
        }
        let is_lost = |lane: &Lane| lane.closing == CloseState::Lost;
        if !self.lanes.is_empty() && self.lanes[self.first..].iter().all(is_lost) {
            return Some(Event::Lost);
        }
        if let Some(event) = self.judge(now) {
            return Some(event);
        }
        let (told, event) = match self.wants {
            // Whether nsqd had sent more is known only after the connection has been closed properly.
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
            warn!("nsqd did not confirm the end of the connection");
        }
        // Its response arrives before nsqd has closed the connection, or soon after.
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

    /// nsqd's message pump may have taken a message just when it was asked to stop, and have sent it after
    /// `CLOSE_WAIT`.
    async fn requeue_strays(&mut self) {
        // A timeout around the read, not a concurrent sleep: a peer that never stops sending would use up the
        // task's budget before the sleep is polled.
        let reading = poll_fn(|cx| -> Poll<()> {
            while self.poll_lanes(cx).is_ready() {}
            Poll::Pending
        });
        timeout(STRAY_TIME, reading).await.unwrap_or_default();
    }

    /// The last barrier: nsqd reads all commands before it sees the end of the stream, and closes only then.
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
            debug!("nsqd did not close the connection");
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
                return; // the connections are being closed; messages that still arrive are taken
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
