//! Paths that delay: what silence seems to say about a queue is wrong there.

use std::time::Duration;

use super::{
    Schedule,
    proxy::Habit,
    scene::{Scene, Told},
};

/// A run through such a path found the queue empty, gave back what arrived while it ended, and exited 0; so
/// did all that followed, for ever.
#[test]
fn a_path_that_holds_small_segments_back_holds_no_message_back() {
    Schedule::each(
        "paths::a_path_that_holds_small_segments_back_holds_no_message_back",
        6,
        |schedule, rng| {
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
        },
    );
}

/// Nobody can know how late a message will be: a run may end too early, but never with messages in its hands
/// that it had room for, and the queue becomes empty all the same.
#[test]
fn a_path_that_delays_whatever_it_likes_loses_nothing_and_the_queue_becomes_empty() {
    Schedule::each(
        "paths::a_path_that_delays_whatever_it_likes_loses_nothing_and_the_queue_becomes_empty",
        12,
        |schedule, rng| {
            let mut scene = Scene::sqlite(schedule, if rng.bool() { "" } else { "max-messages: 10000\n" });
            let jitter = Duration::from_millis(1 << rng.u32(1..7));
            scene.queue.always(Habit { holds_small_segments: rng.bool(), jitter });
            for _ in 0..3 {
                scene.publish(rng.u64(1..150));
                let ended = scene.program.run(&["run", "--report", "json"]);
                scene.look_at(&ended, Told::Nothing);
            }
            scene.check();
        },
    );
}
