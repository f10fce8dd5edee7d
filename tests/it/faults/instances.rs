//! Several instances on one channel, as when a timer's run is still active on another host.

use std::{process::Child, time::Duration};

use fastrand::Rng;

use super::{
    Schedule,
    scene::{Interference, N, Scene},
};
use crate::support::{
    aerospike::{Rule, Then, When},
    program::{ended, signal, wait},
    wait_until,
};

/// Starts this many runs at the same time; some of them are killed or stopped.
fn together(scene: &mut Scene<'_>, instances: usize, rng: &mut Rng) {
    let children: Vec<Child> = (0..instances).map(|_| scene.spawn()).collect();
    for mut child in children {
        let fate = rng.u8(0..4);
        if fate < 2 {
            #[expect(clippy::disallowed_methods, reason = "the moment that the seed chose")]
            std::thread::sleep(Duration::from_micros(rng.u64(0..20_000)));
            scene.signal(&mut child, if fate == 0 { "KILL" } else { "TERM" });
        }
        child.wait().expect("the run ends");
        scene.look_at(
            &ended(child.wait_with_output().expect("the run ended")),
            if fate < 2 { Interference::Killed } else { Interference::Nothing },
        );
    }
}

fn instances(name: &'static str, count: usize) {
    Schedule::each(name, 3, |schedule, rng| {
        let mut scene = if schedule.seed.is_multiple_of(3) {
            Scene::sqlite(schedule, "")
        } else {
            Scene::aerospike(schedule, "")
        };
        for _ in 0..8 {
            scene.publish(rng.u64(0..N * count as u64 * 2));
            together(&mut scene, count, rng);
        }
        scene.check();
    });
}

/// Runs on two hosts share a channel and redeliver each other's messages when they are killed.
#[test]
fn two_instances_on_one_channel_lose_and_duplicate_nothing() {
    instances("instances::two_instances_on_one_channel_lose_and_duplicate_nothing", 2);
}

/// The same with more contention for each nsqd and record.
#[test]
fn four_instances_on_one_channel_lose_and_duplicate_nothing() {
    instances("instances::four_instances_on_one_channel_lose_and_duplicate_nothing", 4);
}

/// A run frozen for longer than nsqd's message timeout: its messages are delivered to another run, and both
/// store them as the same records.
#[test]
fn messages_that_time_out_before_the_store_answers_are_stored_once() {
    Schedule::each(
        "instances::messages_that_time_out_before_the_store_answers_are_stored_once",
        2,
        |schedule, rng| {
            let mut scene = Scene::stand_in(schedule, "");
            scene.publish(N);
            scene.stand_in_server().rule(Rule {
                when: When::Write,
                then: Then::Delay(Duration::from_millis(300)),
                times: Some(1),
            });
            let child = scene.spawn();
            crate::support::block_on(scene.stand_in_server().until_writes(rng.usize(1..30)));
            signal(&child, "STOP");
            scene.injected();
            wait_until("the message timeout of nsqd has passed", || scene.nsqd.depths("t").in_flight == 0);
            let other = scene.run();
            assert_eq!(other.code, Some(0), "{}", other.stderr);
            signal(&child, "CONT");
            let ended = wait(child);
            scene.look_at(&ended, Interference::Nothing);
            assert_eq!(ended.code, Some(75), "its settlements were too late: {}", ended.stdout);
            assert_eq!(
                ended.stderr.matches("nsqd refused a command").count(),
                1,
                "not once for each: {}",
                ended.stderr
            );
            scene.check();
        },
    );
}
