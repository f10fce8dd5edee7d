//! nsqd stops, restarts or freezes.

use std::time::Duration;

use super::{
    Schedule, factor,
    proxy::{Fault, Gate, Way, What},
    scene::{self, Interference, N, Scene},
};
use crate::support::{PATIENCE, program::wait};

/// A run that is stopped at a byte of its exchange with nsqd, and the fault of nsqd at that point.
fn in_the_middle(scene: &mut Scene<'_>, after: u64, way: Way, happens: impl FnOnce(&mut Scene<'_>)) {
    let (gate, reached) = Gate::new();
    scene.queue.proxy.plan(vec![Fault { connection: 0, way, after, what: What::Hold(gate.clone()) }]);
    let child = scene.spawn();
    reached.recv_timeout(PATIENCE).expect("the run gets that far");
    happens(scene);
    scene.injected();
    gate.open();
    let ended = wait(child);
    scene.look_at(&ended, Interference::Nothing);
}

/// A position in the stream at which a run of N is in the middle of its messages, in either direction.
fn anywhere(rng: &mut fastrand::Rng) -> (u64, Way) {
    if rng.bool() { (rng.u64(0..400), Way::ToServer) } else { (rng.u64(0..4_000), Way::ToClient) }
}

/// Otherwise an upgrade of nsqd would lose the messages in flight.
#[test]
fn an_nsqd_that_restarts_during_a_run_loses_nothing() {
    Schedule::each("nsqd::an_nsqd_that_restarts_during_a_run_loses_nothing", 12, |schedule, rng| {
        let mut scene = scene::aerospike(schedule, "");
        for _ in 0..2 {
            scene.publish(N + rng.u64(0..100));
            let (after, way) = anywhere(rng);
            in_the_middle(&mut scene, after, way, |scene| {
                scene.queue.server.stop();
                scene.queue.server.restart();
            });
        }
        scene.check();
    });
}

/// An nsqd that is killed loses the messages in its memory, which are those in flight if the rest is on disk.
/// Nothing more may be missing: every acknowledged message is stored.
#[test]
fn an_nsqd_that_is_killed_loses_only_messages_in_flight() {
    Schedule::each("nsqd::an_nsqd_that_is_killed_loses_only_messages_in_flight", 8, |schedule, rng| {
        let mut scene = scene::with_nsqd(schedule, &["-mem-queue-size=0", "-sync-every=1"], "");
        scene.publish(100 + rng.u64(0..100));
        let (after, way) = anywhere(rng);
        in_the_middle(&mut scene, after, way, |scene| {
            scene.queue.server.kill();
            scene.queue.server.restart();
        });
        scene.check_where_the_queue_ended(N);
    });
}

/// A frozen nsqd neither answers nor closes. The run must end by itself.
#[test]
fn a_run_ends_within_its_limits_while_nsqd_is_frozen() {
    Schedule::each("nsqd::a_run_ends_within_its_limits_while_nsqd_is_frozen", 4, |schedule, rng| {
        let mut scene = scene::aerospike(schedule, "");
        scene.publish(100);
        let (after, way) = anywhere(rng);
        in_the_middle(&mut scene, after, way, |scene| scene.queue.server.freeze());
        if factor() > 1 {
            // Longer than nsqd's heartbeats: when it resumes, it closes the connection of a client that did
            // not answer two of them.
            #[expect(clippy::disallowed_methods, reason = "the time that passes is the fault")]
            std::thread::sleep(Duration::from_secs(65));
        }
        scene.queue.server.thaw();
        scene.check();
    });
}
