//! The NSQ source: one connection ("lane") to each nsqd, N shared out over them by [`flow`].

mod flow;
mod lookup;
mod publisher;

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    num::NonZeroU64,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::join_all;
use log::{debug, warn};
use tokio::time::{Instant, sleep_until, timeout};

use self::flow::{Flow, LaneStart};
use super::{Closing, Demand, Received, Source, SourceError};
use crate::{
    BoxFuture,
    address::HostPort,
    message::{Delivery, Message, Origin, Receipt, Settlement},
    nsq::{
        Connection, Identity, NsqError,
        name::{ChannelName, TopicName},
        wire::{self, Frame, WireMessage},
    },
};

pub use publisher::NsqPublisher;

/// How long a write or the orderly end of a connection may take before the connection counts as lost.
const SEND_BOUND: Duration = Duration::from_secs(1);

/// How long a message is waited for that nsqd had taken from the queue just when it was told to stop.
const STRAY_TIME: Duration = Duration::from_millis(1);

/// The smallest limit on bodies: what is over the run's own limit still has to be received, to become a dead letter.
const LEAST_MAX_BODY: usize = 16 << 20;

/// How the NSQ source is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where nsqd is found.
    pub servers: Servers,
    /// What is consumed.
    pub topic: TopicName,
    /// As what; an ephemeral channel where none was configured.
    pub channel: ChannelName,
    /// Messages that are unsettled at most, over all nsqd.
    pub max_in_flight: NonZeroU64,
    /// Bytes of the largest body that the run stores.
    pub max_message_size: usize,
    /// How long connecting to everything may take.
    pub connect_timeout: Duration,
    /// How long a run takes at most: nsqd is asked to wait longer than that for settlements.
    pub longest_run: Duration,
}

/// Where nsqd is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// These, by their TCP addresses.
    Nsqd(Vec<HostPort>),
    /// Those that these nsqlookupd know, by their HTTP addresses.
    Lookupd(Vec<HostPort>),
}

impl Settings {
    fn place(&self) -> String {
        match &self.servers {
            Servers::Nsqd(addresses) => format!("nsqd at {}", list(addresses)),
            Servers::Lookupd(addresses) => format!("nsqlookupd at {}", list(addresses)),
        }
    }

    fn identity(&self) -> Identity {
        // No longer than needed: after a crash, this is how long the messages wait. Above nsqd's maximum it is refused, and its default holds.
        let msg_timeout = self.longest_run + Duration::from_secs(5);
        Identity { msg_timeout: Some(msg_timeout), max_body: self.max_message_size.saturating_mul(2).max(LEAST_MAX_BODY) }
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The part of the connect timeout that is left: it bounds finding nsqd, connecting and subscribing together.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// An nsqd to connect to, with its HTTP address where it is known.
struct Place {
    tcp: HostPort,
    http: Option<HostPort>,
}

/// Which nsqd there are. At least one nsqlookupd has to answer; the dead ones are warned of.
async fn discover(settings: &Settings, until: Instant) -> Result<Vec<Place>, SourceError> {
    let lookupds = match &settings.servers {
        Servers::Nsqd(addresses) => return Ok(addresses.iter().map(|tcp| Place { tcp: tcp.clone(), http: None }).collect()),
        Servers::Lookupd(addresses) => addresses,
    };
    let ask = |lookupd| lookup::producers(lookupd, &settings.topic, left(until));
    let (mut places, mut failure, mut answered) = (Vec::<Place>::new(), None, false);
    for (lookupd, answer) in lookupds.iter().zip(join_all(lookupds.iter().map(ask)).await) {
        match answer {
            Ok(producers) => {
                answered = true;
                for producer in producers {
                    if places.iter().all(|place| place.tcp != producer.tcp) {
                        places.push(Place { tcp: producer.tcp, http: Some(producer.http) });
                    }
                }
            }
            Err(cause) => {
                warn!(address = lookupd.to_string(), cause = cause.to_string(); "nsqlookupd does not answer");
                failure = Some(cause);
            }
        }
    }
    match failure {
        Some(cause) if !answered => Err(SourceError::Unreachable { place: settings.place(), cause }),
        _ => Ok(places),
    }
}

/// Connects to every place at once and warns of those that don't answer.
async fn connect_all(settings: &Settings, places: &[Place], until: Instant) -> Result<Vec<Lane>, SourceError> {
    let attempts = join_all(places.iter().map(|place| Lane::open(settings, place, until))).await;
    let (mut lanes, mut failure) = (Vec::new(), None);
    for (place, attempt) in places.iter().zip(attempts) {
        match attempt {
            Ok(lane) => lanes.push(lane),
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                warn!(address = place.tcp.to_string(), cause = cause; "nsqd does not answer");
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if lanes.is_empty() => Err(connect_error(error)),
        _ => Ok(lanes),
    }
}

fn connect_error(error: NsqError) -> SourceError {
    match error {
        NsqError::Io { address, cause } => SourceError::Unreachable { place: format!("nsqd at {address}"), cause: cause.into() },
        NsqError::Refused { address, fault } => SourceError::Refused { place: format!("nsqd at {address}"), fault },
    }
}

/// Proves that nsqd, and nsqlookupd where it is configured, answer; subscribes to nothing.
///
/// # Errors
/// None of them answers, or nsqd refuses us.
pub async fn probe(settings: &Settings) -> Result<(), SourceError> {
    let until = Instant::now() + settings.connect_timeout;
    let places = discover(settings, until).await?;
    let attempts = places.iter().map(|place| Connection::open(&place.tcp, settings.identity(), left(until)));
    let (answers, failures): (Vec<_>, Vec<_>) = join_all(attempts).await.into_iter().partition(Result::is_ok);
    match failures.into_iter().find_map(Result::err) {
        Some(error) if answers.is_empty() => Err(connect_error(error)),
        _ => Ok(()),
    }
}

/// A subscribed connection.
struct Lane {
    connection: Connection,
    /// Where its statistics are, if that is known.
    http: Option<HostPort>,
    origin: Origin,
    start: LaneStart,
    lease: Duration,
    /// Settlements that were put since SUB, and not refused: proven to have arrived by `CLOSE_WAIT` only.
    unproven: u64,
    closing: CloseState,
}

/// How far a lane's orderly end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseState {
    Open,
    /// CLS was sent.
    Asked,
    /// `CLOSE_WAIT` came: nsqd has processed every settlement before it.
    Confirmed,
    /// The connection is lost.
    Lost,
}

impl Lane {
    async fn open(settings: &Settings, place: &Place, until: Instant) -> Result<Self, NsqError> {
        let address = &place.tcp;
        let late = || NsqError::Io { address: address.clone(), cause: io::ErrorKind::TimedOut.into() };
        let depth = async {
            match &place.http {
                Some(http) => lookup::depth(http, &settings.topic, &settings.channel, left(until)).await.ok(),
                None => None,
            }
        };
        let subscribe = async {
            let (mut connection, limits) = Connection::open(address, settings.identity(), left(until)).await?;
            let asked = Instant::now();
            wire::put_sub(connection.commands(), &settings.topic, &settings.channel);
            timeout(left(until), connection.response()).await.map_err(|_| late())??;
            Ok::<_, NsqError>((connection, limits, asked.elapsed()))
        };
        let (subscribed, depth) = tokio::join!(subscribe, depth);
        let (connection, limits, round_trip) = subscribed?;
        Ok(Self {
            origin: Origin::new(&format!("{}@{address}", settings.topic)),
            connection,
            http: place.http.clone(),
            start: LaneStart { max_rdy: limits.max_rdy_count, round_trip, depth },
            lease: Duration::from_millis(limits.msg_timeout),
            unproven: 0,
            closing: CloseState::Open,
        })
    }
}

/// nsqd as a [`Source`].
pub struct NsqSource {
    settings: Settings,
    lanes: Vec<Lane>,
    /// What nsqd's statistics say about how much waits, once the flow calls the queue empty.
    second_opinion: Option<BoxFuture<'static, u64>>,
    /// How often they have contradicted.
    contradictions: u32,
    /// The books; there from the start on.
    flow: Option<Flow>,
    /// Received, on the books and not handed out.
    ready: VecDeque<Delivery>,
    closing: Closing,
    frames: Vec<Frame>,
}

impl NsqSource {
    /// Finds nsqd, connects and subscribes, but asks for no message.
    ///
    /// # Errors
    /// No nsqlookupd or no nsqd answers within the connect timeout, or all of them refuse. One that does not answer is warned of.
    pub async fn connect(settings: &Settings) -> Result<Self, SourceError> {
        if settings.channel.is_ephemeral() {
            warn!(channel = settings.channel.to_string(); "the channel is ephemeral: what is published between runs is not kept for it");
        }
        let until = Instant::now() + settings.connect_timeout;
        let mut places = discover(settings, until).await?;
        shuffle(&mut places); // so that over many runs nobody is always first where N is smaller than the number of nsqd
        let lanes = connect_all(settings, &places, until).await?;
        Ok(Self {
            settings: settings.clone(),
            lanes,
            second_opinion: None,
            contradictions: 0,
            flow: None,
            ready: VecDeque::new(),
            closing: Closing::default(),
            frames: Vec::new(),
        })
    }

    /// Reads what came on every lane, and tries to send what is waiting.
    fn poll_lanes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].closing == CloseState::Lost {
                continue;
            }
            let mut frames = std::mem::take(&mut self.frames);
            let read = self.lanes[lane].connection.poll_frames(cx, &mut frames);
            for frame in frames.drain(..) {
                self.take(lane, frame);
            }
            self.frames = frames;
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
            }
        }
        progress
    }

    fn put_change_of_rdy(&mut self, lane: usize) {
        if let Some(change) = self.flow.as_mut().and_then(|flow| flow.change_of_rdy(lane)) {
            wire::put_rdy(self.lanes[lane].connection.commands(), change.rdy);
        }
    }

    fn take(&mut self, lane: usize, frame: Frame) {
        match frame {
            Frame::Message(message) => self.take_message(lane, message),
            Frame::Response(data) if data == wire::HEARTBEAT => wire::put_nop(self.lanes[lane].connection.commands()),
            Frame::Response(data) if data == wire::CLOSE_WAIT => {
                self.lanes[lane].closing = CloseState::Confirmed;
                self.lanes[lane].unproven = 0;
            }
            Frame::Response(_) => {}
            Frame::Error(text) => {
                let text = String::from_utf8_lossy(&text);
                let timed_out = ["E_FIN_FAILED", "E_REQ_FAILED"].iter().any(|code| text.starts_with(code));
                // Neither these two nor E_TOUCH_FAILED end the connection: the message had timed out, and comes again. Anything else does.
                if timed_out {
                    self.closing.unconfirmed += 1;
                    self.lanes[lane].unproven = self.lanes[lane].unproven.saturating_sub(1);
                }
                let address = self.lanes[lane].connection.address().to_string();
                warn!(address = address, answer = text.as_ref(); "nsqd refuses a command");
            }
        }
    }

    fn take_message(&mut self, lane: usize, message: WireMessage) {
        let on_the_books = self.flow.as_mut().is_some_and(|flow| flow.received(lane, Instant::now()));
        let WireMessage { attempts, id, body, .. } = message;
        let text = std::str::from_utf8(&id.0).expect("the decoder lets visible ASCII through only");
        if on_the_books && self.lanes[lane].closing == CloseState::Open {
            let message = Message { origin: self.lanes[lane].origin.clone(), id: text.into(), body, attempts: attempts.into() };
            self.ready.push_back(Delivery { message, receipt: Receipt(lane as u64) });
        } else {
            debug!(id = text; "a message over N is requeued");
            wire::put_req(self.lanes[lane].connection.commands(), text, 0);
            self.closing.requeued += 1;
        }
    }

    fn lose(&mut self, lane: usize, cause: &io::Error) {
        let lost = &mut self.lanes[lane];
        if lost.closing != CloseState::Confirmed {
            warn!(address = lost.connection.address().to_string(), cause = cause.to_string(); "connection to nsqd lost");
        }
        lost.closing = CloseState::Lost;
        self.closing.unconfirmed += std::mem::take(&mut lost.unproven);
        if let Some(flow) = &mut self.flow {
            flow.lost(lane, Instant::now());
        }
    }

    /// Sends everything that waits, within a bound; reads meanwhile, so that neither side blocks the other.
    async fn flush(&mut self) {
        let flushed = poll_fn(|cx| {
            let _progress: Poll<()> = self.poll_lanes(cx);
            let waiting = self.lanes.iter_mut().any(|lane| lane.closing != CloseState::Lost && !lane.connection.commands().is_empty());
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(SEND_BOUND, flushed).await.is_err() {
            for lane in 0..self.lanes.len() {
                if !self.lanes[lane].connection.commands().is_empty() {
                    self.lose(lane, &io::ErrorKind::TimedOut.into());
                }
            }
        }
    }

    async fn next(&mut self) -> Received {
        loop {
            if !self.ready.is_empty() {
                return Received::Deliveries(self.ready.drain(..).collect());
            }
            let now = Instant::now();
            let flow = self.flow.as_mut().expect("start comes first");
            if self.lanes.is_empty() && !flow.is_paused() {
                return Received::Empty; // no nsqd has the topic yet
            }
            if !self.lanes.is_empty() && self.lanes.iter().all(|lane| lane.closing == CloseState::Lost) {
                return Received::Closed;
            }
            flow.tick(now);
            let silent = flow.is_empty(now);
            let tick = if silent { None } else { flow.next_tick() };
            if silent && self.second_opinion.is_none() {
                match self.ask_statistics() {
                    Some(opinion) => self.second_opinion = Some(opinion),
                    None => return Received::Empty,
                }
            }
            let wake = async {
                match tick {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let mut second_opinion = self.second_opinion.take();
            let opinion = poll_fn(|cx| match &mut second_opinion {
                Some(opinion) => opinion.as_mut().poll(cx),
                None => Poll::Pending,
            });
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll_lanes(cx)) => {}
                () = wake => {}
                waiting = opinion => {
                    if waiting == 0 {
                        return Received::Empty;
                    }
                    self.contradictions += 1;
                    if let Some(flow) = &mut self.flow {
                        flow.is_not_empty(Instant::now());
                    }
                }
            }
        }
    }

    /// How much waits by nsqd's own statistics; `None` where they are not to be had, or have been wrong for us several times: a channel that is
    /// paused, or that others consume, has messages that do not come to us.
    fn ask_statistics(&self) -> Option<BoxFuture<'static, u64>> {
        const MOST_CONTRADICTIONS: u32 = 3;
        let places: Vec<HostPort> =
            self.lanes.iter().filter(|lane| lane.closing != CloseState::Lost).filter_map(|lane| lane.http.clone()).collect();
        if places.is_empty() || self.contradictions >= MOST_CONTRADICTIONS {
            return None;
        }
        let settings = self.settings.clone();
        Some(Box::pin(async move {
            let ask = |place| lookup::depth(place, &settings.topic, &settings.channel, settings.connect_timeout);
            join_all(places.iter().map(ask)).await.into_iter().filter_map(Result::ok).sum()
        }))
    }

    async fn close(mut self) -> Closing {
        self.pause_flow();
        let open = |lane: &&mut Lane| lane.closing == CloseState::Open;
        for delivery in std::mem::take(&mut self.ready) {
            let lane = &mut self.lanes[lane_of(&delivery.receipt)];
            if lane.closing == CloseState::Open {
                wire::put_req(lane.connection.commands(), &delivery.message.id, 0);
                lane.unproven += 1;
            } else {
                self.closing.unconfirmed += 1;
            }
            self.closing.requeued += 1;
        }
        for lane in self.lanes.iter_mut().filter(open) {
            lane.closing = CloseState::Asked;
            wire::put_cls(lane.connection.commands());
        }
        let confirmed = poll_fn(|cx| {
            while self.poll_lanes(cx).is_ready() {}
            let waiting = self.lanes.iter().any(|lane| lane.closing == CloseState::Asked);
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(SEND_BOUND, confirmed).await.is_err() {
            warn!("nsqd does not confirm the end of the connection");
        }
        let strays = poll_fn(|cx| {
            while self.poll_lanes(cx).is_ready() {}
            Poll::<()>::Pending
        });
        if timeout(STRAY_TIME, strays).await.is_ok() {
            unreachable!("a future that is never ready");
        }
        self.hang_up().await;
        self.closing.unconfirmed += self.lanes.iter().map(|lane| lane.unproven).sum::<u64>();
        self.closing
    }

    /// The last barrier: nsqd reads all commands before it sees our end of the stream, and closes only then.
    async fn hang_up(&mut self) {
        let ended = poll_fn(|cx| {
            let mut waiting = false;
            for lane in self.lanes.iter_mut().filter(|lane| lane.closing == CloseState::Confirmed) {
                waiting |= lane.connection.poll_flush(cx).is_pending() || lane.connection.poll_shutdown(cx).is_pending();
            }
            while self.poll_lanes(cx).is_ready() {}
            waiting |= self.lanes.iter().any(|lane| lane.closing == CloseState::Confirmed);
            if waiting { Poll::Pending } else { Poll::Ready(()) }
        });
        if timeout(SEND_BOUND, ended).await.is_err() {
            debug!("nsqd does not close the connection");
        }
    }

    fn pause_flow(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.pause();
        }
        for lane in 0..self.lanes.len() {
            self.put_change_of_rdy(lane);
        }
    }

    fn put_settlements(&mut self, settled: &[(Delivery, Settlement)]) {
        let Some(flow) = &mut self.flow else { return };
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let here = || settled.iter().filter(|(delivery, _)| lane_of(&delivery.receipt) == index);
            let count = here().count() as u64;
            if count == 0 {
                continue;
            }
            if lane.closing == CloseState::Lost {
                self.closing.unconfirmed += count;
                continue;
            }
            flow.settled(index, count, Instant::now());
            lane.unproven += count;
            let change = flow.change_of_rdy(index);
            let commands = lane.connection.commands();
            if let Some(change) = change.filter(|change| change.sinks) {
                wire::put_rdy(commands, change.rdy);
            }
            for (delivery, settlement) in here() {
                match settlement {
                    Settlement::Finish => wire::put_fin(commands, &delivery.message.id),
                    Settlement::Requeue { delay } => wire::put_req(commands, &delivery.message.id, delay.as_millis()),
                }
            }
            if let Some(change) = change.filter(|change| !change.sinks) {
                wire::put_rdy(commands, change.rdy);
            }
        }
    }
}

impl Source for NsqSource {
    fn start(&mut self, demand: Demand) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let starts: Vec<LaneStart> = self.lanes.iter().map(|lane| lane.start).collect();
            let max_messages = demand.max_messages.get();
            self.flow = Some(Flow::new(max_messages, self.settings.max_in_flight.get(), demand.idle_timeout, &starts, Instant::now()));
            Ok(())
        })
    }

    fn receive(&mut self) -> BoxFuture<'_, Received> {
        Box::pin(self.next())
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.put_settlements(&settled);
            self.flush().await;
        })
    }

    fn touch<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
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

    fn lease(&self) -> Duration {
        self.lanes.iter().map(|lane| lane.lease).min().unwrap_or(Duration::from_secs(60))
    }

    fn pause(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.pause_flow();
            self.flush().await;
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closing> {
        Box::pin(Self::close(*self))
    }
}

fn lane_of(receipt: &Receipt) -> usize {
    usize::try_from(receipt.0).expect("receipts of this source are indexes of lanes")
}

/// Brings the places into an order that differs from run to run.
fn shuffle(places: &mut [Place]) {
    use std::hash::BuildHasher as _;
    let seed = std::collections::hash_map::RandomState::new();
    places.sort_by_cached_key(|place| seed.hash_one(&place.tcp));
}
