//! From the shape of the file to settings, section by section: what is wrong with a value is told with its
//! key, and defaults are filled in.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    time::Duration,
};

use log::LevelFilter;

use super::{
    Overrides,
    error::Fault,
    fields,
    file::{
        AerospikeShape, DeadLetterFileShape, DeadLetterShape, EmbeddedQueueShape, FileShape, HistoryShape,
        KeyShape, LevelShape, LogShape, MetricsShape, NsqShape, SetFieldShape, SqliteShape, TlsShape,
        TtlFieldShape,
    },
    scalar::{List, OnOrSection, Parsed, PlaceShape, Pointer, SecretShape, Span, TextOr, Whole},
    settings::{
        DeadLetterSettings, LogFormat, LogSettings, LogTarget, PACKAGED_PERIOD, Settings, SourceSettings,
        StoreSettings, name_of,
    },
};
use x_msrv_core::{
    NAME,
    decode::{BigIntegers, ContentEncoding, KeyRule, SetRule, TtlRule},
    run::Limits,
};
use x_msrv_history as history;
use x_msrv_net::{address::HostPort, secret::Secret, tls};
use x_msrv_nsq::client::name::ChannelName;
use x_msrv_settings::duration;

/// Where state lives when the configuration is a system's and systemd did not make a directory.
const SYSTEM_STATE: &str = "/var/lib/x-msrv";

/// The file of dead letters where none is configured.
const LETTERS: &str = "dead-letter.ndjson";

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn parse(shape: FileShape, file: &Path, overrides: &Overrides) -> Result<Settings, Fault> {
    let paths = Paths::new(file, overrides);
    let section_limit = shape.nsq.as_ref().map(|nsq| ("nsq.max-messages", nsq.max_messages));
    let section_limit = section_limit
        .or(shape.embedded_queue.as_ref().map(|queue| ("embedded-queue.max-messages", queue.max_messages)));
    let max_messages = max_messages(shape.max_messages, section_limit)?;
    let idle_timeout = shape
        .idle_timeout
        .map_or(Ok(Duration::ZERO), |Span(value)| bounded("idle-timeout", Duration::ZERO, value))?;
    let span = |key: &str, value: Option<Span>, default: Duration| {
        positive(key, value.map_or(default, |Span(value)| value))
    };
    let limits = Limits {
        max_messages,
        timeout: span("timeout", shape.timeout, 2 * SECOND)?,
        idle_timeout,
        shutdown_timeout: span("shutdown-timeout", shape.shutdown_timeout, 5 * SECOND)?,
        max_attempts: shape.max_attempts.map_or(Ok(5), |Whole(value)| small("max-attempts", value))?,
    };
    let connect_timeout = span("connect-timeout", shape.connect_timeout, 2 * SECOND)?;
    let max_message_size = shape.max_message_size.map_or(1 << 20, |size| size.0);
    let max_message_size =
        usize::try_from(max_message_size).ok().filter(|size| (1..=1 << 30).contains(size)).ok_or_else(
            || Fault::new("max-message-size", format!("{max_message_size} bytes, 1 to 1GiB are allowed")),
        )?;
    let common = Common { limits, connect_timeout, max_message_size };
    let source = match (shape.nsq, shape.embedded_queue) {
        (Some(nsq), None) => SourceSettings::Nsq(nsq_source(nsq, &common, &paths)?),
        (None, Some(queue)) => SourceSettings::Sqlite(embedded_queue(&queue, &common, &paths)?),
        (None, None) => {
            return Err(Fault::new("", "no queue: one of the sections `nsq` and `embedded-queue` is needed"));
        }
        _ => {
            return Err(Fault::new(
                "embedded-queue",
                "there is a section `nsq` as well: only one queue can be read",
            ));
        }
    };
    let (store, key) = match (shape.aerospike, shape.sqlite) {
        (Some(aerospike), None) => aerospike_store(aerospike, connect_timeout, &paths)?,
        (None, Some(sqlite)) => sqlite_store(sqlite, &paths)?,
        (None, None) => {
            return Err(Fault::new("", "no store: one of the sections `aerospike` and `sqlite` is needed"));
        }
        _ => {
            return Err(Fault::new(
                "sqlite",
                "there is a section `aerospike` as well: only one store can be written",
            ));
        }
    };
    let history = history_settings(shape.history, &paths)?;
    let has_default_letters =
        !matches!(&shape.dead_letter, Some(DeadLetterShape::File(DeadLetterFileShape { path: Some(_), .. })));
    let period = shape.period.map(|Span(value)| positive("period", value)).transpose()?;
    let metrics =
        textfile(shape.metrics, history.as_ref(), &paths)?.map(|textfile| history::metrics::Settings {
            textfile,
            pipeline: name_of(file),
            period: period.unwrap_or(PACKAGED_PERIOD),
            max_messages,
        });
    Ok(Settings {
        file: file.to_owned(),
        state: paths.state.clone(),
        limits,
        period,
        connect_timeout,
        max_message_size,
        content_encoding: shape.content_encoding.unwrap_or(ContentEncoding::Identity),
        big_integers: shape.big_integers.unwrap_or(BigIntegers::Reject),
        key,
        schema: shape.schema.map(|path| paths.configuration.join(path)),
        fields: shape.fields.map(|section| fields::parse(section, &store)).transpose()?,
        dead_letter: dead_letter_settings(shape.dead_letter, &source, connect_timeout, &paths)?,
        source,
        store,
        shared_letters: (paths.is_shared && has_default_letters).then(|| paths.state.join(LETTERS)),
        history,
        metrics,
        log: log_settings(&shape.log.unwrap_or_default())?,
        warnings: Vec::new(),
    })
}

/// What sections need from the top level.
struct Common {
    limits: Limits,
    connect_timeout: Duration,
    max_message_size: usize,
}

/// Where relative paths begin: state in the state directory, anything else beside the configuration.
struct Paths {
    state: PathBuf,
    configuration: PathBuf,
    /// The configuration's name.
    pipeline: String,
    /// What the names of state files begin with where none are configured.
    prefix: String,
    /// Whether the folder of state may hold that of several configurations.
    is_shared: bool,
}

impl Paths {
    fn new(file: &Path, overrides: &Overrides) -> Self {
        let configuration = file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        let state = match &overrides.state_directory {
            Some(directory) => directory.clone(),
            None if configuration.starts_with("/etc") => system_state(file),
            None => configuration.clone(),
        };
        // A state directory is for one configuration; a folder by hand may hold several.
        let is_shared = state == configuration;
        let is_default = file.file_stem().is_some_and(|name| name == NAME);
        let pipeline = name_of(file);
        let prefix = if is_shared && !is_default { format!("{pipeline}-") } else { String::new() };
        Self { state, configuration, pipeline, prefix, is_shared }
    }

    fn secret(&self, secret: Secret) -> Secret {
        match secret {
            Secret::File(path) => Secret::File(self.configuration.join(path)),
            other => other,
        }
    }

    fn state(&self, key: &str, path: &str) -> Result<PathBuf, Fault> {
        if path.is_empty() || path.ends_with('/') {
            return Err(Fault::new(key, format!("`{path}` is not the name of a file")));
        }
        Ok(self.state.join(path))
    }
}

/// The state directory of the unit that a configuration belongs to, so that commands by hand find what the
/// service wrote.
fn system_state(file: &Path) -> PathBuf {
    let state = PathBuf::from(SYSTEM_STATE);
    match file.file_stem() {
        Some(name) if name != NAME => state.join(name), // x-msrv@NAME.service
        _ => state,
    }
}

fn positive(key: &str, value: Duration) -> Result<Duration, Fault> {
    bounded(key, Duration::from_nanos(1), value)
}

fn bounded(key: &str, least: Duration, value: Duration) -> Result<Duration, Fault> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    if (least..=LONGEST).contains(&value) {
        return Ok(value);
    }
    let from = if least.is_zero() { "from 0s to" } else { "more than 0s and at most" };
    Err(Fault::new(key, format!("`{}` is out of range: {from} 365 days", Span(value))))
}

fn small(key: &str, value: u64) -> Result<u32, Fault> {
    u32::try_from(value)
        .map_err(|_| Fault::new(key, format!("{value} is too large, {} is the largest", u32::MAX)))
}

fn not_zero(key: &str, value: u64) -> Result<NonZeroU64, Fault> {
    NonZeroU64::new(value).ok_or_else(|| Fault::new(key, "0 is not allowed, at least 1 is needed"))
}

/// N stands at the top level or in the queue's section, as in the original; twice only if it is the same.
fn max_messages(top: Option<Whole>, section: Option<(&str, Option<Whole>)>) -> Result<NonZeroU64, Fault> {
    let (key, value) = match (top, section) {
        (Some(Whole(top)), Some((key, Some(Whole(inner))))) if top != inner => {
            return Err(Fault::new("max-messages", format!("{top} here, but {inner} at {key}: say it once")));
        }
        (Some(Whole(top)), _) => ("max-messages", top),
        (None, Some((key, Some(Whole(inner))))) => (key, inner),
        _ => ("max-messages", 10),
    };
    not_zero(key, value)
}

fn max_in_flight(key: &str, value: Option<Whole>, limits: &Limits) -> Result<NonZeroU64, Fault> {
    // As many as four nsqd allow on their connections by default; one that has less in flight sends in
    // smaller pieces, which costs it more.
    const DEFAULT_MOST: u64 = 10_000;
    value.map_or(
        Ok(limits.max_messages.min(NonZeroU64::new(DEFAULT_MOST).expect("not zero"))),
        |Whole(value)| not_zero(key, value),
    )
}

fn addresses(key: &str, list: List<HostPort>) -> Result<Vec<HostPort>, Fault> {
    let List(mut addresses) = list;
    if addresses.is_empty() {
        return Err(Fault::new(key, "the list is empty, at least one HOST:PORT is needed"));
    }
    // One nsqd named twice would be consumed by two connections with one share each.
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    Ok(addresses)
}

fn nsq_source(
    shape: NsqShape,
    common: &Common,
    paths: &Paths,
) -> Result<x_msrv_nsq::source::Settings, Fault> {
    use x_msrv_nsq::source::Servers;
    let servers = match (shape.nsqd_tcp_address, shape.lookupd_http_address) {
        (Some(nsqd), None) => Servers::Nsqd(addresses("nsq.nsqd-tcp-address", nsqd)?),
        (None, Some(lookupd)) => Servers::Lookupd(addresses("nsq.lookupd-http-address", lookupd)?),
        (None, None) => {
            return Err(Fault::new("nsq", "one of `nsqd-tcp-address` and `lookupd-http-address` is needed"));
        }
        _ => {
            return Err(Fault::new(
                "nsq",
                "only one of `nsqd-tcp-address` and `lookupd-http-address` is allowed",
            ));
        }
    };
    Ok(x_msrv_nsq::source::Settings {
        servers,
        topic: shape.topic.0,
        channel: shape
            .channel
            .map_or_else(|| ChannelName::of_pipeline(&paths.pipeline), |Parsed(channel)| channel),
        max_in_flight: max_in_flight("nsq.max-in-flight", shape.max_in_flight, &common.limits)?,
        max_message_size: common.max_message_size,
        connect_timeout: common.connect_timeout,
        auth_secret: shape.auth_secret.map(|SecretShape(secret)| paths.secret(secret)),
        tls: tls_settings("nsq.tls", shape.tls, paths)?,
        longest_run: common.limits.timeout + common.limits.shutdown_timeout,
    })
}

fn tls_settings(
    section: &str,
    shape: Option<OnOrSection<TlsShape>>,
    paths: &Paths,
) -> Result<Option<Box<tls::Settings>>, Fault> {
    let Some(OnOrSection(Some(shape))) = shape else { return Ok(None) };
    let certificate = match (shape.certificate, shape.key) {
        (None, None) => None,
        (Some(_), Some(SecretShape(Secret::Text(key)))) if !key.contains("-----BEGIN ") => {
            return Err(Fault::new(
                format!("{section}.key"),
                "is not a private key in PEM; one in a file is named by `file: PATH`",
            ));
        }
        (Some(PlaceShape(chain)), Some(SecretShape(key))) => {
            Some(tls::ClientCertificate { chain: paths.secret(chain), key: paths.secret(key) })
        }
        _ => return Err(Fault::new(section, "`certificate` and `key` must be set together")),
    };
    Ok(Some(Box::new(tls::Settings {
        ca_file: shape.ca_file.map(|path| paths.configuration.join(path)),
        certificate,
        server_name: shape.server_name.map(|Parsed(name)| name),
        insecure_skip_verify: shape.insecure_skip_verify.is_some_and(|flag| flag.0),
    })))
}

fn embedded_queue(
    shape: &EmbeddedQueueShape,
    common: &Common,
    paths: &Paths,
) -> Result<x_msrv_sqlite::source::Settings, Fault> {
    let lease_timeout = shape.lease_timeout.map_or(60 * SECOND, |Span(value)| value);
    Ok(x_msrv_sqlite::source::Settings {
        path: paths.state("embedded-queue.path", &shape.path)?,
        max_in_flight: max_in_flight("embedded-queue.max-in-flight", shape.max_in_flight, &common.limits)?,
        lease_timeout: positive("embedded-queue.lease-timeout", lease_timeout)?,
    })
}

fn key_rule(key: &str, shape: Option<KeyShape>) -> Result<KeyRule, Fault> {
    match shape {
        None | Some(KeyShape::Message) => Ok(KeyRule::Message),
        Some(KeyShape::BodyHash) => Ok(KeyRule::BodyHash),
        Some(KeyShape::Field(pointer)) if pointer.starts_with('/') => Ok(KeyRule::Field(pointer)),
        Some(KeyShape::Field(pointer)) => Err(Fault::new(
            format!("{key}.field"),
            format!("`{pointer}` is not a JSON pointer such as /id or /order/id"),
        )),
        Some(KeyShape::Fields(List(pointers))) if pointers.is_empty() => {
            Err(Fault::new(format!("{key}.fields"), "the list is empty, at least one JSON pointer is needed"))
        }
        Some(KeyShape::Fields(List(pointers))) => {
            Ok(KeyRule::Fields(pointers.into_iter().map(|Pointer(pointer)| pointer).collect()))
        }
    }
}

fn aerospike_store(
    shape: AerospikeShape,
    connect_timeout: Duration,
    paths: &Paths,
) -> Result<(StoreSettings, KeyRule), Fault> {
    use x_msrv_aerospike::{AuthMode, Exists, LONGEST_TTL, Login, Settings};
    let hosts = match (shape.address, shape.hosts) {
        (Some(address), None) => vec![host_port("aerospike.address", &address.host, address.port.0)?],
        (None, Some(hosts)) => addresses("aerospike.hosts", hosts)?,
        (None, None) => {
            return Err(Fault::new(
                "aerospike",
                "one of `address` (host and port) and `hosts` (a list of HOST:PORT) is needed",
            ));
        }
        _ => return Err(Fault::new("aerospike", "only one of `address` and `hosts` is allowed")),
    };
    let mode = shape.auth_mode.unwrap_or(AuthMode::Internal);
    let login = match (shape.user, shape.password) {
        (None, None) => None,
        (Some(user), Some(SecretShape(password))) => {
            Some(Login { user, password: paths.secret(password), mode })
        }
        _ => return Err(Fault::new("aerospike", "`user` and `password` must be set together")),
    };
    let tls = tls_settings("aerospike.tls", shape.tls, paths)?;
    if mode == AuthMode::External && (login.is_none() || tls.is_none()) {
        let fault = "`external` needs `user` and `password`, and `tls`, because the password itself is sent";
        return Err(Fault::new("aerospike.auth-mode", fault));
    }
    let (ttl, own_ttl) = match shape.ttl {
        None => (ttl("aerospike.ttl", None)?, None),
        Some(TextOr::Text(text)) => (ttl("aerospike.ttl", Some(&text))?, None),
        Some(TextOr::Section(TtlFieldShape { field: Parsed(Pointer(field)), default })) => {
            let rule = TtlRule { field, is_required: default.is_none(), longest: LONGEST_TTL };
            (ttl("aerospike.ttl.default", default.as_deref())?, Some(rule))
        }
    };
    let settings = Settings {
        hosts,
        namespace: shape.namespace.0,
        set: set(shape.set)?,
        exists: shape.exists.unwrap_or(Exists::Replace),
        ttl,
        own_ttl,
        send_key: shape.send_key.is_some_and(|flag| flag.0),
        timeout: positive("aerospike.timeout", shape.timeout.map_or(SECOND, |Span(value)| value))?,
        connect_timeout,
        login,
        tls,
        use_alternate_addresses: shape.use_alternate_addresses.is_some_and(|flag| flag.0),
    };
    Ok((StoreSettings::Aerospike(settings), key_rule("aerospike.key", shape.key)?))
}

fn host_port(key: &str, host: &str, port: u64) -> Result<HostPort, Fault> {
    let bracketed =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    format!("{bracketed}:{port}").parse().map_err(|fault| Fault::new(key, fault))
}

fn set(shape: TextOr<SetFieldShape>) -> Result<x_msrv_aerospike::Set, Fault> {
    use x_msrv_aerospike::Set;
    match shape {
        TextOr::Text(name) => name.parse().map_err(|fault| Fault::new("aerospike.set", fault)),
        TextOr::Section(SetFieldShape { allowed: List(allowed), .. }) if allowed.is_empty() => {
            Err(Fault::new("aerospike.set.allowed", "the list is empty, at least one set is needed"))
        }
        TextOr::Section(SetFieldShape { field: Parsed(Pointer(field)), allowed: List(allowed) }) => {
            Ok(Set::OfField(SetRule {
                field,
                allowed: allowed.iter().map(|name| name.to_string().into()).collect(),
            }))
        }
    }
}

fn ttl(key: &str, text: Option<&str>) -> Result<x_msrv_aerospike::Ttl, Fault> {
    use x_msrv_aerospike::Ttl;
    match text {
        None | Some("namespace") => Ok(Ttl::Namespace),
        Some("never") => Ok(Ttl::Never),
        Some(text) => {
            let seconds = duration::parse(text)
                .and_then(|ttl| u32::try_from(ttl.as_secs()).ok())
                .and_then(NonZeroU32::new);
            // Above that the server refuses every record.
            let allowed = seconds.filter(|seconds| *seconds <= x_msrv_aerospike::LONGEST_TTL);
            allowed.map(Ttl::Seconds).ok_or_else(|| {
                let words = || format!("`{text}` is not `namespace`, `never` or a duration from 1s to 3650d");
                Fault::new(key, duration::calendar(text).unwrap_or_else(words))
            })
        }
    }
}

fn sqlite_store(shape: SqliteShape, paths: &Paths) -> Result<(StoreSettings, KeyRule), Fault> {
    let settings =
        x_msrv_sqlite::store::Settings { path: paths.state("sqlite.path", &shape.path)?, set: shape.set.0 };
    Ok((StoreSettings::Sqlite(settings), key_rule("sqlite.key", shape.key)?))
}

fn dead_letter_settings(
    shape: Option<DeadLetterShape>,
    source: &SourceSettings,
    timeout: Duration,
    paths: &Paths,
) -> Result<DeadLetterSettings, Fault> {
    let file_settings = |file: DeadLetterFileShape| {
        Ok(x_msrv_letters::file::Settings {
            path: paths.state(
                "dead-letter.file.path",
                file.path.as_deref().unwrap_or(&format!("{}{LETTERS}", paths.prefix)),
            )?,
            max_size: not_zero("dead-letter.file.max-size", file.max_size.map_or(100 << 20, |size| size.0))?
                .get(),
            max_files: file
                .max_files
                .map(|Whole(most)| not_zero("dead-letter.file.max-files", most))
                .transpose()?,
            max_age: file.max_age.map(|Span(age)| positive("dead-letter.file.max-age", age)).transpose()?,
        })
    };
    match shape.unwrap_or(DeadLetterShape::File(DeadLetterFileShape::default())) {
        DeadLetterShape::Log => Ok(DeadLetterSettings::Log),
        DeadLetterShape::File(file) => Ok(DeadLetterSettings::File(file_settings(file)?)),
        DeadLetterShape::Nsq(nsq) => {
            if matches!(source, SourceSettings::Nsq(source) if source.topic == nsq.topic.0) {
                let fault = format!(
                    "`{}` is the queue's own topic: dead letters would come back as messages",
                    nsq.topic.0
                );
                return Err(Fault::new("dead-letter.nsq.topic", fault));
            }
            let configured = match source {
                SourceSettings::Nsq(x_msrv_nsq::source::Settings {
                    servers: x_msrv_nsq::source::Servers::Nsqd(addresses),
                    ..
                }) => Some(addresses.clone()),
                _ => None,
            };
            let nsqd = match nsq.nsqd_tcp_address {
                Some(list) => addresses("dead-letter.nsq.nsqd-tcp-address", list)?,
                None => configured.ok_or_else(|| {
                    Fault::new(
                        "dead-letter.nsq",
                        "`nsqd-tcp-address` is needed, for the queue's own section names no nsqd",
                    )
                })?,
            };
            let queue = match source {
                SourceSettings::Nsq(queue) => Some(queue),
                SourceSettings::Sqlite(_) => None,
            };
            let auth_secret = match (nsq.auth_secret, &nsq.tls) {
                (Some(SecretShape(secret)), _) => Some(paths.secret(secret)),
                // Somewhere else than the queue, or less well kept: a secret goes there only when it is told
                // to.
                (None, Some(_)) => None,
                (None, None) => queue.and_then(|queue| queue.auth_secret.clone()),
            };
            let tls = match nsq.tls {
                None => queue.and_then(|queue| queue.tls.clone()),
                shape => tls_settings("dead-letter.nsq.tls", shape, paths)?,
            };
            let fallback = file_settings(DeadLetterFileShape::default())?;
            let channel =
                nsq.channel.map_or_else(|| "x-msrv".parse().expect("a name"), |Parsed(channel)| channel);
            let letters = x_msrv_nsq::dead_letter::Settings {
                nsqd,
                topic: nsq.topic.0,
                channel,
                auth_secret,
                tls,
                timeout,
            };
            Ok(DeadLetterSettings::Nsq(letters, fallback))
        }
    }
}

fn history_settings(
    shape: Option<OnOrSection<HistoryShape>>,
    paths: &Paths,
) -> Result<Option<history::Settings>, Fault> {
    /// Eleven days of runs that begin every 10 s; some 15 MB.
    const MAX_RUNS: u64 = 100_000;
    const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
    let shape = match shape {
        Some(OnOrSection(None)) => return Ok(None),
        Some(OnOrSection(Some(shape))) => shape,
        None => HistoryShape::default(),
    };
    Ok(Some(history::Settings {
        path: paths
            .state("history.path", shape.path.as_deref().unwrap_or(&format!("{}history.db", paths.prefix)))?,
        max_age: positive("history.max-age", shape.max_age.map_or(MAX_AGE, |Span(value)| value))?,
        max_runs: not_zero("history.max-runs", shape.max_runs.map_or(MAX_RUNS, |Whole(value)| value))?,
    }))
}

fn textfile(
    shape: Option<MetricsShape>,
    history: Option<&history::Settings>,
    paths: &Paths,
) -> Result<Option<PathBuf>, Fault> {
    const KEY: &str = "metrics.textfile";
    let Some(MetricsShape { textfile }) = shape else { return Ok(None) };
    if Path::new(&textfile).extension().is_none_or(|extension| extension != "prom") {
        // `collector/textfile.go` of node_exporter.
        return Err(Fault::new(
            KEY,
            format!("`{textfile}` does not end in .prom, and node_exporter passes over other files"),
        ));
    }
    if history.is_none() {
        return Err(Fault::new(
            KEY,
            "counters that survive runs are kept in the history, and `history` is false",
        ));
    }
    paths.state(KEY, &textfile).map(Some)
}

fn log_settings(shape: &LogShape) -> Result<LogSettings, Fault> {
    let level = match shape.level.unwrap_or(LevelShape::Info) {
        LevelShape::Error => LevelFilter::Error,
        LevelShape::Warn => LevelFilter::Warn,
        LevelShape::Info => LevelFilter::Info,
        LevelShape::Debug => LevelFilter::Debug,
    };
    let (target, format) =
        (shape.target.unwrap_or(LogTarget::Stderr), shape.format.unwrap_or(LogFormat::Text));
    if format == LogFormat::Json && target == LogTarget::Syslog {
        return Err(Fault::new("log.format", "`json` is for standard error, and `log.target` is `syslog`"));
    }
    Ok(LogSettings { level, target, format })
}
