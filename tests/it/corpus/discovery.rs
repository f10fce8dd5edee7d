//! The answers of nsqlookupd about nsqd, and nsqd's statistics.

use std::net::SocketAddr;

use serde_json::Value;
use x_msrv_nsq::{
    client::name::ChannelName,
    source::lookup::{Lookup, Stats},
};

/// A parsed answer has the values that it contains, and impossible depths add up to very many.
pub(crate) fn check(bytes: &[u8]) {
    let channel: ChannelName = "c".parse().expect("a name");
    let producers = serde_json::from_slice::<Lookup>(bytes).map(Lookup::producers);
    let waiting = serde_json::from_slice::<Stats>(bytes)
        .map(|stats| stats.waiting(&channel, Some(SocketAddr::from(([127, 0, 0, 1], 50_000)))));
    // Fields that are not used may be malformed.
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else { return };
    if let (Ok(producers), Some(expected)) = (producers, answer["producers"].as_array()) {
        assert_eq!(producers.len(), expected.len());
        for (producer, expected) in
            producers.iter().zip(expected).filter(|(_, expected)| expected.is_object())
        {
            assert_eq!((&producer.tcp.host, &producer.http.host), (&producer.http.host, &producer.tcp.host));
            assert_eq!(expected["broadcast_address"], *producer.tcp.host);
            assert_eq!(
                (&expected["tcp_port"], &expected["http_port"]),
                (&producer.tcp.port.into(), &producer.http.port.into())
            );
        }
    }
    if let (Ok(waiting), Some(topics)) = (waiting, answer["topics"].as_array()) {
        let channels = || topics.iter().filter_map(|topic| topic["channels"].as_array()).flatten();
        // serde accepts `[3]` for `{"depth": 3}` as well; no server sends that.
        if topics.iter().chain(channels()).all(Value::is_object) {
            let ours = || channels().filter(|other| other["channel_name"] == "c");
            let waiting_where = |is_wanted: fn(&&Value) -> bool| {
                let places = topics.iter().chain(ours()).filter(is_wanted);
                places.map(|place| u128::from(place["depth"].as_u64().expect("a number"))).sum::<u128>()
            };
            let put_off =
                ours().filter_map(|place| place["deferred_count"].as_u64()).map(u128::from).sum::<u128>();
            let most = u128::from(u64::MAX);
            assert_eq!(
                u128::from(waiting.available),
                waiting_where(|place| place["paused"] != true).min(most)
            );
            assert_eq!(
                u128::from(waiting.available.saturating_add(waiting.later())),
                (waiting_where(|_| true) + put_off).min(most)
            );
        }
    }
}
