//! Selection of the server: several hosts, TLS, and verification of certificates.

use std::{fs, os::unix::fs::chown, path::Path, time::Duration};

use x_msrv_core::store::{Put, StoreError};
use x_msrv_net::{
    address::HostPort,
    secret::Secret,
    tls::{self, ClientCertificate},
};
use x_msrv_postgres::Settings;

use super::{chain, connect, put, record, refusal};
use crate::support::{
    block_on,
    certificates::{Authority, Pair},
    nsqd::unused_address,
    postgres::Postgres,
};

/// A dead host and one that accepts connections without an answer must not prevent the use of the third.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn the_first_host_that_answers_is_used_within_the_connect_timeout() {
    block_on(async {
        let server = Postgres::shared();
        let (_, settings) = server.table().await;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let silent_host = HostPort { host: "127.0.0.1".to_owned(), port };
        let hosts = vec![unused_address(), silent_host.clone(), server.address.clone()];
        let settings = Settings { hosts, connect_timeout: Duration::from_secs(3), ..settings };
        let store = connect(&settings).await;
        assert_eq!(put(&*store, vec![record("a", "{}")]).await, [Ok(Put::Stored)]);
        let hosts = vec![unused_address(), silent_host];
        let error =
            refusal(&Settings { hosts, connect_timeout: Duration::from_millis(200), ..settings }).await;
        let text = chain(&error);
        assert!(text.contains("Connection refused") && text.contains("no answer within"), "{text}");
        drop(silent);
    });
}

/// A file that the server reads: owned by the user nobody if the server runs as that user, and closed to
/// others, as the server requires for keys.
fn for_the_server(server: &Path, from: &Path, name: &str) -> String {
    let path = server.join(name);
    fs::copy(from, &path).expect("copied");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permissions");
    // Fails unless we are root; then the file and the server have the same owner already.
    chown(&path, Some(65_534), Some(65_534)).ok();
    path.display().to_string()
}

/// Makes a server accept only TLS connections.
async fn encrypt(server: &Postgres, pair: &Pair, authority: &Authority, method: &str) {
    let file = |from: &Path, name| for_the_server(server.folder(), from, name);
    let hba = server.folder().join("hba.new");
    fs::write(&hba, format!("hostssl all all 127.0.0.1/32 {method}\n")).expect("written");
    let settings = [
        ("ssl_cert_file", file(&pair.certificate, "server.pem")),
        ("ssl_key_file", file(&pair.key, "server.key")),
        ("ssl_ca_file", file(&authority.file, "ca.pem")),
        ("hba_file", for_the_server(server.folder(), &hba, "hba")),
        ("ssl", "on".to_owned()),
    ];
    for (name, value) in settings {
        server.sql(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
}

/// Otherwise an attacker on the network path could read the records.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn tls_is_verified_and_each_fault_of_it_is_reported() {
    block_on(async {
        let authority = Authority::new();
        let mut server = Postgres::with(&[]);
        let (_, plain) = server.table().await;
        let with = |tls: tls::Settings| Settings { tls: Some(Box::new(tls)), ..plain.clone() };
        let ours = || tls::Settings { ca_file: Some(authority.file.clone()), ..tls::Settings::default() };
        let error = refusal(&with(ours())).await;
        assert!(chain(&error).contains("does not offer TLS"), "{error:?}");
        assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");

        let pair = authority.server(&["127.0.0.1"]);
        encrypt(&server, &pair, &authority, "scram-sha-256").await;
        server.kill();
        server.restart();
        let store = connect(&with(ours())).await;
        assert_eq!(put(&*store, vec![record("a", "{}")]).await, [Ok(Put::Stored)]);
        let large = record("b", &format!("{{\"x\":\"{}\"}}", "x".repeat(500_000)));
        assert_eq!(put(&*store, vec![large]).await, [Ok(Put::Stored)]);
        store.close().await.expect("it closes");

        let error = refusal(&plain).await;
        assert!(chain(&error).contains("the server may accept TLS only"), "{error:?}");
        let stranger = Authority::new();
        let ca_file = Some(stranger.file.clone());
        let error = refusal(&with(tls::Settings { ca_file, ..tls::Settings::default() })).await;
        assert!(
            chain(&error).contains("signed by another CA")
                || chain(&error).contains("signed by an unknown CA"),
            "{error:?}"
        );
        let server_name = Some("elsewhere.example".parse().expect("a name"));
        let error = refusal(&with(tls::Settings { server_name, ..ours() })).await;
        assert!(chain(&error).contains("elsewhere.example"), "{error:?}");
        let any = tls::Settings { insecure_skip_verify: true, ..tls::Settings::default() };
        connect(&with(any)).await.close().await.expect("it closes");
    });
}

/// Otherwise a server that requires client certificates could not be used.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_client_certificate_is_a_login_without_a_password() {
    block_on(async {
        let authority = Authority::new();
        let mut server = Postgres::with(&[]);
        let (_, plain) = server.table().await;
        let pair = authority.server(&["127.0.0.1"]);
        encrypt(&server, &pair, &authority, "trust clientcert=verify-ca").await;
        server.kill();
        server.restart();
        let Pair { certificate, key } = authority.client();
        let certificate = ClientCertificate { chain: Secret::File(certificate), key: Secret::File(key) };
        let with = |certificate| {
            let tls = tls::Settings {
                ca_file: Some(authority.file.clone()),
                certificate,
                ..tls::Settings::default()
            };
            Settings { tls: Some(Box::new(tls)), password: None, ..plain.clone() }
        };
        connect(&with(Some(certificate))).await.close().await.expect("it closes");
        let error = refusal(&with(None)).await;
        assert!(chain(&error).contains("certificate"), "{error:?}");
        assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");
    });
}
