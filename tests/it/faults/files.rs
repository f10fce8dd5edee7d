//! Disks that are full or read-only. The tests use small disks in memory, which only root can mount;
//! `test/faults` then runs these tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Schedule,
    scene::{self, N},
};
use crate::support::program::Program;

/// A small file system that is unmounted when its handle is dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn new(path: &Path, size: &str) -> Self {
        std::fs::create_dir(path).expect("a folder");
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none"], path);
        Self(path.to_owned())
    }

    pub(super) fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let status = Command::new("mount").args(arguments).arg(path).status().expect("mount runs");
    assert!(status.success(), "mount {arguments:?}");
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(
            status.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the disk is unmounted"
        );
    }
}

/// A message whose dead letter cannot be written is not acknowledged; it waits until the disk has room again.
#[test]
#[ignore = "only root can mount a small disk: test/faults"]
fn a_full_or_read_only_disk_for_dead_letters_loses_none() {
    Schedule::each("files::a_full_or_read_only_disk_for_dead_letters_loses_none", 1, |schedule, _| {
        let mut scene = scene::in_files(schedule, ["store.db", "disk/dead-letter.ndjson"], "");
        let disk = Disk::new(&scene.program.path("disk"), "8k");
        scene.publish(16 * N);
        let mut full = 0;
        for _ in 0..16 {
            full += u32::from(scene.run().code == Some(75));
        }
        assert!(full > 0, "64 letters fill two pages");
        scene.injected();
        disk.remount("size=1m");
        scene.run();
        disk.remount("ro");
        scene.injected();
        scene.publish(N);
        assert_eq!(scene.run().code, Some(75));
        disk.remount("rw");
        scene.check();
    });
}

/// The check said that all answer, and the next run could not keep its dead letters.
#[test]
#[ignore = "only root can mount a small disk: test/faults"]
fn check_connect_fails_on_a_full_disk() {
    for (text, words) in [
        ("dead-letter: {file: {path: disk/d.ndjson}}", "cannot keep dead letters in"),
        ("dead-letter: {publish: {embedded-queue: {path: disk/d.db}}}", "cannot keep dead letters in"),
        ("sqlite: {path: disk/s.db, set: s}", "the database"),
        ("embedded-queue: {path: disk/q.db}", "the embedded queue"),
    ] {
        let rest = ["embedded-queue: {path: queue.db}", "sqlite: {path: store.db, set: s}"];
        let rest = rest.into_iter().filter(|line| line.split(':').next() != text.split(':').next());
        let program = Program::new(&rest.chain([text]).collect::<Vec<_>>().join("\n"));
        let _disk = Disk::new(&program.path("disk"), "16k");
        let check = || program.run(&["check", "--connect"]);
        assert_eq!(check().code, Some(0), "{text}: {}", check().stderr);
        std::fs::write(program.path("disk/full"), vec![0; 32 << 10]).expect_err("larger than the disk");
        let ended = check();
        let is_told = ended.stderr.contains(words) && ended.stderr.contains("No space left on device");
        assert!(ended.code == Some(69) && is_told, "{text}: {ended:?}");
    }
}

/// Otherwise messages would be acknowledged that the store has not written.
#[test]
#[ignore = "only root can mount a small disk: test/faults"]
fn a_full_or_read_only_disk_for_the_store_loses_nothing() {
    Schedule::each("files::a_full_or_read_only_disk_for_the_store_loses_nothing", 1, |schedule, _| {
        let mut scene = scene::in_files(schedule, ["disk/store.db", "dead-letter.ndjson"], "");
        let disk = Disk::new(&scene.program.path("disk"), "128k");
        scene.publish(20 * N);
        let mut full = 0;
        for _ in 0..12 {
            full += u32::from(scene.run().code == Some(75));
        }
        assert!(full > 0, "20 kB for every 97th message fill it");
        scene.injected();
        disk.remount("size=64m");
        scene.drain();
        // A store that cannot be written is found before the first message is taken.
        disk.remount("ro");
        scene.injected();
        scene.publish(N);
        let ended = scene.program.run(&["run", "--report", "json"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""), "{}", ended.stderr);
        assert_eq!(scene.queue.server.depths("t").waiting, N);
        disk.remount("rw");
        scene.check();
    });
}

/// If there is no room for its shared memory, SQLite reports only that the disk fails.
#[test]
#[ignore = "only root can mount a small disk: test/faults"]
fn a_full_disk_before_the_store_is_opened_is_reported_as_full() {
    let program = Program::new("embedded-queue: {path: queue.db}\nsqlite: {path: disk/store.db, set: s}\n");
    let disk = Disk::new(&program.path("disk"), "64k");
    program.drain(&[]);
    program.run_with_input(&["send"], b"{}\n");
    let fill = std::fs::File::create(program.path("disk/fill")).expect("created");
    std::io::copy(&mut std::io::repeat(0), &mut &fill).expect_err("it is full");
    let ended = program.run(&["run"]);
    assert!(
        ended.code == Some(69) && ended.stderr.contains("disk/store.db: no space left on its disk"),
        "{ended:?}"
    );
    disk.remount("size=16m");
    assert_eq!(program.drain(&[])["stored"], 1);
}

/// A full disk refuses new messages; existing ones can still be drained once it has room.
#[test]
#[ignore = "only root can mount a small disk: test/faults"]
fn a_full_disk_for_the_embedded_queue_loses_no_accepted_message() {
    let program = Program::new(
        "embedded-queue: {path: disk/queue.db}\nsqlite: {path: store.db, set: s}\nmax-messages: 1000\n",
    );
    let disk = Disk::new(&program.path("disk"), "256k");
    let mut sent = 0;
    let refused = loop {
        let line = |number| format!("{{\"n\":{number},\"text\":\"{}\"}}\n", "x".repeat(1_000));
        let lines = (sent..sent + 20).map(line).collect::<Vec<_>>().concat();
        let ended = program.run_with_input(&["send"], lines.as_bytes());
        if ended.code != Some(0) {
            break ended;
        }
        sent += 20;
        assert!(sent < 1_000, "20 kB at a time fill 256 kB");
    };
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("disk/queue.db") && refused.stderr.contains("full"),
        "{}",
        refused.stderr
    );
    // To take a message is to write its lease, for which a full disk may have no room. In both cases nothing
    // is lost.
    let full = program.run(&["run", "--report", "json"]);
    assert!(matches!(full.code, Some(0 | 69 | 75)), "{full:?}");
    disk.remount("size=16m");
    program.drain(&[]);
    let numbers: Vec<_> =
        program.rows("s").iter().map(|(_, document)| document["n"].as_u64().expect("a number")).collect();
    let mut all: Vec<_> = numbers.clone();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), numbers.len()), (numbers.len(), sent), "every accepted message once");
}
