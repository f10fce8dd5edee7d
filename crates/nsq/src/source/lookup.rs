//! Discovers the nsqd that have a topic, and reads their statistics.

use std::{error::Error, fmt::Display, net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::client::name::{ChannelName, TopicName};
use x_msrv_net::{
    address::HostPort,
    http::{self, Answer, Bounds, get_json},
};

/// The port on which nsqlookupd listens for nsqd, not for HTTP; the original's example uses it by mistake.
const LOOKUPD_TCP_PORT: u16 = 4160;

/// The limit on nsqd for one topic; each costs a connection.
const MOST_PRODUCERS: usize = 1_000;

/// An nsqd as nsqlookupd reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The address for the nsqd protocol.
    pub tcp: HostPort,
    /// The address of its statistics.
    pub http: HostPort,
}

/// The response of nsqlookupd to `/lookup` (`nsqlookupd/http.go`, `doLookup`).
#[derive(Deserialize)]
pub struct Lookup {
    producers: Vec<LookupProducer>,
}

#[derive(Deserialize)]
struct LookupProducer {
    broadcast_address: String,
    tcp_port: u16,
    http_port: u16,
}

impl Lookup {
    /// Returns the listed nsqd.
    #[must_use]
    pub fn producers(self) -> Vec<Producer> {
        let producer = |LookupProducer { broadcast_address, tcp_port, http_port }| {
            let at = |port| HostPort { host: broadcast_address.clone(), port };
            Producer { tcp: at(tcp_port), http: at(http_port) }
        };
        self.producers.into_iter().map(producer).collect()
    }
}

/// Queries one nsqlookupd for the nsqd that have `topic`; none if it does not know the topic. The topic may
/// never have been published to, or all nsqd that have it are stopped: the response is the same.
pub(super) async fn producers(
    lookupd: &HostPort,
    topic: &TopicName,
    bound: Duration,
) -> Result<Vec<Producer>, Box<dyn Error + Send + Sync>> {
    let answer =
        get_json::<Lookup>(lookupd, &format!("/lookup?topic={}", escape(topic)), Bounds::of(bound)).await;
    match answer {
        Ok(Answer::Found(lookup)) if lookup.producers.len() > MOST_PRODUCERS => {
            Err(format!("it lists {} nsqd (limit {MOST_PRODUCERS})", lookup.producers.len()).into())
        }
        Ok(Answer::Found(lookup)) => Ok(lookup.producers()),
        // nsqd answers 404 as well, with another text (`nsqlookupd/http.go`, `doLookup`).
        Ok(Answer::NotFound(body)) if String::from_utf8_lossy(&body).contains("TOPIC_NOT_FOUND") => Ok(Vec::new()),
        Ok(Answer::NotFound(_)) => Err("this is not nsqlookupd (nsqd's own address belongs in `nsqd-tcp-address`)".into()),
        Err(cause) if http::is_not_http(&*cause) => {
            Err("this is not an HTTP port: nsqlookupd's is required, 4161 by default (4160 is its TCP port for nsqd)".into())
        }
        Err(cause) if lookupd.port == LOOKUPD_TCP_PORT => {
            Err(format!("{cause} (4160 is nsqlookupd's TCP port for nsqd; its HTTP port is 4161 by default)").into())
        }
        Err(cause) => Err(cause),
    }
}

/// The response of nsqd to `/stats` (`nsqd/http.go`, `doStats`; `nsqd/stats.go`).
#[derive(Deserialize)]
pub struct Stats {
    /// Null if there are none.
    topics: Option<Vec<TopicStats>>,
}

#[derive(Deserialize)]
struct TopicStats {
    depth: u64,
    /// Messages since nsqd was started.
    #[serde(default)]
    message_count: u64,
    #[serde(default)]
    paused: bool,
    channels: Option<Vec<ChannelStats>>,
}

#[derive(Deserialize)]
struct ChannelStats {
    channel_name: String,
    depth: u64,
    #[serde(default)]
    deferred_count: u64,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    clients: Option<Vec<ClientStats>>,
}

#[derive(Deserialize)]
struct ClientStats {
    remote_address: String,
    message_count: u64,
    in_flight_count: u64,
    ready_count: u64,
}

/// What one nsqd knows about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Whether it has a message, or had one since nsqd was started.
    pub had_messages: bool,
    /// Whether the channel exists.
    pub has_channel: bool,
    /// Whether other channels exist: earlier messages were delivered to these.
    pub has_others: bool,
}

/// What one nsqd reports about a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Ready messages: they decide whether a run continues. Messages of the topic itself are those that a new
    /// channel will get. A paused topic or channel delivers nothing.
    pub available: u64,
    /// Delayed messages.
    pub put_off: u64,
    /// Messages on a paused topic.
    pub on_paused_topic: u64,
    /// Messages on a paused channel.
    pub on_paused_channel: u64,
    /// Whether some of them are on the topic. nsqd does not count topic and channel at the same moment, so a
    /// message that moves may be in neither.
    pub moving: bool,
    /// What it knows about this connection; `None` if it has no client with this address. The network may
    /// translate addresses, or it is another nsqd.
    pub ours: Option<Ours>,
}

/// What one nsqd reports about this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    /// Messages that it has sent, or holds in its output buffer, since the connection started.
    pub sent: u64,
    /// Those of them that are not settled.
    pub in_flight: u64,
    /// The last RDY that it has read.
    pub rdy: u64,
}

impl Waiting {
    /// Returns the number of messages that no consumer holds and that are not ready: delayed or paused.
    #[must_use]
    pub fn later(&self) -> u64 {
        self.put_off.saturating_add(self.on_paused_topic).saturating_add(self.on_paused_channel)
    }

    /// The same at the end of a run. What this connection still holds then is ready again: nsqd may have sent
    /// a released message once more before it read that no more is wanted, and it is released again.
    #[must_use]
    pub fn at_the_end(mut self) -> Self {
        self.available = self.available.saturating_add(self.ours.map_or(0, |ours| ours.in_flight));
        self
    }

    /// Returns the number of messages that wait or are under way, given that `delivered` have arrived; at
    /// least one if nsqd may still send one. Returns `None` if the statistics may be from another nsqd.
    #[must_use]
    pub fn not_come(&self, delivered: u64) -> Option<u64> {
        let under_way = self
            .ours
            .map(|ours| ours.sent.saturating_sub(delivered).max(u64::from(ours.rdy > ours.in_flight)));
        under_way.map(|under_way| self.available.saturating_add(under_way))
    }
}

impl Stats {
    /// Returns what is known about the requested topic; `None` if it does not exist.
    #[must_use]
    pub fn topic(&self, channel: &ChannelName) -> Option<Topic> {
        let topic = self.topics.iter().flatten().next()?;
        let channel = channel.to_string();
        let channels = || topic.channels.iter().flatten();
        Some(Topic {
            had_messages: topic.message_count > 0
                || topic.depth > 0
                || channels().any(|channel| channel.depth > 0),
            has_channel: channels().any(|found| found.channel_name == channel),
            has_others: channels().any(|found| found.channel_name != channel),
        })
    }

    /// Returns whether they contain the requested topic, and `channel` if given. An nsqd without them omits
    /// them from the response.
    fn are_of(&self, channel: Option<&ChannelName>) -> bool {
        let is_asked_for = |topic: &TopicStats| {
            let mut channels = topic.channels.iter().flatten();
            channel.is_none_or(|name| channels.any(|channel| channel.channel_name == name.to_string()))
        };
        self.topics.iter().flatten().any(is_asked_for)
    }

    /// Returns what waits for `channel`, and for this connection with the local address `ours`.
    #[must_use]
    pub fn waiting(&self, channel: &ChannelName, ours: Option<SocketAddr>) -> Waiting {
        let (channel, ours) = (channel.to_string(), ours.map(|ours| ours.to_string()));
        let mut told = Waiting::default();
        // The numbers are from another program: their sum must not overflow.
        for topic in self.topics.iter().flatten() {
            let waiting = if topic.paused { &mut told.on_paused_topic } else { &mut told.available };
            *waiting = waiting.saturating_add(topic.depth);
            told.moving |= topic.depth > 0 && !topic.paused;
        }
        for channel in self
            .topics
            .iter()
            .flatten()
            .flat_map(|topic| topic.channels.iter().flatten())
            .filter(|one| one.channel_name == channel)
        {
            let waiting = if channel.paused { &mut told.on_paused_channel } else { &mut told.available };
            *waiting = waiting.saturating_add(channel.depth);
            told.put_off = told.put_off.saturating_add(channel.deferred_count);
            let us =
                channel.clients.iter().flatten().find(|client| Some(&client.remote_address) == ours.as_ref());
            told.ours = told.ours.or(us.map(|client| Ours {
                sent: client.message_count,
                in_flight: client.in_flight_count,
                rdy: client.ready_count,
            }));
        }
        told
    }
}

/// Queries one nsqd, by its HTTP address, for a topic; subscribing would create what is missing.
pub(super) async fn topic(
    http: &HostPort,
    topic: &TopicName,
    channel: &ChannelName,
    bounds: Bounds,
) -> Result<Option<Topic>, Box<dyn Error + Send + Sync>> {
    let path = format!("/stats?format=json&include_mem=false&include_clients=false&topic={}", escape(topic));
    let Answer::Found(stats) = get_json::<Stats>(http, &path, bounds).await? else {
        return Err("no statistics at this address".into());
    };
    Ok(stats.topic(channel))
}

/// Queries one nsqd, by its HTTP address, for what waits for `channel`, and for the subscribed connection
/// from `ours`. Without a connection, the number includes messages on a topic that does not have the channel
/// yet.
///
/// # Errors
/// It does not answer, or its response lacks the topic or the subscribed channel. That is an error, not zero.
pub(super) async fn waiting(
    http: &HostPort,
    topic: &TopicName,
    channel: &ChannelName,
    ours: Option<SocketAddr>,
    bounds: Bounds,
) -> Result<Waiting, Box<dyn Error + Send + Sync>> {
    // If it does not have the requested channel, nsqd omits the topic as well (`nsqd/stats.go`, `GetStats`).
    let only = if ours.is_some() { format!("&channel={}", escape(channel)) } else { String::new() };
    let path = format!("/stats?format=json&include_mem=false&topic={}{only}", escape(topic));
    let Answer::Found(stats) = get_json::<Stats>(http, &path, bounds).await? else {
        return Err("no statistics at this address".into());
    };
    if !stats.are_of(ours.map(|_| channel)) {
        return Err("the statistics at this address do not contain the topic and the channel".into());
    }
    Ok(stats.waiting(channel, ours))
}

/// A name contains at most one byte that a query must escape: the `#` of `#ephemeral`.
pub(super) fn escape(name: &impl Display) -> String {
    name.to_string().replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns everything that no consumer holds.
    fn depth(told: Waiting) -> u64 {
        told.available.saturating_add(told.later())
    }

    fn waiting(text: &str) -> Waiting {
        let (channel, ours) = ("c".parse().expect("a name"), "[::1]:50000".parse().expect("an address"));
        serde_json::from_str::<Stats>(text).expect("statistics").waiting(&channel, Some(ours))
    }

    fn one_topic(channels: &str) -> String {
        format!(r#"{{"topics":[{{"depth":500,"channels":[{channels}]}}]}}"#)
    }

    /// Two depths were added without an overflow check: absurd numbers from an nsqd ended the run with a
    /// panic, or it was taken for an empty one.
    #[test]
    fn absurd_depths_add_up_without_overflow() {
        let depth = |text: &str| depth(waiting(text));
        let channels = r#"{"channel_name":"c","depth":3},{"channel_name":"other","depth":40}"#;
        assert_eq!(depth(&one_topic(channels)), 503);
        assert_eq!(
            depth(
                r#"{"topics":[{"depth":18446744073709551615,"channels":[{"channel_name":"c","depth":3}]}]}"#
            ),
            u64::MAX
        );
        assert_eq!(depth(r#"{"topics":null}"#), 0);
    }

    /// A response without the topic was taken for an nsqd in which nothing waits.
    #[test]
    fn statistics_without_topic_or_channel_are_an_error() {
        let channel: ChannelName = "c".parse().expect("a name");
        let are_of =
            |text: &str, channel| serde_json::from_str::<Stats>(text).expect("statistics").are_of(channel);
        let other = one_topic(r#"{"channel_name":"other","depth":0}"#);
        for (text, of_channel, of_topic) in [
            (r#"{"topics":null}"#, false, false),
            (r#"{"topics":[]}"#, false, false),
            (r#"{"topics":[{"depth":3,"channels":null}]}"#, false, true),
            (&other, false, true),
            (&one_topic(r#"{"channel_name":"c","depth":0}"#), true, true),
        ] {
            assert_eq!((are_of(text, Some(&channel)), are_of(text, None)), (of_channel, of_topic), "{text}");
        }
    }

    #[test]
    fn a_topic_without_any_message_differs_from_one_that_is_empty_now() {
        let topic = |text: &str| {
            serde_json::from_str::<Stats>(text).expect("statistics").topic(&"c".parse().expect("a name"))
        };
        assert_eq!(topic(r#"{"topics":[]}"#), None);
        assert_eq!(topic(r#"{"topics":null}"#), None);
        let of =
            |had_messages, has_channel, has_others| Some(Topic { had_messages, has_channel, has_others });
        assert_eq!(
            topic(r#"{"topics":[{"depth":0,"message_count":0,"channels":[]}]}"#),
            of(false, false, false)
        );
        assert_eq!(
            topic(
                r#"{"topics":[{"depth":0,"message_count":9,"channels":[{"channel_name":"c","depth":0}]}]}"#
            ),
            of(true, true, false)
        );
        // nsqd was restarted, and has read its backlog from disk.
        assert_eq!(
            topic(
                r#"{"topics":[{"depth":0,"message_count":0,"channels":[{"channel_name":"d","depth":3}]}]}"#
            ),
            of(true, false, true)
        );
    }

    #[test]
    fn delayed_messages_are_counted_and_not_expected() {
        let told = waiting(&one_topic(
            r#"{"channel_name":"c","depth":3,"deferred_count":40},{"channel_name":"d","depth":1,"deferred_count":7}"#,
        ));
        assert_eq!((told.available, depth(told)), (503, 543));
        let told =
            waiting(&one_topic(r#"{"channel_name":"c","depth":0,"deferred_count":18446744073709551615}"#));
        assert_eq!((told.available, depth(told)), (500, u64::MAX));
    }

    #[test]
    fn paused_messages_are_counted_and_not_expected() {
        let told = waiting(&one_topic(
            r#"{"channel_name":"c","depth":3,"paused":true},{"channel_name":"d","depth":7,"paused":true}"#,
        ));
        assert_eq!(
            (told.available, told.on_paused_topic, told.on_paused_channel, depth(told)),
            (500, 0, 3, 503)
        );
        assert!(told.moving);
        let told = waiting(
            r#"{"topics":[{"depth":500,"paused":true,"channels":[{"channel_name":"c","depth":3}]}]}"#,
        );
        assert_eq!(
            (told.available, told.on_paused_topic, told.on_paused_channel, depth(told)),
            (3, 500, 0, 503)
        );
        assert!(!told.moving);
    }

    #[test]
    fn only_statistics_with_this_connection_are_trusted() {
        let client = |address| {
            let client = format!(
                r#"{{"remote_address":"{address}","message_count":9,"in_flight_count":7,"ready_count":8}}"#
            );
            waiting(&one_topic(&format!(r#"{{"channel_name":"c","depth":0,"clients":[{client}]}}"#))).ours
        };
        assert_eq!(client("[::1]:50000"), Some(Ours { sent: 9, in_flight: 7, rdy: 8 }));
        assert_eq!(client("[::1]:50001"), None);
        assert_eq!(waiting(&one_topic(r#"{"channel_name":"c","depth":0,"clients":null}"#)).ours, None);
    }

    /// Otherwise the depth after a run would lack what nsqd sends once more while the run releases it.
    #[test]
    fn what_the_connection_still_holds_at_the_end_is_left() {
        let client =
            r#"{"remote_address":"[::1]:50000","message_count":9,"in_flight_count":2,"ready_count":0}"#;
        let told = waiting(&one_topic(&format!(
            r#"{{"channel_name":"c","depth":3,"deferred_count":1,"clients":[{client}]}}"#
        )));
        assert_eq!((told.available, told.at_the_end().available), (503, 505));
        assert_eq!(depth(told.at_the_end()), 506);
        assert_eq!(Waiting { available: u64::MAX, ..told }.at_the_end().available, u64::MAX);
        assert_eq!(Waiting { ours: None, ..told }.at_the_end().available, 503);
    }

    #[test]
    fn nothing_waits_only_if_nothing_is_under_way_or_may_be_sent() {
        let not_come = |available, sent, in_flight, rdy| {
            Waiting { available, ours: Some(Ours { sent, in_flight, rdy }), ..Waiting::default() }.not_come(7)
        };
        assert_eq!(not_come(0, 7, 7, 7), Some(0));
        assert_eq!(not_come(0, 7, 5, 5), Some(0), "two of them are settled meanwhile");
        assert_eq!(not_come(0, 9, 5, 5), Some(2), "two have not come, whatever is settled");
        assert_eq!(not_come(0, 7, 7, 8), Some(1), "it has not read yet that it is to send no more");
        assert_eq!(not_come(3, 7, 7, 8), Some(4));
        assert_eq!(not_come(u64::MAX, 9, 9, 0), Some(u64::MAX));
        assert_eq!(Waiting::default().not_come(0), None, "it may be another nsqd");
    }
}
