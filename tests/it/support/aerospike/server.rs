//! The listener: connections, and one request after another on each.

use std::{
    net::{SocketAddr, TcpListener as StdTcpListener},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::{oneshot, watch},
};

use super::{
    guard::Guard,
    requests::{Received, Reply, State},
    wire::{Frame, Malformed, read_frame},
};

/// The state that connections and the test share.
pub(super) struct Shared {
    /// The address that clients receive.
    address: Mutex<SocketAddr>,
    guard: Guard,
    state: Mutex<State>,
    frozen: watch::Sender<bool>,
    /// The number of write rows that have arrived.
    arrived: watch::Sender<usize>,
}

impl Shared {
    pub(super) fn new(address: SocketAddr, guard: Guard) -> Self {
        Shared {
            address: Mutex::new(address),
            guard,
            state: Mutex::default(),
            frozen: watch::Sender::new(false),
            arrived: watch::Sender::new(0),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the stand-in's state was locked")
    }

    pub(super) fn advertise(&self, address: SocketAddr) {
        *self.address.lock().expect("no panic while the address was locked") = address;
    }

    /// Reads a frame and logs what is in it.
    fn receive(&self, frame: &Frame) -> Result<Received, Malformed> {
        let mut state = self.state();
        let received = Received::new(frame, &mut state)?;
        self.arrived.send_replace(state.log.writes().len());
        Ok(received)
    }

    fn carry_out(&self, received: &Received) -> Reply {
        let address = *self.address.lock().expect("no panic while the address was locked");
        received.carry_out(&mut self.state(), address)
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    pub(super) async fn until_thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.expect("the sender is in self");
    }

    pub(super) async fn until_arrived(&self, rows: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= rows).await.expect("the sender is in self");
    }
}

/// Serves until `stop` receives a message (or its sender is dropped). All connections end with it.
pub(super) async fn run(
    listener: StdTcpListener,
    shared: Arc<Shared>,
    ready: oneshot::Sender<()>,
    stop: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).expect("a listener is a listener");
    ready.send(()).ok(); // On a restart there is no receiver.
    tokio::select! {
        () = accept(listener, shared) => {}
        _ = stop => {}
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (socket, _) = listener.accept().await.expect("loopback connections are accepted");
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _open = Open::new(&shared);
            // An error means that the client closed its connection, or sent bytes that are no request.
            let served = async {
                socket.set_nodelay(true)?;
                match shared.guard.acceptor() {
                    None => serve(socket, &shared).await,
                    Some(acceptor) => serve(acceptor.accept(socket).await?, &shared).await,
                }
            };
            served.await.ok();
        });
    }
}

/// Counts a connection while it is open.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.state().log.connection_opened();
        Open(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().log.connection_closed();
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    let mut logged_in = false;
    loop {
        let frame = read_frame(&mut socket).await?;
        if let Some(answer) = shared.guard.answer(&frame, &mut logged_in) {
            socket.write_all(&answer.map_err(|Malformed| io::ErrorKind::InvalidData)?).await?;
            socket.flush().await?;
            continue;
        }
        let received = shared.receive(&frame).map_err(|Malformed| io::ErrorKind::InvalidData)?;
        shared.until_thawed().await;
        let reply = loop {
            match shared.carry_out(&received) {
                Reply::Freeze => shared.freeze(true),
                reply => break reply,
            }
            shared.until_thawed().await;
        };
        let (bytes, close) = match reply {
            Reply::Send(bytes) => (bytes, false),
            Reply::SendThenClose(bytes) => (bytes, true),
            Reply::SendLate(bytes, delay) => {
                tokio::time::sleep(delay).await;
                (bytes, false)
            }
            Reply::Hang | Reply::Freeze => return until_closed(socket).await,
        };
        shared.until_thawed().await;
        socket.write_all(&bytes).await?;
        socket.flush().await?;
        if close {
            return socket.shutdown().await;
        }
    }
}

/// Keeps a connection open without an answer, until the client closes it.
async fn until_closed(mut socket: impl AsyncRead + Unpin) -> io::Result<()> {
    while socket.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
