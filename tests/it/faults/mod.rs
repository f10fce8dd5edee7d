//! The promises under faults: the program itself against real servers, through proxies that do what networks
//! do.
//!
//! A schedule is made from a seed: what is published, what goes wrong, and at which byte. The machine's own
//! timing is not in the seed, so that a schedule that failed once may need several tries to fail again. After
//! each schedule the oracle (`scene`) drains what is left and looks at everything: queue, store, dead letter,
//! and the reports of all runs.
//!
//! `docs/reliability.md` has the list. The program is the one that the tests are built with, or the one that
//! `X_MSRV_TEST_PROGRAM` names; `X_MSRV_FAULT_FACTOR` multiplies the number of schedules, `X_MSRV_FAULT_SEED`
//! repeats one, `X_MSRV_FAULT_LOG` names a file that a line is added to for each.

mod clock;
mod files;
mod hostile;
mod instances;
mod letters;
mod load;
mod lookup;
mod network;
mod nsqd;
mod paths;
mod postgres;
mod proxy;
mod scene;
mod signals;
mod store;
mod witness;

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
struct Injected(Arc<AtomicU64>);

impl Injected {
    fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// The factor by which the environment increases the number of schedules.
fn factor() -> u64 {
    setting("X_MSRV_FAULT_FACTOR").unwrap_or(1)
}

/// A schedule in progress. If it fails, it prints how to repeat it.
struct Schedule {
    name: &'static str,
    seed: u64,
    injected: Injected,
    /// The counts of scenes that ended well.
    logged: Cell<u64>,
}

impl Schedule {
    /// Runs `schedule` once for each of `short` seeds, or as the environment specifies.
    #[track_caller]
    fn each(name: &'static str, short: u64, schedule: impl Fn(&Self, &mut Rng)) {
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
    fn passed(&self, messages: usize, runs: usize) {
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
            eprintln!(
                "repeat it with X_MSRV_FAULT_SEED={seed} cargo test --test it -- --exact faults::{name}"
            );
        }
    }
}

/// Totals added up by hand would not match the rows of the table.
#[test]
fn the_table_of_schedules_adds_up_and_names_every_schedule() {
    let page = include_str!("../../../docs/reliability.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| test, `faults::`"))
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (total, rows) = rows.split_last().expect("a table");
    let numbers = |row: &Vec<&str>| -> Vec<u64> {
        row[1..].iter().map(|cell| cell.replace(',', "").parse().expect("a number")).collect()
    };
    let sums = rows
        .iter()
        .map(numbers)
        .reduce(|sums, row| sums.iter().zip(row).map(|(sum, number)| sum + number).collect());
    assert_eq!((total[0], Some(numbers(total))), ("in all", sums));
    let tested: std::collections::BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let folder = crate::support::project().join("tests/it/faults");
    for entry in std::fs::read_dir(folder).expect("its folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        for name in text
            .split("Schedule::each(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| !name.is_empty())
        {
            assert!(tested.contains(name), "{name} is not in the table");
        }
    }
}
