//! Info requests, and the client's view of the cluster from them.

use std::time::Duration;

use aerospike::{AdminPolicy, Bins, QueryPolicy, ResultCode, as_bin};

use super::fixture::{Fixture, write_policy};

/// Without a complete partition map the client has no target for its requests.
#[tokio::test]
async fn the_client_sees_one_node_with_every_partition() {
    let fixture = Fixture::new("cluster").await;
    assert!(fixture.client.is_connected());
    assert_eq!(fixture.client.nodes().len(), 1);
    assert!(fixture.client.partition_map_complete());
    assert_eq!(fixture.client.is_strong_consistency("test"), Some(false));
}

/// The store reads limits of the namespace in this way.
#[tokio::test]
async fn info_requests_of_a_user_are_answered() {
    let fixture = Fixture::new("infos").await;
    fixture.put(&fixture.key(1), &[as_bin!("a", 1)]).await;
    assert_eq!(fixture.info("status").await, "ok");
    assert_eq!(fixture.info("edition").await, "Aerospike Community Edition");
    assert!(fixture.info("build").await.starts_with("8.1."));
    assert!(fixture.info("version").await.starts_with("Aerospike Community Edition build 8.1."));
    assert!(fixture.info("features").await.contains("batch-any;"));
    assert_eq!(fixture.info("namespaces").await, "test");
    assert_eq!(fixture.info("service-clear-std").await, fixture.host);
    assert_eq!(fixture.info("partition-generation").await, "0");
    assert_eq!(fixture.info("peers-generation").await, "0");
    assert_eq!(fixture.info("peers-clear-std").await, "0,3000,[]");
    assert_eq!(fixture.info("rack-ids").await, "ERROR:25:enterprise only");
    assert_eq!(fixture.info("nonsense").await, "ERROR:4:unrecognized command");
    assert_eq!(fixture.info("namespace/nowhere").await, "type=unknown");
    let namespace = fixture.info("namespace/test").await;
    for setting in [
        "stop_writes=false",
        "clock_skew_stop_writes=false",
        "max-record-size=1048576",
        "default-ttl=0",
        "allow-ttl-without-nsup=false",
        "conflict-resolve-writes=false",
        "reject-non-xdr-writes=false",
    ] {
        assert!(namespace.split(';').any(|pair| pair == setting), "{setting} in {namespace}");
    }
    let sets = fixture.info("sets/test").await;
    assert!(sets.contains(&format!("ns=test:set={}:objects=1:", fixture.set)), "{sets}");
    let one = fixture.info(&format!("sets/test/{}", fixture.set)).await;
    assert!(
        one.starts_with("objects=1:") && one.ends_with(":stop-writes-count=0:stop-writes-size=0;"),
        "{one}"
    );
    assert_eq!(fixture.info("sets/test/nowhere").await, "");
    assert_eq!(fixture.info("sets/nowhere").await, "ns_type=unknown");
    assert!(fixture.info("replicas").await.starts_with("test:0,1,//////////"));
}

/// A set with too many records accepts no new ones; a set with too many bytes accepts no writes at all.
#[tokio::test]
async fn a_set_with_a_limit_refuses_writes_over_it() {
    let fixture = Fixture::new("bounded").await;
    let put = async |key| fixture.put_code(&write_policy(), &fixture.key(key), &[as_bin!("a", 1)]).await;
    let configure = async |setting: &str| {
        let command = format!("set-config:context=namespace;namespace=test;set={};{setting}", fixture.set);
        assert_eq!(fixture.info(&command).await, "ok");
    };
    assert_eq!(put(1).await, ResultCode::Ok);
    configure("stop-writes-count=1").await;
    assert_eq!((put(2).await, put(1).await), (ResultCode::FailForbidden, ResultCode::Ok));
    configure("stop-writes-count=0").await;
    configure("stop-writes-size=1").await;
    assert_eq!((put(2).await, put(1).await), (ResultCode::FailForbidden, ResultCode::FailForbidden));
    configure("stop-writes-size=0").await;
    assert_eq!(put(2).await, ResultCode::Ok);
}

/// The server accepts a truncation at once and carries it out soon. It keeps records written in the same
/// millisecond, hence the repetition.
#[tokio::test]
async fn a_truncated_set_is_empty() {
    let fixture = Fixture::new("truncated").await;
    fixture.put(&fixture.key(1), &[as_bin!("a", 1)]).await;
    let emptied = async {
        while !fixture.query(&QueryPolicy::default(), Bins::All).await.is_empty() {
            let policy = AdminPolicy::default();
            fixture.client.truncate(&policy, "test", &fixture.set, 0).await.expect("truncates");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), emptied).await.expect("is empty soon");
}
