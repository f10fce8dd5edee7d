//! Connects to the first usable host, and explains why none can be used.

use std::{
    future::poll_fn,
    sync::{Arc, OnceLock},
    task::ready,
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Error, NoTls, Socket,
    config::{SslMode, TargetSessionAttrs},
    tls::TlsStream,
};
use x_msrv_core::{error_chain, store::StoreError};
use x_msrv_net::{
    address::HostPort,
    secret::Secret,
    tls::{self, Tls, TlsError},
};

use crate::{
    codes::{self, Verdict},
    settings::Settings,
    sql,
    tls::MakeRustls,
};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only the primary takes writes.
    Write,
    /// A standby answers as well.
    Read,
}

/// How long the server may take to see that we are gone.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection, and the task that keeps it going.
pub(crate) struct Link {
    pub(crate) client: Client,
    task: JoinHandle<()>,
    /// Why it ended.
    end: Arc<OnceLock<String>>,
    /// The server, for a person.
    pub(crate) place: String,
    settings: Settings,
}

impl Link {
    fn new<S: TlsStream + Send + Unpin + 'static>(
        client: Client,
        mut connection: Connection<Socket, S>,
        place: String,
        settings: Settings,
    ) -> Self {
        let end = Arc::new(OnceLock::new());
        let told = Arc::clone(&end);
        let task = tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                loop {
                    match ready!(connection.poll_message(cx)) {
                        // What a trigger says of a row may hold a part of it, and is not logged.
                        Some(Ok(AsyncMessage::Notice(_) | _)) => {}
                        Some(Err(error)) => return std::task::Poll::Ready(Some(error)),
                        None => return std::task::Poll::Ready(None),
                    }
                }
            });
            if let Some(error) = ended.await {
                told.set(words(&error)).ok(); // it is set once
            }
        });
        Self { client, task, end, place, settings }
    }

    /// Returns what an error means for records, and its text for the user.
    pub(crate) fn fault(&self, error: &Error) -> (Verdict, String) {
        let verdict = error.as_db_error().map_or(Verdict::Unavailable, codes::verdict);
        let cause = match self.end.get() {
            Some(end) if error.is_closed() => end.clone(),
            _ => words(error),
        };
        match error.as_db_error().and_then(|answer| sql::grant(&self.settings, answer.message())) {
            Some(grant) => (verdict, format!("{cause}; this grants it: {grant}")),
            None => (verdict, cause),
        }
    }

    /// Says goodbye, and waits within a bound until that is sent.
    pub(crate) async fn close(self) {
        drop(self.client);
        timeout(GOODBYE, self.task).await.ok(); // whatever was written is safe already
    }
}

/// A connection to the first host that answers, and takes writes if that is wanted.
pub(crate) async fn connect(settings: &Settings, access: Access) -> Result<Link, StoreError> {
    let setup = |place: &str, fault: String| StoreError::Setup { place: place.to_owned(), fault };
    let password = settings.password.as_ref().map(Secret::read).transpose();
    let password = password.map_err(|error| setup("postgres.password", error_chain::text(&error)))?;
    let tls_error = |error: TlsError| setup("postgres.tls", error_chain::text(&error));
    let tls = settings.tls.as_deref().map(Tls::load).transpose().map_err(tls_error)?;
    let until = Instant::now() + settings.connect_timeout;
    let mut failures = Vec::new();
    for (index, host) in settings.hosts.iter().enumerate() {
        let hosts_left = u32::try_from(settings.hosts.len() - index).unwrap_or(u32::MAX);
        let bound = until.saturating_duration_since(Instant::now()) / hosts_left;
        let mut config = config(settings, access);
        config.host(&host.host).port(host.port);
        if let Some(password) = &password {
            config.password(password);
        }
        match timeout(bound, connect_to(settings, config, place(host), tls.as_ref())).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => failures.push((host, failure(settings, &error))),
            Err(_) => {
                let words = format!("no answer within {}", humantime::format_duration(rounded(bound)));
                failures.push((host, (Verdict::Unavailable, words)));
            }
        }
    }
    Err(no_host(&failures))
}

async fn connect_to(
    settings: &Settings,
    mut config: Config,
    place: String,
    tls: Option<&Tls>,
) -> Result<Link, Error> {
    let settings = settings.clone();
    Ok(match tls {
        None => {
            let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
            Link::new(client, connection, place, settings)
        }
        Some(tls) => {
            let tls = MakeRustls(tls.clone());
            let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
            Link::new(client, connection, place, settings)
        }
    })
}

/// All but the host and the password. Timeouts come with the connection, and are not `SET`: a pool gives each
/// transaction another one.
fn config(settings: &Settings, access: Access) -> Config {
    let statement = settings.timeout.as_millis().max(2);
    let mut config = Config::new();
    config
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name("x-msrv")
        .target_session_attrs(match access {
            Access::Write => TargetSessionAttrs::ReadWrite,
            Access::Read => TargetSessionAttrs::Any,
        })
        // The shorter of the two tells that it was a lock.
        .options(format!(
            "-c statement_timeout={statement} -c lock_timeout={} -c idle_in_transaction_session_timeout={statement}",
            statement / 2
        ));
    config
}

fn place(host: &HostPort) -> String {
    format!("PostgreSQL at {host}")
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// What went wrong with one host.
fn failure(settings: &Settings, error: &Error) -> (Verdict, String) {
    let text = words(error);
    if let Some(answer) = error.as_db_error() {
        let hint = match (answer.code().code(), &settings.tls) {
            ("28000", None) => " (`postgres.tls` is not set; the server may accept TLS only)",
            ("3D000", _) => " (`CREATE DATABASE` makes one)",
            _ => "",
        };
        return (codes::verdict(answer), format!("{text}{hint}"));
    }
    if text.contains("server does not support TLS") {
        return (Verdict::Setup, "the server does not offer TLS, and `postgres.tls` is set".to_owned());
    }
    if text.contains("password missing") {
        let fault = "the server requires a password, and `postgres.password` is not set: set it to `{file: PATH}` or \
                     `{credential: NAME}`";
        return (Verdict::Setup, fault.to_owned());
    }
    let is_refusal = tls::is_refusal_of_ours(&text) || text.contains("unsupported authentication method");
    let verdict = if is_refusal { Verdict::Setup } else { Verdict::Unavailable };
    (verdict, tls::in_plain_words(&text).into_owned())
}

/// None of the hosts can be used. It is the configuration's fault where each of them says so.
fn no_host(failures: &[(&HostPort, (Verdict, String))]) -> StoreError {
    let hosts: Vec<_> = failures.iter().map(|(host, _)| host.to_string()).collect();
    let place = format!("PostgreSQL at {}", hosts.join(", "));
    let is_setup = failures.iter().all(|(_, (verdict, _))| *verdict == Verdict::Setup);
    let fault = match failures {
        [(_, (_, fault))] => fault.clone(),
        several => {
            let faults: Vec<_> =
                several.iter().map(|(host, (_, fault))| format!("{host}: {fault}")).collect();
            faults.join("; ")
        }
    };
    if is_setup {
        StoreError::Setup { place, fault }
    } else {
        StoreError::Unreachable { place, cause: fault.into() }
    }
}

/// What an error says, on one line.
pub(crate) fn words(error: &Error) -> String {
    match error.as_db_error() {
        Some(answer) => codes::told(answer),
        None => error_chain::text(error),
    }
}
