//! `log.format: json`, for collectors of the standard error of containers and cron jobs.

use serde_json::Value;

use crate::support::program::{Ended, Program};

const CONFIGURATION: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\nlog: {format: json, level: debug}\n";

/// Returns the lines on standard error; each must be an object with a time, a level and a message.
#[track_caller]
fn lines(ended: &Ended) -> Vec<Value> {
    let line = |line: &str| -> Value {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["time"].as_str().is_some_and(|time| humantime::parse_rfc3339(time).is_ok()), "{line}");
        assert!(
            matches!(object["level"].as_str(), Some("error" | "warn" | "info" | "debug"))
                && object["message"].is_string(),
            "{line}"
        );
        assert!(
            object
                .as_object()
                .expect("an object")
                .keys()
                .all(|key| ["time", "level", "message", "fields"].contains(&&**key)),
            "{line}"
        );
        object
    };
    ended.stderr.lines().map(line).collect()
}

/// One line that is no JSON would make a collector drop the lines around it.
#[test]
fn every_line_on_standard_error_is_an_object() {
    let program = Program::new(CONFIGURATION);
    let sent = lines(&program.run_with_input(&["send"], b"{}\n{a\n[\"\xe2\x80\xae\\n\"]\n"));
    assert_eq!(sent.last().expect("a line")["message"], "messages sent: 3");
    let run = program.run(&["run"]);
    assert_eq!(run.code, Some(0));
    let run = lines(&run);
    let finished = run.iter().find(|line| line["message"] == "run finished").expect("the summary");
    let fields = &finished["fields"];
    assert_eq!(
        (&finished["level"], fields["received"].as_u64(), fields["stop-reason"].as_str()),
        (&"info".into(), Some(3), Some("queue-empty"))
    );
    let rejected: Vec<_> = run.iter().filter(|line| line["message"] == "message rejected").collect();
    assert_eq!(
        rejected.iter().map(|line| line["fields"]["reason"].as_str()).collect::<Vec<_>>(),
        [Some("not-json"), Some("not-object")]
    );
    assert!(
        rejected.iter().all(|line| line["level"] == "warn" && line["fields"]["attempts"] == 1),
        "{rejected:?}"
    );

    let store = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    store.execute_batch("DROP TABLE s; CREATE TABLE s (other)").expect("another table");
    let failed = program.run(&["run"]);
    assert_eq!(failed.code, Some(78));
    let failed = lines(&failed);
    let error = failed.iter().find(|line| line["level"] == "error").expect("an error");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("no column named gid")), "{error}");
}

/// Otherwise syslog would contain JSON objects inside its own format.
#[test]
fn the_json_format_is_for_standard_error_only() {
    let program = Program::new(&CONFIGURATION.replace("format: json", "format: json, target: syslog"));
    let ended = program.run(&["check"]);
    assert!(
        ended.code == Some(78)
            && ended.stderr.contains("log.format: `json` cannot be used with `log.target: syslog`"),
        "{ended:?}"
    );
    let program =
        Program::new(&CONFIGURATION.replace("format: json, ", "")).env("X_MSRV__LOG__FORMAT", "json");
    assert!(lines(&program.run(&["run"])).iter().any(|line| line["message"] == "run finished"));
}
