//! The program is killed or stopped at any moment.

use x_msrv_contract::faults::schedules::{killed_at_any_moment, stopped_at_any_moment};

use super::{
    Schedule,
    scene::{self, N},
};
use crate::support::{
    aerospike::{Rule, Then, When},
    wait_until,
};

/// Messages in flight are delivered again after nsqd's message timeout, and overwrite the same records.
#[test]
fn a_run_that_is_killed_at_any_moment_loses_and_duplicates_nothing() {
    Schedule::each(
        "signals::a_run_that_is_killed_at_any_moment_loses_and_duplicates_nothing",
        1,
        |schedule, rng| {
            killed_at_any_moment(scene::aerospike(schedule, ""), 150, rng);
            killed_at_any_moment(scene::sqlite(schedule, ""), 50, rng);
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
            stopped_at_any_moment(scene::aerospike(schedule, ""), 200, rng);
        },
    );
}

/// A run that dies after storing and before acknowledging causes only one more write of the same records.
#[test]
fn a_run_that_dies_between_store_and_acknowledgement_only_rewrites_the_same_records() {
    Schedule::each(
        "signals::a_run_that_dies_between_store_and_acknowledgement_only_rewrites_the_same_records",
        2,
        |schedule, rng| {
            let mut scene = scene::stand_in(schedule, "");
            scene.publish(N);
            let server = scene.store.stand_in();
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
            let after = scene.store.stand_in().records("s");
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
