//! Keys of several fields, and the set and lifetime of a record in Aerospike taken from fields of the
//! message: from the configuration to the server.

use serde_json::{Value, json};
use x_msrv_net::address::HostPort;

use crate::support::{
    aerospike::StandIn,
    block_on,
    nsqd::Nsqd,
    program::{Ended, Program},
    real_aerospike, wait_until,
};

/// From nsqd into the stand-in, or into the server at `host`, in separate sets.
struct Scene {
    nsqd: Nsqd,
    stand_in: StandIn,
    program: Program,
    /// The prefix of the sets' names.
    sets: String,
}

impl Scene {
    fn new(host: Option<HostPort>, more: &str) -> Self {
        let stand_in = block_on(StandIn::start());
        let host = host.unwrap_or_else(|| stand_in.address().to_string().parse().expect("an address"));
        let sets = format!("{:08x}-", fastrand::u32(..));
        let nsqd = Nsqd::start();
        let program = Program::new(&format!(
            "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nmax-messages: 100\nidle-timeout: 300ms\n\
             aerospike: {{hosts: ['{host}'], namespace: test, set: {{field: /meta/type, allowed: [{sets}a, {sets}b]}}, key: {{field: /id}}, {more}}}\n\
             fields: {{exclude: [meta, ttl]}}\n",
            nsqd.tcp
        ));
        Self { nsqd, stand_in, program, sets }
    }

    fn publish(&self, bodies: &[Value]) {
        self.nsqd.publish(
            "t",
            bodies
                .iter()
                .map(|body| body.to_string().replace("\"type\":\"", &format!("\"type\":\"{}", self.sets))),
        );
    }

    fn stored(&self, set: &str) -> Vec<crate::support::aerospike::StoredRecord> {
        self.stand_in.records(&format!("{}{set}", self.sets))
    }
}

fn ids(records: &Ended) -> Vec<i64> {
    assert_eq!(records.code, Some(0), "{}", records.stderr);
    let id = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_i64().expect("an id");
    let mut ids: Vec<_> = records.stdout.lines().map(id).collect();
    ids.sort_unstable();
    ids
}

/// Fields that are not stored count as well: the published message decides.
#[test]
fn each_record_is_stored_in_the_set_named_by_its_message_and_a_message_without_one_is_a_dead_letter() {
    let scene = Scene::new(real_aerospike(), "");
    let message = |id: u32, kind: &str| json!({"id": id, "meta": {"type": kind}});
    scene.publish(&[
        message(1, "a"),
        message(2, "b"),
        message(3, "a"),
        message(4, "c"),
        json!({"id": 5}),
        json!({"id": 6, "meta": {"type": 7}}),
    ]);
    let report = scene.program.drain(&[]);
    assert_eq!((&report["stored"], &report["reasons"]["no-set"]), (&json!(3), &json!(3)), "{report}");
    let letters = scene.program.letters();
    let details: Vec<_> = letters.iter().map(|letter| letter["detail"].as_str().expect("text")).collect();
    let words = ["names a set that is not allowed", "is missing", "is not text"];
    assert_eq!(details, words.map(|words| format!("the set field /meta/type {words}")));
    assert_eq!(ids(&scene.program.run(&["records"])), [1, 2, 3], "of all sets");
    assert_eq!(ids(&scene.program.run(&["records", "--limit", "2"])).len(), 2);
    if real_aerospike().is_none() {
        assert_eq!((scene.stored("a").len(), scene.stored("b").len()), (2, 1));
    }
    // A redelivered message updates the same record in the same set.
    scene.publish(&[message(1, "a")]);
    assert_eq!(scene.program.drain(&[])["stored"], 1);
    assert_eq!(ids(&scene.program.run(&["records"])), [1, 2, 3]);
}

/// Otherwise a record could live forever or expire too early.
#[test]
fn each_record_has_the_ttl_of_its_message_or_the_message_is_a_dead_letter() {
    for (ttl, stored, rejected) in [("{field: /ttl}", 1, 4), ("{field: /ttl, default: never}", 3, 2)] {
        let scene = Scene::new(None, &format!("ttl: {ttl}"));
        let message = |id: u32, ttl: Value| json!({"id": id, "ttl": ttl, "meta": {"type": "a"}});
        scene.publish(&[
            message(1, json!(3_600)),
            message(2, json!(0)),
            message(3, json!("1h")),
            message(4, json!(null)),
            json!({"id": 5, "meta": {"type": "a"}}),
        ]);
        let report = scene.program.drain(&[]);
        assert_eq!(
            (&report["stored"], &report["reasons"]["no-ttl"]),
            (&json!(stored), &json!(rejected)),
            "{report}"
        );
        let mut lives: Vec<_> = scene.stored("a").iter().map(|record| record.ttl).collect();
        lives.sort_unstable();
        assert!(lives.pop().flatten().is_some_and(|ttl| (3_590..=3_600).contains(&ttl)), "the first one");
        assert!(lives.iter().all(Option::is_none), "no expiry by default: {lives:?}");
    }
}

/// Otherwise a user could test these settings only with a server.
#[test]
fn a_sample_shows_its_set_and_ttl() {
    let scene = Scene::new(None, "ttl: {field: /ttl, default: never}");
    let sample = format!("{{\"id\":1,\"ttl\":60,\"meta\":{{\"type\":\"{}a\"}}}}\n", scene.sets);
    let tried = scene.program.run_with_input(&["try", "--json"], sample.as_bytes());
    let tried: Value = serde_json::from_str(&tried.stdout).expect("JSON");
    assert_eq!(
        tried,
        json!({"line": 1, "key": 1, "set": format!("{}a", scene.sets), "ttl": 60, "record": {"id": 1}})
    );
    let shown = scene.program.run_with_input(&["try"], sample.as_bytes()).stdout;
    assert_eq!(shown, format!("line 1, set {}a, TTL 60 s: {{\"gid\":1,\"id\":1}}\n", scene.sets));
}

/// A full set must not block messages for another.
#[test]
fn a_full_set_requeues_only_its_own_messages() {
    let scene = Scene::new(None, "");
    let message = |id: u32, kind: &str| json!({"id": id, "meta": {"type": kind}});
    scene.publish(&[message(1, "a"), message(2, "b")]);
    assert_eq!(scene.program.drain(&[])["stored"], 2);
    scene.stand_in.configure(&format!("set={}a;stop-writes-count=1", scene.sets));
    scene.publish(&[message(3, "a"), message(4, "b"), message(5, "a")]);
    let ended = scene.program.run(&["run", "--report", "json"]);
    let report = ended.report();
    assert_eq!(
        (ended.code, &report["stored"], &report["deferred"]),
        (Some(75), &json!(1), &json!(2)),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains(&format!("set `{}a` is full", scene.sets)), "{}", ended.stderr);
    assert_eq!(scene.program.run(&["check", "--connect"]).code, Some(75));
    scene.stand_in.configure(&format!("set={}a;stop-writes-count=0", scene.sets));
    wait_until("the delay is over", || scene.nsqd.depths("t").waiting == 2);
    assert_eq!(scene.program.drain(&[])["stored"], 2);
}

/// Existing sets accept records, even if there is no room for another set.
#[test]
fn a_set_that_cannot_be_created_is_a_setup_fault_and_costs_no_message() {
    let scene = Scene::new(None, "");
    let message = |id: u32, kind: &str| json!({"id": id, "meta": {"type": kind}});
    scene.publish(&[message(1, "a")]);
    assert_eq!(scene.program.drain(&[])["stored"], 1);
    scene.stand_in.use_up_set_names();
    scene.publish(&[message(2, "a"), message(3, "b"), message(4, "a")]);
    let ended = scene.program.run(&["run", "--report", "json"]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("cannot create set `{}b`", scene.sets)), "{}", ended.stderr);
    assert!(scene.program.letters().is_empty());
    let depths = scene.nsqd.depths("t");
    assert_eq!(
        (depths.waiting, depths.deferred, depths.in_flight),
        (1, 0, 0),
        "the others are stored: {}",
        ended.stderr
    );
}

/// Joined by a colon or a slash, two keys would be one record, and one message would be lost.
#[test]
fn a_key_of_several_fields_distinguishes_values_that_joined_text_would_merge() {
    let program = Program::new(
        "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s, key: {fields: [/tenant, /id]}}\n",
    );
    let bodies = [
        "{\"tenant\":\"a\",\"id\":\"b:c\"}",
        "{\"tenant\":\"a:b\",\"id\":\"c\"}",
        "{\"tenant\":\"a\",\"id\":7}",
        "{\"tenant\":\"a\"}",
    ];
    program.run_with_input(&["send"], bodies.join("\n").as_bytes());
    let report = program.drain(&[]);
    assert_eq!((&report["stored"], &report["reasons"]["no-key"]), (&json!(3), &json!(1)), "{report}");
    assert_eq!(program.letters()[0]["detail"], "the key field /id is missing");
    let keys: Vec<_> = program.rows("s").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [r#"["a","b:c"]"#, r#"["a:b","c"]"#, r#"["a",7]"#]);
}

fn check(aerospike: &str) -> Ended {
    Program::new(&format!(
        "embedded-queue: {{path: q}}\naerospike: {{hosts: ['h:3000'], namespace: test, {aerospike}}}\n"
    ))
    .run(&["check"])
}

/// Otherwise a user could not copy the output into a configuration.
#[test]
fn keys_taken_from_fields_are_shown_in_a_form_that_loads() {
    let shown = check(
        "set: {field: /a, allowed: [x, y]}, ttl: {field: /t}, key: {fields: [/a, /b]}, use-alternate-addresses: true",
    );
    for line in [
        "aerospike.set: {field: /a, allowed: [x, y]}\n",
        "aerospike.ttl: {field: /t}\n",
        "aerospike.key: {fields: [/a, /b]}\n",
        "aerospike.use-alternate-addresses: true\n",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}{}", shown.stdout, shown.stderr);
    }
    assert!(
        check("set: s, ttl: {field: /t, default: 2h}")
            .stdout
            .contains("aerospike.ttl: {field: /t, default: 7200s}\n")
    );
}

/// Otherwise every message would become a dead letter.
#[test]
fn keys_that_no_message_could_supply_are_a_fault_of_the_configuration() {
    let faults = [
        ("set: {field: type, allowed: [a]}", "aerospike.set.field", "`type` is not a JSON pointer"),
        ("set: {field: /type}", "aerospike.set", "allowed"),
        ("set: {field: /type, allowed: []}", "aerospike.set.allowed", "the list is empty"),
        ("set: {field: /type, allowed: ['a:b']}", "aerospike.set.allowed", "`a:b` is not a valid name"),
        ("set: {field: /type, allowed: [a], default: a}", "aerospike.set", "default"),
        ("set: 'a:b'", "aerospike.set", "`a:b` is not a valid name"),
        ("set: s, ttl: {default: never}", "aerospike.ttl", "field"),
        ("set: s, ttl: {field: ttl}", "aerospike.ttl.field", "`ttl` is not a JSON pointer"),
        (
            "set: s, ttl: {field: /ttl, default: 0s}",
            "aerospike.ttl.default",
            "`0s` is not `namespace`, `never` or a duration",
        ),
        ("set: s, ttl: {field: /ttl, default: 4000d}", "aerospike.ttl.default", "`4000d`"),
        ("set: s, key: {fields: []}", "aerospike.key.fields", "the list is empty"),
        ("set: s, key: {fields: [id]}", "aerospike.key", "`id` is not a JSON pointer"),
        ("set: s, use-alternate-addresses: perhaps", "aerospike.use-alternate-addresses", "true or false"),
    ];
    for (configuration, key, words) in faults {
        let ended = check(configuration);
        assert_eq!(ended.code, Some(78), "{configuration}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(key) && ended.stderr.contains(words),
            "{configuration}: {}",
            ended.stderr
        );
    }
}

/// Nodes of a cluster behind NAT advertise addresses that are unreachable from outside, and alternate
/// addresses that are reachable.
#[test]
fn nodes_are_asked_for_their_alternate_addresses_if_configured() {
    for (configured, kind) in [(true, "alt"), (false, "std")] {
        let scene = Scene::new(None, &format!("use-alternate-addresses: {configured}"));
        let ended = scene.program.run(&["check", "--connect"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let asked = scene.stand_in.asked();
        assert!(asked.contains(&format!("peers-clear-{kind}")), "{asked:?}");
        assert!(asked.iter().all(|name| !name.contains("-clear-") || name.ends_with(kind)), "{asked:?}");
    }
}
