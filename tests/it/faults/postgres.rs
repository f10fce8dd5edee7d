//! PostgreSQL, or the path to it, fails: a real server, killed, frozen, full, and behind a proxy.

use x_msrv_contract::{
    fault_suite,
    faults::{scene::StoreUnderTest as _, schedules::any_fault},
};

use super::{
    Schedule,
    files::Disk,
    proxy::{Fault, Way, What},
    scene::{self, Interference, N, Scene},
};
use crate::support::{block_on, postgres::Postgres, program::wait};

const TABLE: &str = "CREATE TABLE SCHEMA.t (gid text PRIMARY KEY, document jsonb NOT NULL)";

fn nsqd_into_postgresql(schedule: &Schedule) -> Scene<'_> {
    scene::postgres(schedule, None, "", TABLE, "")
}

fault_suite!(
    postgresql,
    nsqd_into_postgresql,
    [every, store],
    #[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
);

/// Otherwise a broken connection would lose a batch or count its rows as stored.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn any_faults_on_the_path_to_postgresql_lose_and_duplicate_nothing() {
    Schedule::each(
        "postgres::any_faults_on_the_path_to_postgresql_lose_and_duplicate_nothing",
        20,
        |schedule, rng| {
            let keys = if rng.bool() { "" } else { ", exists: create-only" };
            let mut scene = scene::postgres(schedule, None, keys, TABLE, "");
            for _ in 0..3 {
                scene.publish(rng.u64(1..150));
                let faults: Vec<_> =
                    (0..rng.usize(1..3)).map(|_| Fault { connection: 0, ..any_fault(rng) }).collect();
                // A login that reaches the server truncated is a wrong password to it, and it can still
                // answer.
                let is_half =
                    |fault: &Fault| matches!(fault.what, What::HalfClose) && fault.way == Way::ToServer;
                let interference =
                    if faults.iter().any(is_half) { Interference::Misled } else { Interference::Nothing };
                scene.store.path().plan(faults);
                let ended = wait(scene.spawn());
                scene.look_at(&ended, interference);
            }
            scene.check();
        },
    );
}

/// The client sees an error but the rows are stored: reporting them as refused, or writing others, would be
/// wrong.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn an_answer_lost_after_the_commit_is_in_doubt_and_stored_once() {
    Schedule::each(
        "postgres::an_answer_lost_after_the_commit_is_in_doubt_and_stored_once",
        2,
        |schedule, _| {
            for keys in ["", ", exists: create-only", ", exists: update"] {
                let mut scene = scene::postgres(schedule, None, keys, TABLE, "");
                scene.clean_run();
                let passed = scene.store.path().passed();
                scene.publish(N);
                // The first byte that the server sends beyond those of a run without messages.
                let after = passed[0].to_client;
                let cut = Fault { connection: 0, way: Way::ToClient, after, what: What::Cut };
                scene.store.path().plan(vec![cut]);
                let ended = scene.run();
                assert_eq!(ended.code, Some(75), "{keys}: {}", ended.stderr);
                let report = ended.report();
                assert_eq!(report["stored"], 0, "{keys}: {report}");
                let in_doubt = report["deferred"].as_u64().expect("a number");
                assert!(in_doubt > 0, "{keys}: {report}");
                assert_eq!(scene.store.rows().len() as u64, in_doubt, "{keys}: the rows are there");
                scene.check();
            }
        },
    );
}

/// Otherwise the messages of an interrupted batch would be acknowledged or become dead letters.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_postgresql_that_is_killed_or_frozen_during_a_run_loses_nothing() {
    Schedule::each(
        "postgres::a_postgresql_that_is_killed_or_frozen_during_a_run_loses_nothing",
        6,
        |schedule, rng| {
            let own = Some(Postgres::with(&[]));
            // Each row takes a moment, so that a batch can be interrupted.
            let slow = format!(
                "{TABLE}; CREATE FUNCTION SCHEMA.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM pg_sleep(0.0005); RETURN NEW; END $$; \
                 CREATE TRIGGER wait BEFORE INSERT ON SCHEMA.t FOR EACH ROW EXECUTE FUNCTION SCHEMA.wait()"
            );
            let mut scene = scene::postgres(schedule, own, "", &slow, "max-messages: 200\n");
            for _ in 0..2 {
                scene.publish(200);
                let after = scene.store.path().passed().len();
                let mut child = scene.spawn();
                let sent = rng.u64(1_000..30_000);
                crate::support::wait_until("a run speaks to the store, or ends", || {
                    let passed = scene.store.path().passed();
                    passed.get(after).is_some_and(|passed| passed.to_server >= sent)
                        || child.try_wait().expect("a child").is_some()
                });
                scene.injected();
                let is_frozen = rng.bool();
                if is_frozen {
                    scene.store.postgres().freeze();
                } else {
                    scene.store.postgres().kill();
                }
                let ended = wait(child);
                if is_frozen {
                    scene.store.postgres().thaw();
                } else {
                    scene.store.postgres().restart();
                }
                scene.look_at(&ended, Interference::Nothing);
            }
            scene.check();
        },
    );
}

/// No row is at fault, whatever code the server reports (53100): messages wait until there is room.
#[test]
#[cfg_attr(have_postgres, ignore = "only root can mount a small disk: test/faults")]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_full_disk_of_postgresql_loses_nothing() {
    Schedule::each("postgres::a_full_disk_of_postgresql_loses_nothing", 1, |schedule, _| {
        let own = Postgres::with(&[]);
        let place = own.folder().join("disk");
        let disk = Disk::new(&place, "512k,mode=777");
        let inner = place.join("space");
        std::fs::create_dir(&inner).expect("a folder");
        std::os::unix::fs::chown(&inner, Some(65_534), Some(65_534)).expect("we are root");
        block_on(own.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", inner.display())));
        let table = format!("{TABLE} TABLESPACE small");
        let mut scene = scene::postgres(schedule, Some(own), "", &table, "max-messages: 400\n");
        scene.publish(4_000);
        let mut full = 0;
        for _ in 0..10 {
            let ended = scene.run();
            full += u32::from(ended.code == Some(75) && ended.stderr.contains("53100"));
        }
        assert!(full > 0, "4,000 rows fill it");
        scene.injected();
        disk.remount("size=64m");
        scene.check();
    });
}
