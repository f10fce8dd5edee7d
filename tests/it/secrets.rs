//! Secrets, tested with a real nsqd that asks an authentication server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
};

use crate::support::{
    nsqd::{Nsqd, unused_address},
    program::{Ended, Program},
};

pub(crate) const SECRET: &str = "hunter2";

/// A client with this secret may only use the topic `other`.
const GUEST: &str = "guest";

/// The server that nsqd asks (<https://nsq.io/components/nsqd.html#auth>): a client with the secret may do
/// everything. It ends with the tests.
pub(crate) fn authentication_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.find(String::is_empty);
            let says =
                |secret| ['&', ' '].iter().any(|end| request.contains(&format!("secret={secret}{end}")));
            let topics = [(SECRET, ".*"), (GUEST, "other")]
                .into_iter()
                .find_map(|(secret, topics)| says(secret).then_some(topics));
            let (status, body) = match topics {
                Some(topics) => {
                    let permission = format!(
                        r#"{{"permissions":["subscribe","publish"],"topic":"{topics}","channels":[".*"]}}"#
                    );
                    (
                        "200 OK",
                        format!(r#"{{"ttl":3600,"identity":"tests","authorizations":[{permission}]}}"#),
                    )
                }
                None => ("403 Forbidden", "{}".to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            drop((&stream).write_all(answer.as_bytes()));
        }
    });
    address
}

fn nsqd() -> Nsqd {
    Nsqd::with(&[&format!("-auth-http-address={}", authentication_server())])
}

fn program(nsqd: &Nsqd, secret: &str) -> Program {
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c{secret}}}\nsqlite: {{path: store.db, set: s}}\n\
         idle-timeout: 300ms\ndead-letter: {{nsq: {{topic: dead}}}}\n",
        nsqd.tcp
    ));
    std::fs::set_permissions(program.path("x-msrv.yml"), PermissionsExt::from_mode(0o600)).expect("ours");
    program
}

/// Publishes a valid and an invalid message; the first must be stored, the second must be in the dead-letter
/// topic.
fn works(nsqd: &Nsqd, program: &Program) {
    let sent = program.run_with_input(&["send"], b"{\"a\": 1}\nnot json\n");
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let report = program.drain(&[]);
    assert_eq!((&report["stored"], &report["dead-lettered"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(nsqd.depths("dead").waiting, 1);
    let check = program.run(&["check", "--connect"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(!format!("{}{}", check.stdout, check.stderr).contains(SECRET), "{check:?}");
}

/// systemd passes secrets as credentials.
#[test]
fn the_secret_for_nsqd_is_read_from_a_credential() {
    let nsqd = nsqd();
    let program = program(&nsqd, ", auth-secret: {credential: nsq}");
    std::fs::create_dir(program.path("credentials")).expect("a folder");
    program.write("credentials/nsq", &format!("{SECRET}\n"));
    let directory = program.path("credentials").display().to_string();
    let program = program.env("CREDENTIALS_DIRECTORY", &directory);
    works(&nsqd, &program);
    assert!(program.run(&["check"]).stdout.contains("nsq.auth-secret: credential nsq\n"));
}

/// Without systemd a secret is in a file.
#[test]
fn the_secret_for_nsqd_is_read_from_a_file_beside_the_configuration() {
    let nsqd = nsqd();
    let program = program(&nsqd, ", auth-secret: {file: nsq.secret}");
    program.write("nsq.secret", &format!("{SECRET}\n"));
    works(&nsqd, &program);
}

/// Containers pass secrets as environment variables.
#[test]
fn the_secret_for_nsqd_is_read_from_the_configuration_or_the_environment() {
    let nsqd = nsqd();
    works(&nsqd, &program(&nsqd, ", auth-secret: hunter2"));
    let other = self::nsqd();
    works(&other, &program(&other, "").env("X_MSRV__NSQ__AUTH_SECRET", SECRET));
}

#[track_caller]
fn fails(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
}

/// Otherwise a user would not know which of the secrets to fix.
#[test]
fn a_missing_unreadable_or_wrong_secret_is_exit_78_and_named() {
    let nsqd = nsqd();
    fails(&program(&nsqd, "").run(&[]), &["requires authentication", "no `nsq.auth-secret` is configured"]);
    fails(
        &program(&nsqd, ", auth-secret: {file: nonesuch}").run(&[]),
        &["cannot read the file /", "/nonesuch: No such file"],
    );
    let credential = program(&nsqd, ", auth-secret: {credential: nsq}");
    fails(
        &credential.run(&[]),
        &["cannot read the credential nsq", "$CREDENTIALS_DIRECTORY", "{file: PATH}", "systemd-run"],
    );
}

/// Otherwise `check` would find no fault in a configuration that no run can use.
#[test]
fn check_warns_about_a_missing_file_and_check_connect_fails() {
    let program = Program::new(
        "nsq: {nsqd-tcp-address: 'h:1', topic: t, auth-secret: {file: nonesuch}, tls: {ca-file: none.pem}}\n\
         sqlite: {path: s.db, set: s}\n",
    );
    let ended = program.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (key, name) in [("nsq.auth-secret", "nonesuch"), ("nsq.tls.ca-file", "none.pem")] {
        let file = program.path(name);
        let warning = format!("{key}: {}: the file does not exist", file.display());
        assert_eq!(ended.stderr.matches(&warning).count(), 1, "{}", ended.stderr);
    }
    assert_eq!(program.run(&["check", "--connect"]).code, Some(78));
    for name in ["nonesuch", "none.pem"] {
        program.write(name, "x");
    }
    let ended = program.run(&["check"]);
    assert!(!ended.stderr.contains("does not exist"), "{}", ended.stderr);
}

/// An outage of the server must not count as a wrong configuration. nsqd gives the same answer if the server
/// replies 403.
#[test]
fn an_authentication_server_that_is_down_or_does_not_know_the_secret_is_exit_69() {
    let down = Nsqd::with(&[&format!("-auth-http-address={}", unused_address())]);
    for program in [program(&down, ", auth-secret: hunter2"), program(&nsqd(), ", auth-secret: hunter22")] {
        for command in [&["run"][..], &["send", "x-msrv.yml"], &["check", "--connect"]] {
            let ended = program.run(command);
            let words =
                "its authentication server does not answer, or refuses `nsq.auth-secret`: E_AUTH_FAILED";
            assert!(ended.code == Some(69) && ended.stderr.contains(words), "{ended:?}");
            assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
        }
    }
}

/// Otherwise the exit code would be 65, as if the message were at fault.
#[test]
fn a_login_without_permission_to_publish_is_exit_78() {
    let nsqd = nsqd();
    let sent = program(&nsqd, ", auth-secret: guest").run_with_input(&["send"], b"{}\n");
    fails(&sent, &["messages sent: 0, then it failed at line 1", "E_UNAUTHORIZED"]);
}

/// Otherwise dead letters of an embedded queue could not be sent to an nsqd that requires a secret.
#[test]
fn the_dead_letter_topic_may_have_a_separate_secret() {
    let nsqd = nsqd();
    let program = |secret: &str| {
        let program = Program::new(&format!(
            "embedded-queue: {{path: queue.db}}\nsqlite: {{path: store.db, set: s}}\n\
             dead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{}'{secret}}}}}\n",
            nsqd.tcp
        ));
        std::fs::set_permissions(program.path("x-msrv.yml"), PermissionsExt::from_mode(0o600)).expect("ours");
        program
    };
    works(&nsqd, &program(", auth-secret: hunter2"));
    let check = program("").run(&["check", "--connect"]);
    assert!(
        check.code == Some(78) && check.stderr.contains("no `dead-letter.nsq.auth-secret` is configured"),
        "{check:?}"
    );
    let shown = program(", auth-secret: hunter2").run(&["check"]).stdout;
    assert!(shown.contains("dead-letter.nsq.auth-secret: (hidden)\n"), "{shown}");
    let elsewhere =
        self::program(&nsqd, ", auth-secret: hunter2").env("X_MSRV__DEAD_LETTER__NSQ__TLS", "false");
    let shown = elsewhere.run(&["check"]).stdout;
    assert!(
        shown.contains("nsq.auth-secret: (hidden)") && !shown.contains("dead-letter.nsq.auth-secret"),
        "the secret is not shown in a less protected place: {shown}"
    );
    let open = program(", auth-secret: hunter2");
    std::fs::set_permissions(open.path("x-msrv.yml"), PermissionsExt::from_mode(0o644)).expect("ours");
    assert!(open.run(&["check"]).stderr.contains("dead-letter.nsq.auth-secret is a secret"));
}

/// Parsers quote the faulty line; `systemctl status` would show it to every user.
#[test]
fn the_error_for_a_malformed_configuration_does_not_show_its_secret() {
    for (name, text) in [
        ("a.toml", "[nsq]\nauth-secret = \"hunter2\ntopic = 't'\n"),
        ("a.toml", "[nsq]\nauth-secret = hunter2\n"),
        ("a.toml", "[nsq]\nauth-secret = \"hunter2\"\nauth-secret = \"hunter2\"\n"),
        ("a.yml", "nsq:\n  auth-secret: \"hunter2\n"),
        ("a.yml", "nsq: {auth-secret: hunter2, auth-secret: hunter2}\n"),
        ("a.yml", "nsq: {topic: t, auth-secret: {hunter2: x}}\n"),
        ("a.json", "{\"nsq\": {\"auth-secret\": \"hunter2}}"),
        ("a.json", "{\"nsq\": {\"auth-secret\": hunter2}}"),
    ] {
        let program = Program::new("");
        program.write(name, text);
        fails(&program.bare(&["check", "-c", name]), &[name]);
    }
}

/// Otherwise every user of the machine could read it.
#[test]
fn a_secret_in_a_file_readable_for_all_users_is_a_warning() {
    let nsqd = nsqd();
    let program = program(&nsqd, ", auth-secret: hunter2");
    assert!(!program.run(&["check"]).stderr.contains("WARN"));
    std::fs::set_permissions(program.path("x-msrv.yml"), PermissionsExt::from_mode(0o644)).expect("ours");
    let ended = program.run(&["check"]);
    assert!(
        ended.stderr.contains("WARN") && ended.stderr.contains("nsq.auth-secret is a secret"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(SECRET));
}
