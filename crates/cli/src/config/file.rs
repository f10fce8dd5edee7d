//! The shape of the configuration file. Names and nothing else: what they mean is decided in `settings`, and
//! that a key which is there has a value is seen to in `layers`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::scalar::{
    Flag, List, OnOrSection, Parsed, PlaceShape, Pointer, SecretShape, Size, Span, Table, TextOr, Whole,
};
use x_msrv_aerospike::{AuthMode, Exists, Name};
use x_msrv_core::decode::{BigIntegers, ContentEncoding, OnLongName, Path};
use x_msrv_net::{address::HostPort, tls};
use x_msrv_nsq::client::name::{ChannelName, TopicName};

pub(crate) use x_msrv_sqlite::store::TableName;

/// A namespace of Aerospike's.
pub(crate) type Namespace = Name<31>;

/// A set of Aerospike's.
pub(crate) type SetName = Name<63>;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct FileShape {
    pub(super) timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) shutdown_timeout: Option<Span>,
    pub(super) period: Option<Span>,
    pub(super) max_messages: Option<Whole>,
    pub(super) max_attempts: Option<Whole>,
    pub(super) max_message_size: Option<Size>,
    pub(super) content_encoding: Option<ContentEncoding>,
    pub(super) big_integers: Option<BigIntegers>,
    pub(super) schema: Option<String>,
    pub(super) fields: Option<FieldsShape>,
    pub(super) nsq: Option<NsqShape>,
    pub(super) embedded_queue: Option<EmbeddedQueueShape>,
    pub(super) aerospike: Option<AerospikeShape>,
    pub(super) sqlite: Option<SqliteShape>,
    pub(super) dead_letter: Option<DeadLetterShape>,
    pub(super) history: Option<OnOrSection<HistoryShape>>,
    pub(super) metrics: Option<MetricsShape>,
    pub(super) log: Option<LogShape>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct FieldsShape {
    pub(super) include: Option<List<Path>>,
    pub(super) exclude: Option<List<Path>>,
    pub(super) flatten: Option<String>,
    #[cfg_attr(test, schemars(with = "Option<std::collections::BTreeMap<String, String>>"))]
    pub(super) rename: Option<Table>,
    pub(super) constant: Option<Table>,
    #[cfg_attr(
        test,
        schemars(with = "Option<std::collections::BTreeMap<String, x_msrv_core::decode::Metadata>>")
    )]
    pub(super) metadata: Option<Table>,
    pub(super) on_long_name: Option<OnLongName>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct NsqShape {
    pub(super) nsqd_tcp_address: Option<List<HostPort>>,
    pub(super) lookupd_http_address: Option<List<HostPort>>,
    pub(super) topic: Parsed<TopicName>,
    pub(super) channel: Option<Parsed<ChannelName>>,
    pub(super) max_in_flight: Option<Whole>,
    pub(super) max_messages: Option<Whole>,
    pub(super) auth_secret: Option<SecretShape>,
    pub(super) tls: Option<OnOrSection<TlsShape>>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "true, false, or a section with keys of its own"
)]
pub(super) struct TlsShape {
    pub(super) ca_file: Option<String>,
    pub(super) certificate: Option<PlaceShape>,
    pub(super) key: Option<SecretShape>,
    pub(super) server_name: Option<Parsed<tls::Name>>,
    pub(super) insecure_skip_verify: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct EmbeddedQueueShape {
    pub(super) path: String,
    pub(super) lease_timeout: Option<Span>,
    pub(super) max_in_flight: Option<Whole>,
    pub(super) max_messages: Option<Whole>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct AerospikeShape {
    pub(super) address: Option<AddressShape>,
    pub(super) hosts: Option<List<HostPort>>,
    pub(super) namespace: Parsed<Namespace>,
    pub(super) set: TextOr<SetFieldShape>,
    pub(super) key: Option<KeyShape>,
    pub(super) exists: Option<Exists>,
    #[cfg_attr(test, schemars(with = "Option<super::schema::TtlOrField>"))]
    pub(super) ttl: Option<TextOr<TtlFieldShape>>,
    pub(super) send_key: Option<Flag>,
    pub(super) timeout: Option<Span>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretShape>,
    pub(super) auth_mode: Option<AuthMode>,
    pub(super) tls: Option<OnOrSection<TlsShape>>,
    pub(super) use_alternate_addresses: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "text, or a section with keys of its own"
)]
pub(super) struct SetFieldShape {
    pub(super) field: Parsed<Pointer>,
    pub(super) allowed: List<SetName>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "text, or a section with keys of its own"
)]
pub(super) struct TtlFieldShape {
    pub(super) field: Parsed<Pointer>,
    #[cfg_attr(test, schemars(with = "Option<super::schema::Ttl>"))]
    pub(super) default: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct AddressShape {
    pub(super) host: String,
    pub(super) port: Whole,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct SqliteShape {
    pub(super) path: String,
    pub(super) set: Parsed<TableName>,
    pub(super) key: Option<KeyShape>,
}

/// `message`, `body-hash`, `field: /json/pointer` or `fields: [/json/pointer, …]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    rename_all = "kebab-case",
    expecting = "`message`, `body-hash`, `field: /json/pointer` or `fields: [/json/pointer, …]`"
)]
pub(super) enum KeyShape {
    Message,
    BodyHash,
    Field(String),
    Fields(List<Pointer>),
}

/// `log`, `file: …` or `nsq: …`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum DeadLetterShape {
    Log,
    File(DeadLetterFileShape),
    Nsq(DeadLetterNsqShape),
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct DeadLetterFileShape {
    pub(super) path: Option<String>,
    pub(super) max_size: Option<Size>,
    pub(super) max_files: Option<Whole>,
    pub(super) max_age: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct DeadLetterNsqShape {
    pub(super) nsqd_tcp_address: Option<List<HostPort>>,
    pub(super) topic: Parsed<TopicName>,
    pub(super) channel: Option<Parsed<ChannelName>>,
    pub(super) auth_secret: Option<SecretShape>,
    pub(super) tls: Option<OnOrSection<TlsShape>>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "true, false, or a section with keys of its own"
)]
pub(super) struct HistoryShape {
    pub(super) path: Option<String>,
    pub(super) max_age: Option<Span>,
    pub(super) max_runs: Option<Whole>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct MetricsShape {
    pub(super) textfile: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a section with keys of its own")]
pub(super) struct LogShape {
    pub(super) level: Option<LevelShape>,
    pub(super) target: Option<super::LogTarget>,
    pub(super) format: Option<super::LogFormat>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum LevelShape {
    Error,
    Warn,
    Info,
    Debug,
}

/// The paths of all keys below `path`, from serde's own errors: asked for a key that nobody has, it lists
/// those that there are.
pub(super) fn keys(path: &[String]) -> Vec<String> {
    let tree = path.iter().rfold(json!({ "?": null }), |below, key| {
        Value::Object([(key.clone(), below)].into_iter().collect())
    });
    // By the deserializer that reads the configuration: another one would be another copy of all of this in
    // the program.
    let Err(error) = serde_path_to_error::deserialize::<_, FileShape>(&tree) else { return Vec::new() };
    let error = error.inner().to_string();
    let is_section = error.starts_with("unknown field `?`");
    if !is_section && !error.starts_with("unknown variant `?`") {
        return Vec::new();
    }
    let known = error.split('`').skip(1).step_by(2).skip(1);
    let below = known.flat_map(|key| {
        let path = [path, &[key.to_owned()]].concat();
        // A choice is a value; only what stands below it can be a key.
        let itself = is_section.then(|| path.join("."));
        itself.into_iter().chain(keys(&path)).collect::<Vec<_>>()
    });
    below.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that no page tells would be found by reading the code only.
    #[test]
    fn every_key_stands_in_the_man_page_and_in_the_reference() {
        let keys = keys(&[]);
        for known in [
            "timeout",
            "nsq.max-in-flight",
            "aerospike.address.port",
            "dead-letter.file.max-size",
            "log.level",
        ] {
            assert!(keys.iter().any(|key| key == known), "{known} is not among {keys:?}");
        }
        let page = include_str!("../../../../man/x-msrv.yml.5").replace("\\-", "-");
        let tags: Vec<_> = page.split(".TP\n.B ").skip(1).filter_map(|entry| entry.lines().next()).collect();
        let table =
            include_str!("../../../../docs/configuration.md").lines().filter(|line| line.starts_with('|'));
        let rows: Vec<_> = table.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
        let missing = |words: &[&str]| {
            keys.iter().filter(|key| !words.contains(&key.as_str())).cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            (missing(&tags), missing(&rows)),
            (Vec::new(), Vec::new()),
            "missing in the man page, and in docs/configuration.md"
        );
    }
}
