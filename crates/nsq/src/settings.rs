//! NSQ in a configuration: the sections `nsq` and `dead-letter.nsq`.

use std::{num::NonZeroU64, time::Duration};

use x_msrv_core::{
    NAME,
    adapter::{
        Adapter, Common, LettersRole, SourceFacts, SourceRole,
        section::{Configured, Letters, LettersSection, SourceSection},
    },
    message::{Message, Origin},
    source::{Peek, Publisher, Source, SourceError},
};
use x_msrv_net::{
    address::{HostPort, distinct},
    secret::Secret,
    tls,
};
use x_msrv_settings::{Kind, NamedSection as _, Reader, Settings, Told, join, text_setting};

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
    source: Some(SourceRole::of::<QueueKeys>()),
    store: None,
    letters: Some(LettersRole::of::<LetterKeys>()),
};

/// The queue is NSQ; exactly one section of a queue is required.
///
/// nsqd is asked to wait for the settlement of a message for `timeout` + `shutdown-timeout` + 5 s, or as long as it
/// allows. After a crash the message is delivered again when that time is over.
#[derive(Debug, Clone, Settings)]
#[setting(section = "nsq")]
struct QueueKeys {
    /// The nsqd to take messages from, by their TCP ports (4150 by default). Required without
    /// `lookupd-http-address`.
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
    /// The nsqlookupd that know the nsqd with the topic, by their HTTP ports (4161 by default; 4160 is the port
    /// for nsqd). Used instead of `nsqd-tcp-address`.
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
    #[setting(example = "{file: nsq.secret}")]
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

/// Dead letters go to a topic of NSQ. Letters that nsqd refuses or does not receive go to `dead-letter.ndjson` in
/// the state directory.
#[derive(Debug, Clone, Settings)]
#[setting(section = "nsq")]
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
        words = "`nsq.auth-secret`, or none if this section sets `tls`",
        example = "{file: nsq.secret}"
    )]
    auth_secret: Option<Secret>,
    /// Whether connections to that nsqd are encrypted: `true`, `false` or a section.
    #[setting(words = "`nsq.tls`", example = "{ca-file: ca.pem}")]
    tls: Option<tls::Section>,
}

impl SourceSection for QueueKeys {
    const FACTS: SourceFacts = SourceFacts {
        word: "nsq",
        identity: "topic, nsqd, id, time",
        retry: "delayed, 1 s to 300 s",
        proof_of_empty: "proven by nsqd's statistics, otherwise inferred from silence and tested",
        tls: "yes",
        login: "AUTH",
    };

    type Settings = source::Settings;

    fn settings(&mut self, reader: &mut Reader<'_>, common: &Common) -> Option<source::Settings> {
        self.nsqd_tcp_address = self.nsqd_tcp_address.take().map(distinct);
        self.lookupd_http_address = self.lookupd_http_address.take().map(distinct);
        let servers = match (&self.nsqd_tcp_address, &self.lookupd_http_address) {
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
        let channel = self.channel.get_or_insert_with(|| ChannelName::of_pipeline(&reader.places.pipeline));
        self.max_messages = None; // it is shown at the top level
        Some(source::Settings {
            section: Self::SECTION.name,
            servers,
            topic: self.topic.clone(),
            channel: channel.clone(),
            max_in_flight: *self.max_in_flight.insert(common.max_in_flight(self.max_in_flight)),
            max_message_size: common.max_message_size,
            connect_timeout: common.connect_timeout,
            auth_secret: self.auth_secret.clone(),
            tls: self.tls.settings(),
            longest_run: common.limits.timeout + common.limits.shutdown_timeout,
        })
    }

    async fn connect(settings: &source::Settings) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(NsqSource::connect(settings).await?))
    }

    async fn publisher(settings: &source::Settings) -> Result<Box<dyn Publisher>, SourceError> {
        Ok(Box::new(NsqPublisher::connect(settings).await?))
    }

    fn letter_source(settings: &source::Settings) -> Result<Option<String>, SourceError> {
        Ok(Some(format!("{}@", settings.topic)))
    }

    async fn probe(settings: &source::Settings) -> Result<String, SourceError> {
        source::probe(settings).await
    }

    async fn peek(
        settings: &source::Settings,
        _: NonZeroU64,
        _: &mut dyn FnMut(&Message),
    ) -> Result<Peek, SourceError> {
        source::waiting(settings).await.map(|waiting| Peek::Hidden { waiting })
    }

    fn sample_origin(settings: &source::Settings) -> Origin {
        Origin::of_topic(&settings.topic.to_string(), "<nsqd>")
    }

    fn created_on_demand(settings: &source::Settings) -> Option<(&'static str, String)> {
        Some(("topic", settings.topic.to_string()))
    }

    fn suggestion(key: &str, pipeline: &str) -> Option<String> {
        // On one channel two pipelines would take each other's messages.
        (key == "channel").then(|| ChannelName::of_pipeline(pipeline).to_string())
    }

    fn warn(settings: &source::Settings, told: &mut Told) {
        let cost = "nsqd drops the channel, and all messages that a run leaves in it, when the run ends";
        tell_ephemeral(told, Self::SECTION.name, settings, cost);
    }
}

/// What names that end in `#ephemeral` cost.
fn tell_ephemeral(told: &mut Told, section: &str, settings: &source::Settings, cost_of_channel: &str) {
    let source::Settings { topic, channel, .. } = settings;
    if topic.is_ephemeral() {
        let cost = "nsqd keeps its messages in memory only, drops those that do not fit, and drops the topic with its last channel";
        told.warning(&join(section, "topic"), format_args!("{topic} is ephemeral: {cost}"));
    }
    if channel.is_ephemeral() {
        told.warning(&join(section, "channel"), format_args!("{channel} is ephemeral: {cost_of_channel}"));
    }
}

impl LettersSection for LetterKeys {
    type Queue = QueueKeys;

    const IS_DIRECT: bool = true;

    fn settings(
        &mut self,
        reader: &mut Reader<'_>,
        common: &Common,
        source: Option<&Configured<QueueKeys, source::Settings>>,
    ) -> Option<Letters<source::Settings>> {
        if source.is_some_and(|source| source.settings.topic == self.topic) {
            let fault = format!(
                "`{}` is the queue's own topic: dead letters would come back as messages",
                self.topic
            );
            reader.fault_at("topic", fault);
        }
        let of_source = source.and_then(|source| match &source.settings.servers {
            Servers::Nsqd(addresses) => Some(addresses.clone()),
            Servers::Lookupd(_) => None,
        });
        let Some(nsqd) = self.nsqd_tcp_address.take().map(distinct).or(of_source) else {
            reader.fault("`nsqd-tcp-address` is required, for the queue's own section names no nsqd");
            return None;
        };
        // Another server than the queue's, or a less protected connection: a secret goes there only on request.
        let inherited: &[&str] = match (&self.tls, &self.auth_secret) {
            (None, None) => &["tls", "auth-secret"],
            (None, Some(_)) => &["tls"],
            (Some(_), _) => &[],
        };
        if let Some(source) = source.filter(|_| inherited.contains(&"auth-secret")) {
            self.auth_secret.clone_from(&source.settings.auth_secret);
        }
        let of_source = || source.map_or_else(tls::Section::none, |source| source.keys.tls.clone());
        let settings = source::Settings {
            section: SECTION,
            servers: Servers::Nsqd(nsqd.clone()),
            topic: self.topic.clone(),
            channel: self.channel.get_or_insert_with(|| NAME.parse().expect("a name")).clone(),
            max_in_flight: NonZeroU64::new(10_000).expect("not zero"),
            max_message_size: LARGEST_LETTER,
            connect_timeout: common.connect_timeout,
            auth_secret: self.auth_secret.clone(),
            tls: self.tls.get_or_insert_with(of_source).settings(),
            longest_run: Duration::from_secs(60),
        };
        self.nsqd_tcp_address = Some(nsqd);
        Some(Letters { settings, inherited })
    }

    fn place(settings: &source::Settings) -> String {
        format!("the topic {}", settings.topic)
    }

    async fn probe(settings: &source::Settings) -> Result<String, SourceError> {
        source::answers(settings).await
    }

    fn warn(settings: &source::Settings, section: &str, told: &mut Told) {
        let cost = "nsqd drops the channel, and all dead letters that `x-msrv dead` leaves in it, when the command ends";
        tell_ephemeral(told, section, settings, cost);
    }
}

/// The section of letters, as errors name it.
const SECTION: &str = "dead-letter.nsq";

/// Bytes of a letter that is read: of a message that has as many as a configuration can allow.
const LARGEST_LETTER: usize = 1 << 30;
