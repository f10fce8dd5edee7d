//! One TCP connection to nsqd. A cancelled future never loses a byte that was read or queued for writing.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use tokio::{
    io::AsyncWrite as _,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::{codec::Decoder, io::poll_read_buf};

use super::{
    name::TopicName,
    stream::Stream,
    wire::{self, Frame, FrameDecoder},
};
use x_msrv_net::{
    address::HostPort,
    secret::Secret,
    tls::{self, Tls},
};

/// The number of frames that are read before other tasks get their turn.
const FRAMES_AT_ONCE: usize = 2_500;

/// The size of messages in bytes after which reading pauses.
const BYTES_AT_ONCE: usize = 1 << 20;

/// The initial size of the read buffer in bytes.
const READ_BUFFER: usize = 64 << 10;

/// The shortest interval of heartbeats that nsqd accepts, whatever its `-max-heartbeat-interval` is.
const LEAST_HEARTBEAT: Duration = Duration::from_secs(1);

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NsqError {
    /// A network, server or protocol error. It may work later.
    #[error("connection to nsqd at {address} failed")]
    Io {
        /// Which nsqd.
        address: HostPort,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// nsqd answered with an error frame. Blame: the request.
    #[error("nsqd at {address} refuses: {fault}")]
    Refused {
        /// Which nsqd.
        address: HostPort,
        /// The text of the frame.
        fault: String,
    },
    /// nsqd requires a secret, and none can be read. Blame: the configuration.
    #[error("nsqd at {address} requires authentication")]
    Secret {
        /// Which nsqd.
        address: HostPort,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS cannot be used, or is required. Blame: the configuration, or the files that it names.
    #[error("nsqd at {address}: {fault}")]
    Tls {
        /// Which nsqd.
        address: HostPort,
        /// The fault.
        fault: String,
    },
}

/// How nsqd refuses every command except IDENTIFY if it requires TLS (`nsqd/protocol_v2.go`,
/// `enforceTLSPolicy`).
const TLS_REQUIRED: &str = "(TLS required)";

/// What a connection is for, and what it therefore requests with IDENTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It consumes messages.
    Consumer {
        /// The requested lease; zero for nsqd's default.
        msg_timeout: Duration,
    },
    /// It publishes messages.
    Publisher {
        /// The requested interval of heartbeats. nsqd closes a connection that has sent nothing for two of them.
        heartbeat: Duration,
    },
}

impl Role {
    /// A publisher that wakes rarely while idle, and soon notices the loss of its connection.
    pub const PUBLISHER: Self = Self::Publisher { heartbeat: Duration::from_secs(10) };

    /// Returns the role to request after nsqd refused this one because of its own limits
    /// (`nsqd/client_v2.go`, `SetMsgTimeout` and `SetHeartbeatInterval`).
    fn instead(self, fault: &str) -> Option<Self> {
        match self {
            Self::Consumer { .. } if fault.contains("msg timeout") => {
                Some(Self::Consumer { msg_timeout: Duration::ZERO })
            }
            Self::Publisher { .. } if fault.contains("heartbeat interval") => {
                Some(Self::Publisher { heartbeat: LEAST_HEARTBEAT })
            }
            _ => None,
        }
    }

    fn wish(self) -> (&'static str, u64) {
        let (key, time) = match self {
            Self::Consumer { msg_timeout } => ("msg_timeout", msg_timeout),
            Self::Publisher { heartbeat } => ("heartbeat_interval", heartbeat),
        };
        (key, u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What the client tells nsqd with IDENTIFY.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The section of the configuration with the secret and TLS, for errors.
    pub section: &'static str,
    /// What the connection is for.
    pub role: Role,
    /// The limit on the size of a body that is read, in bytes.
    pub max_body: usize,
    /// The secret for AUTH, if nsqd requires it (<https://nsq.io/components/nsqd.html#auth>).
    pub auth_secret: Option<Secret>,
    /// The encryption of the connection; none if unset.
    pub tls: Option<Tls>,
}

impl NsqError {
    /// Returns whether the error is a timeout. Another attempt may take as long.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// Returns whether nsqd refused the published messages and would accept others: these two codes mean that
    /// (`nsqd/protocol_v2.go`, `MPUB` and `readMPUB`). Other codes are about the publisher or the topic.
    #[must_use]
    pub fn is_about_messages(&self) -> bool {
        matches!(self, Self::Refused { fault, .. } if ["E_BAD_MESSAGE", "E_BAD_BODY"].iter().any(|code| fault.starts_with(code)))
    }
}

/// What nsqd answers to IDENTIFY.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerLimits {
    /// The largest RDY that does not end the connection.
    pub max_rdy_count: NonZeroU32,
    /// The lease on this connection, in milliseconds. Zero would mean extending leases without a pause.
    pub msg_timeout: NonZeroU64,
    /// Whether only AUTH is allowed now.
    #[serde(default)]
    auth_required: bool,
    /// Whether nsqd waits for a TLS handshake now.
    #[serde(default)]
    tls_v1: bool,
}

/// A connection after the handshake of both sides.
pub struct Connection {
    address: HostPort,
    local_address: SocketAddr,
    peer: IpAddr,
    /// The number of servers behind the name.
    servers: usize,
    section: &'static str,
    role: Role,
    stream: Stream,
    decoder: FrameDecoder,
    read: BytesMut,
    written: BytesMut,
    /// Set once reading failed; earlier frames are returned first.
    broken: Option<io::Error>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Returns the number of servers behind a name that resolves to these addresses. One server has at most one
/// address of each family, as far as the client can tell.
#[must_use]
pub fn servers(addresses: &[SocketAddr]) -> usize {
    let mut hosts: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let old = hosts.iter().filter(|host| host.is_ipv4()).count();
    old.max(hosts.len() - old)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "closed by nsqd")
}

impl Connection {
    /// Connects, identifies, encrypts and authenticates as required, all within `bound`. A connection that
    /// must be encrypted is never used without TLS.
    ///
    /// nsqd refuses a lease or an interval of heartbeats above its own maximum, and closes the connection. The
    /// client then reconnects and requests less.
    ///
    /// # Errors
    /// nsqd cannot be reached in time, refuses, or shows a certificate that is not trusted; or it requires a
    /// secret or TLS that is not configured.
    pub async fn open(
        address: &HostPort,
        identity: &Identity,
        bound: Duration,
    ) -> Result<(Self, ServerLimits), NsqError> {
        let attempt = async {
            let first = Self::identify(address, identity).await;
            let instead = match &first {
                Err(NsqError::Refused { fault, .. }) => identity.role.instead(fault),
                _ => None,
            };
            let (mut connection, limits) = match instead {
                Some(role) => Self::identify(address, &Identity { role, ..identity.clone() }).await,
                None => first,
            }?;
            if limits.auth_required {
                connection.authenticate(identity.auth_secret.as_ref()).await?;
            }
            Ok((connection, limits))
        };
        timeout(bound, attempt)
            .await
            .unwrap_or_else(|_| Err(NsqError::Io { address: address.clone(), cause: late() }))
    }

    async fn identify(address: &HostPort, identity: &Identity) -> Result<(Self, ServerLimits), NsqError> {
        let io_error = |cause| NsqError::Io { address: address.clone(), cause };
        let places: Vec<SocketAddr> =
            lookup_host((address.host.as_str(), address.port)).await.map_err(io_error)?.collect();
        let stream = TcpStream::connect(&places[..]).await.map_err(io_error)?;
        stream.set_nodelay(true).map_err(io_error)?;
        let mut connection = Self {
            address: address.clone(),
            local_address: stream.local_addr().map_err(io_error)?,
            peer: stream.peer_addr().map_err(io_error)?.ip(),
            servers: servers(&places),
            section: identity.section,
            role: identity.role,
            stream: Stream::Plain(stream),
            decoder: FrameDecoder::new(identity.max_body),
            read: BytesMut::with_capacity(READ_BUFFER),
            written: BytesMut::new(),
            broken: None,
        };
        let mut wishes = serde_json::json!({
            "feature_negotiation": true,
            "user_agent": concat!("x-msrv/", env!("CARGO_PKG_VERSION")),
        });
        let (wish, value) = identity.role.wish();
        wishes[wish] = value.into();
        if identity.tls.is_some() {
            wishes["tls_v1"] = true.into();
        }
        connection.written.extend_from_slice(wire::MAGIC);
        wire::put_identify(&mut connection.written, wishes.to_string().as_bytes());
        let answer = connection.response().await?;
        let limits: ServerLimits = serde_json::from_slice(&answer).map_err(|cause| {
            io_error(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its response to IDENTIFY is not from nsqd: {cause}"),
            ))
        })?;
        match &identity.tls {
            Some(tls) if limits.tls_v1 => connection = connection.encrypted(tls).await?,
            Some(_) => {
                return Err(
                    connection.tls_error(&format!("it offers no TLS, but `{}.tls` is set", identity.section))
                );
            }
            None => {}
        }
        Ok((connection, limits))
    }

    /// Returns the same connection over TLS. nsqd waits for the handshake after its response to IDENTIFY, and
    /// sends `OK` when it is done (`nsqd/protocol_v2.go`, `IDENTIFY`; `nsqd/client_v2.go`, `UpgradeTLS`).
    async fn encrypted(mut self, tls: &Tls) -> Result<Self, NsqError> {
        if !self.read.is_empty() {
            // An attacker on the network path could have injected these bytes, to be read as if they were
            // encrypted. (`response` removed whole frames.)
            return Err(self.io_error(io::Error::new(
                io::ErrorKind::InvalidData,
                "received unencrypted data before the TLS handshake",
            )));
        }
        let name = tls.server_name(&self.address.host).map_err(|error| self.tls_error(&error.to_string()))?;
        let address = self.address.clone();
        let failed = |cause: io::Error| {
            let theirs = cause.to_string();
            let fault = format!("TLS handshake: {}", tls::in_plain_words(&theirs));
            if tls::is_refusal_of_ours(&theirs) {
                return NsqError::Tls { address: address.clone(), fault };
            }
            NsqError::Io { address: address.clone(), cause: io::Error::new(cause.kind(), fault) }
        };
        self.stream = match self.stream {
            Stream::Plain(stream) => {
                let encrypted =
                    TlsConnector::from(tls.config.clone()).connect(name, stream).await.map_err(&failed)?;
                Stream::Tls(Box::new(encrypted))
            }
            already @ Stream::Tls(_) => already,
        };
        // In TLS 1.3, a server that refuses the client certificate reports it only now.
        match self.response().await {
            Ok(answer) if answer == wire::OK => Ok(self),
            Ok(_) => {
                Err(self
                    .io_error(io::Error::new(io::ErrorKind::InvalidData, "no OK after the TLS handshake")))
            }
            Err(NsqError::Io { cause, .. }) => Err(failed(cause)),
            Err(error) => Err(error),
        }
    }

    async fn authenticate(&mut self, secret: Option<&Secret>) -> Result<(), NsqError> {
        let secret = match secret {
            Some(secret) => secret.read().map_err(Into::into),
            None => Err(format!("no `{}.auth-secret` is configured", self.section).into()),
        };
        let secret = secret.map_err(|cause| NsqError::Secret { address: self.address.clone(), cause })?;
        wire::put_auth(&mut self.written, secret.as_bytes());
        match self.response().await {
            Err(NsqError::Refused { address, fault }) => Err(NsqError::Refused {
                address,
                fault: format!("{fault} (with `{}.auth-secret`)", self.section),
            }),
            answer => answer.map(drop),
        }
    }

    /// Checks that nsqd accepts commands: it answers IDENTIFY without TLS even if it requires TLS for all
    /// other commands. CLS has no effect on a connection without a subscription; nsqd refuses it and closes
    /// the connection.
    ///
    /// # Errors
    /// The connection failed, or nsqd requires TLS.
    pub async fn probe(mut self, bound: Duration) -> Result<(), NsqError> {
        wire::put_cls(&mut self.written);
        match timeout(bound, self.response()).await {
            Ok(Ok(_) | Err(NsqError::Refused { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.io_error(late())),
        }
    }

    /// Returns the configured or discovered address: the name of this nsqd in keys and logs.
    #[must_use]
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// Returns the local address, as nsqd sees it unless the network translates addresses.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Returns the address of the server; a name may have several.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Returns the number of servers behind the name.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// Returns how long nothing may arrive on an idle connection before it counts as lost; `None` if the
    /// interval of heartbeats is nsqd's.
    #[must_use]
    pub fn longest_silence(&self) -> Option<Duration> {
        match self.role {
            Role::Consumer { .. } => None,
            Role::Publisher { heartbeat } => Some(2 * heartbeat),
        }
    }

    /// Returns the buffer for commands; the next flush sends them.
    pub fn commands(&mut self) -> &mut BytesMut {
        &mut self.written
    }

    /// Returns whether all queued commands were passed to the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.written.is_empty() && !self.stream.holds_back()
    }

    /// Publishes all `bodies` or none, within `bound`.
    ///
    /// # Errors
    /// The connection failed or timed out, and the bodies may have been published; or nsqd refused them, and
    /// they were not. The connection cannot be used again in either case: nsqd closes it when it refuses.
    pub async fn publish(
        &mut self,
        topic: &TopicName,
        bodies: &[Bytes],
        bound: Duration,
    ) -> Result<(), NsqError> {
        wire::put_mpub(&mut self.written, topic, bodies);
        let answer = timeout(bound, self.response()).await;
        answer.unwrap_or_else(|_| Err(self.io_error(late()))).map(drop)
    }

    /// Sends the queued commands and returns the next response that is not a heartbeat. Not for use once
    /// messages may arrive.
    ///
    /// # Errors
    /// The connection failed, or nsqd answered with an error frame.
    pub async fn response(&mut self) -> Result<Bytes, NsqError> {
        let (mut frames, mut unsent) = (Vec::new(), None);
        loop {
            std::future::poll_fn(|cx| {
                // nsqd reports its error and closes, whether it has read everything or not. The reason is
                // worth more than the failed write, and a connection that cannot be written to can still be
                // read to its end.
                if unsent.is_none()
                    && let Poll::Ready(Err(cause)) = self.poll_flush(cx)
                {
                    unsent = Some(cause);
                }
                self.poll_frames(cx, &mut frames).map_err(|cause| unsent.take().unwrap_or(cause))
            })
            .await
            .map_err(|cause| self.io_error(cause))?;
            for frame in frames.drain(..) {
                match frame {
                    Frame::Response(data) if data == wire::HEARTBEAT => self.answer_heartbeat(),
                    Frame::Response(data) => return Ok(data),
                    Frame::Error(text) => return Err(self.refusal(&String::from_utf8_lossy(&text))),
                    Frame::Message(_) => {
                        return Err(self.io_error(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "received a message without a subscription",
                        )));
                    }
                }
            }
        }
    }

    /// Converts an error frame, by nsqd's `protocol_v2.go`. If nsqd received only a part (`failed to read
    /// body` and similar), the network lost the rest. nsqd may also fail on a valid request, for instance
    /// while it shuts down (`SUB failed exiting`).
    fn refusal(&self, fault: &str) -> NsqError {
        const FAILED: [&str; 3] = ["E_SUB_FAILED", "E_PUB_FAILED", "E_MPUB_FAILED"];
        // nsqd sends the same error if its authentication server does not answer and if it does not know the
        // secret (`client_v2.go`, `QueryAuthd`).
        if fault.starts_with("E_AUTH_FAILED") {
            let words = format!(
                "its authentication server does not answer, or refuses `{}.auth-secret`: {fault}",
                self.section
            );
            return self.io_error(io::Error::other(words));
        }
        if FAILED.iter().any(|code| fault.starts_with(code)) {
            return self.io_error(io::Error::other(format!("it failed to execute the command: {fault}")));
        }
        if fault.contains(" failed to read ") {
            return self.io_error(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("a command was truncated on the network: {fault}"),
            ));
        }
        if fault.ends_with(TLS_REQUIRED) {
            return self.tls_error(&format!("it requires TLS, but `{}.tls` is not set", self.section));
        }
        NsqError::Refused { address: self.address.clone(), fault: fault.to_owned() }
    }

    /// Any command proves that the client is alive, so at most one NOP is queued, for any number of
    /// heartbeats.
    pub fn answer_heartbeat(&mut self) {
        if self.written.is_empty() {
            wire::put_nop(&mut self.written);
        }
    }

    /// Answers heartbeats while no response is due; ready when one arrived.
    ///
    /// # Errors
    /// The connection failed, or nsqd sent something else.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn poll_heartbeats(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut frames = Vec::new();
        let read = self.poll_frames(cx, &mut frames)?;
        for frame in frames {
            match frame {
                Frame::Response(data) if data == wire::HEARTBEAT => self.answer_heartbeat(),
                _ => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "it is out of step")));
                }
            }
        }
        let _sent: Poll<()> = self.poll_flush(cx)?;
        read.map(Ok)
    }

    fn io_error(&self, cause: io::Error) -> NsqError {
        NsqError::Io { address: self.address.clone(), cause }
    }

    fn tls_error(&self, fault: &str) -> NsqError {
        NsqError::Tls { address: self.address.clone(), fault: fault.to_owned() }
    }

    /// Reads the available whole frames, up to `BYTES_AT_ONCE` and one more frame.
    ///
    /// # Errors
    /// The peer closed the connection, the network failed, or the bytes are not the protocol. An earlier call
    /// returned every frame before that.
    ///
    /// # Cancel safety
    /// A partial frame stays in the buffer.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Frame>) -> Poll<io::Result<()>> {
        let (before, mut bytes) = (frames.len(), 0);
        while self.broken.is_none() && frames.len() - before < FRAMES_AT_ONCE && bytes < BYTES_AT_ONCE {
            match self.decoder.decode(&mut self.read) {
                Ok(Some(frame)) => {
                    bytes += frame.size();
                    frames.push(frame);
                }
                Err(cause) => self.broken = Some(cause),
                Ok(None) => {
                    if self.read.capacity() - self.read.len() < READ_BUFFER / 4 {
                        self.read.reserve(READ_BUFFER);
                    }
                    match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read) {
                        Poll::Ready(Ok(0)) => self.broken = Some(closed()),
                        Poll::Ready(Ok(_)) => {}
                        // nsqd closes a TLS connection without a TLS close message. Data that must arrive has
                        // its own barrier.
                        Poll::Ready(Err(cause)) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                            self.broken = Some(closed());
                        }
                        Poll::Ready(Err(cause)) => self.broken = Some(cause),
                        Poll::Pending => break,
                    }
                }
            }
        }
        if frames.len() > before {
            return Poll::Ready(Ok(()));
        }
        match self.broken.take() {
            Some(cause) => {
                self.broken = Some(io::Error::new(cause.kind(), "broken before"));
                Poll::Ready(Err(cause))
            }
            None => Poll::Pending,
        }
    }

    /// Sends the queued commands.
    ///
    /// # Errors
    /// The network failed.
    ///
    /// # Cancel safety
    /// Unsent bytes stay in the buffer.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(sent);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Signals nsqd that no more commands follow. nsqd processes all sent commands, and then closes.
    ///
    /// # Errors
    /// The network failed.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_different_families_count_as_one_server_and_two_of_one_family_as_two() {
        let count = |addresses: &[&str]| {
            servers(&addresses.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>())
        };
        assert_eq!(count(&["10.0.0.1:4150"]), 1);
        assert_eq!(count(&["127.0.0.1:4150", "[::1]:4150"]), 1);
        assert_eq!(count(&["10.0.0.1:4150", "10.0.0.1:4150"]), 1);
        assert_eq!(count(&["10.0.0.1:4150", "10.0.0.2:4150", "[::1]:4150"]), 2);
        assert_eq!(count(&["[fd00::1]:4150", "[fd00::2]:4150", "[fd00::3]:4150", "10.0.0.1:4150"]), 3);
    }
}
