//! Dead letters as an operator uses them: reading loses none, and each is sent again only once.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use serde_json::Value;

use crate::support::{
    nsqd::Nsqd,
    program::{Program, wait},
    wait_until,
};

const EMBEDDED: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\nmax-messages: 100\n";

/// A folder with four dead letters: two that are not JSON, one array, and one that is too large.
fn with_letters() -> Program {
    let program = Program::new(&format!("{EMBEDDED}max-message-size: 50\n"));
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(100));
    program.run_with_input(&["send"], format!("{{a\n[]\n{long}\n\u{1}\n").as_bytes());
    program.drain(&[]);
    assert_eq!(program.letters().len(), 4);
    program
}

#[track_caller]
fn listed(program: &Program, arguments: &[&str]) -> Vec<Value> {
    let ended = program.run(&[&["dead", "list", "--json"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn reasons(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["reason"].as_str().expect("a reason")).collect()
}

/// The standard error of a command that must succeed.
#[track_caller]
fn said(program: &Program, arguments: &[&str]) -> String {
    let ended = program.run(&[&["dead"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr.trim_end().to_owned()
}

/// Otherwise files renamed by logrotate would be ignored: they contain dead letters that no command would
/// show.
#[test]
fn files_renamed_by_logrotate_are_read_and_compressed_ones_are_reported() {
    let program = with_letters();
    std::fs::rename(program.path("dead-letter.ndjson"), program.path("dead-letter.ndjson-20261128"))
        .expect("rotated");
    program.write("dead-letter.ndjson-20261127.gz", "compressed");
    program.write("dead-letter.ndjson.bak", "not ours");
    program.run_with_input(&["send"], b"{b\n");
    program.drain(&[]);
    assert_eq!(
        reasons(&listed(&program, &[])),
        ["too-large", "not-json", "not-object", "not-json", "not-json"],
        "the oldest first"
    );
    let reported = said(&program, &["list"]);
    assert!(
        reported.contains("compressed dead letters are not read")
            && reported.contains("/dead-letter.ndjson-20261127.gz"),
        "{reported}"
    );
    assert!(!reported.contains(".bak"), "{reported}");
    assert!(said(&program, &["replay", "--all"]).contains("letters sent: 5"), "of all files");
    assert!(listed(&program, &[]).is_empty(), "they are marked");
}

/// Otherwise an operator would have to search the files by hand.
#[test]
fn dead_letters_are_listed_by_reason_and_time_and_shown_by_id() {
    let program = with_letters();
    let all = listed(&program, &[]);
    assert_eq!(
        reasons(&all),
        ["too-large", "not-json", "not-object", "not-json"],
        "in the order in which they were rejected"
    );
    assert!(all.iter().all(|letter| letter.get("body").is_none() && letter["replayed"] == false), "{all:?}");
    assert_eq!(all[0]["bytes"], 111);
    assert_eq!(reasons(&listed(&program, &["--reason", "not-json"])), ["not-json"; 2]);
    assert_eq!(listed(&program, &["--reason", "not-json", "--reason", "too-large"]).len(), 3);
    assert_eq!(
        (listed(&program, &["--since", "1h"]).len(), listed(&program, &["--until", "1h"]).len()),
        (4, 0)
    );
    assert_eq!(
        (listed(&program, &["--since", "2020-01-01"]).len(), listed(&program, &["--replayed"]).len()),
        (4, 0)
    );
    assert_eq!(reasons(&listed(&program, &["--limit", "1"])), ["not-json"], "the newest");
    assert_eq!(
        said(&program, &["list", "--limit", "1"]),
        "letters: 4 (2 not-json, 1 not-object, 1 too-large), showing the newest 1"
    );

    let table = program.run(&["dead", "list"]).stdout;
    let row = table.lines().nth(3).expect("a row");
    assert!(
        table.starts_with("time  ")
            && row.contains("  not-object  ")
            && row.ends_with("expected a JSON object, found an array"),
        "{table}"
    );

    let id = all[3]["id"].as_str().expect("an id");
    assert_eq!(program.run(&["dead", "show", id, "--body"]).stdout, "\u{1}");
    let shown = program.run(&["dead", "show", id]).stdout;
    program.write("shown.ndjson", &shown);
    let replayed = |program: &Program| said(program, &["replay", "shown.ndjson"]);
    assert_eq!(
        (replayed(&program), replayed(&program)),
        ("letters sent: 1, sent before: 0".into(), "letters sent: 0, sent before: 1".into())
    );
    let letter: Value = serde_json::from_str(&shown).expect("one letter");
    assert_eq!((letter["body"].as_str(), letter["replayed"].as_bool()), (Some("\u{1}"), Some(false)));
    let ended = program.run(&["dead", "show", "nonesuch"]);
    assert!(
        ended.code == Some(66) && ended.stderr.contains("no dead letter has the id nonesuch"),
        "{}",
        ended.stderr
    );
}

/// Writes a dead letter as another program does.
type Writes = fn(&Value) -> String;

/// After `jq`, an editor or another consumer has rewritten the file, a replay would otherwise refuse all of
/// its lines.
#[test]
fn dead_letters_rewritten_by_another_program_are_each_replayed_once() {
    let other_programs: [(&str, Writes); 6] = [
        ("jq -c .", |letter| letter.to_string()),
        ("jq -c 'del(.replayed)'", |letter| {
            let mut letter = letter.clone();
            letter.as_object_mut().expect("an object").remove("replayed");
            letter.to_string()
        }),
        ("another order", |letter| {
            let keys = letter.as_object().expect("an object").iter().rev();
            format!(
                "{{ {} }}\r",
                keys.map(|(key, value)| format!("\"{key}\" : {value}")).collect::<Vec<_>>().join(" , ")
            )
        }),
        ("a key more", |letter| {
            let mut letter = letter.clone();
            letter["seen"] = "by Ada".into();
            letter.to_string()
        }),
        ("null in the place of false", |letter| {
            letter.to_string().replace(r#""replayed":false"#, r#""replayed":null"#)
        }),
        ("a byte order mark", |letter| format!("\u{feff}{letter}")),
    ];
    for (what, write) in other_programs {
        let program = with_letters();
        let lines: Vec<_> = program.letters().iter().map(|letter| format!("{}\n", write(letter))).collect();
        program.write("dead-letter.ndjson", &format!("{}no letter\n", lines.concat()));
        assert_eq!(listed(&program, &[]).len(), 4, "{what}");
        let id =
            program.run(&["dead", "show", listed(&program, &[])[3]["id"].as_str().expect("an id"), "--body"]);
        assert_eq!(id.stdout, "\u{1}", "{what}");
        let replay = |more: &[&str]| said(&program, &[&["replay"], more].concat());
        assert!(
            replay(&["--reason", "not-json"])
                .ends_with("letters sent: 2, sent before: 0, not dead letters: 1"),
            "{what}"
        );
        let untouched = std::fs::read_to_string(program.path("dead-letter.ndjson")).expect("a file");
        assert!(untouched.contains(&lines[2]) && untouched.ends_with("no letter\n"), "{what}: {untouched}");
        assert!(replay(&[]).ends_with("letters sent: 2, sent before: 2, not dead letters: 1"), "{what}");
        assert!(replay(&[]).ends_with("letters sent: 0, sent before: 4, not dead letters: 1"), "{what}");
        assert_eq!(listed(&program, &["--replayed"]).len(), 4, "{what}");
        let kept = std::fs::read_to_string(program.path("dead-letter.ndjson")).expect("a file");
        assert_eq!(
            kept.matches("by Ada").count(),
            if what == "a key more" { 4 } else { 0 },
            "what others have added stays"
        );
        assert!(
            said(&program, &["purge", "--reason", "not-object", "--replayed"])
                .ends_with("letters removed: 1 (1 not-object)"),
            "{what}"
        );
        assert_eq!(listed(&program, &["--all"]).len(), 3, "{what}");
    }
}

/// While a replay rewrites the file, a run could append to the old file, and its dead letters would be lost
/// with it.
#[test]
fn no_dead_letter_is_lost_when_runs_append_while_a_replay_rewrites_the_file() {
    let program = with_letters();
    for round in 1..=5 {
        let lines: Vec<_> = program.letters().iter().map(Value::to_string).collect();
        program.write("dead-letter.ndjson", &(lines.join("\n") + "\n"));
        program.run_with_input(&["send"], "[]\n".repeat(20).as_bytes());
        let runs: Vec<_> = (0..4).map(|_| program.spawn(&["run", "--max-messages", "5"])).collect();
        said(&program, &["replay", "--all", "--reason", "too-large"]);
        for run in runs {
            assert_eq!(wait(run).code, Some(0));
        }
        while program.drain(&[])["received"] != 0 {}
        let count = |filter: &[&str]| listed(&program, &[&["--all", "--reason"], filter].concat()).len();
        assert_eq!((count(&["not-object"]), count(&["not-json"])), (1 + 20 * round, 2));
    }
}

/// A consumer of the topic that publishes dead letters again formats them in another way.
#[test]
fn a_dead_letter_in_the_topic_may_be_written_by_another_program() {
    let nsqd = Nsqd::start();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{0}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {{nsq: {{topic: dead}}}}\n\
         idle-timeout: 300ms\n",
        nsqd.tcp
    ));
    let letter = r#"{"id":"0a","body":"{}","reason":"schema","detail":"","attempts":1,"source":"t@h:1","time":"2026-01-01T00:00:00.000Z","seen":1}"#;
    nsqd.publish("dead", [letter.to_owned()]);
    assert_eq!(listed(&program, &[]).len(), 1);
    assert_eq!(said(&program, &["replay"]), "letters sent: 1, sent before: 0");
    assert_eq!(program.drain(&[])["stored"], 1);
}

/// Otherwise a user who can write to the file could rewrite an administrator's screen.
#[test]
fn the_text_of_dead_letters_is_shown_without_control_characters() {
    let program = with_letters();
    let odd = r#""a\u001b[31m\u202eb\nc\u0007""#;
    let time = "2026-01-01T00:00:00.000Z";
    program.write(
        "odd",
        &format!(r#"{{"replayed":false                     ,"time":"{time}","source":{odd},"id":{odd},"attempts":1,"reason":{odd},"detail":{odd},"body":""}}"#),
    );
    let ended = program.run(&["dead", "list", "odd"]);
    for text in [&ended.stdout, &ended.stderr] {
        assert!(text.contains("a [31m b c") && !text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
    }
    assert_eq!(ended.stdout.lines().count(), 2, "a header and a row: {}", ended.stdout);
}

/// Otherwise a second replay would send the same messages again.
#[test]
fn a_replay_sends_the_selected_dead_letters_once_and_records_the_time() {
    let program = with_letters();
    let before = std::fs::read(program.path("dead-letter.ndjson")).expect("a file");
    let reason = ["--reason", "too-large"];
    let replay = |more: &[&str]| said(&program, &[&["replay"], &reason[..], more].concat());
    assert_eq!(replay(&["--dry-run"]), "letters that would be sent: 1 (1 too-large)");
    assert_eq!(
        std::fs::read(program.path("dead-letter.ndjson")).expect("a file"),
        before,
        "nothing is touched"
    );
    assert_eq!(replay(&[]), "letters sent: 1, sent before: 0");
    assert_eq!(replay(&[]), "letters sent: 0, sent before: 1");
    let replayed = listed(&program, &["--replayed"]);
    assert_eq!(reasons(&replayed), ["too-large"]);
    assert!(
        replayed[0]["replayed"].as_str().is_some_and(|time| humantime::parse_rfc3339(time).is_ok()),
        "{replayed:?}"
    );
    program.write("x-msrv.yml", EMBEDDED);
    assert_eq!(program.drain(&[])["stored"], 1, "it fits now");
    assert_eq!((listed(&program, &[]).len(), listed(&program, &["--all"]).len()), (3, 4));
}

/// Otherwise dead letters whose replayed messages were lost could not be sent again.
#[test]
fn a_replay_sends_dead_letters_again_only_on_request() {
    let program = with_letters();
    let replay = |more: &[&str]| said(&program, &[&["replay", "--reason", "too-large"], more].concat());
    assert_eq!(replay(&[]), "letters sent: 1, sent before: 0");
    let first = listed(&program, &["--replayed"])[0]["replayed"].clone();
    assert_eq!(replay(&["--replayed", "--dry-run"]), "letters that would be sent: 1 (1 too-large)");
    assert_eq!(replay(&["--replayed"]), "letters sent: 1, sent before: 0");
    let second = listed(&program, &["--replayed"])[0]["replayed"].clone();
    assert!(second.as_str() > first.as_str(), "{first} {second}");
    assert_eq!(replay(&["--all"]), "letters sent: 1, sent before: 0");
    program.write("x-msrv.yml", EMBEDDED);
    assert_eq!(program.drain(&[])["stored"], 3);
}

/// Two nsqd assign the same ids, and so does an embedded queue that was created again.
#[test]
fn an_ambiguous_id_is_refused_and_one_with_its_source_is_accepted() {
    let program = with_letters();
    let letter = |source: &str, body: &str| {
        format!(
            r#"{{"replayed":false                     ,"time":"","source":"{source}","id":"0a","attempts":1,"reason":"schema","detail":"","body":"{body}"}}"#
        ) + "\n"
    };
    let before = letter("t@a:1", "first") + &letter("t@b:1", "second") + &letter("t@b:1", "second");
    program.write("dead-letter.ndjson", &before);
    for words in [
        &["show", "0a", "--body"][..],
        &["purge", "--id", "0a"],
        &["replay", "--id", "0a"],
        &["replay", "--id", "0a", "--dry-run"],
    ] {
        let ended = program.run(&[&["dead"], words].concat());
        assert!(
            ended.code == Some(2)
                && ended.stdout.is_empty()
                && ended.stderr.contains("id 0a is ambiguous; use SOURCE/ID: t@a:1/0a, t@b:1/0a"),
            "{words:?} {}",
            ended.stderr
        );
    }
    assert_eq!(std::fs::read_to_string(program.path("dead-letter.ndjson")).expect("text"), before);
    assert_eq!(listed(&program, &["--id", "0a"]).len(), 3, "listing is read-only");
    assert_eq!(
        program.run(&["dead", "show", "t@b:1/0a", "--body"]).stdout,
        "second",
        "once, however often it is kept"
    );
    assert_eq!(said(&program, &["purge", "--id", "t@a:1/0a"]), "letters removed: 1 (1 schema)");
    assert_eq!(said(&program, &["replay", "--id", "0a"]), "letters sent: 2, sent before: 0");
    program.write("dead-letter.ndjson", &(letter("t@b:1", "first") + &letter("t@b:1", "second")));
    let ended = program.run(&["dead", "show", "0a", "--body"]);
    assert!(
        ended.code == Some(2) && ended.stderr.contains("t@b:1/0a has 2 dead letters with different bodies"),
        "{}",
        ended.stderr
    );
    for words in [["purge", "--id", "0b"], ["replay", "--id", "0b"]] {
        let ended = program.run(&[&["dead"][..], &words].concat());
        assert!(
            ended.code == Some(66) && ended.stderr.contains("no dead letter has the id 0b"),
            "{}",
            ended.stderr
        );
    }
}

/// Otherwise a purge by reason could delete or alter other dead letters.
#[test]
fn a_purge_removes_the_selected_dead_letters_and_keeps_every_other_byte() {
    let program = with_letters();
    let path = program.path("dead-letter.ndjson");
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("a file")
        .write_all(b"{\"half\n")
        .expect("written");
    let before = std::fs::read_to_string(&path).expect("text");
    let words = said(&program, &["purge", "--reason", "not-json", "--dry-run"]);
    assert!(words.ends_with("letters that would be removed: 2 (2 not-json)"), "{words}");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), before);
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
    let words = said(&program, &["purge", "--reason", "not-json"]);
    assert!(
        words.ends_with("letters removed: 2 (2 not-json)")
            && words.matches("a line is not a dead letter").count() == 1,
        "{words}"
    );
    let file =
        || path.metadata().map(|file| (file.permissions().mode() & 0o777, file.ino())).expect("a file");
    let replaced = file();
    assert_eq!(replaced.0, 0o600, "the file is no more readable than before");
    assert!(said(&program, &["purge", "--reason", "not-json"]).ends_with("letters removed: 0"));
    assert!(
        file() == replaced && !program.path("dead-letter.ndjson.new").exists(),
        "a file of which nothing goes stays"
    );
    let kept: Vec<_> = before.lines().filter(|line| !line.contains("\"not-json\"")).collect();
    assert_eq!(
        std::fs::read_to_string(&path).expect("text").lines().collect::<Vec<_>>(),
        kept,
        "also what is no letter"
    );
    // Without a filter, nothing is removed.
    let ended = program.run(&["dead", "purge"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("--all"), "{}", ended.stderr);
    std::fs::write(&path, kept[..2].join("\n") + "\n").expect("written");
    assert_eq!(said(&program, &["purge", "--all"]), "letters removed: 2 (1 not-object, 1 too-large)");
    assert!(!path.exists(), "a file without letters is removed");
    assert!(said(&program, &["list"]).ends_with("letters: 0"));
    program.run_with_input(&["send"], b"{b\n");
    program.drain(&[]);
    assert_eq!(program.letters().len(), 1, "the file is created again");
}

/// A purge replaces the file. A run that still had the old file open would write its dead letters to a
/// deleted file and acknowledge their messages.
#[test]
fn no_dead_letter_of_a_run_is_lost_during_a_purge() {
    let program = with_letters();
    let count = 5_000;
    let lines: Vec<_> = (0..count).map(|number| format!("{{{number}")).collect();
    program.run_with_input(&["send"], lines.join("\n").as_bytes());
    let mut run = program.spawn(&["--max-messages", "10000", "--timeout", "5m", "-q"]);
    let mut purges = 0;
    while run.try_wait().expect("a child").is_none() {
        let words = said(&program, &["purge", "--reason", "too-large"]);
        assert!(words.contains("letters removed: "), "{words}");
        // Gives the next purge something to remove, so that it replaces the file.
        let letter = r#"{"replayed":false                     ,"time":"","source":"","id":"x","attempts":1,"reason":"too-large","detail":"","body":""}"#;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(program.path("dead-letter.ndjson"))
            .expect("a file");
        file.lock().expect("as runs do it");
        writeln!(file, "{letter}").expect("written");
        purges += 1;
    }
    assert!(purges > 3, "{purges}");
    assert_eq!(listed(&program, &["--reason", "not-json", "--limit", "10000"]).len(), count + 2);
}

/// Otherwise dead letters would disappear from the list when their file is renamed.
#[test]
fn renamed_files_are_read_too_the_oldest_first() {
    let program = with_letters();
    program.write("x-msrv.yml", &format!("{EMBEDDED}dead-letter: {{file: {{max-size: 1}}}}\n"));
    program.run_with_input(&["send"], b"[1]\n");
    program.drain(&[]);
    assert!(program.path("dead-letter.ndjson.1").exists());
    assert_eq!(reasons(&listed(&program, &[])).last(), Some(&"not-object"));
    assert_eq!((listed(&program, &[]).len(), listed(&program, &["dead-letter.ndjson.1"]).len()), (5, 4));
    assert_eq!(said(&program, &["replay"]), "letters sent: 5, sent before: 0");
    assert_eq!(
        said(&program, &["purge", "--replayed"]),
        "letters removed: 5 (2 not-json, 2 not-object, 1 too-large)"
    );
    assert!(!program.path("dead-letter.ndjson.1").exists() && !program.path("dead-letter.ndjson").exists());
}

/// Otherwise a gap, as after an administrator has deleted a file, would hide the older files.
#[test]
fn a_gap_in_the_file_numbers_hides_no_dead_letter_and_is_not_filled() {
    let program = with_letters();
    program.write("x-msrv.yml", &format!("{EMBEDDED}dead-letter: {{file: {{max-size: 1}}}}\n"));
    let reject = |line: &str| {
        program.run_with_input(&["send"], line.as_bytes());
        program.drain(&[]);
    };
    reject("[1]\n");
    reject("{2\n");
    program.write("dead-letter.ndjson.01", "another's");
    program.write("dead-letter.ndjson.old", "another's");
    assert_eq!(
        said(&program, &["purge", "--all", "dead-letter.ndjson.1"]),
        "letters removed: 4 (2 not-json, 1 not-object, 1 too-large)"
    );
    assert_eq!(reasons(&listed(&program, &[])), ["not-object", "not-json"]);
    reject("[3]\n");
    assert_eq!(reasons(&listed(&program, &[])), ["not-object", "not-json", "not-object"], "the newest last");
    let there: Vec<_> =
        (1..5).map(|number| program.path(&format!("dead-letter.ndjson.{number}")).exists()).collect();
    assert_eq!(there, [false, true, true, false]);
    assert_eq!(said(&program, &["purge", "--all"]), "letters removed: 3 (1 not-json, 2 not-object)");
    reject("[4]\n");
    assert_eq!(listed(&program, &[]).len(), 1);
}

/// A folder that cannot be read is not the same as one without dead letters.
#[test]
fn dead_letters_without_permission_to_read_are_an_error_and_not_zero() {
    let program = with_letters();
    let letters = program.path("letters");
    std::fs::create_dir(&letters).expect("a folder");
    std::fs::rename(program.path("dead-letter.ndjson"), letters.join("dead-letter.ndjson")).expect("moved");
    let is_root = letters.metadata().expect("a folder").uid() == 0;
    // Root can read every folder, so another user must try.
    std::fs::set_permissions(&letters, Permissions::from_mode(if is_root { 0o700 } else { 0 }))
        .expect("ours");
    std::fs::set_permissions(program.path("."), Permissions::from_mode(0o755)).expect("ours");
    program.write(
        "x-msrv.yml",
        &format!(
            "{EMBEDDED}dead-letter: {{file: {{path: '{}'}}}}\n",
            letters.join("dead-letter.ndjson").display()
        ),
    );
    let configuration = program.path("x-msrv.yml").display().to_string();
    // The program may be in a folder that other users cannot read, such as root's home.
    let copy = program.path("x-msrv").display().to_string();
    std::fs::copy(crate::support::program::program(), &copy).expect("copied");
    let as_nobody = |words: &[&str]| {
        let words = [&["dead"], words].concat();
        let as_another =
            [&["--reuid=65534", "--regid=65534", "--clear-groups", &copy, "-c", &configuration], &words[..]]
                .concat();
        if is_root { program.run_by("setpriv", &as_another) } else { program.run(&words) }
    };
    for words in [&["list"][..], &["purge", "--all"], &["replay", "--dry-run"]] {
        let ended = as_nobody(words);
        assert!(
            ended.code == Some(66) && ended.stderr.contains("Permission denied"),
            "{words:?}: {:?} {}",
            ended.code,
            ended.stderr
        );
    }
    std::fs::set_permissions(&letters, Permissions::from_mode(0o700)).expect("ours");
    assert_eq!(listed(&program, &[]).len(), 4);
}

/// The service must still be able to write to the file after root has purged it.
#[test]
#[ignore = "only root can give files away: .ci/test"]
fn a_purge_by_root_keeps_the_owner_of_the_file() {
    let program = with_letters();
    let path = program.path("dead-letter.ndjson");
    std::os::unix::fs::chown(&path, Some(65_534), Some(65_533)).expect("root may");
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("root may");
    assert_eq!(said(&program, &["purge", "--reason", "not-json"]), "letters removed: 2 (2 not-json)");
    let file = path.metadata().expect("a file");
    assert_eq!((file.uid(), file.gid(), file.permissions().mode() & 0o777), (65_534, 65_533, 0o640));
}

/// nsqd delivers no more than it allows in flight while others are held.
#[test]
fn a_topic_with_more_dead_letters_than_fit_in_flight_is_reported_as_partly_read() {
    const NOT_ALL: &str = "; the queue has more than one command reads";
    let nsqd = Nsqd::with(&["-max-rdy-count=20"]);
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {{nsq: {{topic: dead}}}}\n",
        nsqd.tcp
    ));
    let letter = |number: usize| {
        let reason = if number < 45 { "not-json" } else { "schema" };
        format!(
            r#"{{"replayed":false                     ,"time":"","source":"s","id":"{number}","attempts":1,"reason":"{reason}","detail":"","body":"{number}"}}"#
        )
    };
    nsqd.publish("dead", (0..50).map(letter));
    let words = said(&program, &["purge", "--all", "--dry-run"]);
    assert!(words.starts_with("letters that would be removed: 20 (") && words.ends_with(NOT_ALL), "{words}");
    wait_until("the dead letters are released", || nsqd.depths("dead").waiting == 50);
    let ended = program.run(&["dead", "list"]);
    assert!(ended.code == Some(0) && ended.stderr.trim_end().ends_with(NOT_ALL), "{}", ended.stderr);
    wait_until("the dead letters are released", || nsqd.depths("dead").waiting == 50);
    assert_eq!(
        said(&program, &["replay", "--reason", "schema"]),
        "letters sent: 5, sent before: 0",
        "including those after the others"
    );
    wait_until("the other dead letters are in the topic", || {
        nsqd.depths("dead").waiting + nsqd.depths("dead").deferred == 45
    });
}

/// Otherwise a look at the dead letters in a topic would remove them.
#[test]
fn dead_letters_in_a_topic_are_listed_without_being_consumed_and_replayed_or_purged_by_reason() {
    for nsqd in [Nsqd::start(), Nsqd::with_statistics_beside(&[])] {
        let configuration = format!(
            "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, max-messages: 100}}\nsqlite: {{path: store.db, set: s}}\n\
            idle-timeout: 300ms\ndead-letter: {{nsq: {{topic: dead}}}}\n",
            nsqd.tcp
        );
        let program = Program::new(&configuration);
        nsqd.publish("t", ["{a", "[]", "{b", "{\"a\":1}"]);
        assert_eq!(program.drain(&[])["dead-lettered"], 3);
        for _ in 0..2 {
            let mut found = listed(&program, &[]);
            found.sort_by_key(|letter| letter["reason"].to_string());
            assert_eq!(reasons(&found), ["not-json", "not-json", "not-object"]);
        }
        assert_eq!(
            said(&program, &["replay", "--reason", "not-json", "--dry-run"]),
            "letters that would be sent: 2 (2 not-json)"
        );
        wait_until("all dead letters are released", || nsqd.depths("dead").waiting == 3);
        assert_eq!(said(&program, &["replay", "--reason", "not-json"]), "letters sent: 2, sent before: 0");
        wait_until("two are sent and one is released", || {
            (nsqd.depths("dead").waiting, nsqd.depths("t").waiting) == (1, 2)
        });
        assert_eq!(program.drain(&[])["rejected"], 2, "they are still invalid and become new dead letters");
        let id = listed(&program, &["--reason", "not-object"])[0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(program.run(&["dead", "show", &id, "--body"]).stdout, "[]");
        assert_eq!(
            said(&program, &["purge", "--reason", "not-object", "--dry-run"]),
            "letters that would be removed: 1 (1 not-object)"
        );
        assert_eq!(said(&program, &["purge", "--reason", "not-object"]), "letters removed: 1 (1 not-object)");
        assert_eq!(said(&program, &["purge", "--all"]), "letters removed: 2 (2 not-json)");
        wait_until("the topic is empty", || nsqd.depths("dead").waiting == 0);
    }
}

/// Otherwise dead letters would be marked as replayed that the queue does not have.
#[test]
fn a_replay_that_the_queue_refuses_changes_no_dead_letter() {
    let (letters, queue) = (Nsqd::start(), Nsqd::with(&["-max-msg-size=60"]));
    let nsq = format!("nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\n", queue.tcp);
    let rest = format!(
        "sqlite: {{path: store.db, set: s}}\ndead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: ['{}']}}}}\n",
        letters.tcp
    );
    let program = Program::new(&format!("{nsq}{rest}"));
    let letter = |body: &str| {
        format!(
            r#"{{"replayed":false                     ,"time":"","source":"","id":"x","attempts":1,"reason":"schema","detail":"","body":"{body}"}}"#
        )
    };
    letters.publish("dead", [letter(&"long".repeat(40)), letter(&"longer".repeat(40))]);
    let ended = program.run(&["dead", "replay"]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    // nsqd's counts are not taken at the same moment.
    wait_until("both letters wait", || {
        (letters.depths("dead").waiting, letters.depths("dead").in_flight) == (2, 0)
    });
}

/// Runs once with one rejected message, each into a separate file.
fn each_run_a_file(limits: &str) -> Program {
    let program = Program::new(&format!("{EMBEDDED}dead-letter: {{file: {{max-size: 1{limits}}}}}\n"));
    program.run_with_input(&["send"], b"[1]\n[2]\n[3]\n[4]\n[5]\n");
    program
}

fn files(program: &Program) -> Vec<String> {
    let names = std::fs::read_dir(program.path(""))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| name.starts_with("dead-letter"))
        .collect();
    names.sort();
    names
}

/// Dead letters must not be deleted without a configured limit, and each deletion must be logged with the
/// number of those that were never replayed.
#[test]
fn dead_letters_are_deleted_only_by_a_configured_limit_and_each_deletion_is_logged() {
    let run = |program: &Program| {
        let ended = program.run(&["run", "--max-messages", "1"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    let all = each_run_a_file("");
    (0..6).for_each(|_| drop(run(&all)));
    assert_eq!(files(&all).len(), 5);
    let few = each_run_a_file(", max-files: 2");
    assert!((0..3).all(|_| !run(&few).contains("deleted")));
    let words = run(&few);
    assert!(
        words.contains("WARN  deleting dead letters path=/")
            && words.contains("/dead-letter.ndjson.1 letters=1 not-replayed=1 limit=max-files"),
        "{words}"
    );
    assert_eq!(files(&few), ["dead-letter.ndjson", "dead-letter.ndjson.2", "dead-letter.ndjson.3"]);
    said(&few, &["replay"]);
    let words = run(&few);
    assert!(words.contains("INFO  deleting dead letters") && words.contains("not-replayed=0"), "{words}");
    assert_eq!(few.letters().len(), 1, "the current file is unchanged");
}

/// A replay marks the sent dead letters in their files: one that was deleted meanwhile could not be marked.
#[test]
fn no_dead_letter_is_deleted_during_a_replay() {
    let program = each_run_a_file(", max-files: 1");
    let folder = std::fs::File::open(program.path("")).expect("a folder");
    folder.lock().expect("locked, as by a replay");
    for _ in 0..4 {
        program.drain(&["--max-messages", "1"]);
    }
    assert_eq!(files(&program).len(), 4);
    folder.unlock().expect("unlocked");
    program.drain(&["--max-messages", "1"]);
    assert_eq!(files(&program), ["dead-letter.ndjson", "dead-letter.ndjson.4"]);
}

/// Otherwise dead letters over the age limit would remain until the file is large enough to be renamed.
#[test]
fn dead_letters_over_the_age_limit_are_deleted_by_a_run_without_rejections() {
    let program = Program::new(&format!("{EMBEDDED}dead-letter: {{file: {{max-age: 1h}}}}\n"));
    program.run_with_input(&["send"], b"[]\n");
    program.drain(&[]);
    program.drain(&[]);
    assert_eq!(program.letters().len(), 1, "it is not over the age limit yet");
    let path = program.path("dead-letter.ndjson");
    let text = std::fs::read_to_string(&path).expect("a file");
    let time = program.letters()[0]["time"].as_str().expect("a time").to_owned();
    std::fs::write(&path, text.replace(&time, "2026-01-01T00:00:00.000Z")).expect("written");
    let long_ago = humantime::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(long_ago))
        .expect("set");
    let ended = program.run(&["run"]);
    assert!(
        ended.code == Some(0) && ended.stderr.contains("letters=1 not-replayed=1 limit=max-age"),
        "{}",
        ended.stderr
    );
    assert_eq!(files(&program), [""; 0]);
}

/// Otherwise both configurations would share one file, and `dead replay` of one would send the other's dead
/// letters to the wrong queue.
#[test]
fn configurations_in_one_folder_have_separate_dead_letters() {
    let program = Program::new("");
    let configuration = |name: &str| {
        format!("embedded-queue: {{path: {name}-queue.db}}\nsqlite: {{path: store.db, set: {name}}}\n")
    };
    for name in ["a", "b"] {
        program.write(&format!("{name}.yml"), &configuration(name));
    }
    let of = |name: &str, arguments: &[&str]| {
        let ended = program.bare(&[arguments, &["-c", &format!("{name}.yml")]].concat());
        assert_eq!(ended.code, Some(0), "{name} {arguments:?}: {}", ended.stderr);
        ended
    };
    program.write("lines", "[]\n");
    for name in ["a", "b"] {
        of(name, &["send", "lines"]);
        of(name, &["run"]);
    }
    let source = |file: &str| program.letters_in(file)[0]["source"].as_str().expect("a source").to_owned();
    assert_ne!(source("a-dead-letter.ndjson"), source("b-dead-letter.ndjson"));
    assert!(!program.path("dead-letter.ndjson").exists());
    // As until 0.1.0: in one file. An administrator who moves them there by hand has the same.
    let both: Vec<_> = ["a", "b"]
        .map(|name| std::fs::read(program.path(&format!("{name}-dead-letter.ndjson"))).expect("letters"))
        .concat();
    program.write("dead-letter.ndjson", &String::from_utf8(both).expect("text"));
    for name in ["a", "b"] {
        std::fs::remove_file(program.path(&format!("{name}-dead-letter.ndjson"))).expect("removed");
    }
    let listed = of("a", &["dead", "list", "--json"]);
    assert!(
        listed.stdout.lines().count() == 1 && listed.stderr.contains("skipped letters of other queues: 1"),
        "{listed:?}"
    );
    assert!(of("a", &["dead", "replay"]).stderr.contains("letters sent: 1, sent before: 0"));
    assert!(of("a", &["dead", "replay"]).stderr.contains("letters sent: 0, sent before: 1"));
    assert!(of("a", &["dead", "purge", "--all"]).stderr.contains("letters removed: 1"));
    assert!(
        of("b", &["dead", "replay"]).stderr.contains("letters sent: 1, sent before: 0"),
        "it was neither sent nor removed with the other's"
    );
    let named = of("a", &["dead", "list", "--all", "--json", "dead-letter.ndjson"]);
    assert!(
        named.stdout.contains(&source("dead-letter.ndjson")),
        "a file that is named is meant as a whole: {}",
        named.stdout
    );
    // The file belongs to x-msrv.yml, and may contain dead letters of its neighbours.
    program.write("x-msrv.yml", &configuration("x"));
    assert!(of("x-msrv", &["dead", "replay", "--all"]).stderr.contains("letters sent: 0"));
}

/// Otherwise the output would be "letters: 0", whether the file exists or not.
#[test]
fn a_missing_dead_letter_file_is_reported() {
    let program = Program::new("embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n");
    let ended = program.run(&["dead", "list"]);
    assert!(ended.code == Some(0) && ended.stderr.contains("no dead-letter file: "), "{}", ended.stderr);
}

/// Dead letters could go to a topic of NSQ and to no other queue.
#[test]
fn letters_that_are_published_to_any_queue_are_listed_replayed_and_purged_there() {
    let program = Program::new(
        "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n\
         dead-letter: {publish: {embedded-queue: {path: dead.db}}}",
    );
    program.run_with_input(&["send"], b"no JSON\n{\"a\":1}\n[2]\n");
    let report = program.drain(&[]);
    assert_eq!(
        (&report["stored"], &report["rejected"], &report["dead-lettered"]),
        (&1.into(), &2.into(), &2.into())
    );
    assert!(program.letters().is_empty(), "none of them is in the file");
    let list = |arguments: &[&str]| program.run(&[&["dead", "list"], arguments].concat());
    let listed = list(&[]);
    assert!(listed.code == Some(0) && listed.stdout.contains("not-json"), "{listed:?}");
    assert!(listed.stdout.contains("not-object"), "{listed:?}");
    let purged = program.run(&["dead", "purge", "--reason", "not-object"]);
    assert_eq!(purged.code, Some(0), "{}", purged.stderr);
    let replayed = program.run(&["dead", "replay", "--all"]);
    assert!(replayed.code == Some(0) && replayed.stderr.contains("letters sent: 1"), "{replayed:?}");
    let report = program.drain(&[]);
    assert_eq!((&report["received"], &report["rejected"]), (&1.into(), &1.into()), "it is rejected again");
    // One file cannot be both: letters would come back as messages.
    program.write(
        "x-msrv.yml",
        "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n\
         dead-letter: {publish: {embedded-queue: {path: queue.db}}}",
    );
    let ended = program.run(&["check"]);
    assert!(
        ended.code == Some(78) && ended.stderr.contains("dead-letter.publish.embedded-queue"),
        "{ended:?}"
    );
}

/// The two ways to write the same thing are read as the same.
#[test]
fn letters_to_a_topic_of_nsq_may_be_written_with_and_without_publish() {
    let letters = Nsqd::start();
    for section in [
        "nsq: {nsqd-tcp-address: ['ADDRESS'], topic: dead}",
        "publish: {nsq: {nsqd-tcp-address: ['ADDRESS'], topic: dead}}",
    ] {
        let section = section.replace("ADDRESS", &letters.tcp.to_string());
        let program = Program::new(&format!(
            "embedded-queue: {{path: queue.db}}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {{{section}}}"
        ));
        program.run_with_input(&["send"], b"no JSON\n");
        assert_eq!(program.drain(&[])["dead-lettered"], 1);
        let listed = program.run(&["dead", "list"]);
        assert!(listed.stdout.contains("not-json"), "{listed:?}");
    }
    assert_eq!(letters.depths("dead").waiting, 2);
}
