//! The clock jumps during a run and between runs. libfaketime supplies the program's time.

use std::path::PathBuf;

use super::{
    Schedule,
    proxy::{Fault, Gate, Way, What},
    scene::{self, Interference, N},
};
use crate::support::{
    PATIENCE,
    program::{Program, wait, wait_while_running},
    wait_until,
};

/// Debian installs it in a folder named after the machine's architecture.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").map_while(Result::ok);
    let mut candidates = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    candidates.find(|path| path.exists()).expect("test/prerequisites installs libfaketime")
}

/// The program's time of day is that of the machine plus the offset in the file `clock`, such as `+1d`, read
/// at each query.
fn with_a_clock(program: &mut Program) {
    let clock = program.write("clock", "+0");
    program.set("LD_PRELOAD", &library().display().to_string());
    program.set("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string());
    program.set("FAKETIME_NO_CACHE", "1");
    program.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// Timeouts that use the time of day would end at once or never.
#[test]
fn a_clock_that_jumps_during_a_run_loses_nothing() {
    Schedule::each("clock::a_clock_that_jumps_during_a_run_loses_nothing", 4, |schedule, rng| {
        let mut scene = scene::aerospike(schedule, "");
        with_a_clock(&mut scene.program);
        for _ in 0..3 {
            scene.publish(N + rng.u64(0..50));
            let (gate, reached) = Gate::new();
            scene.queue.proxy.plan(vec![Fault {
                connection: 0,
                way: Way::ToClient,
                after: rng.u64(0..3_000),
                what: What::Hold(gate.clone()),
            }]);
            let child = scene.spawn();
            reached.recv_timeout(PATIENCE).expect("the run gets that far");
            let jump = rng.choice(["+1d", "-1d", "+400d", "-40y", "+0"]).expect("some");
            scene.program.write("clock", jump);
            scene.injected();
            gate.open();
            let ended = wait(child);
            scene.look_at(&ended, Interference::Nothing);
            assert_eq!(ended.code, Some(0), "{jump}: {}", ended.stderr);
        }
        scene.check();
    });
}

/// The embedded queue stores leases and delays as times of day. A lease made while the clock was wrong would
/// otherwise hold its message back until that day.
#[test]
fn messages_of_the_embedded_queue_do_not_wait_for_a_time_from_a_wrong_clock() {
    for jump in ["+1d", "+400d", "-1d"] {
        let mut program = Program::new(
            "embedded-queue: {path: queue.db, lease-timeout: 300ms}\nsqlite: {path: store.db, set: s}\nmax-messages: 50\n",
        );
        with_a_clock(&mut program);
        let lines = (0..50).map(|number| format!("{{\"n\":{number}}}\n")).collect::<Vec<_>>().concat();
        assert_eq!(program.run_with_input(&["send"], lines.as_bytes()).code, Some(0));
        program.write("clock", jump);
        // The store is busy, so the run waits there with its messages leased.
        let store = rusqlite::Connection::open(program.path("store.db")).expect("the store");
        store
            .execute_batch("CREATE TABLE s (gid ANY PRIMARY KEY NOT NULL, document TEXT NOT NULL) STRICT; PRAGMA journal_mode = wal")
            .expect("a table");
        store.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        let mut child = program.spawn(&["run"]);
        let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
        let leased = || {
            queue.query_row("SELECT count(*) FROM messages WHERE lease IS NOT NULL", [], |row| {
                row.get::<_, u32>(0)
            })
        };
        wait_while_running(&mut child, || leased() == Ok(50));
        child.kill().expect("it waits for the store");
        child.wait().expect("the run ends");
        store.execute_batch("ROLLBACK").expect("the lock");
        program.write("clock", "+0");
        let mut stored = 0;
        wait_until("the leases end", || {
            stored += program.drain(&[])["stored"].as_u64().expect("a count");
            stored == 50
        });
        assert_eq!(program.rows("s").len(), 50, "{jump}");
    }
}
