//! Paths that delay: silence there does not mean that a queue is empty.

use x_msrv_contract::faults::schedules::a_path_with_random_delays;

use super::{Schedule, proxy::Habit, scene};

/// Otherwise a run over such a path would find the queue empty, release the messages that arrive while it
/// closes, and exit 0, and so would every following run.
#[test]
fn a_path_that_delays_small_segments_does_not_stop_the_drain() {
    Schedule::each("paths::a_path_that_delays_small_segments_does_not_stop_the_drain", 6, |schedule, rng| {
        let (messages, n) = [(5, 10), (211, 10_000), (rng.u64(1..400), 10_000)][rng.usize(0..3)];
        let mut scene = scene::sqlite(schedule, &format!("max-messages: {n}\n"));
        scene.queue.proxy.always(Habit { holds_small_segments: true, ..Habit::default() });
        scene.publish(messages);
        let report = scene.run().report();
        let settled = report["stored"]
            .as_u64()
            .zip(report["rejected"].as_u64())
            .map(|(stored, rejected)| stored + rejected);
        assert_eq!(
            (settled, report["stop-reason"].as_str()),
            (Some(messages), Some("queue-empty")),
            "{report}"
        );
        scene.check();
    });
}

/// No run can know how late a message will be. It may end too early, but never return messages that it had
/// room for, and the queue becomes empty in the end.
#[test]
fn a_path_with_random_delays_loses_nothing_and_the_queue_becomes_empty() {
    Schedule::each(
        "paths::a_path_with_random_delays_loses_nothing_and_the_queue_becomes_empty",
        12,
        |schedule, rng| {
            let scene = scene::sqlite(schedule, if rng.bool() { "" } else { "max-messages: 10000\n" });
            a_path_with_random_delays(scene, rng);
        },
    );
}
