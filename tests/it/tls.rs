//! TLS to a real nsqd, with certificates from the tests' authority.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use x_msrv_net::address::HostPort;

use crate::{
    secrets::{SECRET, authentication_server},
    support::{
        PATIENCE,
        aerospike::{Rule, StandIn, Then, When},
        block_on,
        certificates::{Authority, Pair},
        nsqd::{Lookupd, Nsqd},
        program::{Ended, Program},
        wait_until,
    },
};

/// An nsqd with this certificate that accepts no command without TLS; its HTTP port stays unencrypted.
fn nsqd(pair: &Pair, options: &[&str]) -> Nsqd {
    let certificate = format!("-tls-cert={}", pair.certificate.display());
    let key = format!("-tls-key={}", pair.key.display());
    Nsqd::with(&[&[&*certificate, &*key, "-tls-required=tcp-https"], options].concat())
}

/// From nsqd into SQLite, dead letters into a topic; `tls` is the value of `nsq.tls`.
fn program(nsqd: &HostPort, tls: &str) -> Program {
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{nsqd}'], topic: t, channel: c, tls: {tls}, max-messages: 10000}}\nsqlite: {{path: store.db, set: s}}\n\
         idle-timeout: 300ms\ntimeout: 10s\nconnect-timeout: 60s\ndead-letter: {{nsq: {{topic: dead}}}}\n",
    ));
    std::fs::set_permissions(program.path("x-msrv.yml"), PermissionsExt::from_mode(0o600)).expect("ours");
    program
}

fn trusting(authority: &Authority) -> String {
    format!("{{ca-file: '{}'}}", authority.file.display())
}

fn with_certificate(authority: &Authority, pair: &Pair) -> String {
    let Pair { certificate, key } = pair;
    format!(
        "{{ca-file: '{}', certificate: '{}', key: {{file: '{}'}}}}",
        authority.file.display(),
        certificate.display(),
        key.display()
    )
}

#[track_caller]
fn send(program: &Program, lines: impl IntoIterator<Item = String>) {
    let lines = lines.into_iter().collect::<Vec<_>>().join("\n");
    let sent = program.run_with_input(&["send"], lines.as_bytes());
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
}

/// Sending, receiving, the dead letter and the check: publishes a valid and an invalid message.
#[track_caller]
fn works(nsqd: &Nsqd, program: &Program) {
    send(program, ["{\"a\": 1}", "not json"].map(str::to_owned));
    let report = program.drain(&[]);
    assert_eq!(
        (&report["stored"], &report["dead-lettered"], &report["unconfirmed"]),
        (&1.into(), &1.into(), &0.into()),
        "{report}"
    );
    assert_eq!(nsqd.depths("dead").waiting, 1);
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight, depths.requeued, depths.timed_out), (0, 0, 0, 0));
    let check = program.run(&["check", "--connect"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
}

/// Every command that connects to nsqd fails with this exit code and text within a short time, and sends no
/// command to nsqd.
#[track_caller]
fn refused(program: &Program, code: i32, words: &[&str]) {
    let check = |ended: &Ended| {
        assert_eq!(ended.code, Some(code), "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} in {}", ended.stderr);
        }
    };
    check(&program.run(&["check", "--connect"]));
    check(&program.run(&["send", "x-msrv.yml"]));
    #[expect(clippy::disallowed_methods, reason = "nsqd lives in real time")]
    let started = Instant::now();
    check(&program.run(&["run"]));
    assert!(started.elapsed() < PATIENCE, "connect-timeout is 60s, and it took {:?}", started.elapsed());
}

/// One connection without TLS would show messages to everyone on the network path.
#[test]
fn every_connection_to_nsqd_uses_tls() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &["-tls-min-version=tls1.3"]);
    let program = program(&nsqd.tcp, &trusting(&authority));
    works(&nsqd, &program);
    let letter = r#"{"replayed":false                     ,"time":"","source":"","id":"","attempts":1,"reason":"schema","detail":"","body":"{}"}"#;
    program.write("letters.ndjson", &format!("{letter}\n"));
    let replay = program.run(&["dead", "replay", "letters.ndjson"]);
    assert_eq!((replay.code, nsqd.depths("t").waiting), (Some(0), 1), "{}", replay.stderr);
}

/// `true` trusts the system's authorities; the variable is OpenSSL's own for another location of them.
#[test]
fn the_authorities_of_the_system_are_trusted_by_default() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &[]);
    let system = |file: &str| program(&nsqd.tcp, "true").env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", "");
    works(&nsqd, &system(&authority.file.display().to_string()));
    refused(&system("/dev/null"), 78, &["nsq.tls: this system has no CA certificates"]);
}

/// Otherwise an attacker on the network path could read and alter messages.
#[test]
fn a_certificate_of_another_authority_or_self_signed_is_refused_and_nothing_is_received() {
    let (authority, other) = (Authority::new(), Authority::new());
    // Both authorities have the same name.
    let signed_by_other =
        (other.server(&["127.0.0.1"]), "it is signed by another CA with the name of a trusted one");
    let self_signed = (authority.self_signed(), "it is signed by an unknown CA");
    for (pair, words) in [signed_by_other, self_signed] {
        let nsqd = nsqd(&pair, &[]);
        let words = ["cannot reach nsqd at 127.0.0.1:", "TLS handshake: invalid peer certificate: ", words];
        refused(&program(&nsqd.tcp, &trusting(&authority)), 69, &words);
        refused(&program(&nsqd.tcp, "true"), 69, &["it is signed by an unknown CA (see `ca-file`)"]);
        assert_eq!(nsqd.depths("t").waiting, 0);
    }
}

/// Otherwise any server with a certificate of the authority could replace nsqd.
#[test]
fn a_certificate_with_another_name_is_refused_unless_that_name_is_expected() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["queue.example"]), &[]);
    refused(
        &program(&nsqd.tcp, &trusting(&authority)),
        69,
        &["not valid for name \"127.0.0.1\"", "queue.example"],
    );
    let named = |name: &str| {
        program(&nsqd.tcp, &format!("{{ca-file: '{}', server-name: {name}}}", authority.file.display()))
    };
    refused(&named("other.example"), 69, &["not valid for name \"other.example\""]);
    works(&nsqd, &named("queue.example"));
}

/// Otherwise a stolen key could be used forever.
#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.expired(), &[]);
    refused(
        &program(&nsqd.tcp, &trusting(&authority)),
        69,
        &["TLS handshake: the server's certificate expired at 2"],
    );
}

/// A user who turns verification off in an emergency and forgets it is reminded by each run.
#[test]
fn an_unverified_certificate_works_with_a_warning_at_each_run() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.expired(), &[]);
    let program = program(&nsqd.tcp, "{insecure-skip-verify: true}");
    works(&nsqd, &program);
    for command in [&["run"][..], &["check"], &["send", "x-msrv.yml"]] {
        let ended = program.run(command);
        assert!(
            ended.stderr.contains("WARN") && ended.stderr.contains("nsq.tls.insecure-skip-verify"),
            "{}",
            ended.stderr
        );
    }
}

/// Otherwise an nsqd with mutual TLS could not be used.
#[test]
fn a_client_certificate_is_sent_to_an_nsqd_that_requires_one() {
    let authority = Authority::new();
    let ca = format!("-tls-root-ca-file={}", authority.file.display());
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &["-tls-client-auth-policy=require-verify", &ca]);
    works(&nsqd, &program(&nsqd.tcp, &with_certificate(&authority, &authority.client())));
    refused(&program(&nsqd.tcp, &trusting(&authority)), 78, &["the server requires a client certificate"]);
    let other = Authority::new();
    refused(
        &program(&nsqd.tcp, &with_certificate(&authority, &other.client())),
        78,
        &["TLS handshake: the server refuses the handshake"],
    );
}

/// systemd and containers do not pass secrets in files beside the configuration.
#[test]
fn certificate_and_key_are_taken_from_credentials_and_from_the_environment() {
    let authority = Authority::new();
    let ca = format!("-tls-root-ca-file={}", authority.file.display());
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &["-tls-client-auth-policy=require-verify", &ca]);
    let client = authority.client();
    let folder = client.key.parent().expect("a folder").display().to_string();
    let names = format!(
        "{{ca-file: '{}', certificate: {{credential: client.pem}}, key: {{credential: client.key}}}}",
        authority.file.display()
    );
    works(&nsqd, &program(&nsqd.tcp, &names).env("CREDENTIALS_DIRECTORY", &folder));
    let key = std::fs::read_to_string(&client.key).expect("a key");
    let by_environment = program(
        &nsqd.tcp,
        &format!(
            "{{ca-file: '{}', certificate: '{}'}}",
            authority.file.display(),
            client.certificate.display()
        ),
    )
    .env("X_MSRV__NSQ__TLS__KEY", &key);
    let check = by_environment.run(&["check", "--connect"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(
        check.stdout.contains("nsq.tls.key: (hidden)\n") && !check.stdout.contains("BEGIN"),
        "{}",
        check.stdout
    );
}

/// Otherwise a user would not know which of the files to fix.
#[test]
fn a_missing_or_unreadable_tls_file_is_exit_78_and_named() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &[]);
    let (client, other) = (authority.client(), authority.server(&["x"]));
    let files = |certificate: &Path, key: &Path| {
        format!("{{certificate: '{}', key: {{file: '{}'}}}}", certificate.display(), key.display())
    };
    for (tls, words) in [
        ("{ca-file: nonesuch.pem}".to_owned(), "nsq.tls: cannot read /"),
        ("{ca-file: nonesuch.pem}".to_owned(), "/nonesuch.pem: No such file"),
        ("{ca-file: x-msrv.yml}".to_owned(), "/x-msrv.yml contains no certificate in PEM"),
        (files(&client.key, &client.key), "client.key contains no certificate in PEM"),
        (
            files(&client.certificate, &client.certificate),
            "client.pem contains no private key without a passphrase in PEM",
        ),
        (
            files(&client.certificate, &other.key),
            "nsq.tls: certificate and key cannot be used: keys may not be consistent: KeyMismatch",
        ),
    ] {
        refused(&program(&nsqd.tcp, &tls), 78, &[words]);
    }
    for (tls, words) in [
        ("{certificate: a.pem}", "nsq.tls: `certificate` and `key` must be set together"),
        (
            "{certificate: a.pem, key: a.key}",
            "nsq.tls.key: is not a private key in PEM; use `file: PATH` for a key in a file",
        ),
        ("{server-name: 'a b'}", "`a b` is not a name or address that a certificate can contain"),
        ("{ca-fiel: a.pem}", "nsq.tls.ca-fiel: unknown key `ca-fiel`"),
        ("maybe", "true, false or a section"),
    ] {
        let ended = program(&nsqd.tcp, tls).run(&["check"]);
        assert!(ended.code == Some(78) && ended.stderr.contains(words), "{words} in {ended:?}");
    }
}

/// A fallback to an unencrypted connection would let an attacker turn TLS off.
#[test]
fn tls_on_one_side_only_is_exit_78_and_never_unencrypted() {
    let plain = Nsqd::start();
    refused(
        &program(&plain.tcp, "true"),
        78,
        &["nsqd at 127.0.0.1:", "it offers no TLS, but `nsq.tls` is set"],
    );
    assert_eq!(plain.depths("t").waiting, 0);
    let authority = Authority::new();
    let strict = nsqd(&authority.server(&["127.0.0.1"]), &[]);
    refused(
        &program(&strict.tcp, "false"),
        78,
        &["nsqd at 127.0.0.1:", "it requires TLS, but `nsq.tls` is not set"],
    );
}

/// An nsqd that answers IDENTIFY with these bytes, and nothing after it.
fn one_that_answers(bytes: Vec<u8>) -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string().parse().expect("an address");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(&bytes));
            open.push(stream);
        }
    });
    address
}

/// An attacker on the network path could have inserted the bytes, to be read as if they had been encrypted.
#[test]
fn unencrypted_bytes_before_the_handshake_end_the_connection() {
    let answer = br#"{"max_rdy_count":2500,"msg_timeout":60000,"tls_v1":true}"#;
    let frame =
        [&u32::try_from(answer.len() + 4).expect("short").to_be_bytes()[..], &[0; 4], answer].concat();
    let injecting = one_that_answers([&frame[..], &[0, 0, 0, 6, 0, 0]].concat());
    refused(&program(&injecting, "true"), 69, &["received unencrypted data before the TLS handshake"]);
    let silent = program(&one_that_answers(frame), "true").env("X_MSRV__CONNECT_TIMEOUT", "300ms");
    refused(&silent, 69, &["no answer in time"]);
}

/// AUTH without TLS would show the secret to everyone on the network path; an nsqd that requires TLS would
/// refuse it as well.
#[test]
fn the_secret_is_sent_only_over_tls() {
    let authority = Authority::new();
    let authentication = format!("-auth-http-address={}", authentication_server());
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &[&authentication]);
    let program = program(&nsqd.tcp, &trusting(&authority)).env("X_MSRV__NSQ__AUTH_SECRET", SECRET);
    works(&nsqd, &program);
    let debug = program.env("X_MSRV__LOG__LEVEL", "debug").run(&["run"]);
    assert!(debug.code == Some(0) && !debug.stderr.contains(SECRET), "{debug:?}");
}

/// The dead-letter topic uses the queue's TLS settings unless it has its own, and may be on another nsqd.
#[test]
fn dead_letters_may_have_separate_tls_settings() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &[]);
    let plain = Nsqd::start();
    let program = |queue: &str, tls: &str| {
        Program::new(&format!(
            "{queue}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{}'{tls}}}}}\n",
            nsqd.tcp
        ))
    };
    let embedded = "embedded-queue: {path: queue.db}";
    let own = format!(", tls: {}", trusting(&authority));
    works_with_letters_at(&nsqd, &program(embedded, &own), 1);
    let in_plain =
        format!("nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nidle-timeout: 300ms", plain.tcp);
    works_with_letters_at(&nsqd, &program(&in_plain, &own), 2);
    for (tls, words) in [
        ("", "it requires TLS, but `dead-letter.nsq.tls` is not set"),
        (", tls: {ca-file: nonesuch.pem}", "dead-letter.nsq.tls: cannot read /"),
    ] {
        let check = program(embedded, tls).run(&["check", "--connect"]);
        assert!(check.code == Some(78) && check.stderr.contains(words), "{check:?}");
    }
    // `false` is a setting as well.
    let encrypted = format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, tls: {}}}\nidle-timeout: 300ms",
        nsqd.tcp,
        trusting(&authority)
    );
    let elsewhere = format!(
        "{encrypted}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{}', tls: false}}}}\n",
        plain.tcp
    );
    works_with_letters_at(&plain, &Program::new(&elsewhere), 1);
}

#[track_caller]
fn works_with_letters_at(nsqd: &Nsqd, program: &Program, letters: u64) {
    send(program, ["{\"a\": 1}", "not json"].map(str::to_owned));
    let report = program.drain(&[]);
    assert_eq!((&report["stored"], &report["dead-lettered"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(nsqd.depths("dead").waiting, letters);
    let check = program.run(&["check", "--connect"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
}

/// Its HTTP port is not reachable for us either, so only silence can show that the queue is empty.
#[test]
fn an_nsqd_from_nsqlookupd_without_statistics_is_drained_nevertheless() {
    let authority = Authority::new();
    let lookupd = Lookupd::start();
    let pair = authority.server(&["127.0.0.1"]);
    let (certificate, key) =
        (format!("-tls-cert={}", pair.certificate.display()), format!("-tls-key={}", pair.key.display()));
    let nsqd = Nsqd::with(&[
        &certificate,
        &key,
        "-tls-required=true",
        &format!("-lookupd-tcp-address={}", lookupd.tcp),
    ]);
    let sender = program(&nsqd.tcp, &trusting(&authority));
    send(&sender, ["{\"a\": 1}", "{\"a\": 2}"].map(str::to_owned));
    lookupd.wait_for("t", 1);
    let found = Program::new(&format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: t, channel: c, tls: {}}}\nsqlite: {{path: store.db, set: s}}\n",
        lookupd.http,
        trusting(&authority)
    ));
    let report = found.drain(&[]);
    assert_eq!((&report["stored"], &report["stop-reason"]), (&2.into(), &"queue-empty".into()), "{report}");
}

/// Both requeued and acknowledged messages must reach nsqd, over many TLS records and several runs.
#[test]
fn thousands_of_messages_are_stored_once_each_some_after_a_requeue() {
    const COUNT: usize = 5_000;
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &[]);
    let server = block_on(StandIn::start());
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, tls: {}, max-messages: 2000}}\n\
         aerospike: {{hosts: ['{}'], namespace: test, set: s}}\n",
        nsqd.tcp,
        trusting(&authority),
        server.address()
    ));
    send(&program, (0..COUNT).map(|id| format!("{{\"id\": {id}}}")));
    server.rule(Rule { when: When::Write, then: Then::Answer(18), times: Some(50) });
    let (mut stored, mut deferred, mut runs) = (0, 0, 0);
    wait_until("all is stored", || {
        let ended = program.run(&["run", "--report", "json"]);
        let report = ended.report();
        // Messages that nsqd had just taken from its queue when it was stopped are requeued as well, which is
        // no failure.
        assert_eq!(
            (ended.code == Some(75), &report["unconfirmed"]),
            (report["deferred"] != 0, &0.into()),
            "{ended:?}"
        );
        stored += report["stored"].as_u64().expect("a number");
        deferred += report["deferred"].as_u64().expect("a number");
        runs += 1;
        stored == COUNT as u64
    });
    assert_eq!(deferred, 50);
    assert_eq!(server.records("s").len(), COUNT);
    assert!(runs > 2);
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight, depths.deferred, depths.timed_out), (0, 0, 0, 0));
}

/// Larger than a TLS record, its buffers and the socket's buffer.
#[test]
fn bodies_of_a_mebibyte_are_received() {
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &["-max-msg-size=1048576"]);
    let program = program(&nsqd.tcp, &trusting(&authority));
    let line = |id: u8| format!("{{\"id\":{id},\"filler\":\"{}\"}}", "x".repeat((1 << 20) - 20));
    assert_eq!(line(0).len(), 1 << 20);
    send(&program, (0..8).map(line));
    assert_eq!(program.drain(&[])["stored"], 8);
    assert!(
        program.rows("s").iter().all(|(_, document)| document["filler"]
            .as_str()
            .is_some_and(|text| text.len() == (1 << 20) - 20))
    );
}

/// A relay to `target` that cuts the first connection after this many bytes from there, and leaves all
/// others.
fn relay_that_cuts(target: &HostPort, after: u64) -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string().parse().expect("an address");
    let target = target.to_string();
    let cut = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let cut = Arc::clone(&cut);
            let far = TcpStream::connect(&target).expect("nsqd answers");
            let (mut from_near, mut to_far) =
                (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                drop(std::io::copy(&mut from_near, &mut to_far));
                drop(to_far.shutdown(Shutdown::Write));
            });
            std::thread::spawn(move || {
                let came = std::io::copy(&mut (&far).take(after), &mut &near);
                if came.is_ok_and(|came| came < after) || cut.swap(true, Ordering::Relaxed) {
                    drop(std::io::copy(&mut &far, &mut &near));
                }
                drop(near.shutdown(Shutdown::Both));
                drop(far.shutdown(Shutdown::Both));
            });
        }
    });
    address
}

/// If a TLS record is cut, the data before it still counts, and unconfirmed messages are delivered again.
#[test]
fn a_connection_cut_during_a_run_loses_nothing() {
    const COUNT: usize = 500;
    let authority = Authority::new();
    let nsqd = nsqd(&authority.server(&["127.0.0.1"]), &["-msg-timeout=1s", "-max-msg-timeout=1s"]);
    let sender = program(&nsqd.tcp, &trusting(&authority));
    send(&sender, (0..COUNT).map(|id| format!("{{\"id\": {id}, \"filler\": \"{}\"}}", "x".repeat(200))));
    let program = program(&relay_that_cuts(&nsqd.tcp, 50_000), &trusting(&authority));
    let cut = program.run(&["run", "--report", "json"]);
    let report = cut.report();
    assert_eq!((cut.code, &report["stop-reason"]), (Some(69), &"queue-closed".into()), "{}", cut.stderr);
    assert!(
        cut.stderr.contains("connection to nsqd lost") && report["received"].as_u64() > Some(0),
        "{}",
        cut.stderr
    );
    wait_until("all is stored", || {
        program.drain(&[]);
        let depths = nsqd.depths("t");
        (depths.waiting, depths.in_flight, depths.deferred) == (0, 0, 0)
    });
    let rows = program.rows("s");
    let ids: std::collections::BTreeSet<_> =
        rows.iter().map(|(_, document)| document["id"].as_u64()).collect();
    assert_eq!((rows.len(), ids.len()), (COUNT, COUNT));
}

/// Otherwise every user of the machine could read the key unnoticed.
#[test]
fn a_key_in_a_file_readable_for_all_users_is_a_warning() {
    let authority = Authority::new();
    let client = authority.client();
    let program =
        program(&"127.0.0.1:4150".parse().expect("an address"), &with_certificate(&authority, &client));
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(&client.key, PermissionsExt::from_mode(mode)).expect("ours");
        let ended = program.run(&["check"]);
        assert_eq!(
            ended.stderr.contains("client.key: nsq.tls.key is a secret, but every user"),
            warned,
            "{}",
            ended.stderr
        );
    }
}
