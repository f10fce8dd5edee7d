//! Finding the nsqd that have a topic, and asking how much waits there.

use std::{error::Error, fmt::Display, net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::client::name::{ChannelName, TopicName};
use x_msrv_net::{
    address::HostPort,
    http::{self, Answer, Bounds, get_json},
};

/// The port on which nsqlookupd listens for nsqd, not for HTTP; the original's example names it by mistake.
const LOOKUPD_TCP_PORT: u16 = 4160;

/// The most nsqd that are believed to have one topic; each costs a connection.
const MOST_PRODUCERS: usize = 1_000;

/// An nsqd as nsqlookupd knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Where it speaks its own protocol.
    pub tcp: HostPort,
    /// Where its statistics are.
    pub http: HostPort,
}

/// nsqlookupd's answer to `/lookup` (`nsqlookupd/http.go`, `doLookup`).
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
    /// The nsqd that it names.
    #[must_use]
    pub fn producers(self) -> Vec<Producer> {
        let producer = |LookupProducer { broadcast_address, tcp_port, http_port }| {
            let at = |port| HostPort { host: broadcast_address.clone(), port };
            Producer { tcp: at(tcp_port), http: at(http_port) }
        };
        self.producers.into_iter().map(producer).collect()
    }
}

/// Asks one nsqlookupd for the nsqd that have `topic`; none where it does not know the topic. It may never
/// have been published to, or all nsqd that have it are stopped: that is one answer.
pub(super) async fn producers(
    lookupd: &HostPort,
    topic: &TopicName,
    bound: Duration,
) -> Result<Vec<Producer>, Box<dyn Error + Send + Sync>> {
    let answer =
        get_json::<Lookup>(lookupd, &format!("/lookup?topic={}", escape(topic)), Bounds::of(bound)).await;
    match answer {
        Ok(Answer::Found(lookup)) if lookup.producers.len() > MOST_PRODUCERS => {
            Err(format!("it names {} nsqd, {MOST_PRODUCERS} are the most", lookup.producers.len()).into())
        }
        Ok(Answer::Found(lookup)) => Ok(lookup.producers()),
        // nsqd answers 404 as well, in other words (`nsqlookupd/http.go`, `doLookup`).
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

/// nsqd's answer to `/stats` (`nsqd/http.go`, `doStats`; `nsqd/stats.go`).
#[derive(Deserialize)]
pub struct Stats {
    /// Null where there are none.
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

/// What one nsqd knows of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Whether it has a message, or had one since nsqd was started.
    pub had_messages: bool,
    /// Whether the channel is there.
    pub has_channel: bool,
    /// Whether other channels are there: what was published before has gone to these.
    pub has_others: bool,
}

/// What one nsqd says of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages that may come now: they decide whether a run goes on. The topic's own are what a new channel
    /// will get; what is paused sends nothing.
    pub available: u64,
    /// Messages that were put off, and come later.
    pub put_off: u64,
    /// Messages that wait on the topic, which is paused.
    pub on_paused_topic: u64,
    /// Messages that wait on the channel, which is paused.
    pub on_paused_channel: u64,
    /// Whether some of them wait on the topic. nsqd does not count topic and channel in one moment, so one
    /// that moves may be in neither.
    pub moving: bool,
    /// What it knows of our connection; `None` where it knows none from our address, as behind a network that
    /// changes addresses, or where it is another nsqd.
    pub ours: Option<Ours>,
}

/// What one nsqd says of our connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    /// Messages that it has sent, or holds in its output buffer, since we connected.
    pub sent: u64,
    /// Those of them that are not settled.
    pub in_flight: u64,
    /// The last RDY that it has read.
    pub rdy: u64,
}

impl Waiting {
    /// Messages that nobody holds and that do not come now: delayed, or held back by a pause.
    #[must_use]
    pub fn later(&self) -> u64 {
        self.put_off.saturating_add(self.on_paused_topic).saturating_add(self.on_paused_channel)
    }

    /// Messages that wait or are under way, where `delivered` have come; at least one where nsqd may still
    /// send one. `None` where it is not known to be our nsqd that told.
    #[must_use]
    pub fn not_come(&self, delivered: u64) -> Option<u64> {
        let under_way = self
            .ours
            .map(|ours| ours.sent.saturating_sub(delivered).max(u64::from(ours.rdy > ours.in_flight)));
        under_way.map(|under_way| self.available.saturating_add(under_way))
    }
}

impl Stats {
    /// What is known of the topic that was asked for; `None` where there is no such topic.
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

    /// Whether they are about the topic that was asked for, and about `channel` where one is named. nsqd that
    /// does not have them answers without them.
    fn are_of(&self, channel: Option<&ChannelName>) -> bool {
        let is_asked_for = |topic: &TopicStats| {
            let mut channels = topic.channels.iter().flatten();
            channel.is_none_or(|name| channels.any(|channel| channel.channel_name == name.to_string()))
        };
        self.topics.iter().flatten().any(is_asked_for)
    }

    /// What waits for `channel`, and for us, whose connection has the local address `ours`.
    #[must_use]
    pub fn waiting(&self, channel: &ChannelName, ours: Option<SocketAddr>) -> Waiting {
        let (channel, ours) = (channel.to_string(), ours.map(|ours| ours.to_string()));
        let mut told = Waiting::default();
        // Depths come from elsewhere: whatever they are, their sum is a number.
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

/// Asks one nsqd, by its HTTP address, what it knows of a topic; subscribing makes what is not there.
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

/// Asks one nsqd, by its HTTP address, how much waits for `channel`, and for the connection from `ours`,
/// which is subscribed to it. Without one, what waits on the topic is told as well where there is no such
/// channel yet.
///
/// # Errors
/// It does not answer, or without the topic or the subscribed channel: that is no answer, and not the answer
/// zero.
pub(super) async fn waiting(
    http: &HostPort,
    topic: &TopicName,
    channel: &ChannelName,
    ours: Option<SocketAddr>,
    bounds: Bounds,
) -> Result<Waiting, Box<dyn Error + Send + Sync>> {
    // Asked for a channel that it does not have, nsqd leaves out the topic as well (`nsqd/stats.go`,
    // `GetStats`).
    let only = if ours.is_some() { format!("&channel={}", escape(channel)) } else { String::new() };
    let path = format!("/stats?format=json&include_mem=false&topic={}{only}", escape(topic));
    let Answer::Found(stats) = get_json::<Stats>(http, &path, bounds).await? else {
        return Err("no statistics at this address".into());
    };
    if !stats.are_of(ours.map(|_| channel)) {
        return Err("the statistics at this address do not have the topic and the channel".into());
    }
    Ok(stats.waiting(channel, ours))
}

/// A name holds one byte at most that a query may not: the `#` of `#ephemeral`.
fn escape(name: &impl Display) -> String {
    name.to_string().replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that nobody holds.
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

    /// Two depths were added without a bound: an nsqd that tells nonsense ended the run by a panic, or was
    /// taken for an empty one.
    #[test]
    fn depths_that_are_nonsense_add_up_to_very_many() {
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

    /// Whoever answered without the topic was taken for an nsqd in which nothing waits.
    #[test]
    fn statistics_without_topic_or_channel_are_no_answer() {
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
    fn a_topic_that_nobody_has_published_to_is_told_apart_from_one_that_is_empty_now() {
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
        // nsqd was restarted, and has its backlog from the disk.
        assert_eq!(
            topic(
                r#"{"topics":[{"depth":0,"message_count":0,"channels":[{"channel_name":"d","depth":3}]}]}"#
            ),
            of(true, false, true)
        );
    }

    #[test]
    fn what_is_put_off_is_left_and_does_not_come() {
        let told = waiting(&one_topic(
            r#"{"channel_name":"c","depth":3,"deferred_count":40},{"channel_name":"d","depth":1,"deferred_count":7}"#,
        ));
        assert_eq!((told.available, depth(told)), (503, 543));
        let told =
            waiting(&one_topic(r#"{"channel_name":"c","depth":0,"deferred_count":18446744073709551615}"#));
        assert_eq!((told.available, depth(told)), (500, u64::MAX));
    }

    #[test]
    fn what_is_paused_is_left_and_does_not_come() {
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
    fn only_an_nsqd_that_names_our_connection_is_ours() {
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

    #[test]
    fn nothing_waits_only_where_nothing_is_under_way_and_nothing_may_be_sent() {
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
