//! Info requests and what the client learns from them.

use std::time::Duration;

use aerospike::{AdminPolicy, Bins, QueryPolicy, as_bin};

use super::fixture::Fixture;

#[tokio::test]
async fn the_client_sees_one_node_that_has_every_partition() {
    let fixture = Fixture::new("cluster").await;
    assert!(fixture.client.is_connected());
    assert_eq!(fixture.client.nodes().len(), 1);
    assert!(fixture.client.partition_map_complete());
    assert_eq!(fixture.client.is_strong_consistency("test"), Some(false));
}

#[tokio::test]
async fn names_that_a_user_asks_for_are_answered() {
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
    for setting in ["stop_writes=false", "max-record-size=1048576", "default-ttl=0"] {
        assert!(namespace.split(';').any(|pair| pair == setting), "{setting} in {namespace}");
    }
    let sets = fixture.info("sets/test").await;
    assert!(sets.contains(&format!("ns=test:set={}:objects=1:", fixture.set)), "{sets}");
    let one = fixture.info(&format!("sets/test/{}", fixture.set)).await;
    assert!(one.contains("objects=1:"), "{one}");
    assert_eq!(fixture.info("sets/nowhere").await, "ns_type=unknown");
    assert!(fixture.info("replicas").await.starts_with("test:0,1,//////////"));
}

/// The server takes a truncation at once and carries it out soon. It spares what was written in the
/// same millisecond, hence the repetition.
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
