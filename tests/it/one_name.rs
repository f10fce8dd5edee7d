//! Several nsqd behind one host name with one node id: a default id is a hash of the host name modulo 1,024,
//! and containers are copies of each other.

use std::{
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use x_msrv_net::address::HostPort;

use crate::support::{nsqd::Nsqd, program::Program};

/// Number of messages published to each nsqd. Ids consist of the millisecond and a counter within it, so many
/// are equal when two nsqd receive as many at the same time.
const MESSAGES: u64 = 2_000;

/// One address in front of several servers: each connection reaches the server that the address represents at
/// that moment.
struct OneName {
    address: HostPort,
    stands_for: Arc<Mutex<HostPort>>,
}

impl OneName {
    fn of(first: &Nsqd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("an address").to_string().parse().expect("an address");
        let stands_for = Arc::new(Mutex::new(first.tcp.clone()));
        let now = Arc::clone(&stands_for);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a connection");
                let server =
                    TcpStream::connect(now.lock().expect("no panic").to_string()).expect("nsqd listens");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) =
                        (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    thread::spawn(move || {
                        // An error ends the connection, as a regular close does.
                        drop(std::io::copy(&mut from, &mut to));
                        drop(to.shutdown(std::net::Shutdown::Write));
                    });
                }
            }
        });
        Self { address, stands_for }
    }

    fn now_stands_for(&self, nsqd: &Nsqd) {
        self.stands_for.lock().expect("no panic").clone_from(&nsqd.tcp);
    }
}

fn count(program: &Program, sql: &str) -> u64 {
    let connection = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count").cast_unsigned()
}

/// With a key of topic and id only, the record of one nsqd would overwrite that of another: both messages
/// would be acknowledged, and one lost.
#[test]
fn messages_with_one_id_from_two_nsqd_behind_one_name_are_two_records() {
    let both = [Nsqd::with(&["-node-id=7"]), Nsqd::with(&["-node-id=7"])];
    let name = OneName::of(&both[0]);
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, max-messages: 100000}}\nsqlite: {{path: store.db, set: s}}\n\
         timeout: 60s\nidle-timeout: 300ms\nfields: {{metadata: {{id: id}}}}\n",
        name.address
    ));
    let mut published = 0;
    for _ in 0..10 {
        thread::scope(|scope| {
            for (number, nsqd) in both.iter().enumerate() {
                scope.spawn(move || {
                    nsqd.publish(
                        "t",
                        (0..MESSAGES).map(|message| format!("{{\"nsqd\":{number},\"n\":{message}}}")),
                    );
                });
            }
        });
        for nsqd in &both {
            name.now_stands_for(nsqd);
            assert_eq!(program.drain(&[])["stored"], MESSAGES);
        }
        published += 2 * MESSAGES;
        assert_eq!(count(&program, "SELECT count(*) FROM s"), published, "no record overwrites another");
        if count(&program, "SELECT count(DISTINCT document ->> 'id') FROM s") < published {
            return;
        }
    }
    panic!("no two of {published} messages have the same id, so the test proves nothing");
}
