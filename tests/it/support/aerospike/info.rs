//! Info requests: names in, one line `name<TAB>value` each out (`commands/info_command.rs`).
//!
//! The client asks for its own needs in `cluster/node_validator.rs`, `cluster/node.rs`,
//! `cluster/partition_tokenizer.rs` and `cluster/mod.rs`. The values are those of a CE server of one
//! node; what such a server does not have is answered with its error text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use super::storage::{MAX_RECORD_SIZE, NAMESPACE, Storage};

/// Server version told to clients.
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
        // The port is the one that peers have who do not name theirs: the default, whatever the server's own.
        "peers-clear-std" => "0,3000,[]".into(),
        // A server without TLS is not asked.
        "peers-tls-std" => "0,4333,[]".into(),
        "service-clear-std" | "service-tls-std" => address.to_string(),
        "peers-clear-alt" | "service-clear-alt" | "sindex-list" => String::new(),
        "peers-tls-alt" | "service-tls-alt" | "rack-ids" => "ERROR:25:enterprise only".into(),
        "replicas" => replicas(),
        "namespaces" => NAMESPACE.into(),
        "namespace" if arguments == NAMESPACE => namespace(storage),
        "namespace" => "type=unknown".into(),
        "sets" => sets(arguments, storage),
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
    format!(
        "ns_cluster_size=1;effective_replication_factor=1;objects={objects};tombstones=0;\
         master_objects={objects};prole_objects=0;dead_partitions=0;unavailable_partitions=0;\
         clock_skew_stop_writes=false;stop_writes=false;hwm_breached=false;\
         allow-ttl-without-nsup=true;default-ttl=0;max-record-size={MAX_RECORD_SIZE};\
         nsup-period=120;replication-factor=1;strong-consistency=false"
    )
}

/// `sets`, `sets/NAMESPACE`, `sets/NAMESPACE/SET`.
fn sets(arguments: &str, storage: &Storage) -> String {
    let (namespace, only) = match arguments.split_once('/') {
        Some((namespace, set)) => (namespace, Some(set)),
        None => (arguments, None),
    };
    if ![NAMESPACE, ""].contains(&namespace) {
        return "ns_type=unknown".into();
    }
    let mut objects: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, record) in storage.iter().filter(|(_, record)| !record.set.is_empty()) {
        *objects.entry(&record.set).or_default() += 1;
    }
    let told = objects.into_iter().filter(|(set, _)| only.is_none_or(|only| only == *set));
    let line = |(set, objects)| {
        format!(
            "ns={NAMESPACE}:set={set}:objects={objects}:tombstones=0:truncate_lut=0:sindexes=0:\
             truncating=false:default-ttl=0:enable-index=false:stop-writes-count=0:\
             stop-writes-size=0;"
        )
    };
    told.map(line).collect::<Vec<_>>().concat()
}

/// `truncate:namespace=NS;set=SET` and `truncate-namespace:namespace=NS`; a threshold (`lut`) is
/// not understood.
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
