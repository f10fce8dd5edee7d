//! Aerospike with TLS and logins. The stand-in requires them as a server of the enterprise edition does; the
//! community edition has neither.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use crate::support::{
    aerospike::{Guard, PASSWORD, StandIn, USER},
    block_on,
    certificates::{Authority, Pair},
    program::{Ended, Program},
};

fn guarded(guard: Guard) -> StandIn {
    block_on(StandIn::guarded(guard))
}

/// From an embedded queue into the stand-in; `more` contains keys of the store's section. A login takes some
/// hundred milliseconds of processor time by design, and more in a debug build, so a run gets a longer
/// timeout than the default.
fn program(server: &StandIn, more: &str) -> Program {
    let program = Program::new(&format!(
        "embedded-queue: {{path: queue.db}}\nconnect-timeout: 5s\ntimeout: 30s\naerospike: {{hosts: ['{}'], namespace: test, set: s{more}}}\n",
        server.address()
    ));
    std::fs::set_permissions(program.path("x-msrv.yml"), PermissionsExt::from_mode(0o600)).expect("ours");
    program
}

fn trusting(authority: &Authority) -> String {
    format!(", tls: {{ca-file: '{}'}}", authority.file.display())
}

/// A round trip: the messages are stored and read back, and no output contains the password or its hash,
/// which is just as secret.
#[track_caller]
fn works(server: &StandIn, program: &Program) {
    let before = server.records("s").len();
    assert_eq!(program.run_with_input(&["send"], b"{\"a\": 1}\n").code, Some(0));
    let run = program.run(&["run", "--report", "json"]);
    assert_eq!((run.code, &run.report()["stored"]), (Some(0), &1.into()), "{}", run.stderr);
    assert_eq!(server.records("s").len(), before + 1);
    let (records, check) = (program.run(&["records"]), program.run(&["check", "--connect"]));
    assert!(records.code == Some(0) && records.stdout.contains("\"a\":1"), "{records:?}");
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert_no_password(&[run, records, check]);
}

#[track_caller]
fn assert_no_password(ended: &[Ended]) {
    for Ended { stdout, stderr, .. } in ended {
        assert!(
            [PASSWORD, "$2a$"].iter().all(|secret| !stdout.contains(secret) && !stderr.contains(secret)),
            "{stdout}{stderr}"
        );
    }
}

/// Every command that connects to the store fails with this exit code and text within a short time, takes no
/// message and writes nothing.
#[track_caller]
fn refused(server: &StandIn, program: &Program, code: i32, words: &[&str]) {
    let before = server.records("s").len();
    assert_eq!(program.run_with_input(&["send"], b"{\"a\": 1}\n").code, Some(0));
    #[expect(clippy::disallowed_methods, reason = "the server lives in real time")]
    let started = Instant::now();
    let ended = [program.run(&["run"]), program.run(&["check", "--connect"]), program.run(&["records"])];
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "connect-timeout is 5s, and three took {:?}",
        started.elapsed()
    );
    for ended in &ended {
        assert_eq!(ended.code, Some(code), "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} in {}", ended.stderr);
        }
    }
    assert_no_password(&ended);
    assert_eq!(server.records("s").len(), before);
}

/// Otherwise the store could not be used with a server that requires TLS.
#[test]
fn records_are_written_and_read_over_tls() {
    let authority = Authority::new();
    let server = guarded(Guard::default().tls(&authority.server(&["127.0.0.1"]), None));
    works(&server, &program(&server, &trusting(&authority)));
    let system = program(&server, ", tls: true")
        .env("SSL_CERT_FILE", &authority.file.display().to_string())
        .env("SSL_CERT_DIR", "");
    works(&server, &system);
}

/// Servers in use may not support TLS 1.3.
#[test]
fn tls_1_2_is_accepted() {
    let authority = Authority::new();
    let server = guarded(Guard::default().tls_1_2(&authority.server(&["127.0.0.1"])));
    works(&server, &program(&server, &trusting(&authority)));
}

/// The client has no timeout for handshakes.
#[test]
fn a_silent_port_fails_after_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = guarded(Guard::default());
    let program = program(&server, ", tls: true")
        .env("X_MSRV__AEROSPIKE__HOSTS", &listener.local_addr().expect("an address").to_string());
    refused(&server, &program.env("X_MSRV__CONNECT_TIMEOUT", "300ms"), 69, &["no answer within 300ms"]);
}

/// Otherwise the store could not be used with mutual TLS.
#[test]
fn a_client_certificate_is_sent_to_a_server_that_requires_one() {
    let authority = Authority::new();
    let server = guarded(Guard::default().tls(&authority.server(&["127.0.0.1"]), Some(&authority)));
    let with = |Pair { certificate, key }: Pair| {
        let (ca, certificate, key) = (authority.file.display(), certificate.display(), key.display());
        program(
            &server,
            &format!(", tls: {{ca-file: '{ca}', certificate: '{certificate}', key: {{file: '{key}'}}}}"),
        )
    };
    works(&server, &with(authority.client()));
    refused(
        &server,
        &program(&server, &trusting(&authority)),
        78,
        &["the server requires a client certificate"],
    );
    let stranger = Authority::new();
    refused(&server, &with(stranger.client()), 78, &["the server refuses the handshake"]);
}

/// Otherwise an attacker on the network path could read the records.
#[test]
fn an_invalid_certificate_is_exit_69_unless_verification_is_off() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (pair, words) in [
        (other.server(&["127.0.0.1"]), "it is signed by another CA with the name of a trusted one"),
        (authority.self_signed(), "it is signed by an unknown CA"),
        (authority.expired(), "the server's certificate expired at 2"),
        (authority.server(&["store.example"]), "not valid for name \"127.0.0.1\""),
    ] {
        let server = guarded(Guard::default().tls(&pair, None));
        refused(
            &server,
            &program(&server, &trusting(&authority)),
            69,
            &["cannot reach Aerospike at 127.0.0.1:", words],
        );
        let careless = program(&server, ", tls: {insecure-skip-verify: true}");
        works(&server, &careless);
        assert!(careless.run(&["run"]).stderr.contains("aerospike.tls.insecure-skip-verify"));
    }
}

/// Nodes are often addressed by IP, while their certificates contain the cluster's name.
#[test]
fn the_expected_name_can_differ_from_the_host() {
    let authority = Authority::new();
    let server = guarded(Guard::default().tls(&authority.server(&["store.example"]), None));
    let named = format!(", tls: {{ca-file: '{}', server-name: store.example}}", authority.file.display());
    works(&server, &program(&server, &named));
}

/// Otherwise the error would be a timeout or a malformed frame.
#[test]
fn tls_on_one_side_only_is_reported() {
    let authority = Authority::new();
    let plain = guarded(Guard::default());
    refused(
        &plain,
        &program(&plain, ", tls: true"),
        69,
        &["it may be a port without TLS, but `aerospike.tls` is set"],
    );
    let strict = guarded(Guard::default().tls(&authority.server(&["127.0.0.1"]), None));
    refused(&strict, &program(&strict, ""), 69, &["it may be a TLS port, but `aerospike.tls` is not set"]);
}

/// Otherwise a user would not know which of the files to fix.
#[test]
fn a_missing_or_unreadable_tls_file_is_exit_78_and_named() {
    let server = guarded(Guard::default());
    refused(
        &server,
        &program(&server, ", tls: {ca-file: nonesuch.pem}"),
        78,
        &["aerospike.tls: cannot read /", "/nonesuch.pem: No such"],
    );
}

fn login(password: &str) -> String {
    format!(", user: {USER}, password: {password}")
}

/// Each way of installation needs another place for the password.
#[test]
fn a_password_is_taken_from_a_credential_a_file_the_configuration_and_the_environment() {
    let server = guarded(Guard::default().login());
    let credential = program(&server, &login("{credential: aerospike}"));
    credential.write("aerospike", &format!("{PASSWORD}\n"));
    let folder = credential.path("").display().to_string();
    let credential = credential.env("CREDENTIALS_DIRECTORY", &folder);
    works(&server, &credential);
    assert!(credential.run(&["check"]).stdout.contains("aerospike.password: credential aerospike\n"));
    let file = program(&server, &login("{file: aerospike.secret}"));
    file.write("aerospike.secret", &format!("{PASSWORD}\n"));
    works(&server, &file);
    let configuration = program(&server, &login(&format!("'{PASSWORD}'")));
    works(&server, &configuration);
    assert!(configuration.run(&["check"]).stdout.contains("aerospike.password: (hidden)\n"));
    let environment =
        program(&server, &format!(", user: {USER}")).env("X_MSRV__AEROSPIKE__PASSWORD", PASSWORD);
    works(&server, &environment.env("X_MSRV__LOG__LEVEL", "debug"));
}

/// Otherwise a wrong login would look like an outage.
#[test]
fn a_wrong_missing_or_unexpected_login_is_exit_78_and_reported() {
    let server = guarded(Guard::default().login());
    refused(
        &server,
        &program(&server, &login("other")),
        78,
        &["the server refuses the login of `writer`: wrong password (code 65)"],
    );
    let stranger = format!(", user: stranger, password: '{PASSWORD}'");
    refused(
        &server,
        &program(&server, &stranger),
        78,
        &["the server refuses the login of `stranger`: unknown user (code 60)"],
    );
    refused(&server, &program(&server, ""), 78, &["the server requires a login", "`aerospike.user`"]);
    refused(
        &server,
        &program(&server, &login("{file: nonesuch}")),
        78,
        &["aerospike.password: cannot read the file /", "/nonesuch: No such"],
    );
    let open = guarded(Guard::default());
    refused(&open, &program(&open, &login("other")), 78, &["the server has no logins", "(code 51)"]);
}

/// A directory password is sent to the server as text and must not be sent unencrypted.
#[test]
fn a_login_uses_tls_and_the_password_of_a_directory_requires_it() {
    let authority = Authority::new();
    let server = guarded(Guard::default().tls(&authority.server(&["127.0.0.1"]), None).login());
    let password = login(&format!("'{PASSWORD}'"));
    works(&server, &program(&server, &format!("{password}{}", trusting(&authority))));
    works(&server, &program(&server, &format!("{password}, auth-mode: external{}", trusting(&authority))));
    refused(
        &server,
        &program(&server, &format!("{}, auth-mode: external{}", login("other"), trusting(&authority))),
        78,
        &["wrong password"],
    );
    let ended = program(&server, &format!("{password}, auth-mode: external")).run(&["check"]);
    assert!(
        ended.code == Some(78) && ended.stderr.contains("aerospike.auth-mode: `external` needs"),
        "{}",
        ended.stderr
    );
}

/// Otherwise every user of the machine could read the password unnoticed.
#[test]
fn a_password_file_readable_for_all_users_is_a_warning() {
    let server = guarded(Guard::default());
    for (password, words) in [
        ("{file: aerospike.secret}", "/aerospike.secret: aerospike.password is a secret, but every user"),
        ("hunter2", "/x-msrv.yml: aerospike.password is a secret, but every user"),
    ] {
        let program = program(&server, &login(password));
        program.write("aerospike.secret", "hunter2\n");
        for (mode, warned) in [(0o644, true), (0o640, false)] {
            for file in ["x-msrv.yml", "aerospike.secret"] {
                std::fs::set_permissions(program.path(file), PermissionsExt::from_mode(mode)).expect("ours");
            }
            let ended = program.run(&["check"]);
            assert_eq!(ended.stderr.contains("WARN"), warned, "{}", ended.stderr);
            assert!(
                !warned || ended.stderr.replace("x-msrv.yml:", "/x-msrv.yml:").contains(words),
                "{}",
                ended.stderr
            );
        }
    }
}
