//! Effective settings as text, one `key: value` a line, in the words of the configuration file.

use std::fmt;

use super::{
    DeadLetterSettings, LogFormat, LogTarget, Settings, SourceSettings, StoreSettings, fields, scalar::Span,
};
use x_msrv_aerospike::{AuthMode, Exists, Login, Ttl};
use x_msrv_core::decode::{BigIntegers, ContentEncoding, KeyRule, TtlRule};
use x_msrv_history as history;
use x_msrv_net::{address::HostPort, tls};
use x_msrv_nsq::source::Servers;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: &dyn fmt::Display| match value.to_string() {
            // A name may hold anything, even what looks like the next setting.
            value if value.contains(char::is_control) => writeln!(f, "{key}: {value:?}"),
            value => writeln!(f, "{key}: {value}"),
        };
        line("max-messages", &self.limits.max_messages)?;
        line("timeout", &Span(self.limits.timeout))?;
        line("idle-timeout", &Span(self.limits.idle_timeout))?;
        line("connect-timeout", &Span(self.connect_timeout))?;
        line("shutdown-timeout", &Span(self.limits.shutdown_timeout))?;
        line("period", &Span(self.period_or_packaged()))?;
        line("max-attempts", &self.limits.max_attempts)?;
        line("max-message-size", &self.max_message_size)?;
        line(
            "content-encoding",
            &match self.content_encoding {
                ContentEncoding::Identity => "identity",
                ContentEncoding::Gzip => "gzip",
            },
        )?;
        line(
            "big-integers",
            &match self.big_integers {
                BigIntegers::Reject => "reject",
                BigIntegers::Text => "text",
            },
        )?;
        if let Some(schema) = &self.schema {
            line("schema", &schema.display())?;
        }
        for (key, value) in self.fields.as_deref().map(fields::lines).unwrap_or_default() {
            line(key, &value)?;
        }
        for (key, value) in
            self.source.lines().into_iter().chain(self.store.lines(&self.key)).chain(self.dead_letter.lines())
        {
            line(key, &value)?;
        }
        for (key, value) in history_lines(self.history.as_ref()) {
            line(key, &value)?;
        }
        if let Some(metrics) = &self.metrics {
            line("metrics.textfile", &metrics.textfile.display())?;
        }
        line("log.level", &self.log.level.as_str().to_ascii_lowercase())?;
        line(
            "log.target",
            &match self.log.target {
                LogTarget::Stderr => "stderr",
                LogTarget::Syslog => "syslog",
            },
        )?;
        line(
            "log.format",
            &match self.log.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
        )
    }
}

type Lines = Vec<(&'static str, String)>;

/// The keys of a section `tls`: itself, and those in it.
type TlsKeys = [&'static str; 6];

macro_rules! tls_keys {
    ($section:literal) => {
        [
            $section,
            concat!($section, ".ca-file"),
            concat!($section, ".certificate"),
            concat!($section, ".key"),
            concat!($section, ".server-name"),
            concat!($section, ".insecure-skip-verify"),
        ]
    };
}

fn list(addresses: &[HostPort]) -> String {
    format!("[{}]", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn history_lines(history: Option<&history::Settings>) -> Lines {
    let Some(history) = history else { return vec![("history", "false".to_owned())] };
    vec![
        ("history.path", history.path.display().to_string()),
        ("history.max-age", Span(history.max_age).to_string()),
        ("history.max-runs", history.max_runs.to_string()),
    ]
}

impl SourceSettings {
    fn lines(&self) -> Lines {
        match self {
            Self::Nsq(nsq) => [
                match &nsq.servers {
                    Servers::Nsqd(addresses) => ("nsq.nsqd-tcp-address", list(addresses)),
                    Servers::Lookupd(addresses) => ("nsq.lookupd-http-address", list(addresses)),
                },
                ("nsq.topic", nsq.topic.to_string()),
                ("nsq.channel", nsq.channel.to_string()),
                ("nsq.max-in-flight", nsq.max_in_flight.to_string()),
            ]
            .into_iter()
            .chain(nsq.auth_secret.as_ref().map(|secret| ("nsq.auth-secret", secret.to_string())))
            .chain(tls_lines(tls_keys!("nsq.tls"), nsq.tls.as_deref()))
            .collect(),
            Self::Sqlite(queue) => vec![
                ("embedded-queue.path", queue.path.display().to_string()),
                ("embedded-queue.max-in-flight", queue.max_in_flight.to_string()),
                ("embedded-queue.lease-timeout", Span(queue.lease_timeout).to_string()),
            ],
        }
    }
}

impl StoreSettings {
    fn lines(&self, key: &KeyRule) -> Lines {
        match self {
            Self::Aerospike(aerospike) => [
                ("aerospike.hosts", list(&aerospike.hosts)),
                ("aerospike.namespace", aerospike.namespace.to_string()),
                ("aerospike.set", aerospike.set.to_string()),
                ("aerospike.key", key_text(key)),
                (
                    "aerospike.exists",
                    match aerospike.exists {
                        Exists::Replace => "replace".to_owned(),
                        Exists::CreateOnly => "create-only".to_owned(),
                        Exists::Update => "update".to_owned(),
                    },
                ),
                ("aerospike.ttl", ttl_text(aerospike.ttl, aerospike.own_ttl.as_ref())),
                ("aerospike.send-key", aerospike.send_key.to_string()),
                ("aerospike.timeout", Span(aerospike.timeout).to_string()),
                ("aerospike.use-alternate-addresses", aerospike.use_alternate_addresses.to_string()),
            ]
            .into_iter()
            .chain(aerospike.login.iter().flat_map(login_lines))
            .chain(tls_lines(tls_keys!("aerospike.tls"), aerospike.tls.as_deref()))
            .collect(),
            Self::Sqlite(sqlite) => vec![
                ("sqlite.path", sqlite.path.display().to_string()),
                ("sqlite.set", sqlite.set.to_string()),
                ("sqlite.key", key_text(key)),
            ],
        }
    }
}

fn ttl_text(ttl: Ttl, own: Option<&TtlRule>) -> String {
    let text = match ttl {
        Ttl::Namespace => "namespace".to_owned(),
        Ttl::Never => "never".to_owned(),
        Ttl::Seconds(seconds) => format!("{seconds}s"),
    };
    match own {
        None => text,
        Some(TtlRule { field, is_required: true, .. }) => format!("{{field: {field}}}"),
        Some(TtlRule { field, .. }) => format!("{{field: {field}, default: {text}}}"),
    }
}

fn login_lines(login: &Login) -> [(&'static str, String); 3] {
    let mode = match login.mode {
        AuthMode::Internal => "internal",
        AuthMode::External => "external",
    };
    [
        ("aerospike.user", login.user.clone()),
        ("aerospike.password", login.password.to_string()),
        ("aerospike.auth-mode", mode.to_owned()),
    ]
}

fn tls_lines(keys: TlsKeys, tls: Option<&tls::Settings>) -> Lines {
    let [itself, ca_file, certificate, key, server_name, insecure_skip_verify] = keys;
    let Some(tls) = tls else { return vec![(itself, "false".to_owned())] };
    let mut lines = vec![(
        ca_file,
        tls.ca_file.as_ref().map_or("(the system's)".to_owned(), |path| path.display().to_string()),
    )];
    if let Some(ours) = &tls.certificate {
        lines.extend([(certificate, ours.chain.to_string()), (key, ours.key.to_string())]);
    }
    lines
        .push((server_name, tls.server_name.as_ref().map_or("(the host's)".to_owned(), ToString::to_string)));
    lines.push((insecure_skip_verify, tls.insecure_skip_verify.to_string()));
    lines
}

fn key_text(key: &KeyRule) -> String {
    match key {
        KeyRule::Message => "message".to_owned(),
        KeyRule::BodyHash => "body-hash".to_owned(),
        KeyRule::Field(pointer) => format!("{{field: {pointer}}}"),
        KeyRule::Fields(pointers) => format!("{{fields: [{}]}}", pointers.join(", ")),
    }
}

impl DeadLetterSettings {
    fn lines(&self) -> Lines {
        match self {
            Self::Log => vec![("dead-letter", "log".to_owned())],
            Self::File(file) => [
                ("dead-letter.file.path", file.path.display().to_string()),
                ("dead-letter.file.max-size", file.max_size.to_string()),
            ]
            .into_iter()
            .chain(file.max_files.map(|most| ("dead-letter.file.max-files", most.to_string())))
            .chain(file.max_age.map(|age| ("dead-letter.file.max-age", Span(age).to_string())))
            .collect(),
            Self::Nsq(nsq, _) => [
                ("dead-letter.nsq.nsqd-tcp-address", list(&nsq.nsqd)),
                ("dead-letter.nsq.topic", nsq.topic.to_string()),
                ("dead-letter.nsq.channel", nsq.channel.to_string()),
            ]
            .into_iter()
            .chain(nsq.auth_secret.as_ref().map(|secret| ("dead-letter.nsq.auth-secret", secret.to_string())))
            .chain(tls_lines(tls_keys!("dead-letter.nsq.tls"), nsq.tls.as_deref()))
            .collect(),
        }
    }
}
