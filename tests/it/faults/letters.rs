//! Dead letters in a topic whose connection breaks while a command uses them.

use fastrand::Rng;
use serde_json::Value;

use super::{
    Schedule,
    proxy::{Fault, Proxy, Way, What},
};
use crate::support::{
    nsqd::Nsqd,
    program::{Ended, Program},
    socket, wait_until,
};

const LETTERS: u64 = 60;

/// Messages in flight on a broken connection are delivered again after a second; touched ones are not.
const PATIENT: [&str; 2] = ["-msg-timeout=1s", "-max-msg-timeout=1m"];

fn letter(number: u64) -> String {
    let reason = if number.is_multiple_of(2) { "schema" } else { "not-json" };
    format!(
        r#"{{"replayed":false                     ,"time":"","source":"t@h:1","id":"{number}","attempts":1,"reason":"{reason}","detail":"","body":"{{\"n\":{number}}}"}}"#
    )
}

struct Letters {
    topic: Nsqd,
    queue: Nsqd,
    proxy: Proxy,
    program: Program,
}

impl Letters {
    fn new(schedule: &Schedule) -> Self {
        let (topic, queue) = (Nsqd::with(&PATIENT), Nsqd::start());
        let proxy = Proxy::new(socket(&topic.tcp), &schedule.injected);
        let program = Program::new(&format!(
            "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nmax-messages: 10000\n\
             dead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: ['{}']}}}}\nlog: {{level: error}}\n",
            queue.tcp, proxy.address
        ));
        topic.publish("dead", (0..LETTERS).map(letter));
        Self { topic, queue, proxy, program }
    }

    /// A command whose connection may break.
    fn dead(&self, words: &[&str], fault: Option<Fault>) -> Ended {
        wait_until("nothing is in flight", || {
            let depths = self.topic.depths("dead");
            depths.in_flight == 0 && depths.deferred == 0
        });
        self.proxy.plan(fault.into_iter().collect());
        let ended = self.program.run(&[&["dead"], words].concat());
        let known = matches!(ended.code, Some(0 | 69 | 75));
        assert!(known, "{words:?}: {:?} {}", ended.code, ended.stderr);
        ended
    }

    fn waiting(&self) -> u64 {
        wait_until("nothing is in flight", || self.topic.depths("dead").in_flight == 0);
        self.topic.depths("dead").waiting
    }
}

fn break_somewhere(rng: &mut Rng) -> Fault {
    let (way, bytes) = if rng.bool() { (Way::ToServer, 4_300) } else { (Way::ToClient, 11_000) };
    let what = if rng.u8(0..4) == 0 { What::HalfClose } else { What::Cut };
    // The first connection is the one to the statistics, which are not available.
    Fault { connection: 1, way, after: rng.u64(0..bytes), what }
}

/// A command must not report a partial list as complete, or a dead letter as purged that is still in the
/// topic.
#[test]
fn a_list_from_a_broken_connection_is_not_reported_as_complete() {
    Schedule::each(
        "letters::a_list_from_a_broken_connection_is_not_reported_as_complete",
        1,
        |schedule, rng| {
            let letters = Letters::new(schedule);
            let (mut failed, mut runs) = (0, 0);
            for _ in 0..15 {
                let ended = letters.dead(&["list", "--json"], Some(break_somewhere(rng)));
                runs += 1;
                if ended.code == Some(0) {
                    assert_eq!(
                        (ended.stdout.lines().count() as u64, ended.stderr.contains("more wait")),
                        (LETTERS, false),
                        "{}",
                        ended.stderr
                    );
                } else {
                    failed += 1;
                }
            }
            assert!(failed > 2, "{failed} were cut where it matters");
            let (mut purged, mut removed) = (false, 0);
            while !purged {
                let ended = letters.dead(&["purge", "--reason", "not-json"], Some(break_somewhere(rng)));
                runs += 1;
                purged = ended.code == Some(0);
                removed += ended.stderr.matches("letters removed").count();
            }
            assert!(removed > 0);
            assert_eq!(letters.waiting(), LETTERS / 2, "only the others");
            let mut sent_twice = 0;
            loop {
                let ended = letters.dead(&["replay"], Some(break_somewhere(rng)));
                runs += 1;
                if ended.code == Some(0) {
                    break;
                }
                sent_twice += LETTERS / 2; // at most
            }
            assert_eq!(letters.waiting(), 0);
            letters.program.drain(&[]);
            let rows = letters.program.rows("s");
            let numbers: std::collections::BTreeSet<_> =
                rows.iter().map(|(_, row): &(String, Value)| row["n"].as_u64().expect("a number")).collect();
            assert!(numbers.into_iter().eq((0..LETTERS).step_by(2)), "each of those that were not purged");
            assert!(rows.len() as u64 <= LETTERS / 2 + sent_twice, "{} rows", rows.len());
            assert_eq!(letters.queue.depths("t").waiting, 0);
            schedule.passed(rows.len(), runs);
        },
    );
}
