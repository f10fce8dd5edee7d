//! Aerospike fails. The stand-in can simulate each error; the codes are those of the store's table.

use std::time::Duration;

use fastrand::Rng;

use super::{
    Schedule,
    scene::{self, Interference, N, Scene},
};
use crate::support::{
    aerospike::{Rule, Then, When},
    program::wait,
};

/// The store fails.
const REQUEUE: [u8; 11] = [1, 7, 8, 9, 11, 14, 18, 32, 83, 120, 152];
/// The record is at fault.
const REFUSE: [u8; 6] = [12, 13, 19, 26, 29, 160];
/// The record or the store is at fault, and the server reports no fault of its own.
const SUSPECT: [u8; 2] = [4, 21];
/// The setup is wrong.
const STOP: [u8; 21] = [10, 16, 20, 25, 51, 52, 53, 54, 55, 56, 60, 61, 62, 63, 64, 65, 66, 80, 81, 82, 150];

/// One of the existing messages.
fn any_message(scene: &Scene<'_>, rng: &mut Rng) -> u64 {
    rng.choice(scene.valid()).expect("some are valid")
}

fn of(number: u64) -> When {
    When::BinInt("n", number.cast_signed())
}

/// Otherwise an outage would turn valid messages into dead letters.
#[test]
fn every_code_for_an_outage_requeues_and_exits_75() {
    Schedule::each("store::every_code_for_an_outage_requeues_and_exits_75", 1, |schedule, rng| {
        let mut scene = scene::stand_in(schedule, "");
        for code in REQUEUE {
            for times in [Some(1), None] {
                scene.publish(N);
                scene.store.stand_in().rule(Rule { when: When::Write, then: Then::Answer(code), times });
                scene.injected();
                let ended = scene.run();
                assert_eq!(ended.code, Some(75), "{code}: {}", ended.stderr);
                scene.store.stand_in().clear_rules();
                scene.drain();
            }
            scene.publish(rng.u64(0..N));
        }
        scene.check();
    });
}

/// Otherwise an invalid record would be retried forever, or take its neighbours with it.
#[test]
fn every_code_that_blames_the_record_makes_only_that_message_a_dead_letter() {
    Schedule::each(
        "store::every_code_that_blames_the_record_makes_only_that_message_a_dead_letter",
        1,
        |schedule, _| {
            let mut scene = scene::stand_in(schedule, "");
            for code in REFUSE {
                scene.publish(N);
                let fresh = *scene.valid().last().expect("some are valid");
                scene.store.stand_in().rule(Rule::always(of(fresh), Then::Answer(code)));
                scene.injected();
                scene.will_be_refused(fresh);
                let ended = scene.run();
                assert_eq!(ended.code, Some(0), "{code}: {}", ended.stderr);
            }
            scene.check();
        },
    );
}

/// A message alone may be requeued first, in any batch.
#[test]
fn every_code_that_may_blame_the_record_makes_only_that_message_a_dead_letter_in_the_end() {
    Schedule::each(
        "store::every_code_that_may_blame_the_record_makes_only_that_message_a_dead_letter_in_the_end",
        1,
        |schedule, _| {
            let mut scene = scene::stand_in(schedule, "max-attempts: 2\n");
            for code in SUSPECT {
                scene.publish(N);
                let fresh = *scene.valid().last().expect("some are valid");
                scene.store.stand_in().rule(Rule::always(of(fresh), Then::Answer(code)));
                scene.injected();
                scene.will_be_refused(fresh);
                scene.drain();
            }
            scene.check();
        },
    );
}

/// If a store that has accepted nothing refuses all records with one code, none becomes a dead letter,
/// however often it is delivered.
#[test]
fn every_code_that_may_blame_the_record_blames_the_store_if_all_records_fail() {
    Schedule::each(
        "store::every_code_that_may_blame_the_record_blames_the_store_if_all_records_fail",
        1,
        |schedule, _| {
            let mut scene = scene::stand_in(schedule, "max-messages: 100\n");
            for code in SUSPECT {
                scene.publish(N);
                scene.store.stand_in().rule(Rule::always(When::Write, Then::Answer(code)));
                scene.injected();
                for _ in 0..2 {
                    let ended = scene.run();
                    assert_eq!(ended.code, Some(78), "{code}: {}", ended.stderr);
                }
                scene.store.stand_in().clear_rules();
                scene.drain();
            }
            scene.check();
        },
    );
}

/// Otherwise messages would become dead letters for a fault that only an administrator can fix.
#[test]
fn every_code_that_blames_the_setup_requeues_all_and_exits_78() {
    Schedule::each(
        "store::every_code_that_blames_the_setup_requeues_all_and_exits_78",
        1,
        |schedule, rng| {
            let mut scene = scene::stand_in(schedule, "");
            for code in STOP {
                scene.publish(N);
                let when =
                    if rng.bool() { When::Write } else { of(*scene.valid().last().expect("some are valid")) };
                scene.store.stand_in().rule(Rule::always(when, Then::Answer(code)));
                scene.injected();
                let ended = scene.run();
                assert_eq!(ended.code, Some(78), "{code}: {}", ended.stderr);
                let depths = scene.queue.server.depths("t");
                assert_eq!(
                    (depths.in_flight, depths.deferred),
                    (0, 0),
                    "{code}: the rest is given back at once"
                );
                scene.store.stand_in().clear_rules();
                scene.drain();
            }
            scene.check();
        },
    );
}

/// Some rows fail, some are stored but reported as failed, and several faults may affect one message.
#[test]
fn partly_failed_batches_store_every_message_once() {
    Schedule::each("store::partly_failed_batches_store_every_message_once", 10, |schedule, rng| {
        let mut scene = scene::stand_in(schedule, "max-messages: 150\nmax-attempts: 0\n");
        for _ in 0..2 {
            scene.publish(150);
            for _ in 0..rng.usize(1..30) {
                let code = rng.choice(REQUEUE).expect("codes");
                let then = if rng.bool() { Then::Answer(code) } else { Then::StoreThenAnswer(code) };
                let number = any_message(&scene, rng);
                scene.store.stand_in().rule(Rule { when: of(number), then, times: Some(rng.usize(1..3)) });
                scene.injected();
            }
            scene.run();
        }
        scene.store.stand_in().clear_rules();
        scene.check();
    });
}

/// Otherwise a lost answer would lose the message or store it twice.
#[test]
fn writes_without_an_answer_are_repeated_as_the_same_records() {
    Schedule::each("store::writes_without_an_answer_are_repeated_as_the_same_records", 9, |schedule, rng| {
        let thens = [
            Then::StoreThenHang,
            Then::StoreThenClose,
            Then::StoreThenAnswer(9),
            Then::CloseMidBatch,
            Then::CloseBeforeAnswer,
            Then::Hang,
            Then::Delay(Duration::from_millis(700)), // later than the store's timeout
        ];
        let mut scene = scene::stand_in(schedule, "max-messages: 150\n");
        scene.publish(150);
        let then = rng.choice(thens).expect("some");
        let number = any_message(&scene, rng);
        scene.store.stand_in().rule(Rule { when: of(number), then, times: Some(rng.usize(1..3)) });
        scene.injected();
        scene.run();
        scene.store.stand_in().clear_rules();
        scene.check();
    });
}

/// Otherwise messages would be acknowledged that the store has not written.
#[test]
fn a_store_that_freezes_or_stops_during_a_run_loses_nothing() {
    Schedule::each("store::a_store_that_freezes_or_stops_during_a_run_loses_nothing", 8, |schedule, rng| {
        let mut scene = scene::stand_in(schedule, "max-messages: 300\n");
        scene.publish(300);
        let child = scene.spawn();
        crate::support::block_on(scene.store.stand_in().until_writes(rng.usize(1..200)));
        scene.injected();
        let frozen = rng.bool();
        if frozen {
            scene.store.stand_in().freeze();
        } else {
            scene.store.stand_in().stop();
        }
        let ended = wait(child);
        scene.look_at(&ended, Interference::Nothing);
        if frozen {
            scene.store.stand_in().thaw();
        } else {
            scene.store.stand_in().restart();
        }
        scene.check();
    });
}
