//! The network fails.

use std::time::Duration;

use fastrand::Rng;

use super::{
    Schedule,
    proxy::{Fault, Passed, Proxy, Way, What},
    scene::{Interference, Scene},
};
use crate::support::program::wait;

/// Plans `what` at every byte of connections on which `passed` bytes went by, in both directions.
fn at_every_byte<'a>(
    scene: &mut Scene<'a>,
    proxy: impl for<'s> Fn(&'s Scene<'a>) -> &'s Proxy,
    passed: &[Passed],
    what: &What,
) {
    for (connection, Passed { to_server, to_client }) in passed.iter().enumerate() {
        for (way, bytes) in [(Way::ToServer, *to_server), (Way::ToClient, *to_client)] {
            for after in 0..bytes {
                proxy(scene).plan(vec![Fault { connection, way, after, what: what.clone() }]);
                scene.run();
            }
        }
    }
}

/// Measures the bytes of a run of an empty queue: only the handshakes.
fn handshakes(scene: &mut Scene<'_>, proxy: impl Fn(&Scene<'_>) -> Vec<Passed>) -> Vec<Passed> {
    scene.clean_run();
    proxy(scene)
}

/// Otherwise a reset in the handshake could hang the run or count as a wrong configuration.
#[test]
fn a_connection_to_nsqd_that_is_reset_at_any_byte_of_its_handshake_loses_nothing() {
    Schedule::each(
        "network::a_connection_to_nsqd_that_is_reset_at_any_byte_of_its_handshake_loses_nothing",
        1,
        |schedule, _| {
            let mut scene = Scene::sqlite(schedule, "");
            let passed = handshakes(&mut scene, |scene| scene.queue.passed());
            scene.publish(20);
            at_every_byte(&mut scene, |scene| &scene.queue, &passed, &What::Cut);
            scene.check();
        },
    );
}

/// nsqd answers a truncated command with an error that looks like our fault; exit code 78 would make an
/// administrator search the configuration.
#[test]
fn a_command_that_reaches_nsqd_truncated_is_not_blamed_on_the_configuration() {
    Schedule::each(
        "network::a_command_that_reaches_nsqd_truncated_is_not_blamed_on_the_configuration",
        1,
        |schedule, _| {
            let mut scene = Scene::sqlite(schedule, "");
            let passed = handshakes(&mut scene, |scene| scene.queue.passed());
            let heard_by_nsqd =
                passed.iter().map(|passed| Passed { to_client: 0, ..*passed }).collect::<Vec<_>>();
            scene.publish(20);
            at_every_byte(&mut scene, |scene| &scene.queue, &heard_by_nsqd, &What::HalfClose);
            scene.check();
        },
    );
}

/// Otherwise a reset in the handshake could hang the run or count as a wrong configuration.
#[test]
fn a_connection_to_aerospike_that_is_reset_at_any_byte_of_its_handshake_loses_nothing() {
    Schedule::each(
        "network::a_connection_to_aerospike_that_is_reset_at_any_byte_of_its_handshake_loses_nothing",
        1,
        |schedule, _| {
            let mut scene = Scene::aerospike(schedule, "");
            let passed = handshakes(&mut scene, |scene| scene.store_proxy().expect("a proxy").passed());
            scene.publish(20);
            at_every_byte(&mut scene, |scene| scene.store_proxy().expect("a proxy"), &passed, &What::Cut);
            scene.check();
        },
    );
}

pub(super) fn any_fault(rng: &mut Rng) -> Fault {
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

/// Any fault of a network except altered bytes, which TCP's checksum detects: the runs after it recover
/// everything.
#[test]
fn any_faults_of_the_network_lose_and_duplicate_nothing() {
    Schedule::each("network::any_faults_of_the_network_lose_and_duplicate_nothing", 60, |schedule, rng| {
        let mut scene = match rng.u8(0..4) {
            0 => Scene::sqlite(schedule, ""),
            _ => Scene::aerospike(schedule, ""),
        };
        for _ in 0..3 {
            scene.publish(rng.u64(1..150));
            let faults: Vec<Vec<Fault>> =
                (0..2).map(|_| (0..rng.usize(0..3)).map(|_| any_fault(rng)).collect()).collect();
            scene.queue.plan(faults[0].clone());
            scene.store_proxy().inspect(|proxy| proxy.plan(faults[1].clone()));
            scene.run();
        }
        scene.check();
    });
}

fn any_corruption(rng: &mut Rng) -> Fault {
    let what = What::Corrupt(1 << rng.u32(0..8));
    let after = 1 << rng.u32(5..14);
    Fault {
        connection: rng.usize(0..2),
        way: if rng.bool() { Way::ToServer } else { Way::ToClient },
        after: rng.u64(0..after),
        what,
    }
}

/// TLS detects altered bytes that TCP's checksum misses: the connection ends, and no wrong message was stored
/// or acknowledged. Before the handshake, altered bytes can only prevent a run.
#[test]
fn altered_bytes_do_no_harm_under_tls() {
    Schedule::each("network::altered_bytes_do_no_harm_under_tls", 15, |schedule, rng| {
        let mut scene = Scene::encrypted(schedule, "");
        for _ in 0..3 {
            scene.publish(rng.u64(1..150));
            scene.queue.plan(vec![any_corruption(rng)]);
            scene.store_proxy().expect("a proxy").plan(vec![any_corruption(rng)]);
            let ended = wait(scene.spawn());
            scene.look_at(&ended, Interference::Misled);
        }
        scene.check();
    });
}

/// Without TLS an altered body is stored altered, and an altered id acknowledges another message: the program
/// cannot detect either. But no run may crash or hang.
#[test]
fn altered_bytes_without_tls_end_a_run_in_order() {
    Schedule::each("network::altered_bytes_without_tls_end_a_run_in_order", 30, |schedule, rng| {
        let mut scene = Scene::aerospike(schedule, "");
        scene.publish(100);
        scene.queue.plan(vec![any_corruption(rng)]);
        scene.store_proxy().expect("a proxy").plan(vec![any_corruption(rng)]);
        let ended = scene.program.run(&["run", "--report", "json"]);
        assert!(
            matches!(ended.code, Some(0 | 69 | 75 | 78)),
            "exit code {:?}: {} {}",
            ended.code,
            ended.stdout,
            ended.stderr
        );
        schedule.passed(0, 1);
    });
}
