//! Several instances on one channel, as when a timer's run is still active on another host.

use std::time::Duration;

use x_msrv_contract::faults::schedules::several_runs_at_once;

use super::{
    Schedule,
    scene::{self, Interference, N},
};
use crate::support::{
    aerospike::{Rule, Then, When},
    program::{signal, wait},
    wait_until,
};

fn instances(name: &'static str, count: usize) {
    Schedule::each(name, 3, |schedule, rng| {
        let scene = if schedule.seed.is_multiple_of(3) {
            scene::sqlite(schedule, "")
        } else {
            scene::aerospike(schedule, "")
        };
        several_runs_at_once(scene, count, rng);
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
            let mut scene = scene::stand_in(schedule, "");
            scene.publish(N);
            scene.store.stand_in().rule(Rule {
                when: When::Write,
                then: Then::Delay(Duration::from_millis(300)),
                times: Some(1),
            });
            let child = scene.spawn();
            crate::support::block_on(scene.store.stand_in().until_writes(rng.usize(1..30)));
            signal(&child, "STOP");
            scene.injected();
            wait_until("the message timeout of nsqd has passed", || {
                scene.queue.server.depths("t").in_flight == 0
            });
            let other = scene.run();
            assert_eq!(other.code, Some(0), "{}", other.stderr);
            signal(&child, "CONT");
            let ended = wait(child);
            scene.look_at(&ended, Interference::Nothing);
            assert_eq!(ended.code, Some(75), "its settlements were too late: {}", ended.stdout);
            // Which commands are refused depends on what the frozen run was about to send.
            let refused = ["FIN", "REQ", "TOUCH"]
                .map(|command| ended.stderr.matches(&format!(r#"answer="E_{command}_FAILED "#)).count());
            assert_eq!(refused.into_iter().max(), Some(1), "not once for each message: {}", ended.stderr);
            scene.check();
        },
    );
}
