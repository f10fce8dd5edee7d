//! The network fails.

use fastrand::Rng;
use x_msrv_contract::faults::schedules::{any_faults_of_the_network, at_any_byte_of_the_handshake};

use super::{
    Schedule,
    proxy::{BOTH_WAYS, Fault, Way, What},
    scene::{self, Interference},
};
use crate::support::program::wait;

/// Otherwise a reset in the handshake could hang the run or count as a wrong configuration.
#[test]
fn a_connection_to_nsqd_that_is_reset_at_any_byte_of_its_handshake_loses_nothing() {
    Schedule::each(
        "network::a_connection_to_nsqd_that_is_reset_at_any_byte_of_its_handshake_loses_nothing",
        1,
        |schedule, _| {
            let scene = scene::sqlite(schedule, "");
            at_any_byte_of_the_handshake(scene, |scene| &scene.queue.proxy, &BOTH_WAYS, &What::Cut);
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
            let scene = scene::sqlite(schedule, "");
            at_any_byte_of_the_handshake(
                scene,
                |scene| &scene.queue.proxy,
                &[Way::ToServer],
                &What::HalfClose,
            );
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
            let scene = scene::aerospike(schedule, "");
            at_any_byte_of_the_handshake(scene, |scene| scene.store.path(), &BOTH_WAYS, &What::Cut);
        },
    );
}

/// Any fault of a network except altered bytes, which TCP's checksum detects: the runs after it recover
/// everything.
#[test]
fn any_faults_of_the_network_lose_and_duplicate_nothing() {
    Schedule::each("network::any_faults_of_the_network_lose_and_duplicate_nothing", 60, |schedule, rng| {
        let scene = match rng.u8(0..4) {
            0 => scene::sqlite(schedule, ""),
            _ => scene::aerospike(schedule, ""),
        };
        any_faults_of_the_network(scene, rng);
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
        let mut scene = scene::encrypted(schedule, "");
        for _ in 0..3 {
            scene.publish(rng.u64(1..150));
            scene.queue.proxy.plan(vec![any_corruption(rng)]);
            scene.store.path().plan(vec![any_corruption(rng)]);
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
        let mut scene = scene::aerospike(schedule, "");
        scene.publish(100);
        scene.queue.proxy.plan(vec![any_corruption(rng)]);
        scene.store.path().plan(vec![any_corruption(rng)]);
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
