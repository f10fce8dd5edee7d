//! Info requests: names in, one line `name<TAB>value` each out (`commands/info_command.rs`).
//!
//! The client asks for its own needs in `cluster/node_validator.rs`, `cluster/node.rs`,
//! `cluster/partition_tokenizer.rs` and `cluster/mod.rs`. The values are those of a CE server of one
//! node; what such a server does not have is answered with its error text.

use std::{fmt::Write as _, net::SocketAddr};

use super::storage::{Configuration, MAX_RECORD_SIZE, NAMESPACE, SetConfiguration, Storage};

/// The server version that clients receive.
const BUILD: &str = "8.1.2.0";
const NODE: &str = "BB9000000000001";
const FEATURES: &str = "batch-any;batch-index;blob-bits;cdt-index;cdt-list;cdt-map;cluster-stable;\
    float;geo;sindex-exists;peers;pipelining;pquery;pscans;query-show;relaxed-sc;replicas;\
    replicas-all;replicas-master;replicas-max;truncate-namespace;udf";

/// Answers every name of the request with `value`.
pub(super) fn answer_with(body: &[u8], mut value: impl FnMut(&str) -> String) -> Vec<u8> {
    let mut out = String::new();
    for name in String::from_utf8_lossy(body).lines() {
        writeln!(out, "{name}\t{}", value(name)).expect("a String takes all text");
    }
    out.into_bytes()
}

/// The value of one name, for a server at `address`.
pub(super) fn value(name: &str, storage: &mut Storage, address: SocketAddr) -> String {
    let (command, arguments) = name.split_once(['/', ':']).unwrap_or((name, ""));
    match command {
        "node" => NODE.into(),
        "build" => BUILD.into(),
        "edition" => "Aerospike Community Edition".into(),
        "version" => format!("Aerospike Community Edition build {BUILD}"),
        "features" => FEATURES.into(),
        "status" | "user-agent-set" => "ok".into(),
        "cluster-name" => "null".into(),
        "partition-generation" | "peers-generation" => "0".into(),
        "rebalance-generation" => "1".into(),
        // The port is the default for peers that do not name theirs, whatever port this server has.
        "peers-clear-std" => "0,3000,[]".into(),
        // A server without TLS is not asked for this name.
        "peers-tls-std" => "0,4333,[]".into(),
        "service-clear-std" | "service-tls-std" => address.to_string(),
        "peers-clear-alt" | "service-clear-alt" | "sindex-list" => String::new(),
        "peers-tls-alt" | "service-tls-alt" | "rack-ids" => "ERROR:25:enterprise only".into(),
        "replicas" => replicas(),
        "namespaces" => NAMESPACE.into(),
        "namespace" if arguments == NAMESPACE => namespace(storage),
        "namespace" => "type=unknown".into(),
        "sets" => sets(arguments, storage),
        "set-config" => set_config(arguments, storage),
        "truncate" | "truncate-namespace" => truncate(arguments, storage),
        _ => "ERROR:4:unrecognized command".into(),
    }
}

/// All 4096 partitions are mastered here: `ns:regime,replicas,bitmap`, the bitmap in base64.
fn replicas() -> String {
    let bitmap = format!("{}8=", "/".repeat(682)); // 512 bytes of 0xFF
    format!("{NAMESPACE}:0,1,{bitmap}")
}

fn namespace(storage: &Storage) -> String {
    let objects = storage.iter().count();
    let Configuration { nsup_period, default_ttl, reject_non_xdr_writes } = storage.configuration;
    format!(
        "ns_cluster_size=1;effective_replication_factor=1;objects={objects};tombstones=0;\
         master_objects={objects};prole_objects=0;dead_partitions=0;unavailable_partitions=0;\
         clock_skew_stop_writes=false;stop_writes=false;hwm_breached=false;\
         allow-ttl-without-nsup=false;conflict-resolve-writes=false;default-ttl={default_ttl};\
         max-record-size={MAX_RECORD_SIZE};nsup-period={nsup_period};\
         reject-non-xdr-writes={reject_non_xdr_writes};replication-factor=1;strong-consistency=false"
    )
}

/// `sets`, `sets/NAMESPACE`, `sets/NAMESPACE/SET`. The answer for one set does not name it.
fn sets(arguments: &str, storage: &Storage) -> String {
    let (namespace, only) = match arguments.split_once('/') {
        Some((namespace, set)) => (namespace, Some(set)),
        None => (arguments, None),
    };
    if ![NAMESPACE, ""].contains(&namespace) {
        return "ns_type=unknown".into();
    }
    let line = |(set, configuration): (&String, &SetConfiguration)| {
        let SetConfiguration { stop_writes_count, stop_writes_size } = configuration;
        let named = if only.is_some() { String::new() } else { format!("ns={NAMESPACE}:set={set}:") };
        let (objects, bytes) = storage.used(set);
        format!(
            "{named}objects={objects}:tombstones=0:data_used_bytes={bytes}:truncate_lut=0:sindexes=0:index_populating=false:\
             truncating=false:default-read-touch-ttl-pct=0:default-ttl=0:disable-eviction=false:enable-index=false:\
             stop-writes-count={stop_writes_count}:stop-writes-size={stop_writes_size};"
        )
    };
    storage.sets.iter().filter(|(set, _)| only.is_none_or(|only| only == *set)).map(line).collect()
}

/// `set-config:context=namespace;namespace=NS;NAME=VALUE`, with `set=SET` before a setting of the set.
fn set_config(arguments: &str, storage: &mut Storage) -> String {
    let pairs: Vec<_> = arguments.split(';').filter_map(|pair| pair.split_once('=')).collect();
    let set = pairs.iter().find(|pair| pair.0 == "set").map(|pair| pair.1);
    let (name, value) = *pairs.last().expect("a setting");
    let number = || value.parse::<u32>().expect("a number");
    match (name, set.map(|set| storage.sets.entry(set.to_owned()).or_default())) {
        ("nsup-period", None) => storage.configuration.nsup_period = number(),
        ("default-ttl", None) => storage.configuration.default_ttl = number(),
        ("reject-non-xdr-writes", None) => storage.configuration.reject_non_xdr_writes = value == "true",
        ("stop-writes-count", Some(set)) => set.stop_writes_count = number().into(),
        ("stop-writes-size", Some(set)) => set.stop_writes_size = number().into(),
        _ => return "ERROR:4:bad parameter".into(),
    }
    "ok".into()
}

/// `truncate:namespace=NS;set=SET` and `truncate-namespace:namespace=NS`; a threshold (`lut`) is not
/// supported.
fn truncate(arguments: &str, storage: &mut Storage) -> String {
    let argument = |name| {
        let pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|pair| pair.0 == name).map(|pair| pair.1)
    };
    if argument("lut").is_some() {
        return "ERROR:16:no lut here".into();
    }
    if argument("namespace") == Some(NAMESPACE) {
        storage.truncate(argument("set"));
    }
    "ok".into()
}
