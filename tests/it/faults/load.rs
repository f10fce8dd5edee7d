//! Many messages in many runs, with a fault every few runs.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use fastrand::Rng;

use x_msrv_contract::faults::{scene::StoreUnderTest as _, schedules::any_fault};

use super::{
    Schedule,
    scene::{self, Interference, Scene, Store},
    setting,
};
use crate::support::program::{Ended, Scale, Weight};

/// Number of messages that are published together.
const AT_ONCE: u64 = 50_000;

/// The maximum resident memory of a run, whatever its load.
const MOST_MEMORY: u64 = 40 << 20;

/// The maximum number of open files and connections: usually about twenty, and more when connections break
/// faster than they close.
const MOST_DESCRIPTORS: usize = 128;

/// nsqd rarely loses a message when it is stopped; a chapter stops it about a dozen times.
const MOST_LOST_BY_NSQD: u64 = 20;

/// Published and checked together: the test keeps more memory for a message than the message has.
const CHAPTER: u64 = 500_000;

/// The result of the load.
#[derive(Default)]
struct Figures {
    published: u64,
    runs: Vec<Weight>,
    elapsed: Duration,
    /// Messages.
    lost_by_nsqd: usize,
}

/// A fault during the run that was just started, or before the next one.
fn fault(scene: &mut Scene<'_>, rng: &mut Rng) -> (Child, Scale) {
    let kinds = if matches!(scene.store, Store::StandIn(..)) { 5 } else { 4 };
    let kind = rng.u8(0..kinds);
    if kind == 0 {
        scene.queue.proxy.plan(vec![any_fault(rng)]);
        scene.store.proxy().inspect(|proxy| proxy.plan(vec![any_fault(rng)]));
        return spawn(scene);
    }
    let (mut child, scale) = spawn(scene);
    #[expect(clippy::disallowed_methods, reason = "the moment that the seed chose")]
    std::thread::sleep(Duration::from_micros(rng.u64(0..100_000)));
    match kind {
        1 => scene.signal(&mut child, "KILL"),
        2 => scene.signal(&mut child, "TERM"),
        3 => {
            scene.injected();
            scene.queue.server.stop();
            scene.queue.server.restart();
        }
        _ => {
            scene.injected();
            scene.store.stand_in().stop();
            scene.store.stand_in().restart();
        }
    }
    (child, scale)
}

/// Starts a run that is sampled from the start.
fn spawn(scene: &Scene<'_>) -> (Child, Scale) {
    let child = scene.spawn();
    let scale = Scale::under(&child);
    (child, scale)
}

impl Figures {
    /// Publishes this many messages, or fewer if the time is up.
    fn chapter(&mut self, scene: &mut Scene<'_>, messages: u64, until: Option<Instant>, rng: &mut Rng) {
        #[expect(clippy::disallowed_methods, reason = "the time that is measured")]
        let started = Instant::now();
        let mut left = messages;
        while left > 0 && !over(until) {
            let some = AT_ONCE.min(left);
            scene.publish(some);
            left -= some;
            while scene.queue.server.depths("t").waiting > some / 2 {
                scene.no_faults();
                let faulty = rng.u8(0..4) == 0;
                let (child, scale) = if faulty { fault(scene, rng) } else { spawn(scene) };
                // Its output is read meanwhile: a run that rejects many messages prints much.
                let ended = Ended::of(child);
                scene.look_at(&ended, if faulty { Interference::Killed } else { Interference::Nothing });
                self.runs.push(scale.read());
            }
        }
        self.published += messages - left;
        self.elapsed += started.elapsed();
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that bounds the load")]
fn over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}

fn load(name: &'static str, messages: u64, n: u64, minutes: Option<u64>) {
    Schedule::each(name, 1, |schedule, rng| {
        #[expect(clippy::disallowed_methods, reason = "the time that bounds the load")]
        let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        let more = format!("max-messages: {n}\n");
        let mut figures = Figures::default();
        while figures.published < messages && !over(until) {
            let mut scene = if schedule.seed.is_multiple_of(2) {
                scene::aerospike(schedule, &more)
            } else {
                scene::sqlite(schedule, &more)
            };
            figures.chapter(&mut scene, CHAPTER.min(messages - figures.published), until, rng);
            figures.lost_by_nsqd += scene.check_where_the_queue_ended(MOST_LOST_BY_NSQD);
        }
        let Figures { published, runs, elapsed, lost_by_nsqd } = figures;
        let most = |runs: &[Weight]| runs.iter().map(|run| run.memory).max().unwrap_or(0);
        let descriptors = runs.iter().map(|run| run.descriptors).max().unwrap_or(0);
        let (first, second) = runs.split_at(runs.len() / 2);
        println!(
            "{published} messages in {} runs of at most {n}, {} faults, {:.0} s; most memory of a run {:.1} MiB in the first half, {:.1} MiB in the second; \
             most descriptors {descriptors}; nsqd itself lost {lost_by_nsqd} when it was stopped",
            runs.len(),
            schedule.injected.count(),
            elapsed.as_secs_f64(),
            megabytes(most(first)),
            megabytes(most(second)),
        );
        assert!(most(&runs) <= MOST_MEMORY, "{:.1} MiB", megabytes(most(&runs)));
        assert!(descriptors <= MOST_DESCRIPTORS, "{descriptors}");
    });
}

#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Rare faults and leaks appear only after many messages.
#[test]
fn many_messages_through_many_runs_with_faults_among_them() {
    load("load::many_messages_through_many_runs_with_faults_among_them", 100_000, 4_000, None);
}

/// Runs as long as `X_MSRV_SOAK_MINUTES` says.
#[test]
#[ignore = "takes minutes: make soak"]
fn a_million_messages_and_more() {
    load(
        "load::a_million_messages_and_more",
        u64::MAX,
        10_000,
        Some(setting("X_MSRV_SOAK_MINUTES").unwrap_or(10)),
    );
}
