//! What goes wrong between any queue, any store and the program. Each schedule ends with the oracle's check.
//!
//! An adapter's test enters all of them with one line, in which a function makes a scene for a schedule:
//!
//! ```ignore
//! x_msrv_contract::fault_suite!(nats_and_postgresql, nats_into_postgresql, [every, queue, store]);
//! ```

use std::{
    process::Child,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    proxy::{Fault, Gate, Habit, Passed, Proxy, Way, What},
    scene::{Ended, Interference, ProgramUnderTest, QueueUnderTest, Scene, StoreUnderTest},
};

/// The longest time for settling and closing after the shutdown timeout of a second: one second each, plus the
/// machine's delay.
const CLOSING: Duration = Duration::from_secs(4);

/// Returns any fault of a network except altered bytes, which TCP's checksum detects.
#[must_use]
pub fn any_fault(rng: &mut Rng) -> Fault {
    let what = match rng.u8(0..7) {
        0 => What::Delay(Duration::from_millis(rng.u64(1..400))),
        1 => What::Throttle(rng.usize(1..2_000), Duration::from_millis(1)),
        2 => What::Split(rng.usize(1..50)),
        3 | 4 => What::Cut,
        5 => What::HalfClose,
        _ => What::BlackHole,
    };
    // Most faults have an effect early: in handshakes and in the first batches.
    let after = 1 << rng.u32(0..14);
    Fault {
        connection: rng.usize(0..3),
        way: if rng.bool() { Way::ToServer } else { Way::ToClient },
        after: rng.u64(0..after),
        what,
    }
}

/// Any faults of the network on both sides: the runs after them recover everything.
#[track_caller]
pub fn any_faults_of_the_network<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    rng: &mut Rng,
) {
    for _ in 0..3 {
        scene.publish(rng.u64(1..150));
        let faults: Vec<Vec<Fault>> =
            (0..2).map(|_| (0..rng.usize(0..3)).map(|_| any_fault(rng)).collect()).collect();
        let blames = [scene.queue.blames_truncation(), scene.store.blames_truncation()];
        let is_half = |fault: &Fault| matches!(fault.what, What::HalfClose) && fault.way == Way::ToServer;
        let misled = faults.iter().zip(blames).any(|(faults, blames)| blames && faults.iter().any(is_half));
        scene.queue.proxy().plan(faults[0].clone());
        scene.store.proxy().inspect(|proxy| proxy.plan(faults[1].clone()));
        let ended = Ended::of(scene.spawn());
        scene.look_at(&ended, if misled { Interference::Misled } else { Interference::Nothing });
    }
    scene.check();
}

/// Plans `what` at every byte of the handshakes through one of the proxies, in these directions. Otherwise it
/// could hang the run or count as a wrong configuration.
#[track_caller]
pub fn at_any_byte_of_the_handshake<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    proxy: impl for<'s> Fn(&'s Scene<'_, Q, S, P>) -> &'s Proxy,
    ways: &[Way],
    what: &What,
) {
    // A run of an empty queue has only handshakes.
    scene.clean_run();
    let passed = proxy(&scene).passed();
    scene.publish(20);
    for (connection, passed) in passed.iter().enumerate() {
        for &way in ways {
            for after in 0..passed.bytes(way) {
                proxy(&scene).plan(vec![Fault { connection, way, after, what: what.clone() }]);
                scene.run();
            }
        }
    }
    scene.check();
}

/// A path that delays every read, so that silence does not mean an empty queue. A run may end too early, but
/// never returns messages that it had room for.
#[track_caller]
pub fn a_path_with_random_delays<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    rng: &mut Rng,
) {
    let jitter = Duration::from_millis(1 << rng.u32(1..7));
    scene.queue.proxy().always(Habit { holds_small_segments: rng.bool(), jitter });
    for _ in 0..3 {
        scene.publish(rng.u64(1..150));
        scene.run();
    }
    scene.check();
}

/// The course of a clean run, from which the moments are chosen.
struct Moments {
    queue: Vec<Passed>,
    store: Vec<Passed>,
    elapsed: Duration,
}

impl Moments {
    fn of_a_clean_run<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
        scene: &mut Scene<'_, Q, S, P>,
    ) -> Self {
        Self {
            elapsed: scene.clean_run(),
            queue: scene.queue.proxy().passed(),
            store: scene.store.proxy().map(Proxy::passed).unwrap_or_default(),
        }
    }

    /// Starts a run and returns it at the chosen moment: at a byte of a connection, which waits at the gate,
    /// or after a time.
    fn reach<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
        &self,
        scene: &Scene<'_, Q, S, P>,
        rng: &mut Rng,
    ) -> (Child, Option<Arc<Gate>>) {
        let sides = [(&self.queue, Some(scene.queue.proxy())), (&self.store, scene.store.proxy())];
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
        let way = if rng.bool() { Way::ToServer } else { Way::ToClient };
        let after = rng.u64(0..=passed[connection].bytes(way));
        let (gate, reached) = Gate::new();
        proxy.plan(vec![Fault { connection, way, after, what: What::Hold(gate.clone()) }]);
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

/// Runs that are killed at any moment: messages in flight are delivered again, and overwrite the same records.
#[track_caller]
pub fn killed_at_any_moment<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    kills: u64,
    rng: &mut Rng,
) {
    scene.publish(200);
    let moments = Moments::of_a_clean_run(&mut scene);
    for _ in 0..kills {
        scene.publish(rng.u64(0..60));
        let (mut child, gate) = moments.reach(&scene, rng);
        scene.signal(&mut child, "KILL");
        gate.inspect(|gate| gate.open());
        let ended = Ended::of(child);
        scene.look_at(&ended, Interference::Killed);
    }
    scene.check();
}

/// Runs that are stopped at any moment: messages under way are finished, the rest is released, and none is
/// left to the queue's own timeout. In the last twentieth of the runs the network is frozen from that moment on,
/// which may leave messages in flight for the next.
#[track_caller]
pub fn stopped_at_any_moment<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    stops: u64,
    rng: &mut Rng,
) {
    scene.publish(200);
    let moments = Moments::of_a_clean_run(&mut scene);
    for stop in 0..stops {
        scene.publish(rng.u64(0..60));
        let (child, gate) = moments.reach(&scene, rng);
        let is_frozen = stop >= stops - stops / 20;
        stopped(&mut scene, child, || gate.iter().filter(|_| !is_frozen).for_each(|gate| gate.open()));
        gate.inspect(|gate| gate.open());
    }
    scene.check();
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
fn stopped<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    scene: &mut Scene<'_, Q, S, P>,
    mut child: Child,
    then: impl FnOnce(),
) {
    let started = Instant::now();
    scene.signal(&mut child, "TERM");
    then();
    let ended = Ended::of(child);
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(1) + CLOSING, "it took {elapsed:?} to stop: {}", ended.stderr);
    // Before its handler is installed, the signal ends the program with the default action; no message was
    // taken yet.
    let early = ended.code.is_none() && ended.stdout.is_empty() && ended.stderr.is_empty();
    scene.look_at(&ended, if early { Interference::Killed } else { Interference::Nothing });
    if ended.code == Some(0) || early {
        assert_eq!(scene.queue.depth().in_flight, 0, "{}", ended.stdout);
    }
}

/// Several runs at the same time, as when a timer's run is still active on another host; some of them are
/// killed or stopped.
#[track_caller]
pub fn several_runs_at_once<Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest>(
    mut scene: Scene<'_, Q, S, P>,
    runs: usize,
    rng: &mut Rng,
) {
    for _ in 0..8 {
        scene.publish(rng.u64(0..80 * runs as u64));
        let children: Vec<Child> = (0..runs).map(|_| scene.spawn()).collect();
        for mut child in children {
            let fate = rng.u8(0..4);
            if fate < 2 {
                #[expect(clippy::disallowed_methods, reason = "the moment that the seed chose")]
                std::thread::sleep(Duration::from_micros(rng.u64(0..20_000)));
                scene.signal(&mut child, if fate == 0 { "KILL" } else { "TERM" });
            }
            let ended = Ended::of(child);
            scene.look_at(&ended, if fate < 2 { Interference::Killed } else { Interference::Nothing });
        }
    }
    scene.check();
}

/// Enters groups of schedules for a queue and a store: `every` for all; `queue` for what happens between the
/// program and the queue, `store` for what happens between it and a store with a server. The function takes the
/// [`Schedule`](super::Schedule) and returns a scene; an attribute of each test may follow.
#[macro_export]
macro_rules! fault_suite {
    ($kind:ident, $scene:path, $groups:tt) => {
        $crate::fault_suite!(@groups $kind, $scene, $groups, []);
    };
    ($kind:ident, $scene:path, $groups:tt, #[$attribute:meta]) => {
        $crate::fault_suite!(@groups $kind, $scene, $groups, [$attribute]);
    };
    (@groups $kind:ident, $scene:path, [$($group:ident),*], $attribute:tt) => {
        mod $kind {
            use super::*;
            $($crate::fault_suite!(@$group $kind, $scene, $attribute);)*
        }
    };
    (@every $kind:ident, $scene:path, $attribute:tt) => {
        $crate::fault_suite!(@each $kind, $scene, $attribute, {
            any_faults_of_the_network_lose_and_duplicate_nothing, 10, |scene, rng|
                $crate::faults::schedules::any_faults_of_the_network(scene, rng);
            a_run_that_is_killed_at_any_moment_loses_and_duplicates_nothing, 1, |scene, rng|
                $crate::faults::schedules::killed_at_any_moment(scene, 50, rng);
            a_run_that_is_stopped_at_any_moment_ends_in_time_with_nothing_in_flight, 1, |scene, rng|
                $crate::faults::schedules::stopped_at_any_moment(scene, 50, rng);
            several_runs_at_once_lose_and_duplicate_nothing, 3, |scene, rng|
                $crate::faults::schedules::several_runs_at_once(scene, 3, rng);
        });
    };
    (@queue $kind:ident, $scene:path, $attribute:tt) => {
        $crate::fault_suite!(@each $kind, $scene, $attribute, {
            a_connection_to_the_queue_that_is_reset_at_any_byte_of_its_handshake_loses_nothing, 1, |scene, _rng|
                $crate::faults::schedules::at_any_byte_of_the_handshake(
                    scene, |scene| $crate::faults::scene::QueueUnderTest::proxy(&scene.queue),
                    &$crate::faults::proxy::BOTH_WAYS, &$crate::faults::proxy::What::Cut,
                );
            a_path_to_the_queue_with_random_delays_loses_nothing, 4, |scene, rng|
                $crate::faults::schedules::a_path_with_random_delays(scene, rng);
        });
    };
    (@store $kind:ident, $scene:path, $attribute:tt) => {
        $crate::fault_suite!(@each $kind, $scene, $attribute, {
            a_connection_to_the_store_that_is_reset_at_any_byte_of_its_handshake_loses_nothing, 1, |scene, _rng|
                $crate::faults::schedules::at_any_byte_of_the_handshake(
                    scene,
                    |scene| $crate::faults::scene::StoreUnderTest::proxy(&scene.store).expect("it has a server"),
                    &$crate::faults::proxy::BOTH_WAYS, &$crate::faults::proxy::What::Cut,
                );
        });
    };
    (@each $kind:ident, $scene:path, $attribute:tt, {
        $($name:ident, $short:literal, |$made:ident, $rng:ident| $schedule:expr;)*
    }) => {
        $($crate::fault_suite!(@one $kind, $scene, $attribute, $name, $short, |$made, $rng| $schedule);)*
    };
    (@one $kind:ident, $scene:path, [$($attribute:meta)?], $name:ident, $short:literal,
        |$made:ident, $rng:ident| $schedule:expr) => {
        #[test]
        $(#[$attribute])?
        fn $name() {
            let name = concat!(stringify!($kind), "::", stringify!($name));
            $crate::faults::Schedule::each(name, $short, |schedule, $rng| {
                let $made = $scene(schedule);
                $schedule;
            });
        }
    };
}
