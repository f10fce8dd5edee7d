//! A TCP proxy in front of any server. It injects the faults of networks, at a byte that the test chooses.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Injected;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{oneshot, watch},
    time::sleep,
};

/// The direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Both directions.
pub const BOTH_WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

/// The fault that happens to the bytes.
#[derive(Debug, Clone)]
pub enum What {
    /// They are delayed once by this time.
    Delay(Duration),
    /// From here on, this many at a time, with this pause between.
    Throttle(usize, Duration),
    /// From here on, this many in each segment.
    Split(usize),
    /// Both ends see the connection reset.
    Cut,
    /// This direction ends in order; the other one continues.
    HalfClose,
    /// From here on they are dropped without any notice.
    BlackHole,
    /// These bits of one byte are flipped.
    Corrupt(u8),
    /// The test is notified, and they wait until it releases them.
    Hold(Arc<Gate>),
}

/// One fault, at one byte of one connection.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The number of the connection, counted from 0 since the plan was made.
    pub connection: usize,
    /// The direction in which it happens.
    pub way: Way,
    /// Bytes that pass before it.
    pub after: u64,
    /// What happens.
    pub what: What,
}

/// A permanent property of the path, for every connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habit {
    /// A small segment waits until the previous one is acknowledged (RFC 896), which the other side delays by
    /// up to 40 ms (RFC 1122 section 4.2.3.2).
    pub holds_small_segments: bool,
    /// Each read is delayed by a time up to this one, zero included, before it is passed on.
    pub jitter: Duration,
}

/// The point at which bytes wait for the test.
#[derive(Debug)]
pub struct Gate {
    reached: mpsc::Sender<()>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Creates a gate, and the receiver of its signal that bytes wait at it.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<()>) {
        let (reached, is_reached) = mpsc::channel();
        (Arc::new(Self { reached, open: watch::Sender::new(false) }), is_reached)
    }

    /// Lets the bytes pass.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Bytes that passed through one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// From the client to the server.
    pub to_server: u64,
    /// From the server to the client.
    pub to_client: u64,
}

/// Sees the bytes of one connection before any fault, for instance to decode which messages a run acknowledges.
pub trait Tap: Send {
    /// Sees the next bytes of one direction.
    fn see(&mut self, way: Way, bytes: &[u8]);
}

/// Creates the tap of a new connection.
pub type NewTap = Box<dyn Fn() -> Box<dyn Tap> + Send + Sync>;

impl Passed {
    /// Returns the bytes of one direction.
    #[must_use]
    pub fn bytes(self, way: Way) -> u64 {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }
}

#[derive(Default)]
struct Plan {
    faults: Vec<Fault>,
    connections: Vec<Passed>,
}

struct Shared {
    upstream: SocketAddr,
    /// The address that the server advertises to its clients, and its replacement; both of the same length.
    name: Option<(Vec<u8>, Vec<u8>)>,
    tap: Option<NewTap>,
    plan: Mutex<Plan>,
    habit: Mutex<Habit>,
    /// Changes when all connections are to be reset.
    cuts: watch::Sender<()>,
    injected: Injected,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no panic while the plan was locked")
    }
}

/// The proxy; it and its connections end when the handle is dropped.
pub struct Proxy {
    /// Where it listens: the address for the configuration.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    #[must_use]
    pub fn new(upstream: SocketAddr, injected: &Injected) -> Self {
        Self::serve(any_port(), upstream, false, None, injected)
    }

    /// Starts a proxy whose connections each get a tap.
    #[must_use]
    pub fn tapped(upstream: SocketAddr, tap: NewTap, injected: &Injected) -> Self {
        Self::serve(any_port(), upstream, false, Some(tap), injected)
    }

    /// Starts a proxy in front of a server that advertises its own address as text, as Aerospike does:
    /// clients receive the proxy's address instead.
    #[must_use]
    pub fn with_its_name(upstream: SocketAddr, injected: &Injected) -> Self {
        // The answer is preceded by its length, so both ports must have the same number of digits.
        let candidates = if upstream.port() < 10_000 { 1_025..10_000 } else { 10_000..60_000 };
        let mut candidates = candidates.cycle().skip(usize::from(fastrand::u16(0..9_000)));
        let listener = candidates
            .find_map(|port| StdTcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .expect("a port is free");
        Self::serve(listener, upstream, true, None, injected)
    }

    fn serve(
        listener: StdTcpListener,
        upstream: SocketAddr,
        rename: bool,
        tap: Option<NewTap>,
        injected: &Injected,
    ) -> Self {
        let own = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("the option exists");
        let name = rename.then(|| (upstream.to_string().into_bytes(), own.to_string().into_bytes()));
        assert!(name.as_ref().is_none_or(|(before, after)| before.len() == after.len()));
        let shared = Arc::new(Shared {
            upstream,
            name,
            tap,
            plan: Mutex::default(),
            habit: Mutex::default(),
            cuts: watch::Sender::new(()),
            injected: injected.clone(),
        });
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, theirs) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread =
            thread::Builder::new().name("proxy".into()).spawn(serve).expect("a thread can be started");
        Self { address: own, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Replaces the plan. Existing connections keep the faults that have started, and are not counted any
    /// more.
    pub fn plan(&self, faults: Vec<Fault>) {
        *self.shared.plan() = Plan { faults, connections: Vec::new() };
    }

    /// Gives the path this property from now on, whatever the plan is.
    pub fn always(&self, habit: Habit) {
        *self.shared.habit.lock().expect("no panic while it was locked") = habit;
    }

    /// Resets all existing connections at once, at both ends. New ones work.
    pub fn cut(&self) {
        self.shared.injected.one();
        self.shared.cuts.send_replace(());
    }

    /// Returns what passed on each connection since the plan was made.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.plan().connections.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let served = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(served || thread::panicking(), "the proxy's thread panicked");
    }
}

fn any_port() -> StdTcpListener {
    StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
}

async fn accept(listener: StdTcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a listener is a listener");
    loop {
        let (client, _) = listener.accept().await.expect("loopback connections are accepted");
        let shared = Arc::clone(&shared);
        let (connection, faults) = {
            let mut plan = shared.plan();
            plan.connections.push(Passed::default());
            let connection = plan.connections.len() - 1;
            (
                connection,
                plan.faults
                    .iter()
                    .filter(|fault| fault.connection == connection)
                    .cloned()
                    .collect::<Vec<_>>(),
            )
        };
        tokio::spawn(async move { connect(client, &shared, connection, faults).await });
    }
}

/// A connection was cut, or broke on its own.
struct Broken;

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

async fn connect(mut client: TcpStream, shared: &Shared, connection: usize, faults: Vec<Fault>) {
    let Ok(mut server) = TcpStream::connect(shared.upstream).await else {
        drop(client.set_zero_linger());
        return;
    };
    let passed = |way: Way, bytes: u64| {
        if let Some(passed) = shared.plan().connections.get_mut(connection) {
            match way {
                Way::ToServer => passed.to_server += bytes,
                Way::ToClient => passed.to_client += bytes,
            }
        }
    };
    let mut cuts = shared.cuts.subscribe();
    let tap = shared.tap.as_ref().map(|tap| Mutex::new(tap()));
    let heard = |way: Way, bytes: &[u8]| {
        if let Some(tap) = &tap {
            tap.lock().expect("no panic while it saw bytes").see(way, bytes);
        }
    };
    let result = async {
        let habit = *shared.habit.lock().expect("no panic while it was locked");
        if habit.holds_small_segments || !habit.jitter.is_zero() {
            shared.injected.one();
        }
        client.set_nodelay(!habit.holds_small_segments)?;
        server.set_nodelay(!habit.holds_small_segments)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there =
            Pump { jitter: habit.jitter, ..Pump::new(Way::ToServer, &faults, &heard, &passed, shared) };
        let back =
            Pump { jitter: habit.jitter, ..Pump::new(Way::ToClient, &faults, &heard, &passed, shared) };
        tokio::try_join!(there.run(from_client, to_server), back.run(from_server, to_client)).map(drop)
    };
    let is_broken = tokio::select! {
        result = result => result.is_err(),
        _ = cuts.changed() => true,
    };
    if is_broken {
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
}

/// One direction of one connection.
struct Pump<'a, H, F> {
    way: Way,
    /// The faults of this direction; the next one is last.
    faults: Vec<Fault>,
    heard: &'a H,
    passed: &'a F,
    shared: &'a Shared,
    offset: u64,
    /// Bytes in one write.
    piece: usize,
    /// After each write.
    pause: Duration,
    /// The delay before each read.
    jitter: Duration,
    swallow: bool,
    /// Whether the receiver is gone. What it sent before may still be on its way in the other direction: nsqd
    /// answers, and closes without reading the rest.
    is_gone: bool,
}

impl<'a, H: Fn(Way, &[u8]), F: Fn(Way, u64)> Pump<'a, H, F> {
    fn new(way: Way, faults: &[Fault], heard: &'a H, passed: &'a F, shared: &'a Shared) -> Self {
        let mut faults: Vec<_> = faults.iter().filter(|fault| fault.way == way).cloned().collect();
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.after));
        Self {
            way,
            faults,
            heard,
            passed,
            shared,
            offset: 0,
            piece: usize::MAX,
            pause: Duration::ZERO,
            jitter: Duration::ZERO,
            swallow: false,
            is_gone: false,
        }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from.read(&mut buffer).await?;
            if !self.jitter.is_zero() {
                sleep(self.jitter.mul_f64(fastrand::f64())).await;
            }
            let mut bytes = &mut buffer[..length];
            (self.heard)(self.way, bytes);
            if self.way == Way::ToClient
                && let Some((before, after)) = &self.shared.name
                && let Some(at) = bytes.windows(before.len()).position(|window| window == *before)
            {
                bytes[at..at + after.len()].copy_from_slice(after);
            }
            // A fault after the last byte happens when the next byte arrives, or at the end.
            while let Some(fault) =
                self.faults.pop_if(|fault| length == 0 || fault.after < self.offset + bytes.len() as u64)
            {
                let until = usize::try_from(fault.after.saturating_sub(self.offset))
                    .map_or(0, |until| until.min(bytes.len()));
                let (before, rest) = bytes.split_at_mut(until);
                self.forward(before, &mut to).await;
                bytes = rest;
                self.shared.injected.one();
                match fault.what {
                    What::Delay(time) => sleep(time).await,
                    What::Throttle(piece, pause) => (self.piece, self.pause) = (piece, pause),
                    What::Split(piece) => self.piece = piece,
                    What::Cut => return Err(Broken),
                    What::HalfClose => {
                        to.shutdown().await?;
                        self.swallow = true;
                    }
                    What::BlackHole => self.swallow = true,
                    What::Corrupt(bits) => {
                        if let Some(byte) = bytes.first_mut() {
                            *byte ^= bits;
                        }
                    }
                    What::Hold(gate) => {
                        gate.reached.send(()).ok(); // no receiver if the run has ended
                        let mut open = gate.open.subscribe();
                        open.wait_for(|open| *open).await.expect("the sender is in the gate");
                    }
                }
            }
            if length == 0 {
                if !self.swallow {
                    to.shutdown().await?;
                }
                return if self.is_gone { Err(Broken) } else { Ok(()) };
            }
            self.forward(bytes, &mut to).await;
        }
    }

    async fn forward(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) {
        // Before they are sent: the receiver finds them counted.
        (self.passed)(self.way, bytes.len() as u64);
        for piece in bytes.chunks(self.piece) {
            if self.swallow {
                break;
            }
            self.is_gone = to.write_all(piece).await.is_err();
            self.swallow = self.is_gone;
            if !self.pause.is_zero() {
                sleep(self.pause).await;
            }
        }
        self.offset += bytes.len() as u64;
    }
}
