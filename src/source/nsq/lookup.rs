//! Finding the nsqd that have a topic, and asking how much waits there.

use std::{error::Error, time::Duration};

use serde::Deserialize;

use crate::{
    address::HostPort,
    http::{Answer, get_json},
    nsq::name::{ChannelName, TopicName},
};

/// The port on which nsqlookupd listens for nsqd, not for HTTP; the original's example names it by mistake.
const LOOKUPD_TCP_PORT: u16 = 4160;

/// The most nsqd that are believed to have one topic; each costs a connection.
const MOST_PRODUCERS: usize = 1_000;

/// An nsqd as nsqlookupd knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) tcp: HostPort,
    pub(super) http: HostPort,
}

#[derive(Deserialize)]
struct Lookup {
    producers: Vec<LookupProducer>,
}

#[derive(Deserialize)]
struct LookupProducer {
    broadcast_address: String,
    tcp_port: u16,
    http_port: u16,
}

/// Asks one nsqlookupd for the nsqd that have `topic`; none where it does not know the topic, which is how it speaks of one that nobody has
/// published to yet.
pub(super) async fn producers(
    lookupd: &HostPort,
    topic: &TopicName,
    bound: Duration,
) -> Result<Vec<Producer>, Box<dyn Error + Send + Sync>> {
    let answer = get_json::<Lookup>(lookupd, &format!("/lookup?topic={}", escape(topic)), bound).await;
    match answer {
        Ok(Answer::Found(lookup)) if lookup.producers.len() > MOST_PRODUCERS => {
            Err(format!("it names {} nsqd, {MOST_PRODUCERS} are the most", lookup.producers.len()).into())
        }
        Ok(Answer::Found(lookup)) => Ok(lookup
            .producers
            .into_iter()
            .map(|producer| {
                let at = |port| HostPort { host: producer.broadcast_address.clone(), port };
                Producer { tcp: at(producer.tcp_port), http: at(producer.http_port) }
            })
            .collect()),
        // nsqd answers 404 as well, in other words (`nsqlookupd/http.go`, `doLookup`).
        Ok(Answer::NotFound(body)) if String::from_utf8_lossy(&body).contains("TOPIC_NOT_FOUND") => Ok(Vec::new()),
        Ok(Answer::NotFound(_)) => Err("this is no nsqlookupd (nsqd's own address belongs in `nsqd-tcp-address`)".into()),
        Err(cause) if lookupd.port == LOOKUPD_TCP_PORT || is_not_http(&*cause) => {
            Err(format!("{cause} (is this nsqlookupd's TCP port for nsqd? its HTTP port is 4161 by default)").into())
        }
        Err(cause) => Err(cause),
    }
}

fn is_not_http(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

#[derive(Deserialize)]
struct Stats {
    /// Null where there are none.
    topics: Option<Vec<TopicStats>>,
}

#[derive(Deserialize)]
struct TopicStats {
    depth: u64,
    channels: Option<Vec<ChannelStats>>,
}

#[derive(Deserialize)]
struct ChannelStats {
    channel_name: String,
    depth: u64,
}

/// How much waits on one nsqd for `channel`, by its HTTP address. The topic's own depth is what a new channel will get.
pub(super) async fn depth(
    http: &HostPort,
    topic: &TopicName,
    channel: &ChannelName,
    bound: Duration,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let path = format!("/stats?format=json&include_clients=false&include_mem=false&topic={}", escape(topic));
    let Answer::Found(stats) = get_json::<Stats>(http, &path, bound).await? else { return Err("no statistics at this address".into()) };
    let channel = channel.to_string();
    let waiting = |topic: &TopicStats| {
        topic.depth + topic.channels.iter().flatten().filter(|other| other.channel_name == channel).map(|other| other.depth).sum::<u64>()
    };
    Ok(stats.topics.iter().flatten().map(waiting).sum())
}

/// A topic's name holds one byte at most that a query may not: the `#` of `#ephemeral`.
fn escape(topic: &TopicName) -> String {
    topic.to_string().replace('#', "%23")
}
