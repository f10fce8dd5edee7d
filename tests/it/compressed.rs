//! Bodies compressed with gzip, from nsqd into a store.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::support::{
    nsqd::Nsqd,
    program::{Program, Scale, wait},
    wait_until,
};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("a Vec takes it");
    encoder.finish().expect("a Vec takes it")
}

fn scene(more: &str) -> (Nsqd, Program) {
    let nsqd = Nsqd::start();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s{more}}}\nmax-messages: 1000\ntimeout: 15s\nlog: {{level: error}}\n",
        nsqd.tcp
    ));
    nsqd.make_channel("t", "c");
    (nsqd, program)
}

fn publish(nsqd: &Nsqd, bodies: Vec<Vec<u8>>) {
    nsqd.publish("t", bodies);
    wait_until("the channel has all", || nsqd.channels_have_all("t"));
}

/// Messages of a publisher that compresses become dead letters; without a clear reason the user cannot know
/// that a setting is missing.
#[test]
fn compressed_messages_are_dead_letters_with_that_reason_unless_configured() {
    let (nsqd, mut program) = scene("");
    let (whole, mut broken) = (gzip(r#"{"id":1}"#), gzip(r#"{"id":2}"#));
    broken.pop();
    publish(&nsqd, vec![whole.clone(), broken.clone()]);
    let report = program.drain(&[]);
    assert_eq!(report["reasons"]["not-json"], 2, "{report}");
    assert!(
        program.letters().iter().all(|letter| letter["detail"]
            .as_str()
            .is_some_and(|text| text.contains("content-encoding: gzip")))
    );
    program.set("X_MSRV__CONTENT_ENCODING", "gzip");
    assert_eq!(program.run(&["dead", "replay"]).code, Some(0));
    publish(&nsqd, vec![br#"{"id":3}"#.to_vec()]);
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["reasons"]["bad-encoding"].as_u64()),
        (Some(2), Some(1)),
        "{report}"
    );
    let documents: Vec<_> = program.rows("s").into_iter().map(|(_, document)| document).collect();
    assert!(documents.contains(&json!({"id": 1})) && documents.contains(&json!({"id": 3})), "{documents:?}");
    let letters = program.letters();
    let letter = letters.last().expect("a letter");
    assert_eq!(
        letter["body-base64"],
        BASE64.encode(&broken),
        "the bytes that were published, so that they can be published again"
    );
    assert_eq!(report["received-bytes"], whole.len() + broken.len() + 8, "the body as delivered");
}

/// Otherwise equal bodies would have other keys than in an earlier run whose configuration did not inflate.
#[test]
fn the_hash_of_a_body_is_that_of_the_published_body() {
    let (nsqd, program) = scene(", key: body-hash");
    let program = program.env("X_MSRV__CONTENT_ENCODING", "gzip");
    let body = gzip("{}");
    publish(&nsqd, vec![body.clone(), body.clone()]);
    assert_eq!(program.drain(&[])["stored"], 2);
    program.write("body", "");
    std::fs::write(program.path("body"), body).expect("written");
    let hash = program.run_by("sha256sum", &["body"]).stdout;
    let keys: Vec<_> = program.rows("s").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [hash.split(' ').next().expect("a hash")]);
}

/// A limit on the bytes of bodies alone does not bound memory, because a document takes many times its text:
/// these took 200 MB at once.
#[test]
fn small_bodies_that_inflate_to_large_documents_take_no_more_memory_than_large_bodies() {
    let (nsqd, program) = scene("");
    let document = format!("{{\"list\":[{}0]}}", "0,".repeat(50_000));
    publish(&nsqd, vec![gzip(&document); 80]);
    let program = program.env("X_MSRV__CONTENT_ENCODING", "gzip");
    let child = program.spawn(&["run", "--report", "json"]);
    let scale = Scale::under(&child);
    let ended = wait(child);
    let memory = scale.read().memory;
    assert_eq!((ended.code, ended.report()["stored"].as_u64()), (Some(0), Some(80)), "{ended:?}");
    println!("{} MiB", memory >> 20);
    assert!(memory < 90 << 20, "{} MiB", memory >> 20);
}
