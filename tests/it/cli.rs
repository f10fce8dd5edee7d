//! The command line as a user sees it: help, configuration, and faults in it.

use serde_json::json;
use x_msrv_net::address::HostPort;

use crate::support::{
    nsqd::{Lookupd, Nsqd, unused_address},
    program::Program,
};

const GOOD: &str = "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n";

/// A new user has no configuration yet.
#[test]
fn help_and_version_need_no_configuration_and_name_the_exit_codes() {
    let program = Program::new("not a configuration");
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["run", "--help"],
        &["send", "--help"],
        &["try", "--help"],
        &["records", "--help"],
        &["check", "--help"],
        &["explain", "--help"],
        &["init", "--help"],
        &["status", "--help"],
        &["history", "--help"],
        &["explain", "0"],
        &["dead", "--help"],
        &["dead", "replay", "--help"],
    ] {
        let ended = program.bare(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stdout.is_empty());
    }
    let help = program.bare(&["--help"]).stdout;
    for word in ["Exit codes:", "69", "75", "78", "--config", "dead", "Examples:"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for command in ["run", "send", "try", "records", "check", "init", "status", "history", "explain"] {
        assert!(program.bare(&[command, "--help"]).stdout.contains("Example"), "{command}");
    }
}

/// Otherwise a user would see only a code or a word in a log.
#[test]
fn explain_says_what_a_result_means_and_what_to_do() {
    let program = Program::new("not a configuration");
    let ended = program.bare(&["explain", "75"]);
    assert!(
        ended.stdout.starts_with("75: exit code: ") && ended.stdout.contains("\nWhat to do: "),
        "{}",
        ended.stdout
    );
    let ended = program.bare(&["explain", "big-integer"]);
    assert!(
        ended.stdout.contains("`big-integers: text`")
            && ended.stdout.replace('\n', " ").contains("`x-msrv dead replay`"),
        "{}",
        ended.stdout
    );
    let ended = program.bare(&["explain", "not-json"]);
    assert!(
        !ended.stdout.replace('\n', " ").contains("x-msrv dead replay"),
        "a replay does not help: {}",
        ended.stdout
    );
    let ended = program.bare(&["explain", "failed", "-c", "orders"]);
    assert!(
        ended.stdout.contains("`x-msrv check --connect -c\norders`") || ended.stdout.contains("-c orders`"),
        "{}",
        ended.stdout
    );
    let ended = program.bare(&["explain", "75", "-c", "orders"]);
    assert!(ended.stdout.replace('\n', " ").contains("journalctl -u x-msrv@orders."), "{}", ended.stdout);
    let ended = program.bare(&["explain"]);
    for line in [
        "75                 exit code: ",
        "queue-empty        stop reason: ",
        "too-many-attempts  reason of a dead letter: ",
    ] {
        assert!(ended.stdout.lines().any(|found| found.starts_with(line)), "{line}: {}", ended.stdout);
    }
    let ended = program.bare(&["explain", "too-larg"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("too-large"), "{}", ended.stderr);
}

/// Each crate has a version; a bug report needs the version of the program.
#[test]
fn version_prints_the_version_of_the_program() {
    let program = Program::new(&format!("{GOOD}metrics: {{textfile: x.prom}}\n"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(program.bare(&["--version"]).stdout, format!("x-msrv {version}\n"));
    program.drain(&[]);
    let metrics = std::fs::read_to_string(program.path("x.prom")).expect("metrics");
    assert!(metrics.contains(&format!("version=\"{version}\"}} 1\n")), "{metrics}");
}

/// Otherwise a user would have to type the path under /etc/x-msrv for each command.
#[test]
fn a_configuration_is_found_by_name_unless_a_file_has_that_name() {
    let program = Program::new(GOOD);
    std::fs::create_dir(program.path("folder")).expect("a folder");
    for arguments in [
        &["check", "-c", "nonesuch"][..],
        &["check", "nonesuch"],
        &["run", "nonesuch"],
        &["records", "nonesuch"],
        &["status", "nonesuch"],
        &["history", "nonesuch"],
        &["check", "-c", "folder"],
    ] {
        let ended = program.bare(arguments);
        let file = format!("/etc/x-msrv/{}.yml", arguments.last().expect("a name"));
        assert!(ended.stderr.contains(&file), "{arguments:?}: {}", ended.stderr);
    }
    for path in ["./nonesuch", "nonesuch.yml"] {
        let ended = program.bare(&["check", "-c", path]);
        assert!(ended.code == Some(78) && !ended.stderr.contains("/etc/x-msrv"), "{path}: {}", ended.stderr);
    }
    program.write("nonesuch", GOOD);
    let ended = program.bare(&["check", "-c", "nonesuch"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// systemd and scripts distinguish a wrong command line from a wrong configuration by the exit code.
#[test]
fn a_wrong_command_line_is_exit_2() {
    let program = Program::new(GOOD);
    for arguments in [
        &["nonesuch"][..],
        &["--nonesuch"],
        &["records", "--limit", "many"],
        &["replay"],
        &["dead", "purge"],
        &["run", "--report", "xml"],
    ] {
        assert_eq!(program.run(arguments).code, Some(2), "{arguments:?}");
    }
}

/// Units and scripts written for the original must still work.
#[test]
fn the_original_flag_without_a_command_is_a_run() {
    let program = Program::new(GOOD);
    for arguments in [
        &["-cfg", "x-msrv.yml"][..],
        &["-cfg=x-msrv.yml"],
        &["--config=x-msrv.yml"],
        &["run", "-c", "x-msrv.yml"],
    ] {
        let ended = program.bare(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("run finished stop-reason=queue-empty received=0"), "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
}

/// Otherwise a configuration for the original in TOML or JSON would not load.
#[test]
fn yaml_toml_and_json_are_recognized_by_name_or_content() {
    let toml = "max-messages = 7\n[embedded-queue]\npath = \"queue.db\"\n[sqlite]\npath = \"store.db\"\nset = \"s\"\n";
    let json = r#"{"max-messages": 7, "embedded-queue": {"path": "queue.db"}, "sqlite": {"path": "store.db", "set": "s"}}"#;
    let yaml = format!("{GOOD}max-messages: 7\n");
    for (name, text) in
        [("a.toml", toml), ("a.json", json), ("a.yaml", &yaml), ("a.yml", toml), ("a.conf", json)]
    {
        let program = Program::new("");
        program.write(name, text);
        let asked = if name == "a.conf" { name } else { "a.yml" };
        let ended = program.bare(&["check", "-c", asked]);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert!(ended.stdout.starts_with("max-messages: 7\n"), "{name}: {}", ended.stdout);
    }
}

/// The original's documented command, `-cfg=./etc/x-msrv-local`, would find no configuration.
#[test]
fn a_path_without_an_extension_finds_a_file_of_any_format() {
    let program = Program::new("");
    std::fs::create_dir_all(program.path("etc/x-msrv-local")).expect("a folder of the same name");
    let wanted = |path: &str, from: &str| {
        let ended = program.bare(&["check", path]);
        assert_eq!(ended.code, Some(0), "{path}: {}", ended.stderr);
        assert!(ended.stdout.contains(&format!("{from}.db")), "{path} is {from}: {}", ended.stdout);
    };
    let json = r#"{"embedded-queue": {"path": "json.db"}, "sqlite": {"path": "s.db", "set": "s"}}"#;
    let toml = "embedded-queue = {path = \"toml.db\"}\nsqlite = {path = \"s.db\", set = \"s\"}\n";
    let yaml = |name: &str| format!("embedded-queue: {{path: {name}.db}}\nsqlite: {{path: s.db, set: s}}\n");
    // From the last in the order to the first; each takes precedence over those before it.
    for (format, text) in [("json", json), ("toml", toml), ("yaml", &yaml("yaml")), ("yml", &yaml("yml"))] {
        for name in ["x-msrv-local", "orders.v2"] {
            program.write(&format!("etc/{name}.{format}"), text);
        }
        wanted("-cfg=./etc/x-msrv-local", format);
        wanted("-cfg=etc/x-msrv-local/", format);
        wanted(&format!("-cfg={}", program.path("etc/orders.v2").display()), format);
    }
    program.write("etc/orders.v2", &yaml("itself"));
    wanted("--config=etc/orders.v2", "itself");
    let ended = program.bare(&["check", "-cfg=./etc/nonesuch"]);
    assert_eq!(ended.code, Some(78));
    for path in [
        "./etc/nonesuch,",
        "./etc/nonesuch.yml",
        "./etc/nonesuch.yaml",
        "./etc/nonesuch.toml",
        "./etc/nonesuch.json",
    ] {
        assert!(ended.stderr.contains(path), "{path} in {}", ended.stderr);
    }
    let ended = program.bare(&["check", "-c", "./etc"]);
    assert!(
        ended.code == Some(78) && ended.stderr.contains("./etc") && ended.stderr.contains("directory"),
        "{}",
        ended.stderr
    );
    // `init` creates no file that would be ignored from then on.
    let ended =
        program.bare(&["init", "-c", "etc/orders.v3.yml", "--queue", "embedded", "--store", "sqlite"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = program.bare(&["init", "-c", "./etc/orders.v3", "--queue", "embedded", "--store", "sqlite"]);
    assert!(ended.code != Some(0) && ended.stderr.contains("./etc/orders.v3.yml"), "{}", ended.stderr);
}

/// Otherwise a user could not override a setting for one run.
#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let program = Program::new(&format!("{GOOD}max-messages: 7\n"))
        .env("X_MSRV__MAX_MESSAGES", "8")
        .env("X_MSRV__SQLITE__SET", "t");
    assert!(program.run(&["check"]).stdout.starts_with("max-messages: 8\n"));
    program.run_with_input(&["send"], "{}\n".repeat(20).as_bytes());
    assert_eq!(program.drain(&[])["stored"], 8);
    assert_eq!(program.drain(&["--max-messages", "9"])["stored"], 9);
    assert_eq!(program.rows("t").len(), 17);
}

/// Otherwise a user would have to edit the configuration to debug one run.
#[test]
fn quiet_and_verbose_override_the_log_level_of_the_configuration() {
    let nsqd = Nsqd::start();
    let program = Program::new(&format!("{}log: {{level: info}}\n", configuration(&nsqd.tcp)));
    let levels = |arguments: &[&str]| {
        program.run_with_input(&["send"], b"no JSON\n{}\n");
        let ended = program.run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        [" DEBUG ", " INFO ", " WARN "].map(|level| ended.stderr.contains(level))
    };
    assert_eq!(levels(&["run"]), [false, true, true]);
    assert_eq!(levels(&["-q"]), [false; 3]);
    assert_eq!(levels(&["run", "--verbose"]), [true; 3]);
    assert_eq!(program.run(&["run", "-q", "-v"]).code, Some(2));
    assert!(program.run(&["check", "-v"]).stdout.contains("log.level: debug\n"));
}

/// The original has N in the queue's section; an override of N must reach that key too.
#[test]
fn an_override_of_n_applies_wherever_the_file_sets_it() {
    let program =
        Program::new("embedded-queue: {path: queue.db, max-messages: 7}\nsqlite: {path: store.db, set: s}\n");
    assert!(program.run(&["check"]).stdout.starts_with("max-messages: 7\n"));
    assert!(program.run(&["--max-messages", "5", "check"]).stdout.starts_with("max-messages: 5\n"));
    let program = program.env("X_MSRV__EMBEDDED_QUEUE__MAX_MESSAGES", "6");
    assert!(program.run(&["check"]).stdout.starts_with("max-messages: 6\n"));
}

/// One message must contain the file or variable, the key's path, the value found, the values allowed, and
/// the nearest known key.
#[test]
fn a_wrong_configuration_is_exit_78_and_each_fault_is_reported() {
    let cases: [(&str, &[&str]); 27] = [
        ("", &["x-msrv.yml: no queue", "x-msrv.yml: no store"]),
        ("a: [", &["x-msrv.yml", "line"]),
        ("embedded-queue: {path: q}", &["x-msrv.yml", "no store", "`aerospike`", "`sqlite`"]),
        ("sqlite: {path: s, set: s}", &["x-msrv.yml", "no queue", "`nsq`", "`embedded-queue`"]),
        ("timeot: 2s", &["x-msrv.yml: timeot: unknown key `timeot`", "did you mean `timeout`?"]),
        (
            "max-in-flight: 7",
            &[
                "x-msrv.yml: max-in-flight: unknown key",
                "did you mean `nsq.max-in-flight` or `embedded-queue.max-in-flight`?",
            ],
        ),
        ("log: {period: 10s}", &["x-msrv.yml: log.period: unknown key", "did you mean `period`?"]),
        ("nsq.topic: t", &["x-msrv.yml: nsq.topic: unknown key `nsq.topic`"]),
        ("timeout: 1s\ntimeout: 2s", &["x-msrv.yml: ", "line 2", "duplicate"]),
        ("timeout: 2", &["x-msrv.yml: timeout: ", "`2` is not a duration with a unit"]),
        ("timeout: 0s", &["x-msrv.yml: timeout: ", "more than 0s"]),
        ("timeout: 366days", &["x-msrv.yml: timeout: ", "at most 365 days"]),
        ("idle-timeout: 366days", &["x-msrv.yml: idle-timeout: ", "from 0s to 365 days"]),
        ("max-messages: 0", &["x-msrv.yml: max-messages: ", "at least 1"]),
        ("max-messages: -1", &["x-msrv.yml: max-messages: ", "`-1`", "a non-negative whole number"]),
        ("max-messages: 2.5", &["x-msrv.yml: max-messages: ", "2.5", "a non-negative whole number"]),
        ("period: soon", &["x-msrv.yml: period: ", "\"soon\"", "duration"]),
        ("history: no", &["x-msrv.yml: history: ", "\"no\" is not true, false or a section"]),
        (
            "nsq: {topic: t, nsqd-tcp-address: [a:1], tls: {insecure-skip-verify: on}}",
            &["\"on\"", "true or false"],
        ),
        ("max-messages: 0b11", &["x-msrv.yml: max-messages: ", "\"0b11\"", "a non-negative whole number"]),
        (
            "big-integers: rejct",
            &[
                "x-msrv.yml: big-integers: unknown word \"rejct\", allowed: `reject` or `text`",
                "did you mean `reject`?",
            ],
        ),
        (
            "nsq: {topic: t, nsqd-tcp-adress: [a:1]}",
            &["x-msrv.yml: nsq.nsqd-tcp-adress: ", "did you mean `nsqd-tcp-address`?"],
        ),
        ("nsq: {topic: 'a b', nsqd-tcp-address: [a:1]}", &["x-msrv.yml: nsq.topic: ", "`a b`", "1 to 64"]),
        (
            "nsq: {topic: 7, nsqd-tcp-address: [a:1]}",
            &["x-msrv.yml: nsq.topic: ", "`7` is not text; put it in quotes"],
        ),
        (
            "nsq: {topic: t, nsqd-tcp-address: [a]}",
            &["x-msrv.yml: nsq.nsqd-tcp-address", "`a` is not HOST:PORT"],
        ),
        ("nsq: {topic: t}", &["x-msrv.yml: nsq: one of `nsqd-tcp-address` and `lookupd-http-address`"]),
        (
            "dead-letter: fil",
            &[
                "x-msrv.yml: dead-letter: unknown word \"fil\", allowed: `log`, `file`, `publish` or `nsq`",
                "did you mean `file`?",
            ],
        ),
    ];
    for (text, expected) in cases {
        let rest = if text.is_empty()
            || text.contains("embedded-queue")
            || text.starts_with("sqlite")
            || text == "a: ["
        {
            ""
        } else if text.starts_with("nsq:") {
            "\nsqlite: {path: s, set: s}\n"
        } else {
            "\nsqlite: {path: s, set: s}\nembedded-queue: {path: q}\n"
        };
        let ended = Program::new(&format!("{text}{rest}")).run(&["check"]);
        assert_eq!(ended.code, Some(78), "{text}: {} {}", ended.stdout, ended.stderr);
        // An empty configuration has two faults, and without the right key another one is missing.
        let faults = if text.is_empty() || text.contains("adress") { 2 } else { 1 };
        assert_eq!(ended.stderr.trim_end().lines().count(), faults, "{text}: {}", ended.stderr);
        for word in expected {
            assert!(ended.stderr.contains(word), "{text}: `{word}` in {}", ended.stderr);
        }
    }
}

/// Otherwise a user would search the file for a value that is not in it.
#[test]
fn a_wrong_value_is_reported_with_the_variable_or_flag_that_set_it() {
    let program = Program::new(GOOD).env("X_MSRV__EMBEDDED_QUEUE__MAX_IN_FLIGHT", "many");
    let ended = program.run(&["check"]);
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.stderr.contains(
            "environment variable X_MSRV__EMBEDDED_QUEUE__MAX_IN_FLIGHT: embedded-queue.max-in-flight: "
        ),
        "{}",
        ended.stderr
    );
    let program = Program::new(GOOD).env("X_MSRV__NSQ__TOPC", "t");
    let ended = program.run(&["check"]);
    assert!(
        ended.stderr.contains("environment variable X_MSRV__NSQ__TOPC: nsq.topc: ")
            && ended.stderr.contains("did you mean `topic`?"),
        "{}",
        ended.stderr
    );
    let ended = Program::new(GOOD).run(&["run", "--timeout", "2"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--timeout: \"2\" is not a duration"), "{}", ended.stderr);
    let ended = Program::new(GOOD).env("X_MSRV_NSQ__TOPIC", "t").run(&["check"]);
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.stderr.contains("X_MSRV_NSQ__TOPIC: ") && ended.stderr.contains("two underscores"),
        "{}",
        ended.stderr
    );
}

/// Otherwise a user would not know where the file is expected.
#[test]
fn a_missing_file_is_reported_with_the_paths_that_were_tried() {
    let ended = Program::new("").bare(&["check", "-c", "nonesuch.yml"]);
    assert_eq!(ended.code, Some(78));
    for name in ["nonesuch.yml", "nonesuch.yaml", "nonesuch.toml", "nonesuch.json"] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
}

/// Otherwise one of them would be ignored silently.
#[test]
fn two_queues_or_two_stores_are_refused() {
    for text in
        ["nsq: {topic: t, nsqd-tcp-address: [a:1]}\n", "aerospike: {hosts: [a:1], namespace: test, set: s}\n"]
    {
        let ended = Program::new(&format!("{GOOD}{text}")).run(&["check"]);
        assert_eq!(ended.code, Some(78), "{text}");
        assert!(ended.stderr.contains("only one"), "{}", ended.stderr);
    }
}

fn configuration(nsqd: &HostPort) -> String {
    format!("nsq: {{nsqd-tcp-address: ['{nsqd}'], topic: t, channel: c}}\nsqlite: {{path: s.db, set: s}}\n")
}

/// A check that takes messages would cost each of them an attempt.
#[test]
fn check_connect_tests_queue_and_store_and_takes_no_message() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", ["{}"]);
    let program = Program::new(&configuration(&nsqd.tcp));
    let ended = program.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let proven = format!(
        "# queue: nsqd at {} answers\n# store: the file {} can be created\n# dead letter: the file {} can be created\n",
        nsqd.tcp,
        program.path("s.db").display(),
        program.path("dead-letter.ndjson").display()
    );
    assert!(ended.stdout.contains("nsq.topic: t\n") && ended.stdout.ends_with(&proven), "{}", ended.stdout);
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight), (1, 0));
    assert_eq!(Program::new(&configuration(&unused_address())).run(&["check", "--connect"]).code, Some(69));
    assert_eq!(
        Program::new(&configuration(&unused_address())).run(&["check"]).code,
        Some(0),
        "without --connect no server is asked"
    );
}

/// The check said that all answer, and the next run could not keep a dead letter or open its files.
#[test]
fn check_connect_fails_where_a_file_cannot_be_created() {
    const PLACE: &str = "/proc/nonexistent/file";
    let nsqd = Nsqd::start();
    let letters = |section: &str| format!("{}dead-letter: {section}\n", configuration(&nsqd.tcp));
    for (text, words) in [
        (letters(&format!("{{file: {{path: {PLACE}}}}}")), "cannot keep dead letters in"),
        (
            letters(&format!("{{publish: {{embedded-queue: {{path: {PLACE}}}}}}}")),
            "cannot keep dead letters in",
        ),
        (configuration(&nsqd.tcp).replace("s.db", PLACE), "the database"),
        (
            format!("embedded-queue: {{path: {PLACE}}}\nsqlite: {{path: s.db, set: s}}\n"),
            "the embedded queue",
        ),
    ] {
        let ended = Program::new(&text).run(&["check", "--connect"]);
        assert!(ended.code == Some(69) && ended.stderr.contains(words), "{text}: {ended:?}");
    }
}

/// The check said that the queue answers, although the only nsqd was stopped.
#[test]
fn check_connect_fails_where_nsqlookupd_lists_no_nsqd_and_says_how_many_answer() {
    let lookupd = Lookupd::start();
    let program = Program::new(&format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: s.db, set: s}}\n",
        lookupd.http
    ));
    let ended = program.run(&["check", "--connect"]);
    let words = "lists none, so no nsqd was tested";
    assert!(ended.code == Some(69) && ended.stderr.contains(words), "{ended:?}");
    assert!(!ended.stdout.contains("# queue: ") && ended.stdout.contains("# store: "), "{}", ended.stdout);
    let nsqd = Nsqd::start();
    let both = format!("['{}', '{}']", nsqd.tcp, unused_address());
    program.write(
        "x-msrv.yml",
        &format!("nsq: {{nsqd-tcp-address: {both}, topic: t, channel: c}}\nsqlite: {{path: s.db, set: s}}\n"),
    );
    let ended = program.run(&["check", "--connect"]);
    let words = format!("# queue: 1 of 2 nsqd answer: {}\n", nsqd.tcp);
    assert!(ended.code == Some(0) && ended.stdout.contains(&words), "{ended:?}");
}

/// Otherwise the command would stop at the queue's fault and not report that the store and the dead letter
/// are down as well.
#[test]
fn check_connect_names_every_server_that_does_not_answer() {
    let down = [(); 4].map(|()| unused_address());
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\naerospike: {{hosts: ['{}'], namespace: test, set: s}}\nconnect-timeout: 1s\n\
         dead-letter: {{nsq: {{topic: d, nsqd-tcp-address: ['{}', '{}']}}}}\n",
        down[0], down[1], down[2], down[3]
    ));
    let ended = program.run(&["check", "--connect"]);
    assert!(
        ended.code == Some(69) && down.iter().all(|address| ended.stderr.contains(&address.to_string())),
        "{}",
        ended.stderr
    );
    // A fault that only the configuration can fix decides the exit code.
    let ended = program.env("X_MSRV__NSQ__TLS__CA_FILE", "nonesuch.pem").run(&["check", "--connect"]);
    assert!(ended.code == Some(78) && ended.stderr.contains(&down[1].to_string()), "{}", ended.stderr);
}

/// Otherwise `send` and `dead` would be the only commands that accept no name.
#[test]
fn send_and_dead_accept_a_configuration_name_as_other_commands_do() {
    let program = Program::new(GOOD);
    for arguments in [
        &["send", "nonesuch"][..],
        &["dead", "list", "nonesuch"],
        &["dead", "replay", "nonesuch"],
        &["dead", "show", "1", "nonesuch"],
    ] {
        let ended = program.bare(arguments);
        assert!(
            ended.code == Some(78) && ended.stderr.contains("/etc/x-msrv/nonesuch.yml"),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    for (words, file) in
        [(&["send", "nonesuch"][..], "nonesuch"), (&["dead", "list", "nonesuch"], "nonesuch")]
    {
        let ended = program.run(words);
        assert!(
            ended.code == Some(66) && ended.stderr.contains(&format!("cannot open {file}")),
            "the argument is taken as a file: {}",
            ended.stderr
        );
    }
    let ended = program.bare(&["dead", "list", "nonesuch.ndjson"]);
    assert!(!ended.stderr.contains("/etc/x-msrv/nonesuch"), "{}", ended.stderr);
    program.write("lines", "{}\n");
    for arguments in [&["send", "lines"][..], &["send", "-"]] {
        assert_eq!(program.run(arguments).code, Some(0), "{arguments:?}");
    }
    let ended = program.run(&["send", "lines", "lines"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("only one file can be read"), "{}", ended.stderr);
    assert_eq!(
        program.run(&["dead", "list", "lines"]).code,
        Some(66),
        "the argument is a file without dead letters"
    );
}

/// The original's example names nsqlookupd's TCP port.
#[test]
fn an_address_that_is_not_the_http_port_of_nsqlookupd_is_recognized() {
    let (nsqd, lookupd) = (Nsqd::start(), Lookupd::start());
    let ask = |address: &HostPort| {
        let text = format!(
            "nsq: {{lookupd-http-address: ['{address}'], topic: t, channel: c}}\nsqlite: {{path: s.db, set: s}}\n"
        );
        let ended = Program::new(&text).run(&[]);
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        ended.stderr
    };
    let shipped_by_mistake = HostPort { port: 4160, ..unused_address() };
    assert!(
        ask(&shipped_by_mistake).contains("its HTTP port is 4161 by default"),
        "{}",
        ask(&shipped_by_mistake)
    );
    for address in [&lookupd.tcp, &nsqd.tcp] {
        assert!(
            ask(address).contains("this is not an HTTP port: nsqlookupd's is required, 4161 by default"),
            "{}",
            ask(address)
        );
    }
    assert!(ask(&nsqd.http).contains("this is not nsqlookupd"), "{}", ask(&nsqd.http));
}

/// Otherwise the error would be about the bytes of a frame, and not about the port.
#[test]
fn an_address_that_is_not_the_tcp_port_of_nsqd_is_recognized() {
    let (nsqd, lookupd) = (Nsqd::start(), Lookupd::start());
    for (address, words) in [
        (&nsqd.http, "this is an HTTP port"),
        (&lookupd.http, "this is an HTTP port"),
        // `a frame of the unknown type 1163870785`
        (
            &lookupd.tcp,
            "this is nsqlookupd's TCP port, 4160 by default: nsqd's TCP port is required, 4150 by default",
        ),
    ] {
        for command in [&["run"][..], &["check", "--connect"], &["send", "x-msrv.yml"]] {
            let ended = Program::new(&configuration(address)).run(command);
            assert!(ended.code == Some(69) && ended.stderr.contains(words), "{ended:?}");
        }
    }
    let letters =
        format!("{GOOD}dead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{}'}}}}\n", lookupd.tcp);
    let ended = Program::new(&letters).run(&["check", "--connect"]);
    assert!(ended.code == Some(69) && ended.stderr.contains("this is nsqlookupd's TCP port"), "{ended:?}");
}

/// Otherwise the error would name only a host that cannot be resolved, and that host is not in the
/// configuration.
#[test]
fn an_unreachable_broadcast_address_names_the_option_of_nsqd() {
    let lookupd = Lookupd::start();
    let nsqd = Nsqd::broadcasting(&format!("-lookupd-tcp-address={}", lookupd.tcp), "nsqd.invalid");
    nsqd.publish("t", ["{}"]);
    lookupd.wait_for("t", 1);
    let text = format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: s.db, set: s}}\n",
        lookupd.http
    );
    let program = Program::new(&text);
    for command in [&["run"][..], &["check", "--connect"], &["send", "x-msrv.yml"]] {
        let ended = program.run(command);
        let words = [
            "nsqd.invalid",
            "nsqlookupd returned this address: nsqd's -broadcast-address must be reachable from here",
        ];
        assert!(ended.code == Some(69) && words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    }
}

/// nsqlookupd lists no nsqd for a new topic, and a user would not know how to create it.
#[test]
fn send_through_nsqlookupd_to_a_new_topic_shows_the_command_that_creates_it() {
    let lookupd = Lookupd::start();
    let text = format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: t#ephemeral}}\nsqlite: {{path: s.db, set: s}}\n",
        lookupd.http
    );
    let ended = Program::new(&text).run_with_input(&["send"], b"{}\n");
    let words = [
        "cannot reach an nsqd with the topic t#ephemeral",
        "curl -X POST 'http://NSQD:4151/topic/create?topic=t%23ephemeral'",
    ];
    assert!(ended.code == Some(69) && words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
}

/// Without the number a user could not continue after a failure.
#[test]
fn send_reports_how_many_messages_nsqd_has_and_a_dead_nsqd_is_exit_69() {
    let nsqd = Nsqd::start();
    let program = Program::new(&configuration(&nsqd.tcp));
    assert_eq!(
        program.run_with_input(&["send", "--count", "250"], b"{\"a\":1}\n").stderr,
        "messages sent: 250\n"
    );
    assert_eq!(nsqd.depths("t").waiting, 250);
    let program = Program::new(&configuration(&unused_address()));
    assert_eq!(program.run_with_input(&["send"], b"").code, Some(69));
}

/// Otherwise a container without syslog could not run, or its log would be lost.
#[test]
#[ignore = "only root can hide the system's socket: .ci/test"]
fn without_a_syslog_socket_a_run_continues_and_logs_to_standard_error() {
    let program = Program::new(&format!("{GOOD}log: {{target: syslog}}\n"));
    let without_socket = "mount -t tmpfs none /dev && exec \"$0\" -c x-msrv.yml";
    let ended = program
        .run_by("unshare", &["--mount", "sh", "-c", without_socket, &crate::support::program::program()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for words in ["cannot log to syslog; logging to standard error instead", "run finished"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// Otherwise the last value would win silently, even for a whole section.
#[test]
fn a_duplicate_field_is_refused_in_json_as_in_yaml_and_toml() {
    let rest = r#""sqlite": {"path": "s", "set": "s"}"#;
    let cases = [
        (
            "x.json",
            format!(r#"{{{rest}, "embedded-queue": {{"path": "q"}}, "timeout": "1s", "timeout": "2s"}}"#),
            "duplicate field `timeout` at line 1",
        ),
        (
            "x.json",
            format!(r#"{{{rest}, "embedded-queue": {{"path": "q"}}, "embedded-queue": {{"path": "r"}}}}"#),
            "duplicate field `embedded-queue`",
        ),
        (
            "x.json",
            format!(r#"{{{rest}, "embedded-queue": {{"path": "q", "path": "q"}}}}"#),
            "embedded-queue: duplicate field `path` at line 1",
        ),
        (
            "x.yml",
            "embedded-queue: {path: q, path: q}\nsqlite: {path: s, set: s}\n".to_owned(),
            "line 1 column 27: duplicate field `path`",
        ),
        ("x.toml", "[embedded-queue]\npath = 'q'\npath = 'q'\n".to_owned(), "line 3: duplicate field `path`"),
    ];
    for (name, text, words) in cases {
        let program = Program::new("");
        program.write(name, &text);
        let ended = program.bare(&["check", "-c", name]);
        assert!(
            ended.code == Some(78) && ended.stderr.contains(words),
            "{text}: {}{}",
            ended.stdout,
            ended.stderr
        );
    }
    let ended = Program::new(GOOD).env("X_MSRV__FIELDS__RENAME", r#"{"a": "b", "a": "c"}"#).run(&["check"]);
    assert!(
        ended.code == Some(78) && ended.stderr.contains("fields.rename: duplicate field `a`"),
        "{}",
        ended.stderr
    );
    let twice = Program::new(GOOD).env("X_MSRV__TIMEOUT", "1s").env("X_MSRV__timeout", "2s").run(&["check"]);
    assert!(
        twice.code == Some(78)
            && twice.stderr.contains("already set by environment variable X_MSRV__TIMEOUT"),
        "{}",
        twice.stderr
    );
}

/// Otherwise the variable would be ignored silently, and the file's value would apply.
#[test]
fn a_variable_that_is_not_utf_8_is_refused_by_its_name() {
    let program = Program::new(GOOD);
    for (variable, shown) in
        [(r"X_MSRV__TIMEOUT=\377", "X_MSRV__TIMEOUT"), (r"X_MSRV__TIME\377OUT=1s", "X_MSRV__TIME\u{fffd}OUT")]
    {
        let script = format!("env \"$(printf '{variable}')\" \"$0\" check -c x-msrv.yml");
        let ended = program.run_by("sh", &["-c", &script, &crate::support::program::program()]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("environment variable {shown}: not UTF-8")),
            "{}",
            ended.stderr
        );
    }
    let script = r#"env "$(printf 'OTHER=\377')" "$0" check -c x-msrv.yml"#;
    assert_eq!(
        program.run_by("sh", &["-c", script, &crate::support::program::program()]).code,
        Some(0),
        "not a variable of the program"
    );
}

/// A service named `x-msrv` in a Kubernetes namespace would otherwise stop every run there.
#[test]
fn variables_that_kubernetes_sets_for_a_service_are_ignored_and_near_misses_are_not() {
    let links = [
        ("X_MSRV_SERVICE_HOST", "10.0.0.7"),
        ("X_MSRV_SERVICE_PORT", "4150"),
        ("X_MSRV_SERVICE_PORT_TCP", "4150"),
        ("X_MSRV_PORT", "tcp://10.0.0.7:4150"),
        ("X_MSRV_PORT_4150_TCP", "tcp://10.0.0.7:4150"),
        ("X_MSRV_PORT_4150_TCP_PROTO", "tcp"),
        ("X_MSRV_PORT_4150_TCP_PORT", "4150"),
        ("X_MSRV_PORT_4150_TCP_ADDR", "10.0.0.7"),
        ("X_MSRV_INTAKE_SERVICE_HOST", "10.0.0.8"),
        ("X_MSRV_INTAKE_PORT_80_TCP", "tcp://10.0.0.8:80"),
    ];
    let program =
        links.into_iter().fold(Program::new(GOOD), |program, (name, value)| program.env(name, value));
    let ended = program.run(&["run", "-v"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (name, _) in links {
        assert!(ended.stderr.contains(&format!("variable={name}\n")), "{name}: {}", ended.stderr);
    }
    for (name, value) in [
        ("X_MSRV_PORT", "4150"),
        ("X_MSRV_AEROSPIKE_ADDRESS_PORT", "3000"),
        ("X_MSRV_SERVICE_PORT", "high"),
        ("X_MSRV_PORT_TCP", "tcp://10.0.0.7:4150"),
        ("X_MSRV_NSQ_TOPIC", "t"),
    ] {
        let ended = Program::new(GOOD).env(name, value).run(&["check"]);
        assert!(
            ended.code == Some(78) && ended.stderr.contains(name) && ended.stderr.contains("two underscores"),
            "{name}: {}",
            ended.stderr
        );
    }
}

/// Messages such as `use from_str_multiple`, `budget breached`, `choice: …`, `expected map with a single key`
/// and `expected unit` help no user.
#[test]
fn no_error_contains_the_internal_words_of_a_library() {
    let cases = [
        (
            "sqlite: {path: s, set: s, key: field}",
            "sqlite.key.field: requires a value: `key: {field: VALUE}`",
        ),
        (
            "sqlite: {path: s, set: s, key: {field: /a, message: }}",
            "sqlite.key: exactly one choice is required",
        ),
        (
            "sqlite: {path: s, set: s, key: {message: x}}",
            "sqlite.key.message: \"x\" is not allowed: this choice takes no value",
        ),
        ("sqlite: {path: s, set: s, key: [a]}", "sqlite.key: a list is not a word"),
        (
            "sqlite: {path: s, set: s}\ndead-letter: nsq",
            "dead-letter.nsq: requires a value: `dead-letter: {nsq: VALUE}`",
        ),
        ("sqlite: {path: s, set: s}\nlog: {level: [debug]}", "log.level: a list is not a word"),
        ("sqlite: {path: s, set: s}\nperiod: 5M", "period: `5M` is in months, which have no fixed length"),
        ("sqlite: {path: s, set: s}\ntimeout: {a: 1}", "timeout: a section is not a duration"),
    ];
    for (text, words) in cases {
        let ended = Program::new(&format!("{text}\nembedded-queue: {{path: q}}\n")).run(&["check"]);
        assert!(ended.code == Some(78) && ended.stderr.contains(words), "{text}: {}", ended.stderr);
    }
    let ttl = "embedded-queue: {path: q}\naerospike: {hosts: [h:1], namespace: n, set: s, ttl: 1y}\n";
    assert!(Program::new(ttl).run(&["check"]).stderr.contains("aerospike.ttl: `1y` is in years"));
    for arguments in [&["history", "--since", "1M"][..], &["status", "--warning", "age=1M"]] {
        let ended = Program::new(GOOD).run(arguments);
        assert!(ended.stderr.contains("`1M` is in months"), "{}", ended.stderr);
    }
}

/// Otherwise a file name with a line break would look like the next setting.
#[test]
fn check_shows_each_setting_in_one_line_whatever_it_contains() {
    let program =
        Program::new("embedded-queue: {path: \"/q\\nlog.level: debug\"}\nsqlite: {path: /s, set: s}\n");
    let shown = program.run(&["check"]).stdout;
    assert!(
        shown.contains("embedded-queue.path: \"/q\\nlog.level: debug\"\n")
            && shown.contains("\nlog.level: info\n"),
        "{shown}"
    );
}

/// Otherwise `tls:` with all its keys commented out would mean an unencrypted connection, an empty `schema:`
/// one that accepts every message, and an empty `channel:` one that nsqd deletes.
#[test]
fn a_key_without_a_value_is_refused_and_not_treated_as_absent() {
    let nsq = json!({"nsqd-tcp-address": ["h:1"], "topic": "t"});
    let aerospike = json!({"hosts": ["h:1"], "namespace": "test", "set": "s", "user": "u", "password": "p"});
    let whole = json!({"nsq": nsq, "aerospike": aerospike});
    let keys = [
        "timeout",
        "max-messages",
        "schema",
        "embedded-queue",
        "fields",
        "fields.flatten",
        "fields.rename",
        "fields.constant",
        "fields.metadata",
        "fields.on-long-name",
        "nsq.channel",
        "nsq.auth-secret",
        "nsq.lookupd-http-address",
        "nsq.tls",
        "nsq.tls.ca-file",
        "nsq.tls.insecure-skip-verify",
        "aerospike.address",
        "aerospike.exists",
        "aerospike.key",
        "aerospike.password",
        "aerospike.ttl",
        "aerospike.tls",
        "sqlite",
        "dead-letter",
        "dead-letter.file.path",
        "dead-letter.file.max-size",
        "dead-letter.file.max-files",
        "dead-letter.file.max-age",
        "history",
        "history.path",
        "metrics",
        "log",
        "log.level",
        "log.format",
    ];
    for key in keys {
        let mut tree = whole.clone();
        key.split('.').fold(&mut tree, |place, step| &mut place[step]).take();
        let program = Program::new("");
        // The same in YAML, which includes JSON, with nothing in the place of `null`.
        for (name, text) in [("a.json", tree.to_string()), ("b.yml", tree.to_string().replace("null", ""))] {
            program.write(name, &text);
            let ended = program.bare(&["check", "-c", name]);
            let wanted = format!("{name}: {key}: has no value; set one or remove the key\n");
            assert!(
                ended.code == Some(78) && ended.stderr.ends_with(&wanted),
                "{text}: {}{}",
                ended.stdout,
                ended.stderr
            );
        }
    }
    for (key, parent) in
        [("nsq.topic", "nsq"), ("aerospike.namespace", "aerospike"), ("aerospike.set", "aerospike")]
    {
        let mut tree = whole.clone();
        tree[parent][&key[parent.len() + 1..]].take();
        let ended = Program::new(&tree.to_string()).run(&["check"]);
        let wanted = format!("x-msrv.yml: {key}: has no value; it is required\n");
        assert!(ended.code == Some(78) && ended.stderr.ends_with(&wanted), "{}", ended.stderr);
    }
    let chosen =
        "sqlite: {path: s, set: s, key: {message: }}\nembedded-queue: {path: q}\ndead-letter:\n  log:\n";
    assert_eq!(Program::new(chosen).run(&["check"]).code, Some(0), "a choice needs no value");
}

/// A log reader needs one line for one error; a user at a terminal also needs to know what to do.
#[test]
fn an_error_is_one_line_on_a_pipe_and_has_a_hint_on_a_terminal() {
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
        unused_address()
    ));
    for (arguments, hint) in [
        (&["-c", "x-msrv.yml", "-q"][..], "hint: x-msrv check --connect -c x-msrv.yml checks that queue"),
        (&["-c", "nonesuch.yml"], "hint: x-msrv init creates a configuration"),
        (&["dead", "show", "x", "-c", "x-msrv.yml"], "hint: x-msrv dead list --all -c x-msrv.yml shows"),
    ] {
        let on_a_pipe = program.bare(arguments).stderr;
        assert!(
            on_a_pipe.lines().count() == 1
                && on_a_pipe.starts_with("x-msrv: ")
                && !on_a_pipe.contains("os error"),
            "{on_a_pipe}"
        );
        let command = format!("{} {}", crate::support::program::program(), arguments.join(" "));
        let on_a_terminal = program.run_by("script", &["--quiet", "--command", &command, "/dev/null"]).stdout;
        let lines: Vec<_> = on_a_terminal.lines().collect();
        assert!(lines.len() == 2 && lines[0] == on_a_pipe.trim_end() && lines[1].contains(hint), "{lines:?}");
    }
}

/// Otherwise the variable would have no effect, and the user would not know why.
#[test]
fn a_variable_with_too_few_underscores_is_reported_with_the_right_name() {
    let ended = Program::new(GOOD).env("X_MSRV__NSQ_TOPIC", "t").run(&["check"]);
    assert!(
        ended.code == Some(78) && ended.stderr.contains("did you mean `nsq.topic`, X_MSRV__NSQ__TOPIC?"),
        "{}",
        ended.stderr
    );
}

/// Otherwise two configurations in one folder would share one history, and each would report the other's
/// failures.
#[test]
fn configurations_in_one_folder_have_separate_histories() {
    let program = Program::new(GOOD);
    program.write("other.yml", GOOD);
    let path = |name: &str| {
        program
            .bare(&["check", "-c", name])
            .stdout
            .lines()
            .find(|line| line.starts_with("history.path"))
            .map(str::to_owned)
    };
    assert!(path("x-msrv.yml").is_some_and(|path| path.ends_with("/history.db")));
    assert!(path("other.yml").is_some_and(|path| path.ends_with("/other-history.db")));
}
