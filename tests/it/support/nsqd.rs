//! The real nsqd and nsqlookupd.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;
use tempfile::TempDir;
use x_msrv_net::{
    address::HostPort,
    http::{Answer, Bounds, get_json},
};
use x_msrv_nsq::client::{Connection, Identity, Role};

use super::{PATIENCE, block_on, project, wait_until};

/// The folder that contains both programs.
pub(crate) fn programs() -> &'static PathBuf {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let output = Command::new(project().join("test/servers"))
            .arg("path")
            .stderr(Stdio::inherit())
            .output()
            .expect("test/servers runs");
        assert!(output.status.success(), "test/servers finds or builds nsqd");
        String::from_utf8(output.stdout).expect("a path").trim().into()
    })
}

/// A child process that is killed when its handle is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(program: &str, folder: &TempDir, arguments: &[String]) -> Self {
        let log = folder.path().join("log");
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new(programs().join(program))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the server starts");
        Self { child, log }
    }

    /// Waits for the last address that the log names for `kind`, and returns it.
    fn address(&self, kind: &str, after: usize) -> HostPort {
        let mark = format!("{kind}: listening on ");
        let mut found = None;
        wait_until("the server listens", || {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            found = log
                .get(after..)
                .and_then(|log| log.lines().find_map(|line| line.split_once(&mark)))
                .map(|(_, address)| address.to_owned());
            found.is_some()
        });
        found.and_then(|address| address.parse().ok()).expect("an address")
    }

    fn stop(&mut self) {
        drop(self.child.kill());
        self.child.wait().expect("the server ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The options of [`Nsqd::impatient`].
pub(crate) const IMPATIENT: [&str; 2] = ["-msg-timeout=1s", "-max-msg-timeout=1s"];

/// Makes nsqd hold back a delivery that is smaller than its output buffer for longer than any test waits,
/// instead of 250 ms.
pub(crate) const HOLDS_BACK: [&str; 2] = ["-output-buffer-timeout=1h", "-max-output-buffer-timeout=1h"];

/// One nsqd with a private data folder.
#[derive(Debug)]
pub(crate) struct Nsqd {
    server: Server,
    folder: TempDir,
    options: Vec<String>,
    pub(crate) tcp: HostPort,
    pub(crate) http: HostPort,
}

/// Returns two consecutive free ports below the range of ephemeral ports: a server that restarts later finds
/// them free.
pub(crate) fn ports_side_by_side() -> [u16; 2] {
    let pair = || {
        let port = fastrand::u16(12_000..32_000);
        let _first = TcpListener::bind(("127.0.0.1", port)).ok()?;
        TcpListener::bind(("127.0.0.1", port + 1)).ok().map(|_| [port, port + 1])
    };
    std::iter::repeat_with(pair).take(100).flatten().next().expect("two free ports side by side")
}

/// The counts that nsqd reports for one topic and its channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    /// Waiting messages, of the channel, or of the topic if there is no channel yet.
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) deferred: u64,
    pub(crate) requeued: u64,
    pub(crate) timed_out: u64,
}

#[derive(Deserialize)]
struct Stats {
    topics: Option<Vec<TopicStats>>,
    producers: Option<Vec<ProducerStats>>,
}

#[derive(Deserialize)]
struct ProducerStats {
    remote_address: String,
}

#[derive(Deserialize)]
struct TopicStats {
    depth: u64,
    channels: Vec<ChannelStats>,
}

#[derive(Deserialize)]
struct ChannelStats {
    depth: u64,
    in_flight_count: u64,
    deferred_count: u64,
    requeue_count: u64,
    timeout_count: u64,
}

fn post(http: &HostPort, path: &str, body: &str) {
    let mut stream = TcpStream::connect((http.host.as_str(), http.port)).expect("it answers");
    write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
}

impl Nsqd {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts an nsqd with a message timeout of one second and a requeue delay of at most one second, for
    /// tests of redelivery.
    pub(crate) fn impatient() -> Self {
        Self::with(&IMPATIENT)
    }

    pub(crate) fn with(options: &[&str]) -> Self {
        Self::on_ports(options, [0, 0])
    }

    /// Starts an nsqd with consecutive ports, as they are by default.
    pub(crate) fn with_statistics_beside(options: &[&str]) -> Self {
        Self::on_ports(options, ports_side_by_side())
    }

    /// Starts an nsqd that registers with nsqlookupd as `host`.
    pub(crate) fn broadcasting(option: &str, host: &str) -> Self {
        Self::named(&[option], [0, 0], host)
    }

    /// Starts an nsqd on these ports for TCP and HTTP; 0 means any.
    pub(crate) fn on_ports(options: &[&str], ports: [u16; 2]) -> Self {
        Self::named(options, ports, "127.0.0.1")
    }

    fn named(options: &[&str], [tcp, http]: [u16; 2], host: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let options: Vec<String> = options
            .iter()
            .map(ToString::to_string)
            .chain(["-data-path=.".into(), format!("-broadcast-address={host}")])
            .collect();
        let ports = [("tcp", tcp), ("http", http), ("https", 0)]
            .map(|(kind, port)| format!("-{kind}-address=127.0.0.1:{port}"));
        let server = Server::start("nsqd", &folder, &[&options[..], &ports].concat());
        let (tcp, http) = (server.address("TCP", 0), server.address("HTTP", 0));
        Self { server, folder, options, tcp, http }
    }

    /// Creates a topic and its channel, so that published messages are on the channel before a run can count
    /// them.
    pub(crate) fn make_channel(&self, topic: &str, channel: &str) {
        self.post(&format!("/topic/create?topic={topic}"));
        self.post(&format!("/channel/create?topic={topic}&channel={channel}"));
    }

    /// Sends an administrator's command to its HTTP interface.
    pub(crate) fn post(&self, path: &str) {
        self.post_body(path, "");
    }

    /// Publishes messages with a delivery delay.
    pub(crate) fn publish_late(
        &self,
        topic: &str,
        delay: Duration,
        bodies: impl IntoIterator<Item = String>,
    ) {
        for body in bodies {
            self.post_body(&format!("/pub?topic={topic}&defer={}", delay.as_millis()), &body);
        }
    }

    fn post_body(&self, path: &str, body: &str) {
        post(&self.http, path, body);
    }

    /// Kills it with SIGKILL; messages in its memory are lost.
    pub(crate) fn kill(&mut self) {
        self.server.stop();
    }

    /// Stops it with SIGTERM, as an administrator does; it writes the messages in its memory to disk.
    pub(crate) fn stop(&mut self) {
        super::program::signal(&self.server.child, "TERM");
        self.server.child.wait().expect("nsqd ends");
    }

    /// Freezes the process without ending it.
    pub(crate) fn freeze(&self) {
        super::program::signal(&self.server.child, "STOP");
    }

    /// Resumes it.
    pub(crate) fn thaw(&self) {
        super::program::signal(&self.server.child, "CONT");
    }

    /// Starts the same nsqd again on the same ports.
    pub(crate) fn restart(&mut self) {
        let ports = [format!("-tcp-address={}", self.tcp), format!("-http-address={}", self.http)];
        let before = std::fs::read(&self.server.log).map_or(0, |log| log.len());
        self.server = Server::start("nsqd", &self.folder, &[&self.options[..], &ports].concat());
        assert_eq!(self.server.address("HTTP", before), self.http);
    }

    pub(crate) fn publish(&self, topic: &str, bodies: impl IntoIterator<Item = impl Into<Bytes>>) {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Into::into).collect();
        block_on(async {
            let identity = Identity {
                section: "nsq",
                role: Role::PUBLISHER,
                max_body: 1 << 20,
                auth_secret: None,
                tls: None,
            };
            let (mut connection, _) =
                Connection::open(&self.tcp, &identity, PATIENCE).await.expect("nsqd answers");
            for batch in bodies.chunks(1_000) {
                connection
                    .publish(&topic.parse().expect("a topic"), batch, PATIENCE)
                    .await
                    .expect("published");
            }
        });
    }

    fn stats(&self, topic: &str) -> Stats {
        block_on(self.ask(&format!("/stats?format=json&topic={topic}")))
    }

    async fn ask(&self, path: &str) -> Stats {
        let answer = get_json::<Stats>(&self.http, path, Bounds::of(PATIENCE)).await;
        let Answer::Found(stats) = answer.expect("statistics") else { panic!("no statistics") };
        stats
    }

    /// Returns the addresses of the connections that have published something.
    pub(crate) async fn publishers(&self) -> BTreeSet<String> {
        let producers = self.ask("/stats?format=json").await.producers;
        producers.into_iter().flatten().map(|producer| producer.remote_address).collect()
    }

    /// Returns whether the channels have all published messages; while nsqd moves messages there, it counts
    /// some of them neither in the topic nor in the channel.
    pub(crate) fn channels_have_all(&self, topic: &str) -> bool {
        self.stats(topic).topics.iter().flatten().all(|topic| topic.depth == 0)
    }

    pub(crate) fn depths(&self, topic: &str) -> Depths {
        self.stats(topic).topics.iter().flatten().fold(Depths::default(), |mut depths, topic| {
            depths.waiting += topic.depth;
            for channel in &topic.channels {
                depths.waiting += channel.depth;
                depths.in_flight += channel.in_flight_count;
                depths.deferred += channel.deferred_count;
                depths.requeued += channel.requeue_count;
                depths.timed_out += channel.timeout_count;
            }
            depths
        })
    }
}

/// One nsqlookupd.
#[derive(Debug)]
pub(crate) struct Lookupd {
    _server: Server,
    _folder: TempDir,
    pub(crate) tcp: HostPort,
    pub(crate) http: HostPort,
}

impl Lookupd {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let arguments = ["-tcp-address=127.0.0.1:0", "-http-address=127.0.0.1:0"].map(str::to_owned);
        let server = Server::start("nsqlookupd", &folder, &arguments);
        let (tcp, http) = (server.address("TCP", 0), server.address("HTTP", 0));
        Self { _server: server, _folder: folder, tcp, http }
    }

    /// Starts an nsqd that registers here.
    pub(crate) fn nsqd(&self) -> Nsqd {
        Nsqd::with(&[&format!("-lookupd-tcp-address={}", self.tcp)])
    }

    /// Sends an administrator's command to its HTTP interface.
    pub(crate) fn post(&self, path: &str) {
        post(&self.http, path, "");
    }

    /// Waits until `count` nsqd are registered for `topic`.
    pub(crate) fn wait_for(&self, topic: &str, count: usize) {
        #[derive(Deserialize)]
        struct Lookup {
            producers: Vec<serde_json::Value>,
        }
        wait_until("nsqlookupd knows the topic", || {
            let answer = block_on(get_json::<Lookup>(
                &self.http,
                &format!("/lookup?topic={topic}"),
                Bounds::of(PATIENCE),
            ))
            .expect("an answer");
            match answer {
                Answer::Found(lookup) => lookup.producers.len() == count,
                Answer::NotFound(_) => count == 0,
            }
        });
    }
}

/// Returns an address on loopback at which no server listens.
pub(crate) fn unused_address() -> HostPort {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    HostPort { host: "127.0.0.1".into(), port }
}
