//! Paths that delay: silence there does not mean that a queue is empty.

use std::time::Duration;

use super::{
    Schedule,
    proxy::Habit,
    scene::{Interference, Scene},
};

/// Otherwise a run over such a path would find the queue empty, release the messages that arrive while it
/// closes, and exit 0, and so would every following run.
#[test]
fn a_path_that_delays_small_segments_does_not_stop_the_drain() {
    Schedule::each("paths::a_path_that_delays_small_segments_does_not_stop_the_drain", 6, |schedule, rng| {
        let (messages, n) = [(5, 10), (211, 10_000), (rng.u64(1..400), 10_000)][rng.usize(0..3)];
        let mut scene = Scene::sqlite(schedule, &format!("max-messages: {n}\n"));
        scene.queue.always(Habit { holds_small_segments: true, ..Habit::default() });
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
            let mut scene = Scene::sqlite(schedule, if rng.bool() { "" } else { "max-messages: 10000\n" });
            let jitter = Duration::from_millis(1 << rng.u32(1..7));
            scene.queue.always(Habit { holds_small_segments: rng.bool(), jitter });
            for _ in 0..3 {
                scene.publish(rng.u64(1..150));
                let ended = scene.program.run(&["run", "--report", "json"]);
                scene.look_at(&ended, Interference::Nothing);
            }
            scene.check();
        },
    );
}
