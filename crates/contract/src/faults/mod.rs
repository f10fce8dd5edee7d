//! The promises under faults, for any queue and any store: the program itself between real servers, with a
//! proxy in front of each that does what networks do.
//!
//! A test names a [`Schedule`], which is derived from a seed: what is published, what goes wrong, and at which
//! byte. The timing of the machine is not part of the seed, so a schedule that failed once may need several
//! tries to fail again. The schedule acts on a [`Scene`](scene::Scene), which is also the oracle: it drains
//! what is left and compares the queue, the store, the dead letters and the reports of all runs with what was
//! published. A queue and a store enter with one trait each, [`QueueUnderTest`](scene::QueueUnderTest) and
//! [`StoreUnderTest`](scene::StoreUnderTest); [`ProgramUnderTest`](scene::ProgramUnderTest) is all that is known about the program.
//!
//! `X_MSRV_FAULT_FACTOR` multiplies the number of schedules, `X_MSRV_FAULT_SEED` repeats one, and
//! `X_MSRV_FAULT_LOG` names a file that a line is added to for each.

pub mod proxy;
pub mod scene;
pub mod schedules;

use std::{
    cell::Cell,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fastrand::Rng;

/// Counts the faults of a schedule.
#[derive(Debug, Clone, Default)]
pub struct Injected(Arc<AtomicU64>);

impl Injected {
    /// Counts a fault.
    pub fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Returns the number of faults.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Returns a number from the environment.
#[must_use]
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Returns the factor by which the environment increases the number of schedules.
#[must_use]
pub fn factor() -> u64 {
    setting("X_MSRV_FAULT_FACTOR").unwrap_or(1)
}

/// A schedule in progress. If it fails, it prints how to repeat it.
pub struct Schedule {
    name: &'static str,
    /// What it is derived from.
    pub seed: u64,
    /// Its faults so far.
    pub injected: Injected,
    /// The counts of scenes that ended well.
    logged: Cell<u64>,
}

impl Schedule {
    /// Runs `schedule` once for each of `short` seeds, or as the environment specifies.
    #[track_caller]
    pub fn each(name: &'static str, short: u64, schedule: impl Fn(&Self, &mut Rng)) {
        let seeds = match setting("X_MSRV_FAULT_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..short * factor(),
        };
        for seed in seeds {
            let this = Self { name, seed, injected: Injected::default(), logged: Cell::default() };
            schedule(&this, &mut Rng::with_seed(seed));
        }
    }

    /// Records that a scene ended well, after this many messages and runs.
    pub fn passed(&self, messages: usize, runs: usize) {
        let faults = self.injected.count() - self.logged.replace(self.injected.count());
        let line = format!("{} {} {faults} {messages} {runs}\n", self.name, self.seed);
        if let Some(path) = std::env::var_os("X_MSRV_FAULT_LOG") {
            let mut log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("X_MSRV_FAULT_LOG names a file");
            log.write_all(line.as_bytes()).expect("the log can be written");
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed, .. } = self;
            eprintln!("repeat it with X_MSRV_FAULT_SEED={seed} cargo test {name}");
        }
    }
}
