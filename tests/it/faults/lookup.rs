//! nsqlookupd, or a server in its place, gives wrong answers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use x_msrv_net::address::HostPort;

use super::{Schedule, scene};
use crate::support::nsqd::unused_address;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// A node that no longer exists, beside the real one.
    DeadNode,
    /// Only the node that no longer exists.
    OnlyDeadNodes,
    /// nsqd's HTTP port instead of its TCP port.
    WrongPort,
    NoNodes,
    Garbage,
    OtherJson,
    Status500,
    Redirect,
    /// Longer than the connect timeout.
    Slow,
    /// Fewer bytes than announced.
    CutShort,
    /// More bytes than should be read.
    Endless,
    Closes,
    /// The node exists, but not its statistics.
    NoStatistics,
}

const LIES: [Lie; 13] = [
    Lie::DeadNode,
    Lie::OnlyDeadNodes,
    Lie::WrongPort,
    Lie::NoNodes,
    Lie::Garbage,
    Lie::OtherJson,
    Lie::Status500,
    Lie::Redirect,
    Lie::Slow,
    Lie::CutShort,
    Lie::Endless,
    Lie::Closes,
    Lie::NoStatistics,
];

fn node(tcp: &HostPort, http: &HostPort) -> serde_json::Value {
    json!({"broadcast_address": tcp.host, "hostname": "h", "tcp_port": tcp.port, "http_port": http.port, "version": "1.3.0"})
}

fn answer(mut stream: TcpStream, lie: Lie, tcp: &HostPort, http: &HostPort) -> std::io::Result<()> {
    BufReader::new(&stream).lines().map_while(Result::ok).find(String::is_empty);
    let dead = || node(&unused_address(), &unused_address());
    let nodes = match lie {
        Lie::DeadNode => vec![dead(), node(tcp, http), dead()],
        Lie::OnlyDeadNodes => vec![dead()],
        Lie::WrongPort => vec![node(http, http)],
        Lie::NoNodes => Vec::new(),
        Lie::NoStatistics => vec![node(tcp, &unused_address())],
        _ => vec![node(tcp, http)],
    };
    let good = json!({"channels": ["c"], "producers": nodes}).to_string();
    let (status, body) = match lie {
        Lie::Garbage => ("200 OK", "\u{0}\u{1}{not JSON".to_owned()),
        Lie::OtherJson => ("200 OK", json!({"producers": {"tcp_port": -1}}).to_string()),
        Lie::Status500 => ("500 Internal Server Error", good),
        Lie::Redirect => ("302 Found\r\nLocation: /lookup", String::new()),
        _ => ("200 OK", good),
    };
    match lie {
        Lie::Closes => return Ok(()),
        #[expect(clippy::disallowed_methods, reason = "the time that passes is the fault")]
        Lie::Slow => std::thread::sleep(Duration::from_millis(1_500)),
        _ => {}
    }
    let announced = match lie {
        Lie::CutShort => body.len() + 10,
        Lie::Endless => 1 << 40,
        _ => body.len(),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {announced}\r\n\r\n{body}"
    )?;
    if lie == Lie::Endless {
        std::io::copy(&mut std::io::repeat(b' '), &mut stream)?;
    }
    Ok(())
}

/// Otherwise a wrong answer could crash a run or make it report an empty queue.
#[test]
fn no_answer_of_nsqlookupd_loses_a_message() {
    Schedule::each("lookup::no_answer_of_nsqlookupd_loses_a_message", 1, |schedule, rng| {
        let lie = Arc::new(Mutex::new(Lie::None));
        let chosen = lie.clone();
        let lookupd = move |nsqd: &crate::support::nsqd::Nsqd, queue: &super::proxy::Proxy| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("an address").to_string().parse().expect("an address");
            let (tcp, http) = (queue.address.to_string().parse().expect("an address"), nsqd.http.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let lie = *chosen.lock().expect("no panic");
                    answer(stream, lie, &tcp, &http).ok(); // the peer may have closed already
                }
            });
            address
        };
        let mut scene = scene::found_by(schedule, lookupd, "");
        for this in LIES {
            scene.publish(rng.u64(1..60));
            *lie.lock().expect("no panic") = this;
            scene.injected();
            let ended = scene.run();
            let stored = ended.code == Some(0) && !ended.stdout.contains("\"received\":0");
            let finds_it = matches!(this, Lie::DeadNode | Lie::NoStatistics);
            assert_eq!(stored, finds_it, "{this:?}: {} {}", ended.stdout, ended.stderr);
            // No node is no error: no message was published to the topic yet. Anything else is.
            let expected = if finds_it || this == Lie::NoNodes { 0 } else { 69 };
            assert_eq!(ended.code, Some(expected), "{this:?}: {}", ended.stderr);
        }
        *lie.lock().expect("no panic") = Lie::None;
        scene.check();
    });
}
