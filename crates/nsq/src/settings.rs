//! NSQ in a configuration: the sections `nsq` and `dead-letter.nsq`.

use std::{any::Any, num::NonZeroU64, sync::Arc, time::Duration};

use x_msrv_core::{
    BoxFuture, NAME,
    adapter::{Adapter, Common, ConfiguredLetters, ConfiguredSource, LettersRole, SourceRole},
    message::{Message, Origin},
    source::{Peek, Publisher, Source, SourceError},
};
use x_msrv_net::{
    address::{HostPort, distinct},
    secret::Secret,
    tls,
};
use x_msrv_settings::{
    Key, Kind, Reader, Section as _, Setting as _, Settings, Told, Value, join, text_setting,
};

use crate::{
    client::name::{ChannelName, TopicName},
    source::{self, NsqPublisher, NsqSource, Servers},
};

text_setting!(TopicName, Kind::Text);
text_setting!(ChannelName, Kind::Text);

/// NSQ as queue and as the place of dead letters.
pub static ADAPTER: Adapter = Adapter {
    name: "NSQ",
    feature: "nsq",
    summary: "A topic of NSQ, from nsqd directly or found by nsqlookupd.",
    source: Some(SourceRole {
        section: Key::section(
            "nsq",
            "The queue is NSQ; exactly one section of a queue is required.\n\n\
                nsqd is asked to wait for the settlement of a message for `timeout` + `shutdown-timeout` + 5 s, or as \
                long as it allows. After a crash the message is delivered again when that time is over.",
            QueueKeys::KEYS,
        ),
        word: "nsq",
        identity: "topic, nsqd, id, time",
        retry: "delayed, 1 s to 300 s",
        proof_of_empty: "proven by nsqd's statistics, otherwise inferred from silence and tested",
        tls: "yes",
        login: "AUTH",
        // On one channel two pipelines would take each other's messages.
        suggestion: |key, pipeline| {
            (key == "channel").then(|| ChannelName::of_pipeline(pipeline).to_string())
        },
        read: read_source,
    }),
    store: None,
    letters: Some(LettersRole {
        section: Key::section(
            "nsq",
            "Dead letters go to a topic of NSQ. Letters that nsqd refuses or does not receive go to \
                `dead-letter.ndjson` in the state directory.",
            LetterKeys::KEYS,
        ),
        is_direct: true,
        read: read_letters,
    }),
};

/// The keys of `nsq`.
#[derive(Debug, Clone, Settings)]
struct QueueKeys {
    /// The nsqd to take messages from, by their TCP ports (4150 by default); or `lookupd-http-address`.
    ///
    /// One that does not answer is a warning as long as another one does. With `key: message` the address is
    /// part of each record's key: if it changes while messages are in flight, those that are delivered again
    /// become other records.
    #[setting(
        min = 1,
        example = "[\"queue:4150\"]",
        flag = "nsqd",
        instead = "nsqd",
        ask = "nsqd, as HOST:PORT; several with commas between them",
        suggest = "localhost:4150"
    )]
    nsqd_tcp_address: Option<Vec<HostPort>>,
    /// Used instead of `nsqd-tcp-address`: nsqlookupd, by its HTTP port (4161 by default; 4160 is its port
    /// for nsqd), which knows the nsqd that have the topic.
    ///
    /// A run then takes more messages from those where more are waiting.
    #[setting(
        min = 1,
        example = "[\"queue:4161\"]",
        flag = "lookupd",
        instead = "nsqlookupd",
        ask = "nsqlookupd, as HOST:PORT with its HTTP port; several with commas between them",
        suggest = "localhost:4161"
    )]
    lookupd_http_address: Option<Vec<HostPort>>,
    /// The topic to consume: 1 to 64 of `a-zA-Z0-9._-`, optionally followed by `#ephemeral`.
    ///
    /// nsqd creates a missing topic and a missing channel for any subscriber. A run that creates the topic
    /// warns about it, as does `x-msrv check --connect` beforehand and `x-msrv status` after three runs, as
    /// long as none has received a message: the name may be mistyped. A channel that is created beside others
    /// gets only messages that are published from then on. Both are detected only if nsqd's statistics are
    /// available.
    #[setting(example = "orders", flag = "topic", ask = "topic", subject)]
    topic: TopicName,
    /// The channel; it gets every message of the topic, and its consumers share them.
    ///
    /// Pipelines with channels of their own do not take messages from each other. A file of the same NAME
    /// elsewhere, or on another host, is the same pipeline to nsqd: both share the messages of the channel.
    ///
    /// When the run ends, nsqd drops a channel whose name ends in `#ephemeral`, and all messages that the run
    /// leaves in it. `x-msrv check` and `x-msrv status` warn about it.
    #[setting(
        words = "`x-msrv` for a configuration `x-msrv.yml`, and `x-msrv-NAME` for `NAME.yml`",
        example = "x-msrv",
        flag = "channel",
        ask = "channel; runs on several hosts share one",
        suggest = ""
    )]
    channel: Option<ChannelName>,
    /// The most messages in flight, over all nsqd; at most about 16 MiB of them. Small values make large runs
    /// slow.
    #[setting(words = "N, at most 10,000", example = "1000")]
    max_in_flight: Option<NonZeroU64>,
    /// The same as `max-messages` at the top level. If both are set, they must be equal.
    #[setting(words = "`max-messages`", example = "1000")]
    max_messages: Option<NonZeroU64>,
    /// The secret for nsqd's `AUTH`: `{credential: NAME}`, `{file: PATH}`, or the text itself.
    ///
    /// `x-msrv send` and `dead-letter.nsq` use it as well.
    #[setting(example = "{credential: nsq}")]
    auth_secret: Option<Secret>,
    /// Whether connections to nsqd are encrypted: `true`, `false` or a section.
    ///
    /// `x-msrv send` and `dead-letter.nsq` use the same settings. An nsqd that offers no TLS is then refused.
    /// nsqlookupd is queried over plain HTTP, as are nsqd's statistics, which an nsqd with
    /// `-tls-required=true` does not serve: the run then infers from silence alone that the queue is empty.
    /// With `nsqd-tcp-address` statistics are not requested. An attacker on the network path to nsqlookupd
    /// can redirect a run to a host of their own; `ca-file` or `server-name` prevents that.
    #[setting(default = "false", example = "{ca-file: ca.pem}")]
    tls: tls::Section,
}

/// The keys of `dead-letter.nsq`.
#[derive(Debug, Clone, Settings)]
struct LetterKeys {
    /// The nsqd to publish to; the first one that answers gets the letters. Required if the queue's section
    /// names no nsqd.
    #[setting(min = 1, words = "`nsq.nsqd-tcp-address`", example = "[\"queue:4150\"]")]
    nsqd_tcp_address: Option<Vec<HostPort>>,
    /// The topic for dead letters; not the queue's own.
    #[setting(example = "orders-dead")]
    topic: TopicName,
    /// The channel that `x-msrv dead` reads from. nsqd gives the messages that a topic holds to the channel
    /// that is created first.
    #[setting(words = "`x-msrv`", example = "x-msrv")]
    channel: Option<ChannelName>,
    /// The secret for that nsqd's `AUTH`.
    #[setting(
        words = "`nsq.auth-secret`, or none if `dead-letter.nsq.tls` is set",
        example = "{credential: nsq}"
    )]
    auth_secret: Option<Secret>,
    /// Whether connections to that nsqd are encrypted: `true`, `false` or a section.
    #[setting(words = "`nsq.tls`", example = "{ca-file: ca.pem}")]
    tls: Option<tls::Section>,
}

/// A queue in NSQ.
#[derive(Debug)]
struct Queue {
    keys: QueueKeys,
    settings: source::Settings,
}

fn read_source(found: &Value, reader: &mut Reader<'_>, common: &Common) -> Option<Arc<dyn ConfiguredSource>> {
    let mut keys = QueueKeys::read(found, reader)?;
    keys.nsqd_tcp_address = keys.nsqd_tcp_address.map(distinct);
    keys.lookupd_http_address = keys.lookupd_http_address.map(distinct);
    let servers = match (&keys.nsqd_tcp_address, &keys.lookupd_http_address) {
        (Some(nsqd), None) => Servers::Nsqd(nsqd.clone()),
        (None, Some(lookupd)) => Servers::Lookupd(lookupd.clone()),
        (None, None) => {
            reader.fault("one of `nsqd-tcp-address` and `lookupd-http-address` is required");
            return None;
        }
        _ => {
            reader.fault("only one of `nsqd-tcp-address` and `lookupd-http-address` is allowed");
            return None;
        }
    };
    let channel = keys.channel.get_or_insert_with(|| ChannelName::of_pipeline(&reader.places.pipeline));
    let settings = source::Settings {
        section: "nsq",
        servers,
        topic: keys.topic.clone(),
        channel: channel.clone(),
        max_in_flight: *keys.max_in_flight.insert(common.max_in_flight(keys.max_in_flight)),
        max_message_size: common.max_message_size,
        connect_timeout: common.connect_timeout,
        auth_secret: keys.auth_secret.clone(),
        tls: keys.tls.settings(),
        longest_run: common.limits.timeout + common.limits.shutdown_timeout,
    };
    keys.max_messages = None; // it is shown at the top level
    Some(Arc::new(Queue { keys, settings }))
}

/// What names that end in `#ephemeral` cost.
fn tell_ephemeral(
    told: &mut Told,
    section: &str,
    topic: &TopicName,
    channel: &ChannelName,
    cost_of_channel: &str,
) {
    if topic.is_ephemeral() {
        let cost = "nsqd keeps its messages in memory only, drops those that do not fit, and drops the topic with its last channel";
        told.warning(&join(section, "topic"), format_args!("{topic} is ephemeral: {cost}"));
    }
    if channel.is_ephemeral() {
        told.warning(&join(section, "channel"), format_args!("{channel} is ephemeral: {cost_of_channel}"));
    }
}

impl ConfiguredSource for Queue {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("nsq", told);
        let cost = "nsqd drops the channel, and all messages that a run leaves in it, when the run ends";
        tell_ephemeral(told, "nsq", &self.settings.topic, &self.settings.channel, cost);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Source>, SourceError>> {
        Box::pin(async { Ok(Box::new(NsqSource::connect(&self.settings).await?) as Box<dyn Source>) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(source::probe(&self.settings))
    }

    fn peek<'a>(
        &'a self,
        _: NonZeroU64,
        _: &'a mut dyn FnMut(&Message),
    ) -> BoxFuture<'a, Result<Peek, SourceError>> {
        Box::pin(async { source::waiting(&self.settings).await.map(|waiting| Peek::Hidden { waiting }) })
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(async { Ok(Box::new(NsqPublisher::connect(&self.settings).await?) as Box<dyn Publisher>) })
    }

    fn sample_origin(&self) -> Origin {
        Origin::of_topic(&self.settings.topic.to_string(), "<nsqd>")
    }

    fn letter_source(&self) -> Result<Option<String>, SourceError> {
        Ok(Some(format!("{}@", self.settings.topic)))
    }

    fn created_on_demand(&self) -> Option<String> {
        Some(self.settings.topic.to_string())
    }
}

/// A topic for dead letters.
#[derive(Debug)]
struct Letters {
    keys: LetterKeys,
    /// Whether the secret, and whether TLS, are the queue's, whose section reports their files.
    is_inherited: (bool, bool),
    settings: source::Settings,
}

fn read_letters(
    found: &Value,
    reader: &mut Reader<'_>,
    common: &Common,
    queue: Option<&dyn ConfiguredSource>,
) -> Option<Arc<dyn ConfiguredLetters>> {
    let mut keys = LetterKeys::read(found, reader)?;
    let queue = queue.and_then(|queue| (queue as &dyn Any).downcast_ref::<Queue>());
    if queue.is_some_and(|queue| queue.settings.topic == keys.topic) {
        let fault =
            format!("`{}` is the queue's own topic: dead letters would come back as messages", keys.topic);
        reader.fault_at("topic", fault);
    }
    let of_queue = queue.and_then(|queue| match &queue.settings.servers {
        Servers::Nsqd(addresses) => Some(addresses.clone()),
        Servers::Lookupd(_) => None,
    });
    let Some(nsqd) = keys.nsqd_tcp_address.map(distinct).or(of_queue) else {
        reader.fault("`nsqd-tcp-address` is required, for the queue's own section names no nsqd");
        return None;
    };
    // Another server than the queue's, or a less protected connection: a secret goes there only on request.
    let inherits_secret = keys.auth_secret.is_none() && keys.tls.is_none();
    let inherits_tls = keys.tls.is_none();
    if let Some(queue) = queue.filter(|_| inherits_secret) {
        keys.auth_secret.clone_from(&queue.settings.auth_secret);
    }
    let tls =
        keys.tls.get_or_insert_with(|| queue.map_or_else(tls::Section::none, |queue| queue.keys.tls.clone()));
    let settings = source::Settings {
        section: SECTION,
        servers: Servers::Nsqd(nsqd.clone()),
        topic: keys.topic.clone(),
        channel: keys.channel.get_or_insert_with(|| NAME.parse().expect("a name")).clone(),
        max_in_flight: NonZeroU64::new(10_000).expect("not zero"),
        max_message_size: LARGEST_LETTER,
        connect_timeout: common.connect_timeout,
        auth_secret: keys.auth_secret.clone(),
        tls: tls.settings(),
        longest_run: Duration::from_secs(60),
    };
    keys.nsqd_tcp_address = Some(nsqd);
    Some(Arc::new(Letters { keys, is_inherited: (inherits_secret, inherits_tls), settings }))
}

/// The section of letters, as errors name it.
const SECTION: &str = "dead-letter.nsq";

/// Bytes of a letter that is read: of a message that has as many as a configuration can allow.
const LARGEST_LETTER: usize = 1 << 30;

impl ConfiguredLetters for Letters {
    fn tell(&self, section: &str, told: &mut Told) {
        let mut all = Told::default();
        self.keys.tell(section, &mut all);
        let of_queue = |key: &str| {
            let key = key.strip_prefix(section).unwrap_or_default();
            self.is_inherited.0 && key.starts_with(".auth-secret")
                || self.is_inherited.1 && key.starts_with(".tls")
        };
        told.lines.extend(all.lines);
        told.files.extend(all.files.into_iter().filter(|file| !of_queue(&file.key)));
        told.warnings.extend(all.warnings.into_iter().filter(|warning| !of_queue(warning)));
        let cost = "nsqd drops the channel, and all dead letters that `x-msrv dead` leaves in it, when the command ends";
        tell_ephemeral(told, section, &self.settings.topic, &self.settings.channel, cost);
    }

    fn place(&self) -> String {
        format!("the topic {}", self.settings.topic)
    }

    fn publisher(&self) -> BoxFuture<'_, Result<Box<dyn Publisher>, SourceError>> {
        Box::pin(async { Ok(Box::new(NsqPublisher::connect(&self.settings).await?) as Box<dyn Publisher>) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(source::answers(&self.settings))
    }

    fn queue(&self) -> BoxFuture<'_, Result<Option<Box<dyn Source>>, SourceError>> {
        Box::pin(async {
            let source = NsqSource::connect(&self.settings).await?;
            Ok(Some(Box::new(source) as Box<dyn Source>))
        })
    }
}
