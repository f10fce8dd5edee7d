//! Creates a first configuration, as a new user does.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::support::{
    nsqd::{Nsqd, unused_address},
    program::{Program, program},
};

/// The lines that `check` shows of a configuration.
#[track_caller]
fn in_force(scene: &Program, path: &str) -> Vec<String> {
    let ended = scene.bare(&["check", "-c", path]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
    }
}

/// The files in the folder, hidden ones included, except those that a configuration creates.
fn names(scene: &Program) -> Vec<String> {
    let names =
        std::fs::read_dir(scene.path("")).expect("a folder").map(|file| file.expect("a file").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name != "x-msrv.yml" && name.contains(".yml")).collect();
    names.sort();
    names
}

/// Otherwise a script could not create a configuration.
#[test]
fn with_all_options_init_writes_every_kind_of_queue_and_store_without_questions() {
    let (scene, nsqd) = (Program::new(""), Nsqd::start());
    let ended = scene.bare(&[
        "init",
        "-c",
        "a.yml",
        "--queue",
        "embedded",
        "--store",
        "sqlite",
        "--period",
        "5m",
        "--max-messages",
        "7",
    ]);
    let said = ended.stderr.as_str();
    assert!(
        ended.code == Some(0)
            && said.starts_with("written: a.yml\n")
            && said.ends_with("\nnext:    x-msrv -c a.yml\n"),
        "{said}"
    );
    assert!(
        said.lines().filter(|line| !line.contains("the embedded queue does not exist")).count() == 2,
        "{said}"
    );
    let proven: Vec<_> = ended.stdout.lines().map(|line| line.split(": ").next()).collect();
    assert_eq!(proven, [Some("# queue"), Some("# store"), Some("# dead letter")], "{}", ended.stdout);
    has(&in_force(&scene, "a.yml"), &["max-messages: 7", "period: 5m", "sqlite.set: messages"]);
    let ended = scene.bare(&[
        "init",
        "-c",
        "b.yml",
        "--nsqd",
        &nsqd.tcp.to_string(),
        "--topic",
        "orders",
        "--store",
        "sqlite",
        "--set",
        "a \"b\"",
    ]);
    assert_eq!(
        ended.code,
        Some(78),
        "a table cannot have such a name, and nothing is written: {}",
        ended.stderr
    );
    assert_eq!(names(&scene), ["a.yml"], "no file remains");
    scene.write("b.new.yml", "# mine\n");
    let ended = scene.bare(&[
        "init",
        "-c",
        "b.yml",
        "--nsqd",
        &nsqd.tcp.to_string(),
        "--topic",
        "orders",
        "--store",
        "sqlite",
    ]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(scene.path("b.new.yml")).expect("it is another user's"), "# mine\n");
    let address = format!("nsq.nsqd-tcp-address: [{}]", nsqd.tcp);
    has(
        &in_force(&scene, "b.yml"),
        &[
            &address,
            "nsq.topic: orders",
            "nsq.channel: x-msrv-b",
            "nsq.max-in-flight: 1000",
            "sqlite.set: orders",
        ],
    );
    // A server that does not answer is reported, and the file is kept for inspection.
    let ended = scene.bare(&[
        "init",
        "-c",
        "c.yml",
        "--lookupd",
        "h:4161, i:4161",
        "--topic",
        "t",
        "--aerospike",
        &unused_address().to_string(),
    ]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    has(
        &in_force(&scene, "c.yml"),
        &["nsq.lookupd-http-address: [h:4161, i:4161]", "aerospike.namespace: test", "aerospike.set: t"],
    );
}

/// Otherwise `--namespace prod` without the store's name would silently create a store in a file.
#[test]
fn options_of_another_kind_and_missing_values_are_refused() {
    let scene = Program::new("");
    let (longest, a_table_of_sqlite_s) = ("t".repeat(64), "sqlite_a");
    let embedded = ["--queue", "embedded", "--store", "sqlite"];
    let (nsq, sqlite) = (["--topic"], ["--store", "sqlite"]);
    let table: [(&[&[&str]], &str); 9] = [
        (&[&embedded, &["--topic", "t"]], "--topic: cannot be used with --queue embedded"),
        (&[&embedded, &["--channel", "c"]], "--channel: cannot be used with --queue embedded"),
        (&[&embedded, &["--nsqd", "h:1"]], "--nsqd: cannot be used with --queue embedded"),
        (&[&embedded, &["--lookupd", "h:1"]], "--lookupd: cannot be used with --queue embedded"),
        (&[&embedded, &["--namespace", "prod"]], "--namespace: cannot be used with --store sqlite"),
        (&[&embedded, &["--aerospike", "h:1"]], "--aerospike: cannot be used with --store sqlite"),
        (&[&nsq, &[&longest]], "--set: is required: the topic name cannot be used: `tttt"),
        (&[&nsq, &[&longest], &sqlite], "--set: is required: the topic name cannot be used: `tttt"),
        (
            &[&nsq, &[a_table_of_sqlite_s], &sqlite],
            "--set: is required: the topic name cannot be used: `sqlite_a`",
        ),
    ];
    for (arguments, fault) in table {
        let ended = scene.bare(&[&["init", "-c", "a.yml"], &*arguments.concat()].concat());
        assert!(ended.code == Some(2) && ended.stderr.contains(fault), "{fault}: {}", ended.stderr);
        assert_eq!(names(&scene), Vec::<String>::new());
    }
    let nowhere = unused_address().to_string();
    let ended = scene.bare(&[
        "init",
        "-c",
        "a.yml",
        "--nsqd",
        &nowhere,
        "--topic",
        "o#ephemeral",
        "--store",
        "sqlite",
    ]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    has(&in_force(&scene, "a.yml"), &["nsq.topic: o#ephemeral", "sqlite.set: o"]);
}

/// Otherwise a user would rely on a default that the new file does not contain.
#[test]
fn the_defaults_in_the_help_are_what_init_writes() {
    let scene = Program::new("");
    let help = scene.bare(&["init", "--help"]).stdout;
    let default = |option: &str| {
        let (_, text) = help.split_once(&format!("--{option} <")).expect(option);
        let (_, text) = text.split_once("[default: ").expect(option);
        text.split(']').next().expect("an end").to_owned()
    };
    let ended = scene.bare(&["init", "-c", "a.yml", "--queue", "embedded", "--store", "sqlite"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let in_force = in_force(&scene, "a.yml");
    for key in ["max-messages", "period"] {
        has(&in_force, &[&format!("{key}: {}", default(key))]);
    }
    scene.bare(&["init", "-c", "b.yml", "--nsqd", "h:1", "--topic", "t", "--aerospike", "h:2"]);
    has(&self::in_force(&scene, "b.yml"), &[&format!("aerospike.namespace: {}", default("namespace"))]);
    scene.bare(&["init", "-c", "c.yml", "--nsqd", "h:1", "--topic", "t", "--postgres", "h:2"]);
    let names = ["database", "user"].map(|key| format!("postgres.{key}: {}", default(key)));
    has(&self::in_force(&scene, "c.yml"), &names.each_ref().map(String::as_str));
}

/// Otherwise a user would not see which other settings exist.
#[test]
fn every_key_of_the_shipped_configuration_is_written_with_its_comment() {
    let scene = Program::new("");
    scene.bare(&["init", "-c", "a.yml", "--queue", "embedded", "--store", "sqlite"]);
    let written = std::fs::read_to_string(scene.path("a.yml")).expect("text");
    let shipped = std::fs::read_to_string(crate::support::project().join("etc/x-msrv.yml")).expect("text");
    for comment in
        shipped.lines().filter(|line| line.trim_start().starts_with("# ") && !line.starts_with("#  "))
    {
        assert!(written.lines().any(|line| line == comment), "{comment}");
    }
}

/// Otherwise a second `init` would destroy a configuration.
#[test]
fn an_existing_file_is_overwritten_only_with_force_and_backed_up() {
    let scene = Program::new("");
    scene.write("a.toml", "# mine\n");
    let init = |more: &[&str]| {
        scene.bare(&[&["init", "-c", "a.yml", "--queue", "embedded", "--store", "sqlite"], more].concat())
    };
    let ended = init(&[]);
    assert!(ended.code == Some(66) && ended.stderr.contains("a.toml already exists"), "{}", ended.stderr);
    std::fs::rename(scene.path("a.toml"), scene.path("a.yml")).expect("renamed");
    assert_eq!(init(&[]).code, Some(66));
    let ended = init(&["--force"]);
    assert!(ended.code == Some(0) && ended.stderr.contains("backup: a.yml.old"), "{}", ended.stderr);
    assert!(init(&["--force", "--period", "5m"]).stderr.contains("backup: a.yml.old.1"));
    assert_eq!(std::fs::read_to_string(scene.path("a.yml.old")).expect("kept"), "# mine\n");
    std::fs::copy(crate::support::project().join("etc/x-msrv.yml"), scene.path("c.yml")).expect("copied");
    let ended = scene.bare(&["init", "-c", "c.yml", "--queue", "embedded", "--store", "sqlite"]);
    assert!(
        ended.code == Some(0) && !scene.path("c.yml.old").exists(),
        "the shipped file is unchanged: {}",
        ended.stderr
    );
    std::fs::copy(crate::support::project().join("etc/x-msrv.yml"), scene.path("d.yml")).expect("copied");
    std::os::unix::fs::symlink("d.yml", scene.path("e.yml")).expect("a link");
    assert!(Command::new("mkfifo").arg(scene.path("f.yml")).status().expect("every system has it").success());
    for name in ["d.yaml", "e.yml", "f.yml"] {
        let ended = scene.bare(&["init", "-c", name, "--queue", "embedded", "--store", "sqlite"]);
        assert!(
            ended.code == Some(66) && ended.stderr.contains("already exists"),
            "{name}: {}",
            ended.stderr
        );
    }
    let ended = scene.bare(&["init", "-c", "b.yml", "--nsqd", "queue:4150"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("--topic is required"), "{}", ended.stderr);
    let ended = scene.bare(&["init", "-c", "nonesuch/b.yml", "--queue", "embedded", "--store", "sqlite"]);
    assert!(
        ended.code == Some(66) && ended.stderr.contains("cannot write nonesuch/b.yml: "),
        "{}",
        ended.stderr
    );
}

/// Otherwise a typing error would mean to start again.
#[test]
fn on_a_terminal_a_wrong_answer_is_reported_and_the_question_repeated() {
    let (scene, nsqd) = (Program::new(""), Nsqd::start());
    let answers = format!("kafka\nnsq\n\nlocalhost\n{}\n\nt#\nt\n\nsqlite\n\n0\n5\nsoon\n1m\n", nsqd.tcp);
    let command = format!("{} init -c a.yml", program());
    let mut child = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(scene.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    child.stdin.take().expect("piped").write_all(answers.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for fault in [
        "`kafka` is not one of the choices",
        "`localhost` is not HOST:PORT",
        "`t#` is not a valid name",
        "0 is not allowed, at least 1 is required",
        "\"soon\" is not a duration",
    ] {
        assert!(shown.contains(fault), "{fault}: {shown}");
    }
    has(
        &in_force(&scene, "a.yml"),
        &["nsq.topic: t", "nsq.channel: x-msrv-a", "max-messages: 5", "period: 1m", "sqlite.set: t"],
    );
}
