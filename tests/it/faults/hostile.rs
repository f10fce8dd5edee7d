//! A hostile peer in the place of nsqd or Aerospike. A run may fail then, but with an orderly exit, in its
//! time and within its memory.

use std::{
    io::{self, Read as _, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::support::program::{Ended, Program, Scale, wait};

const MAX_IN_FLIGHT: u64 = 10;
const MAX_MESSAGE_SIZE: u64 = 1 << 20;

/// The memory that a run may use beside the messages in flight: one frame of 16 MiB, as received and as an
/// escaped dead letter, and a batch of documents that consist only of brackets.
const CONSTANT: u64 = 256 << 20;

/// Longer than timeout, shutdown timeout and the limits of settling and closing together.
const LONGEST: Duration = Duration::from_secs(10);

fn frame(kind: u32, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len() + 4).expect("small");
    [&size.to_be_bytes()[..], &kind.to_be_bytes(), data].concat()
}

fn message(number: u64, body: &[u8]) -> Vec<u8> {
    let header = [&[0; 8][..], &[0, 1], format!("{number:016x}").as_bytes()].concat();
    frame(2, &[&header[..], body].concat())
}

fn identified(limits: &str) -> Vec<u8> {
    frame(0, limits.as_bytes())
}

const LIMITS: &str = r#"{"max_rdy_count":2500,"msg_timeout":60000}"#;

/// A peer that answers `limits` to IDENTIFY and OK to SUB, and then behaves as the test defines.
fn peer(limits: Vec<u8>, then: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    peer_that_says([limits, frame(0, b"OK")], then)
}

fn peer_that_says(
    answers: [Vec<u8>; 2],
    then: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("an address").to_string();
    let then = std::sync::Arc::new(then);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let ([limits, ok], then) = (answers.clone(), then.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                // IDENTIFY, then SUB: each is one write.
                let said = stream
                    .read(&mut buffer)
                    .and_then(|_| stream.write_all(&limits))
                    .and_then(|()| stream.read(&mut buffer));
                let said = said.and_then(|_| stream.write_all(&ok));
                said.and_then(|()| then(stream)).ok() // the peer may have closed already
            });
        }
    });
    address
}

fn program(nsqd: &str) -> Program {
    Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{nsqd}'], topic: t, channel: c, max-in-flight: {MAX_IN_FLIGHT}, max-messages: 1000000}}\n\
         sqlite: {{path: store.db, set: s}}\ntimeout: 1s\nconnect-timeout: 1s\nshutdown-timeout: 1s\nlog: {{level: error}}\n\
         max-message-size: {MAX_MESSAGE_SIZE}\n"
    ))
}

/// Runs; the run must end with one of these codes. Returns its memory as well.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
fn survives(what: &str, program: &Program, codes: &[i32]) -> (Ended, u64) {
    let started = Instant::now();
    let child = program.spawn(&["run", "--report", "json"]);
    let scale = Scale::under(&child);
    let ended = wait(child);
    let memory = scale.read().memory;
    let elapsed = started.elapsed();
    println!("{what}: exit code {:?} after {elapsed:.1?}, {} MiB", ended.code, memory >> 20);
    assert!(elapsed < LONGEST, "{what}: {elapsed:?}");
    assert!(
        ended.code.is_some_and(|code| codes.contains(&code)),
        "{what}: {:?} {} {}",
        ended.code,
        ended.stdout,
        ended.stderr
    );
    assert!(memory <= MAX_IN_FLIGHT * MAX_MESSAGE_SIZE + CONSTANT, "{what}: {} MiB", memory >> 20);
    (ended, memory)
}

fn repeat(bytes: Vec<u8>) -> impl Fn(TcpStream) -> io::Result<()> {
    move |mut stream| {
        loop {
            stream.write_all(&bytes)?;
        }
    }
}

/// The same, and reads what the program sends.
fn repeat_and_read(bytes: Vec<u8>) -> impl Fn(TcpStream) -> io::Result<()> {
    move |stream| {
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        repeat(bytes.clone())(stream)
    }
}

/// Otherwise four bytes from the peer could allocate 2 GiB.
#[test]
fn impossible_frame_sizes_end_the_connection_before_memory_is_allocated() {
    for size in [-1_i32, i32::MIN, i32::MAX, 0, 3, 1 << 30] {
        let announced = size.to_be_bytes().to_vec();
        let greeting = [&announced[..], &[0; 4]].concat();
        let (_, memory) = survives(
            &format!("{size} bytes in answer to IDENTIFY"),
            &program(&peer(greeting, |_| Ok(()))),
            &[69],
        );
        assert!(memory < 64 << 20, "{} MiB", memory >> 20);
        let (_, memory) = survives(
            &format!("{size} bytes later"),
            &program(&peer(identified(LIMITS), repeat(announced))),
            &[69],
        );
        assert!(memory < 64 << 20, "{} MiB", memory >> 20);
    }
}

/// Otherwise a peer that is no nsqd could keep a run busy.
#[test]
fn frames_of_unknown_types_end_the_connection() {
    for kind in [3, 255, u32::MAX] {
        survives(
            &format!("type {kind}"),
            &program(&peer(identified(LIMITS), repeat(frame(kind, b"what?")))),
            &[69],
        );
    }
}

/// Otherwise an nsqd that refuses SUB because it is shutting down would count as a wrong configuration.
#[test]
fn an_nsqd_that_cannot_subscribe_is_not_blamed_on_the_configuration() {
    let nsqd = peer_that_says([identified(LIMITS), frame(1, b"E_SUB_FAILED SUB failed exiting")], |_| Ok(()));
    let (ended, _) = survives("E_SUB_FAILED", &program(&nsqd), &[69]);
    assert!(ended.stderr.contains("SUB failed exiting"), "{}", ended.stderr);
}

/// Otherwise a limit of zero could stop a run forever.
#[test]
fn impossible_limits_from_nsqd_do_not_stop_or_break_a_run() {
    for limits in [
        r#"{"max_rdy_count":4294967295,"msg_timeout":18446744073709551615}"#,
        r#"{"max_rdy_count":1,"msg_timeout":1}"#,
    ] {
        let messages: Vec<u8> = (0..10).flat_map(|number| message(number, b"{\"a\":1}")).collect();
        let once = move |mut stream: TcpStream| {
            stream.write_all(&messages)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        };
        survives(limits, &program(&peer(identified(limits), once)), &[0, 75]);
    }
    for limits in [
        r#"{"max_rdy_count":0,"msg_timeout":0}"#,
        r#"{"max_rdy_count":-1,"msg_timeout":60000}"#,
        "OK",
        "[]",
        "\0",
    ] {
        survives(limits, &program(&peer(identified(limits), |_| Ok(()))), &[69]);
    }
    let large =
        format!("{{\"max_rdy_count\":2500,\"msg_timeout\":60000,\"x\":\"{}\"}}", "x".repeat(16 << 20));
    survives("an answer of 16 MiB", &program(&peer(identified(&large), |_| Ok(()))), &[69]);
}

/// Otherwise a peer could keep a run alive without any message.
#[test]
fn endless_heartbeats_and_answers_take_neither_time_nor_memory() {
    let heartbeats = frame(0, b"_heartbeat_").repeat(1_000);
    for (what, bytes) in [
        ("heartbeats", heartbeats.clone()),
        ("answers", frame(0, b"OK").repeat(1_000)),
        ("errors", frame(1, b"E_FIN_FAILED FIN 0123456789abcdef failed").repeat(1_000)),
    ] {
        for (how, nsqd) in [
            ("read", peer(identified(LIMITS), repeat_and_read(bytes.clone()))),
            ("not read", peer(identified(LIMITS), repeat(bytes.clone()))),
        ] {
            let (_, memory) =
                survives(&format!("endless {what}, what we say is {how}"), &program(&nsqd), &[0, 75]);
            assert!(memory < 64 << 20, "{} MiB", memory >> 20);
        }
    }
    let (_, memory) = survives(
        "heartbeats in answer to IDENTIFY",
        &program(&peer(heartbeats.clone(), repeat(heartbeats))),
        &[69],
    );
    assert!(memory < 64 << 20, "{} MiB", memory >> 20);
}

/// More messages than requested are returned to the queue and not kept.
#[test]
fn endless_messages_take_no_more_memory_than_the_limit_in_flight() {
    let large = usize::try_from(MAX_MESSAGE_SIZE).expect("small") - 100;
    let brackets = format!("{{\"a\":[{}[]]}}", "[],".repeat(large / 3 - 10));
    let fields = (0..large / 12).map(|number| format!("\"{number:06}\":0")).collect::<Vec<_>>().join(",");
    let fields = format!("{{{fields}}}");
    for (what, body) in [
        ("small", b"{\"a\":1}".to_vec()),
        ("large", format!("{{\"a\":\"{}\"}}", "x".repeat(large)).into_bytes()),
        ("brackets", brackets.into_bytes()),
        ("fields", fields.into_bytes()),
        ("control characters", vec![1; large]),
        ("too large", vec![1; (16 << 20) - 100]),
        ("too large and no text", vec![255; (16 << 20) - 100]),
    ] {
        let bytes = message(7, &body);
        for (how, nsqd) in [
            ("read", peer(identified(LIMITS), repeat_and_read(bytes.clone()))),
            ("not read", peer(identified(LIMITS), repeat(bytes.clone()))),
        ] {
            survives(
                &format!("endless messages, {what}, what we say is {how}"),
                &program(&nsqd),
                &[0, 69, 75],
            );
        }
    }
}

/// Otherwise a refusal that is about our credentials would be bisected dead letter by dead letter, with a
/// connection and a request to the authentication server for each.
#[test]
fn a_dead_letter_topic_that_refuses_our_login_is_tried_once() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let theirs = asked.clone();
    let refusal = frame(1, b"E_UNAUTHORIZED AUTH failed for MPUB on \"dead\"");
    let topic = peer_that_says([identified(LIMITS), refusal], move |_| {
        theirs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    });
    let program = Program::new(&format!(
        "embedded-queue: {{path: queue.db, max-messages: 1000}}\nsqlite: {{path: store.db, set: s}}\nlog: {{level: error}}\n\
         dead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{topic}'}}}}\n"
    ));
    program.run_with_input(&["send"], "not json\n".repeat(1_000).as_bytes());
    assert_eq!(program.drain(&[])["dead-lettered"], 1_000);
    assert_eq!((program.letters().len(), asked.load(std::sync::atomic::Ordering::SeqCst)), (1_000, 1));
}

/// One byte at a time: the run's own time limit counts, not the peer's pace.
#[test]
fn a_peer_that_sends_one_byte_at_a_time_does_not_delay_a_run() {
    let drip = |bytes: Vec<u8>| {
        move |mut stream: TcpStream| {
            for byte in bytes.iter().cycle() {
                stream.write_all(&[*byte])?;
                #[expect(clippy::disallowed_methods, reason = "the time that passes is the fault")]
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
    };
    survives(
        "a slow message",
        &program(&peer(identified(LIMITS), drip(message(1, &vec![b' '; 100_000])))),
        &[0, 75],
    );
    let never = peer(Vec::new(), |_| Ok(()));
    survives("no answer", &program(&never), &[69]);
}

/// The Aerospike client is not our code; it must stay within the same limits.
#[test]
fn answers_of_aerospike_are_bounded_as_well() {
    for header in
        [[2_u8, 1, 0, 255, 255, 255, 255, 255], [2, 3, 255, 255, 255, 255, 255, 255], [0; 8], [255; 8]]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    drop(stream.read(&mut [0; 4096])); // any request
                    while stream.write_all(&header).is_ok() {}
                });
            }
        });
        let nsqd = crate::support::nsqd::Nsqd::start();
        let program = Program::new(&format!(
            "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nconnect-timeout: 1s\n\
             aerospike: {{address: {{host: 127.0.0.1, port: {}}}, namespace: test, set: s}}\n",
            nsqd.tcp,
            address.port()
        ));
        // Some of these bytes look like a server's answer to an unknown client.
        let (_, memory) = survives(&format!("{header:?} from Aerospike"), &program, &[69, 78]);
        assert!(memory < 64 << 20, "{} MiB", memory >> 20);
    }
}
