//! Discovers nsqd, connects and subscribes.

use std::{io, net::IpAddr, time::Duration};

use futures_util::future::join_all;
use log::{debug, warn};
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use super::{
    Servers, Settings,
    flow::{LaneStart, Statistics},
    list,
    lookup::{self, Waiting},
    proof::Proof,
};
use crate::{
    client as nsq,
    client::{Connection, Identity, NsqError, wire},
};
use x_msrv_core::{
    error_chain,
    message::Origin,
    servers::{self, Server},
    source::SourceError,
};
use x_msrv_net::{
    address::HostPort,
    http::{Bounds, Late},
};

/// The shortest and the longest lease that is accepted from nsqd.
const LEASES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(24 * 3600)];

/// Returns how long to wait for statistics that were late `late` times. nsqd does not answer while it waits
/// for its disk, but its kernel still accepts connections. If no connection is accepted, a firewall drops
/// packets, and waiting would cost more than the statistics save.
pub(super) fn patience(round_trip: Duration, late: u32) -> Bounds {
    let connect = Duration::from_millis(10) + 5 * round_trip;
    Bounds { connect, answer: (Duration::from_millis(10) + connect) * 4_u32.saturating_pow(late) }
}

/// Returns the remaining part of the connect timeout, which limits discovery, connecting and subscribing
/// together.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// An nsqd to connect to, with its HTTP address if known.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) tcp: HostPort,
    http: Option<HostPort>,
}

impl Place {
    /// Adds to an error where the address came from, if that is the likely cause: nsqd registers the name of
    /// its host at nsqlookupd by default.
    pub(super) fn explained(&self, error: NsqError) -> NsqError {
        let is_loopback = || {
            self.tcp.host == "localhost"
                || self.tcp.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        match error {
            NsqError::Io { address, cause }
                if self.http.is_some()
                    && (is_unresolved(&cause)
                        || cause.kind() == io::ErrorKind::ConnectionRefused && is_loopback()) =>
            {
                let words = format!(
                    "{cause} (nsqlookupd returned this address: nsqd's -broadcast-address must be reachable from here)"
                );
                NsqError::Io { address, cause: io::Error::new(cause.kind(), words) }
            }
            other => other,
        }
    }
}

/// Returns whether a name could not be resolved; the standard library provides only the text.
fn is_unresolved(cause: &io::Error) -> bool {
    cause.to_string().starts_with("failed to lookup address information")
}

/// The discovered nsqd.
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    /// The queried nsqlookupd.
    lookupds: Vec<Server>,
    /// Whether these are all nsqd that may have messages. Unknown if an nsqlookupd does not answer, or if
    /// none lists an nsqd: stopped nsqd, or nsqd whose topic is a tombstone, are not listed but keep their
    /// messages.
    are_all: bool,
}

/// Returns the nsqd to connect to. At least one nsqlookupd must answer; each one that does not is logged as a
/// warning.
pub(super) async fn discover(settings: &Settings, until: Instant) -> Result<Found, SourceError> {
    let lookupds = match &settings.servers {
        Servers::Nsqd(addresses) => {
            let places = addresses.iter().map(|tcp| Place { tcp: tcp.clone(), http: None }).collect();
            return Ok(Found { places, lookupds: Vec::new(), are_all: true });
        }
        Servers::Lookupd(addresses) => addresses,
    };
    let ask = |lookupd| lookup::producers(lookupd, &settings.topic, left(until));
    let (mut places, mut failures, mut answered) = (Vec::<Place>::new(), Vec::new(), false);
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
            Err(cause) => failures.push((lookupd, cause)),
        }
    }
    // If none answers, the error of one of them is returned.
    let error = if answered { None } else { failures.pop() };
    let all_answered = failures.is_empty();
    let is_reached = |lookupd| failures.iter().all(|(other, _)| *other != lookupd);
    let server = |lookupd| Server {
        name: format!("nsqlookupd at {lookupd}"),
        is_found: false,
        is_reached: is_reached(lookupd),
    };
    let asked = lookupds.iter().map(server).collect();
    for (lookupd, cause) in failures {
        warn!(address = lookupd.to_string(), cause = error_chain::text(&*cause); "nsqlookupd does not answer");
    }
    if let Some((_, cause)) = error {
        return Err(SourceError::Unreachable { place: settings.place(), cause });
    }
    if places.is_empty() {
        warn!(topic = settings.topic.to_string(); "nsqlookupd lists no nsqd for the topic");
    }
    let are_all = all_answered && !places.is_empty();
    Ok(Found { places, lookupds: asked, are_all })
}

/// The connections of a run.
pub(super) struct Connected {
    pub(super) lanes: Vec<Lane>,
    pub(super) servers: servers::Servers,
    /// Whether every nsqd that may have messages is connected.
    pub(super) are_all: bool,
}

/// Discovers nsqd, connects and subscribes to all of them concurrently, and logs a warning for those that do
/// not answer.
pub(super) async fn connect(settings: &Settings) -> Result<Connected, SourceError> {
    let until = Instant::now() + settings.connect_timeout;
    let identity = settings.identity()?;
    let Found { mut places, lookupds: mut named, are_all } = discover(settings, until).await?;
    shuffle(&mut places);
    let attempts = join_all(places.iter().map(|place| Lane::open(settings, &identity, place, until))).await;
    let before: Vec<_> = attempts.iter().flatten().map(|lane| lane.before).collect();
    warn_of_what_is_made(settings, &before);
    let is_found = matches!(settings.servers, Servers::Lookupd(_));
    let nsqd = |(place, attempt): (&Place, &Result<Lane, NsqError>)| Server {
        name: format!("nsqd at {}", place.tcp),
        is_found,
        is_reached: attempt.is_ok(),
    };
    named.extend(places.iter().zip(&attempts).map(nsqd));
    let servers = servers::Servers { named, scope: is_found.then(|| format!("topic {}", settings.topic)) };
    let lanes = those_that_answer(&places, attempts)?;
    for lane in &lanes {
        warn_of_several(&lane.connection);
    }
    let are_all = are_all && lanes.len() == places.len();
    Ok(Connected { lanes, servers, are_all })
}

/// A run drains the one that answers first; the next run may drain another one.
fn warn_of_several(connection: &Connection) {
    if connection.servers() > 1 {
        warn!(
            address = connection.address().to_string(), servers = connection.servers();
            "the name resolves to several nsqd, but a run drains only one; configure an address for each, or use nsqlookupd"
        );
    }
}

/// Returns the reached ones, and logs a warning for each of the others. If none was reached, returns the
/// error of one of them.
fn those_that_answer<T>(places: &[Place], attempts: Vec<Result<T, NsqError>>) -> Result<Vec<T>, SourceError> {
    let (mut reached, mut failures) = (Vec::new(), Vec::new());
    for (place, attempt) in places.iter().zip(attempts) {
        match attempt {
            Ok(it) => reached.push(it),
            Err(error) => failures.push((place, place.explained(error))),
        }
    }
    // A fault that only the configuration can fix is reported, whichever others are unreachable and in any
    // order.
    let worst = failures.iter().position(|(_, error)| !matches!(error, NsqError::Io { .. })).unwrap_or(0);
    let error = (reached.is_empty() && !failures.is_empty()).then(|| failures.remove(worst).1);
    for (place, error) in failures {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        warn!(address = place.tcp.to_string(), cause = cause; "nsqd does not answer");
    }
    error.map_or(Ok(reached), |error| Err(connect_error(error)))
}

pub(super) fn connect_error(error: NsqError) -> SourceError {
    match error {
        NsqError::Io { address, cause } => {
            SourceError::Unreachable { place: format!("nsqd at {address}"), cause: cause.into() }
        }
        NsqError::Refused { address, fault } => {
            SourceError::Refused { place: format!("nsqd at {address}"), fault }
        }
        NsqError::Tls { address, fault } => SourceError::Setup { place: format!("nsqd at {address}"), fault },
        NsqError::Secret { address, cause } => {
            let fault = format!("it requires authentication: {}", error_chain::text(&*cause));
            SourceError::Refused { place: format!("nsqd at {address}"), fault }
        }
    }
}

/// Checks that nsqd, and nsqlookupd if configured, answer. Subscribes to nothing. Returns what that proves, as
/// text for the user.
///
/// # Errors
/// None of them answers, nsqd refuses the connection, or nsqlookupd lists no nsqd.
pub async fn probe(settings: &Settings) -> Result<String, SourceError> {
    if let Servers::Lookupd(addresses) = &settings.servers {
        for address in addresses {
            // A name that cannot be resolved does not answer either.
            let found =
                timeout(settings.connect_timeout, lookup_host((address.host.as_str(), address.port))).await;
            let servers =
                found.ok().and_then(Result::ok).map_or(1, |found| nsq::servers(&found.collect::<Vec<_>>()));
            if servers > 1 {
                warn!(address = address.to_string(), servers = servers; "the name resolves to several nsqlookupd, but a run queries only one; configure an address for each");
            }
        }
    }
    let probed = probed(settings).await?;
    if probed.found.places.is_empty() {
        let topic = &settings.topic;
        let cause = format!(
            "{} lists none, so no nsqd was tested (nsqd creates the topic for its first message, or for POST /topic/create?topic={})",
            settings.place(),
            lookup::escape(topic)
        );
        return Err(SourceError::unreachable(format!("an nsqd with the topic `{topic}`"), cause));
    }
    warn_of_what_is_missing(settings, &probed.found.places).await;
    Ok(probed.in_words())
}

/// Checks that at least one nsqd answers, and logs a warning for each one that does not. Returns what that
/// proves, as text for the user.
///
/// # Errors
/// None of them answers, or they refuse the connection.
pub async fn answers(settings: &Settings) -> Result<String, SourceError> {
    probed(settings).await.map(|probed| probed.in_words())
}

/// The discovered nsqd, and those that answer.
struct Probed {
    found: Found,
    reached: Vec<HostPort>,
}

impl Probed {
    fn in_words(&self) -> String {
        let (all, reached) = (self.found.places.len(), list(&self.reached));
        match self.reached.len() {
            1 if all == 1 => format!("nsqd at {reached} answers"),
            some => format!("{some} of {all} nsqd answer: {reached}"),
        }
    }
}

/// Returns the discovered nsqd, at least one of which answers if there are any.
async fn probed(settings: &Settings) -> Result<Probed, SourceError> {
    let until = Instant::now() + settings.connect_timeout;
    let identity = settings.identity()?;
    let found = discover(settings, until).await?;
    let probe = async |place: &Place| {
        let connection = Connection::open(&place.tcp, &identity, left(until)).await?.0;
        warn_of_several(&connection);
        connection.probe(left(until)).await
    };
    let attempts = join_all(found.places.iter().map(probe)).await;
    let of_reached =
        |(place, attempt): (&Place, &Result<(), NsqError>)| attempt.is_ok().then(|| place.tcp.clone());
    let reached = found.places.iter().zip(&attempts).filter_map(of_reached).collect();
    those_that_answer(&found.places, attempts)?;
    Ok(Probed { found, reached })
}

/// Returns how many messages could be taken now, by the statistics of all nsqd, at the addresses that a run
/// would use. Returns `None` if one of them does not report it, or if not all nsqd are known. Subscribes to
/// nothing.
///
/// # Errors
/// Neither nsqlookupd nor nsqd answers, or nsqd refuses the connection.
pub async fn waiting(settings: &Settings) -> Result<Option<u64>, SourceError> {
    let Found { places, are_all, .. } = probed(settings).await?.found;
    if !are_all {
        return Ok(None);
    }
    let ask = async |place: &Place| {
        let http = place.http.clone().or_else(|| statistics_beside(settings, place))?;
        let told = lookup::waiting(
            &http,
            &settings.topic,
            &settings.channel,
            None,
            Bounds::of(settings.connect_timeout),
        )
        .await;
        told.ok().map(|told| told.available)
    };
    let all = join_all(places.iter().map(ask)).await;
    Ok(all.into_iter().try_fold(0_u64, |sum, available| Some(sum.saturating_add(available?))))
}

/// The state of one nsqd before the subscription; `None` if it does not report it.
type Before = Option<Option<lookup::Topic>>;

/// Returns the default address for the statistics of an nsqd without a known HTTP port. With TLS, no plain
/// request is sent to an address that is not configured.
fn statistics_beside(settings: &Settings, place: &Place) -> Option<HostPort> {
    let port = place.tcp.port.checked_add(1).filter(|_| settings.tls.is_none())?;
    Some(HostPort { host: place.tcp.host.clone(), port })
}

/// Subscribing creates a missing topic or channel: with a mistyped name, a run would always find it empty.
fn warn_of_what_is_made(settings: &Settings, before: &[Before]) {
    let topic = settings.topic.to_string();
    let is_new = |topic: &lookup::Topic| !topic.has_channel && topic.has_others;
    let known: Option<Vec<_>> = before.iter().copied().collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return };
    if known.iter().all(Option::is_none) {
        warn!(topic = topic; "the topic did not exist and is created now; it stays empty if its name is wrong");
    } else if known.iter().flatten().all(is_new) && !settings.channel.is_ephemeral() {
        let channel = settings.channel.to_string();
        warn!(topic = topic, channel = channel; "the channel did not exist and is created now; it gets only messages that are published from now on");
    }
}

/// The same warning for a command that does not subscribe.
async fn warn_of_what_is_missing(settings: &Settings, places: &[Place]) {
    let ask = async |place: &Place| {
        let http = place.http.clone().or_else(|| statistics_beside(settings, place))?;
        lookup::topic(&http, &settings.topic, &settings.channel, Bounds::of(settings.connect_timeout))
            .await
            .ok()
    };
    let known: Option<Vec<_>> = join_all(places.iter().map(ask)).await.into_iter().collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return };
    let (topic, channel) = (settings.topic.to_string(), settings.channel.to_string());
    let topics = || known.iter().flatten();
    if topics().next().is_none() {
        warn!(topic = topic; "no nsqd has the topic; the first run creates it, and it stays empty if its name is wrong");
    } else if !topics().any(|topic| topic.had_messages) {
        warn!(topic = topic; "the topic has had no message since nsqd was started; check its name");
    } else if topics().all(|topic| !topic.has_channel && topic.has_others) && !settings.channel.is_ephemeral()
    {
        warn!(topic = topic, channel = channel; "the topic has other channels but not this one; it gets only messages that are published after the first run");
    }
}

/// A subscribed connection.
pub(super) struct Lane {
    pub(super) connection: Connection,
    /// The address of its statistics, if known.
    pub(super) http: Option<HostPort>,
    /// How often its statistics were late.
    pub(super) late: u32,
    /// Whether a delivery was requeued, with or without a delay.
    pub(super) gave_back: bool,
    /// The last result of its statistics.
    pub(super) told: Option<Waiting>,
    /// The result before the subscription.
    before: Before,
    pub(super) origin: Origin,
    pub(super) start: LaneStart,
    pub(super) lease: Duration,
    pub(super) proof: Proof,
    pub(super) closing: CloseState,
}

/// Returns the address of the statistics of a lane's nsqd, their content, and whether they are its own.
///
/// If nsqlookupd does not report the port, the default is tried: the port above the protocol's port
/// (`nsqd/options.go`). The response is trusted if it contains this connection. With TLS, no plain request is
/// sent to an address that is not configured.
async fn statistics(
    settings: &Settings,
    place: &Place,
    connection: &Connection,
    round_trip: Duration,
    until: Instant,
) -> (Option<HostPort>, Option<Waiting>, Statistics) {
    let named = place.http.as_ref().map(|http| http.port);
    let port = named.or_else(|| place.tcp.port.checked_add(1).filter(|_| settings.tls.is_none()));
    let Some(port) = port else { return (None, None, Statistics::None) };
    let http = HostPort { host: connection.peer().to_string(), port };
    let ask = async |late| {
        let Bounds { connect, answer } = patience(round_trip, late);
        let bounds = Bounds { connect, answer: answer.min(left(until)) };
        lookup::waiting(&http, &settings.topic, &settings.channel, Some(connection.local_address()), bounds)
            .await
    };
    let address = http.to_string();
    let told = match named {
        Some(_) => ask(2).await,
        // On a busy machine a response is late now and then. One retry is enough, and costs little if a port
        // accepts connections and does not respond.
        None => match ask(0).await {
            Err(cause) if cause.is::<Late>() => ask(1).await,
            told => told,
        },
    };
    match told {
        Ok(told) if told.ours.is_some() => (Some(http), Some(told), Statistics::Proven),
        Ok(told) if named.is_some() => (Some(http), Some(told), Statistics::Unproven),
        Err(cause) if named.is_some() && !cause.is::<io::Error>() => {
            debug!(address = address, cause = error_chain::text(&*cause); "nsqd does not return its statistics");
            (Some(http), None, Statistics::Unproven)
        }
        told => {
            let cause = told.map_or_else(
                |cause| error_chain::text(&*cause),
                |_| "they do not contain this connection".to_owned(),
            );
            debug!(address = address, cause = cause; "without nsqd's statistics, an empty queue is inferred from silence");
            (None, None, Statistics::None)
        }
    }
}

/// The progress of closing a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseState {
    Open,
    /// CLS was sent.
    Asked,
    /// `CLOSE_WAIT` arrived: nsqd has processed every settlement before it.
    Confirmed,
    /// The sending side is closed, or is about to be: no more commands follow.
    HungUp,
    /// The connection is lost.
    Lost,
}

impl Lane {
    async fn open(
        settings: &Settings,
        identity: &Identity,
        place: &Place,
        until: Instant,
    ) -> Result<Self, NsqError> {
        let address = &place.tcp;
        let late = || NsqError::Io {
            address: address.clone(),
            cause: io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        };
        let (opened, before) =
            Self::beside(settings, place, Connection::open(address, identity, left(until))).await;
        let (mut connection, limits) = opened?;
        let asked = Instant::now();
        wire::put_sub(connection.commands(), &settings.topic, &settings.channel);
        timeout(left(until), connection.response()).await.map_err(|_| late())??;
        let round_trip = asked.elapsed();
        let (http, told, statistics) = statistics(settings, place, &connection, round_trip, until).await;
        let available = told.map(|told| told.available);
        let msg_timeout = Duration::from_millis(limits.msg_timeout.get()).min(LEASES[1]);
        Ok(Self {
            origin: Origin::of_topic(&settings.topic.to_string(), &address.to_string()),
            connection,
            http,
            late: 0,
            gave_back: false,
            told,
            before,
            start: LaneStart { max_rdy: limits.max_rdy_count.get(), round_trip, available, statistics },
            lease: msg_timeout.max(LEASES[0]),
            proof: Proof::new(msg_timeout, Instant::now()),
            closing: CloseState::Open,
        })
    }

    /// Requests what nsqd knows about topic and channel while the connection is made, for about as long as
    /// that takes. Subscribing does not wait for it.
    async fn beside<T>(
        settings: &Settings,
        place: &Place,
        opening: impl Future<Output = Result<T, NsqError>>,
    ) -> (Result<T, NsqError>, Before) {
        // If nsqlookupd lists an nsqd, it has the topic.
        let http = statistics_beside(settings, place).filter(|_| place.http.is_none());
        let Some(http) = http else { return (opening.await, None) };
        let began = Instant::now();
        let asking =
            lookup::topic(&http, &settings.topic, &settings.channel, Bounds::of(settings.connect_timeout));
        tokio::pin!(opening, asking);
        let mut told = None;
        let opened = loop {
            tokio::select! {
                biased;
                opened = &mut opening => break opened,
                answer = &mut asking, if told.is_none() => told = Some(answer),
            }
        };
        if told.is_none() && opened.is_ok() {
            told = timeout(Duration::from_millis(10) + began.elapsed(), asking).await.ok();
        }
        (opened, told.and_then(Result::ok))
    }

    pub(super) fn put_rdy(&mut self, rdy: u32) {
        self.proof.rdy(rdy);
        wire::put_rdy(self.connection.commands(), rdy);
    }
}

/// Shuffles the places for each run, so that a different one is first if N is smaller than their number.
fn shuffle(places: &mut [Place]) {
    use std::hash::BuildHasher as _;
    let seed = std::collections::hash_map::RandomState::new();
    places.sort_by_cached_key(|place| seed.hash_one(&place.tcp));
}
