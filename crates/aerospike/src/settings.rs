//! Aerospike in a configuration: the section `aerospike`.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use x_msrv_core::{
    adapter::{
        Adapter, Common, Existing, KeySetting, Names, Pointer, StoreFacts, StoreRole, section::StoreSection,
    },
    decode::{Placing, SetRule, TtlRule},
    record::Record,
    store::{Store, StoreError},
};
use x_msrv_net::{
    address::{HostPort, distinct},
    secret::Secret,
    tls,
};
use x_msrv_settings::{Kind, Reader, Settings as Keys, TextOr, duration, text_setting};

use crate::{AerospikeStore, AuthMode, Exists, LONGEST_TTL, Login, Name, Set, Settings, Ttl, values};

/// The name of a namespace.
type Namespace = Name<31>;

/// The name of a set.
type SetName = Name<63>;

text_setting!(Namespace, Kind::Text);
text_setting!(SetName, Kind::Text);
text_setting!(Ttl, Kind::WordOr(&["namespace", "never"], &Kind::Span));

/// Aerospike as store.
pub static ADAPTER: Adapter = Adapter {
    name: "Aerospike",
    feature: "aerospike",
    summary: "A set of an Aerospike cluster; each field of a message is a bin.",
    source: None,
    store: Some(StoreRole::of::<StoreKeys>()),
    letters: None,
};

/// The store is Aerospike; exactly one section of a store is required.
///
/// Each field of a message becomes a bin, and the bin `gid` holds the record's key. A field that is null is left
/// out. A message with a field whose name is empty or has over 15 bytes becomes a dead letter; see
/// `fields.on-long-name`.
#[derive(Debug, Clone, Keys)]
#[setting(section = "aerospike")]
struct StoreKeys {
    /// One node by host and port, which names the others; or `hosts`.
    #[setting(example = "{host: db, port: 3000}")]
    address: Option<AddressKeys>,
    /// Several nodes to start from. Used instead of `address`.
    #[setting(
        min = 1,
        example = "[\"db:3000\"]",
        flag = "aerospike",
        ask = "Aerospike, as HOST:PORT; several with commas between them",
        suggest = "localhost:3000"
    )]
    hosts: Option<Vec<HostPort>>,
    /// The namespace; it must exist. 1 to 31 bytes without `:` and `;`.
    #[setting(example = "test", flag = "namespace", ask = "namespace; it must exist", suggest = "test")]
    namespace: Namespace,
    /// The set, which the server creates: a name of 1 to 63 bytes without `:` and `;`, or a section that takes it
    /// from a field of the message.
    ///
    /// If the namespace already has as many sets as the server allows (4095), the run exits with 78. A full
    /// set (`stop-writes-count`, `stop-writes-size`) is an outage: messages wait in the queue, and the run
    /// exits with 75.
    #[setting(example = "orders", flag = "set", ask = "set in Aerospike", subject)]
    set: TextOr<SetName, SetKeys>,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
    /// What happens to an existing record.
    #[setting(default = "replace")]
    exists: Exists,
    /// How long a record lives: `namespace` (as the namespace says), `never` (for ever), a duration from 1 s to
    /// 3650 days, or a section that takes it from a field of the message.
    ///
    /// The namespace must remove expired records (`nsup-period`) or allow records to stay
    /// (`allow-ttl-without-nsup`); otherwise the run takes no message and exits with 78.
    #[setting(default = "namespace", example = "30d")]
    ttl: TextOr<Ttl, TtlKeys>,
    /// Whether the server stores the key itself beside its digest.
    #[setting(default = "false")]
    send_key: bool,
    /// Time limit for writing a batch of records.
    #[setting(default = "1s")]
    timeout: Duration,
    /// The user, if the server requires a login (Enterprise Edition). It needs `password`.
    #[setting(example = "x-msrv")]
    user: Option<String>,
    /// The user's password; a secret.
    #[setting(example = "{file: aerospike.secret}")]
    password: Option<Secret>,
    /// Where the password of `user` is verified.
    #[setting(words = "`internal`", example = "external")]
    auth_mode: Option<AuthMode>,
    /// Whether connections to all nodes are encrypted: `true`, `false` or a section. The TLS port is a
    /// different one, often 4333.
    ///
    /// `server-name` is the name that the certificates of the configured nodes must contain, which the server
    /// calls `tls-name`. These nodes announce the names of the others.
    #[setting(default = "false", example = "{ca-file: ca.pem, server-name: db.example}")]
    tls: tls::Section,
    /// Whether to connect to nodes by their `alternate-access-address` instead of their `access-address`, as
    /// a network that translates addresses (NAT) requires.
    #[setting(default = "false")]
    use_alternate_addresses: bool,
}

/// The keys of `aerospike.address`.
#[derive(Debug, Clone, Keys)]
struct AddressKeys {
    /// The node's name or address.
    #[setting(example = "db")]
    host: String,
    /// Its port.
    #[setting(example = "3000")]
    port: u64,
}

/// The keys of `aerospike.set`.
#[derive(Debug, Clone, PartialEq, Keys)]
struct SetKeys {
    /// A JSON pointer to the field of the message, as it was published, that names the record's set.
    #[setting(example = "/type")]
    field: Pointer,
    /// The sets that the field may name. A message without the field, or with another value, becomes a dead
    /// letter (`no-set`).
    #[setting(min = 1, example = "[orders, returns]")]
    allowed: Vec<SetName>,
}

/// The keys of `aerospike.ttl`.
#[derive(Debug, Clone, PartialEq, Keys)]
struct TtlKeys {
    /// A JSON pointer to the field of the message, as it was published, that holds the record's lifetime in
    /// seconds: a whole number, at most 3650 days.
    ///
    /// A message with any other value becomes a dead letter (`no-ttl`), and so does one without the field,
    /// unless there is a default.
    #[setting(example = "/expires-in")]
    field: Pointer,
    /// How long a record lives if the field is missing or null: `namespace`, `never`, or a duration. Without
    /// this key such a message becomes a dead letter.
    #[setting(example = "never")]
    default: Option<Ttl>,
}

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "namespace" => Ok(Self::Namespace),
            "never" => Ok(Self::Never),
            text => {
                let seconds = duration::parse(text)
                    .and_then(|ttl| u32::try_from(ttl.as_secs()).ok())
                    .and_then(NonZeroU32::new);
                // Above that the server refuses every record.
                let allowed = seconds.filter(|seconds| *seconds <= LONGEST_TTL);
                allowed.map(Self::Seconds).ok_or_else(|| {
                    let words =
                        || format!("`{text}` is not `namespace`, `never` or a duration from 1s to 3650d");
                    duration::calendar(text).unwrap_or_else(words)
                })
            }
        }
    }
}

/// As it can be written in a configuration.
impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("namespace"),
            Self::Never => f.write_str("never"),
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl StoreSection for StoreKeys {
    const FACTS: StoreFacts = StoreFacts {
        word: "aerospike",
        idempotence: "writes the same record",
        limits: "field names of 15 bytes, records of 1 MiB by default",
        tls: "yes",
        login: "user and password",
    };

    type Settings = Settings;

    fn settings(&mut self, reader: &mut Reader<'_>, common: &Common) -> Option<Settings> {
        let hosts = hosts(self, reader);
        let login = login(self, reader);
        let tls = self.tls.settings();
        if self.auth_mode == Some(AuthMode::External) && (login.is_none() || tls.is_none()) {
            let fault =
                "`external` needs `user` and `password`, and `tls`, because the password itself is sent";
            reader.fault_at("auth-mode", fault);
        }
        let (ttl, own_ttl) = match &self.ttl {
            TextOr::Text(ttl) => (*ttl, None),
            TextOr::Section(TtlKeys { field: Pointer(field), default }) => {
                let is_required = default.is_none();
                let rule = TtlRule { field: field.clone(), is_required, longest: LONGEST_TTL };
                (default.unwrap_or(Ttl::Namespace), Some(rule))
            }
        };
        let set = match &self.set {
            TextOr::Text(name) => Set::Named(name.clone()),
            TextOr::Section(SetKeys { field: Pointer(field), allowed }) => {
                let allowed = allowed.iter().map(|name| name.to_string().into()).collect();
                Set::OfField(SetRule { field: field.clone(), allowed })
            }
        };
        // Without a login it has no meaning, and is not told.
        self.auth_mode = self.auth_mode.filter(|_| login.is_some());
        let hosts = hosts?;
        (self.address, self.hosts) = (None, Some(hosts.clone()));
        Some(Settings {
            hosts,
            namespace: self.namespace.clone(),
            set,
            exists: self.exists,
            ttl,
            own_ttl,
            send_key: self.send_key,
            timeout: self.timeout,
            connect_timeout: common.connect_timeout,
            login,
            tls,
            use_alternate_addresses: self.use_alternate_addresses,
        })
    }

    fn key(&self) -> &KeySetting {
        &self.key
    }

    async fn connect(settings: &Settings) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(AerospikeStore::connect(settings).await?))
    }

    async fn existing(settings: &Settings) -> Result<Existing, StoreError> {
        let store = AerospikeStore::connect_to_existing(settings).await?;
        Ok(Ok(Box::new(store)))
    }

    async fn probe(settings: &Settings) -> Result<String, StoreError> {
        AerospikeStore::probe(settings).await
    }

    fn placing(settings: &Settings) -> Placing {
        let set = match &settings.set {
            Set::OfField(rule) => Some(rule.clone()),
            Set::Named(_) => None,
        };
        Placing { set, ttl: settings.own_ttl.clone() }
    }

    fn names() -> Names {
        Names { longest: Some(values::MAX_BIN_NAME), check: values::check_name }
    }

    fn check_record(_: &Settings, record: &Record) -> Result<(), String> {
        values::bins(record.clone()).map(drop)
    }
}

fn hosts(keys: &StoreKeys, reader: &mut Reader<'_>) -> Option<Vec<HostPort>> {
    match (&keys.address, &keys.hosts) {
        (Some(AddressKeys { host, port }), None) => {
            let is_bare = host.contains(':') && !host.starts_with('[');
            let host = if is_bare { format!("[{host}]") } else { host.clone() };
            let address = format!("{host}:{port}").parse();
            address
                .map(|address| vec![address])
                .map_err(|fault: String| reader.fault_at("address", fault))
                .ok()
        }
        (None, Some(hosts)) => Some(distinct(hosts.clone())),
        (None, None) => {
            reader.fault("one of `address` (host and port) and `hosts` (a list of HOST:PORT) is required");
            None
        }
        _ => {
            reader.fault("only one of `address` and `hosts` is allowed");
            None
        }
    }
}

/// Returns the login; the mode is shown only with one.
fn login(keys: &mut StoreKeys, reader: &mut Reader<'_>) -> Option<Login> {
    match (&keys.user, &keys.password) {
        (None, None) => None,
        (Some(user), Some(password)) => {
            let mode = *keys.auth_mode.get_or_insert(AuthMode::Internal);
            Some(Login { user: user.clone(), password: password.clone(), mode })
        }
        _ => {
            reader.fault("`user` and `password` must be set together");
            None
        }
    }
}
