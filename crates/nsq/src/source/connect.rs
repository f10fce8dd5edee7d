//! Finding nsqd, connecting and subscribing.

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

/// What is believed of an nsqd that says how long it waits for a settlement: the shortest and the longest
/// time.
const LEASES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(24 * 3600)];

/// How long statistics are waited for that did not answer in time so often. nsqd counts nothing while it
/// waits for its disk, but its system takes connections all the same: where none is made, a firewall drops
/// them, and to wait would cost more than the statistics save.
pub(super) fn patience(round_trip: Duration, late: u32) -> Bounds {
    let connect = Duration::from_millis(10) + 5 * round_trip;
    Bounds { connect, answer: (Duration::from_millis(10) + connect) * 4_u32.saturating_pow(late) }
}

/// The part of the connect timeout that is left: it bounds finding nsqd, connecting and subscribing together.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// An nsqd to connect to, with its HTTP address where it is known.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) tcp: HostPort,
    http: Option<HostPort>,
}

impl Place {
    /// An error, and who said that nsqd is there where that is probably what is wrong: nsqd tells nsqlookupd
    /// its machine's name, unless it is told another.
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
                    "{cause} (nsqlookupd names this address: nsqd's -broadcast-address has to lead to it from here)"
                );
                NsqError::Io { address, cause: io::Error::new(cause.kind(), words) }
            }
            other => other,
        }
    }
}

/// Whether a name could not be resolved, of which the standard library leaves no more than its words.
fn is_unresolved(cause: &io::Error) -> bool {
    cause.to_string().starts_with("failed to lookup address information")
}

/// The nsqd that were found.
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    /// The nsqlookupd that were asked.
    lookupds: Vec<Server>,
    /// Whether these are all nsqd that may have messages. Unknown where an nsqlookupd does not answer, and
    /// where none lists an nsqd: nsqd that are stopped, or whose topic is a tombstone, are not listed, and
    /// keep their messages.
    are_all: bool,
}

/// Returns the nsqd to connect to. At least one nsqlookupd has to answer; each one that does not is a
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
    // Where none answers, one of them is the error.
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

/// What a run receives from.
pub(super) struct Connected {
    pub(super) lanes: Vec<Lane>,
    pub(super) servers: servers::Servers,
    /// Whether there is a lane to every nsqd that may have messages.
    pub(super) are_all: bool,
}

/// Finds nsqd, and connects and subscribes to all of them at once; warns of those that don't answer.
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

/// A run drains the one that answers first, and another run perhaps another one.
fn warn_of_several(connection: &Connection) {
    if connection.servers() > 1 {
        warn!(
            address = connection.address().to_string(), servers = connection.servers();
            "the name stands for several nsqd, and a run drains one of them; name each by an address of its own, or use nsqlookupd"
        );
    }
}

/// What was reached, with a warning for each that was not; where that is all of them, one of them is the
/// error.
fn those_that_answer<T>(places: &[Place], attempts: Vec<Result<T, NsqError>>) -> Result<Vec<T>, SourceError> {
    let (mut reached, mut failures) = (Vec::new(), Vec::new());
    for (place, attempt) in places.iter().zip(attempts) {
        match attempt {
            Ok(it) => reached.push(it),
            Err(error) => failures.push((place, place.explained(error))),
        }
    }
    // What only the configuration can mend is told, whoever else is down, and whatever the order.
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
            let fault = format!("it wants authentication: {}", error_chain::text(&*cause));
            SourceError::Refused { place: format!("nsqd at {address}"), fault }
        }
    }
}

/// Proves that nsqd, and nsqlookupd where it is configured, answer; subscribes to nothing.
///
/// # Errors
/// None of them answers, or nsqd refuses us.
pub async fn probe(settings: &Settings) -> Result<(), SourceError> {
    if let Servers::Lookupd(addresses) = &settings.servers {
        for address in addresses {
            // One that cannot be resolved does not answer either.
            let found =
                timeout(settings.connect_timeout, lookup_host((address.host.as_str(), address.port))).await;
            let servers =
                found.ok().and_then(Result::ok).map_or(1, |found| nsq::servers(&found.collect::<Vec<_>>()));
            if servers > 1 {
                warn!(address = address.to_string(), servers = servers; "the name stands for several nsqlookupd, and a run asks one of them; name each by an address of its own");
            }
        }
    }
    let found = probed(settings).await?;
    warn_of_what_is_missing(settings, &found.places).await;
    Ok(())
}

/// Proves that at least one nsqd answers; each one that does not is a warning.
///
/// # Errors
/// None of them answers, or they refuse us.
pub async fn answers(settings: &Settings) -> Result<(), SourceError> {
    probed(settings).await.map(drop)
}

/// The nsqd that were found, of which one at least answers.
async fn probed(settings: &Settings) -> Result<Found, SourceError> {
    let until = Instant::now() + settings.connect_timeout;
    let identity = settings.identity()?;
    let found = discover(settings, until).await?;
    let probe = async |place: &Place| {
        let connection = Connection::open(&place.tcp, &identity, left(until)).await?.0;
        warn_of_several(&connection);
        connection.probe(left(until)).await
    };
    let attempts = join_all(found.places.iter().map(probe)).await;
    those_that_answer(&found.places, attempts)?;
    Ok(found)
}

/// Returns how many messages could be taken now, by the statistics of all nsqd, which are looked for where a
/// run looks for them; `None` where one of them does not tell, or where not all nsqd are known. Subscribes to
/// nothing.
///
/// # Errors
/// Neither nsqlookupd nor nsqd answers, or nsqd refuses us.
pub async fn waiting(settings: &Settings) -> Result<Option<u64>, SourceError> {
    let Found { places, are_all, .. } = probed(settings).await?;
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

/// What one nsqd had before somebody subscribed; `None` where it does not tell.
type Before = Option<Option<lookup::Topic>>;

/// Where an nsqd that no nsqlookupd named tells its statistics by default. With TLS nothing is said in plain
/// to an address that nobody named.
fn statistics_beside(settings: &Settings, place: &Place) -> Option<HostPort> {
    let port = place.tcp.port.checked_add(1).filter(|_| settings.tls.is_none())?;
    Some(HostPort { host: place.tcp.host.clone(), port })
}

/// A topic or a channel that is not there is made by whoever subscribes: with a name that was mistyped a run
/// would find it empty for ever.
fn warn_of_what_is_made(settings: &Settings, before: &[Before]) {
    let topic = settings.topic.to_string();
    let is_new = |topic: &lookup::Topic| !topic.has_channel && topic.has_others;
    let known: Option<Vec<_>> = before.iter().copied().collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return };
    if known.iter().all(Option::is_none) {
        warn!(topic = topic; "the topic was not there, and is created now; no message comes if its name is wrong");
    } else if known.iter().flatten().all(is_new) && !settings.channel.is_ephemeral() {
        let channel = settings.channel.to_string();
        warn!(topic = topic, channel = channel; "the channel was not there, and is created now; it gets only messages that are published from now on");
    }
}

/// The same for somebody who only looks.
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
        warn!(topic = topic; "no nsqd has the topic; the first run creates it, and no message comes if its name is wrong");
    } else if !topics().any(|topic| topic.had_messages) {
        warn!(topic = topic; "the topic has had no message since nsqd was started; is its name right?");
    } else if topics().all(|topic| !topic.has_channel && topic.has_others) && !settings.channel.is_ephemeral()
    {
        warn!(topic = topic, channel = channel; "the topic has other channels, and not this one; it gets only messages that are published after the first run");
    }
}

/// A subscribed connection.
pub(super) struct Lane {
    pub(super) connection: Connection,
    /// Where its statistics are, if that is known.
    pub(super) http: Option<HostPort>,
    /// How often they have not answered in time.
    pub(super) late: u32,
    /// Whether a delivery was given back, at once or for later.
    pub(super) gave_back: bool,
    /// What they said last.
    pub(super) told: Option<Waiting>,
    /// What they said before we subscribed.
    before: Before,
    pub(super) origin: Origin,
    pub(super) start: LaneStart,
    pub(super) lease: Duration,
    pub(super) proof: Proof,
    pub(super) closing: CloseState,
}

/// Where the statistics of a lane's nsqd are, what they say, and whether they are its own.
///
/// Where no nsqlookupd tells the port, they are looked for where nsqd has them by default, on the port above
/// the one for its protocol (`nsqd/options.go`); whoever answers there is believed if he knows our
/// connection. With TLS nothing is said in plain to an address that nobody named.
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
        // On a busy machine it is late now and then; once more, and a port that takes connections and says
        // nothing costs no more than that.
        None => match ask(0).await {
            Err(cause) if cause.is::<Late>() => ask(1).await,
            told => told,
        },
    };
    match told {
        Ok(told) if told.ours.is_some() => (Some(http), Some(told), Statistics::Proven),
        Ok(told) if named.is_some() => (Some(http), Some(told), Statistics::Unproven),
        Err(cause) if named.is_some() && !cause.is::<io::Error>() => {
            debug!(address = address, cause = error_chain::text(&*cause); "nsqd's statistics do not answer");
            (Some(http), None, Statistics::Unproven)
        }
        told => {
            let cause = told.map_or_else(
                |cause| error_chain::text(&*cause),
                |_| "they do not know our connection".to_owned(),
            );
            debug!(address = address, cause = cause; "without nsqd's statistics, silence tells when the queue is empty");
            (None, None, Statistics::None)
        }
    }
}

/// How far a lane's orderly end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseState {
    Open,
    /// CLS was sent.
    Asked,
    /// `CLOSE_WAIT` came: nsqd has processed every settlement before it.
    Confirmed,
    /// Our half of the stream is closed, or is about to be: no more commands follow.
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

    /// Asks what nsqd knows of topic and channel while the connection is made, for about as long as that
    /// takes: subscribing is not put off by it.
    async fn beside<T>(
        settings: &Settings,
        place: &Place,
        opening: impl Future<Output = Result<T, NsqError>>,
    ) -> (Result<T, NsqError>, Before) {
        // Where nsqlookupd names an nsqd, it has the topic.
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

/// Brings the places into an order that differs from run to run, so that nobody is always first where N is
/// smaller than their number.
fn shuffle(places: &mut [Place]) {
    use std::hash::BuildHasher as _;
    let seed = std::collections::hash_map::RandomState::new();
    places.sort_by_cached_key(|place| seed.hash_one(&place.tcp));
}
