//! The program is killed or stopped at any moment.

use std::{
    process::Child,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    Schedule,
    proxy::{Fault, Gate, Passed, Proxy, Way, What},
    scene::{Interference, N, Scene},
};
use crate::support::{
    aerospike::{Rule, Then, When},
    program::{ended, wait},
    wait_until,
};

/// The longest time for settling and closing after the shutdown timeout: one second each, plus the machine's
/// delay.
const CLOSING: Duration = Duration::from_secs(4);

/// The course of a clean run, from which the moments are chosen.
struct Moments {
    queue: Vec<Passed>,
    store: Vec<Passed>,
    elapsed: Duration,
}

impl Moments {
    fn of_a_clean_run(scene: &mut Scene<'_>) -> Self {
        Self {
            elapsed: scene.clean_run(),
            queue: scene.queue.passed(),
            store: scene.store_proxy().map(Proxy::passed).unwrap_or_default(),
        }
    }

    /// Starts a run and returns it at the chosen moment: at a byte of a connection, which waits at the gate,
    /// or after a time.
    fn reach(&self, scene: &Scene<'_>, rng: &mut Rng) -> (Child, Option<Arc<Gate>>) {
        let sides = [(&self.queue, Some(&scene.queue)), (&self.store, scene.store_proxy())];
        let (passed, proxy) = sides[rng.usize(0..2)];
        for (_, other) in sides {
            other.inspect(|proxy| proxy.plan(Vec::new()));
        }
        let (Some(proxy), false) = (proxy, passed.is_empty() || rng.u8(0..4) == 0) else {
            let child = scene.spawn();
            #[expect(clippy::disallowed_methods, reason = "the moment that the seed chose")]
            std::thread::sleep(self.elapsed.mul_f64(rng.f64()));
            return (child, None);
        };
        let connection = rng.usize(0..passed.len());
        let Passed { to_server, to_client } = passed[connection];
        let (way, bytes) = if rng.bool() { (Way::ToServer, to_server) } else { (Way::ToClient, to_client) };
        let (gate, reached) = Gate::new();
        proxy.plan(vec![Fault {
            connection,
            way,
            after: rng.u64(0..=bytes),
            what: What::Hold(gate.clone()),
        }]);
        let mut child = scene.spawn();
        // A run that takes another course may never reach that byte.
        while reached.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
            if child.try_wait().expect("a child").is_some() {
                break;
            }
        }
        (child, Some(gate))
    }
}

fn kill_at_random_moments(scene: &mut Scene<'_>, kills: u64, rng: &mut Rng) {
    scene.publish(200);
    let moments = Moments::of_a_clean_run(scene);
    for _ in 0..kills {
        scene.publish(rng.u64(0..60));
        let (mut child, gate) = moments.reach(scene, rng);
        scene.signal(&mut child, "KILL");
        gate.inspect(|gate| gate.open());
        child.wait().expect("the run ends");
        scene.look_at(&ended(child.wait_with_output().expect("the run ended")), Interference::Killed);
    }
}

/// Messages in flight are delivered again after nsqd's message timeout, and overwrite the same records.
#[test]
fn a_run_that_is_killed_at_any_moment_loses_and_duplicates_nothing() {
    Schedule::each(
        "signals::a_run_that_is_killed_at_any_moment_loses_and_duplicates_nothing",
        1,
        |schedule, rng| {
            let mut scene = Scene::aerospike(schedule, "");
            kill_at_random_moments(&mut scene, 150, rng);
            scene.check();
            let mut scene = Scene::sqlite(schedule, "");
            kill_at_random_moments(&mut scene, 50, rng);
            scene.check();
        },
    );
}

/// The first signal: messages under way are finished, the rest is released, and none is left to nsqd's
/// message timeout.
#[test]
fn a_run_that_is_stopped_at_any_moment_ends_in_time_with_nothing_in_flight() {
    Schedule::each(
        "signals::a_run_that_is_stopped_at_any_moment_ends_in_time_with_nothing_in_flight",
        1,
        |schedule, rng| {
            let mut scene = Scene::aerospike(schedule, "");
            scene.publish(200);
            let moments = Moments::of_a_clean_run(&mut scene);
            for _ in 0..190 {
                scene.publish(rng.u64(0..60));
                let (child, gate) = moments.reach(&scene, rng);
                stop(&mut scene, child, || gate.iter().for_each(|gate| gate.open()));
            }
            // The network is frozen from that moment on.
            for _ in 0..10 {
                scene.publish(rng.u64(0..60));
                let (child, gate) = moments.reach(&scene, rng);
                stop(&mut scene, child, || {});
                gate.inspect(|gate| gate.open());
            }
            scene.check();
        },
    );
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
fn stop(scene: &mut Scene<'_>, mut child: Child, then: impl FnOnce()) {
    let started = Instant::now();
    scene.signal(&mut child, "TERM");
    then();
    let ended = wait(child);
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(1) + CLOSING, "it took {elapsed:?} to stop: {}", ended.stderr);
    // Before its handler is installed, the signal ends the program with the default action; no message was
    // taken yet.
    let early = ended.code.is_none() && ended.stdout.is_empty() && ended.stderr.is_empty();
    scene.look_at(&ended, if early { Interference::Killed } else { Interference::Nothing });
    if ended.code == Some(0) || early {
        assert_eq!(scene.nsqd.depths("t").in_flight, 0, "{}", ended.stdout);
    }
}

/// A run that dies after storing and before acknowledging causes only one more write of the same records.
#[test]
fn a_run_that_dies_between_store_and_acknowledgement_only_rewrites_the_same_records() {
    Schedule::each(
        "signals::a_run_that_dies_between_store_and_acknowledgement_only_rewrites_the_same_records",
        2,
        |schedule, rng| {
            let mut scene = Scene::stand_in(schedule, "");
            scene.publish(N);
            let server = scene.stand_in_server();
            server.rule(Rule::always(When::Write, Then::StoreThenHang));
            let mut child = scene.spawn();
            wait_until("all is stored", || server.records("s").len() == 36);
            child.kill().expect("it waits for the store");
            scene.injected();
            child.wait().expect("the run ends");
            server.clear_rules();
            let before = server.records("s");
            scene.publish(rng.u64(1..N));
            scene.drain();
            let after = scene.stand_in_server().records("s");
            for record in &before {
                let now = after.iter().find(|other| other.digest == record.digest).expect("it is there");
                assert_eq!(
                    (now.generation, &now.bins),
                    (record.generation + 1, &record.bins),
                    "the same records written once more"
                );
            }
            scene.check();
        },
    );
}
