//! One TCP connection to nsqd: reading and writing without ever losing a byte to a cancelled future.

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

/// Frames that are read in one go before others get their turn.
const FRAMES_AT_ONCE: usize = 2_500;

/// Bytes of messages after which no more are read in one go.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Bytes that the read buffer starts with.
const READ_BUFFER: usize = 64 << 10;

/// Why a connection can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NsqError {
    /// The network, the server or the peer's protocol. Blame: not ours; it may work later.
    #[error("connection to nsqd at {address} failed")]
    Io {
        /// Which nsqd.
        address: HostPort,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// nsqd answered with an error frame. Blame: what it was asked for.
    #[error("nsqd at {address} refuses: {fault}")]
    Refused {
        /// Which nsqd.
        address: HostPort,
        /// The frame's text.
        fault: String,
    },
    /// nsqd wants a secret, and there is none to be had. Blame: the configuration.
    #[error("nsqd at {address} wants authentication")]
    Secret {
        /// Which nsqd.
        address: HostPort,
        /// Why not.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS can't be used, or can't be done without. Blame: the configuration, or the files that it names.
    #[error("nsqd at {address}: {fault}")]
    Tls {
        /// Which nsqd.
        address: HostPort,
        /// Why.
        fault: String,
    },
}

/// How nsqd refuses every command but IDENTIFY where it demands TLS (`nsqd/protocol_v2.go`,
/// `enforceTLSPolicy`).
const TLS_REQUIRED: &str = "(TLS required)";

/// What we tell nsqd about ourselves with IDENTIFY.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The section of the configuration where the secret and TLS stand, for errors.
    pub section: &'static str,
    /// How long nsqd is to wait for a settlement; `None` for one who only publishes, who wants no heartbeats
    /// either: there may be hours between two batches.
    pub msg_timeout: Option<Duration>,
    /// Bytes of the largest body that is read.
    pub max_body: usize,
    /// What is sent with AUTH where nsqd wants it (<https://nsq.io/components/nsqd.html#auth>).
    pub auth_secret: Option<Secret>,
    /// How the connection is encrypted; in plain where there is nothing.
    pub tls: Option<Tls>,
}

impl NsqError {
    /// Whether the time was over. Where that happened once, trying again may take as long.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether nsqd refuses what was published, and would take other messages: it has these two codes for
    /// that (`nsqd/protocol_v2.go`, `MPUB` and `readMPUB`). The others are about who publishes, and where.
    #[must_use]
    pub fn is_about_messages(&self) -> bool {
        matches!(self, Self::Refused { fault, .. } if ["E_BAD_MESSAGE", "E_BAD_BODY"].iter().any(|code| fault.starts_with(code)))
    }
}

/// What nsqd told about itself in return.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerLimits {
    /// The largest RDY that does not end the connection.
    pub max_rdy_count: NonZeroU32,
    /// How long nsqd waits for a settlement on this connection, in milliseconds. None at all would be to ask
    /// for more time without a pause.
    pub msg_timeout: NonZeroU64,
    /// Whether nothing but AUTH is allowed now.
    #[serde(default)]
    auth_required: bool,
    /// Whether it waits for a TLS handshake now.
    #[serde(default)]
    tls_v1: bool,
}

/// A connection on which both sides have said who they are.
pub struct Connection {
    address: HostPort,
    local_address: SocketAddr,
    peer: IpAddr,
    /// How many the name stands for.
    servers: usize,
    section: &'static str,
    stream: Stream,
    decoder: FrameDecoder,
    read: BytesMut,
    written: BytesMut,
    /// Set once reading failed; frames that were read before are handed out first.
    broken: Option<io::Error>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// How many servers a name stands for that is resolved to these addresses: one has an address of each family
/// at most, as far as anybody can tell.
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
    /// Connects, identifies, encrypts and authenticates, as far as it is wanted, all of it within `bound`. A
    /// connection that was to be encrypted is never used in plain.
    ///
    /// nsqd refuses a `msg_timeout` above its own maximum (`nsqd/client_v2.go`) and ends the connection; then
    /// nsqd's default is asked for.
    ///
    /// # Errors
    /// nsqd can't be reached in time, refuses, shows a certificate that is not trusted, or wants a secret or
    /// TLS where there is none to be had.
    pub async fn open(
        address: &HostPort,
        identity: &Identity,
        bound: Duration,
    ) -> Result<(Self, ServerLimits), NsqError> {
        let attempt = async {
            let (mut connection, limits) = match Self::identify(address, identity).await {
                Err(NsqError::Refused { fault, .. })
                    if identity.msg_timeout.is_some() && fault.contains("msg timeout") =>
                {
                    Self::identify(
                        address,
                        &Identity { msg_timeout: Some(Duration::ZERO), ..identity.clone() },
                    )
                    .await
                }
                other => other,
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
        match identity.msg_timeout {
            Some(msg_timeout) => {
                wishes["msg_timeout"] =
                    serde_json::json!(u64::try_from(msg_timeout.as_millis()).unwrap_or(u64::MAX));
            }
            None => wishes["heartbeat_interval"] = serde_json::json!(-1),
        }
        if identity.tls.is_some() {
            wishes["tls_v1"] = true.into();
        }
        connection.written.extend_from_slice(wire::MAGIC);
        wire::put_identify(&mut connection.written, wishes.to_string().as_bytes());
        let answer = connection.response().await?;
        let limits: ServerLimits = serde_json::from_slice(&answer).map_err(|cause| {
            io_error(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its answer to IDENTIFY is not nsqd's: {cause}"),
            ))
        })?;
        match &identity.tls {
            Some(tls) if limits.tls_v1 => connection = connection.encrypted(tls).await?,
            Some(_) => {
                return Err(
                    connection.tls_error(&format!("it offers no TLS, and `{}.tls` is set", identity.section))
                );
            }
            None => {}
        }
        Ok((connection, limits))
    }

    /// The same connection over TLS. nsqd waits for the handshake behind its answer to IDENTIFY, and says
    /// `OK` when it is done (`nsqd/protocol_v2.go`, `IDENTIFY`; `nsqd/client_v2.go`, `UpgradeTLS`).
    async fn encrypted(mut self, tls: &Tls) -> Result<Self, NsqError> {
        if !self.read.is_empty() {
            // Whoever is on the way could have put it there, to be read as if it had come under encryption.
            // (`response` dropped whole frames.)
            return Err(self.io_error(io::Error::new(
                io::ErrorKind::InvalidData,
                "something was sent in plain before the TLS handshake",
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
        // In TLS 1.3 a server that does not like our certificate says so only now.
        match self.response().await {
            Ok(answer) if answer == wire::OK => Ok(self),
            Ok(_) => {
                Err(self
                    .io_error(io::Error::new(io::ErrorKind::InvalidData, "no OK behind the TLS handshake")))
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
                fault: format!("{fault} (it was sent `{}.auth-secret`)", self.section),
            }),
            answer => answer.map(drop),
        }
    }

    /// Proves that nsqd takes commands from us: IDENTIFY it answers in plain even where it demands TLS for
    /// all others. CLS has no effect on a connection that is not subscribed; it is refused, and the
    /// connection ends.
    ///
    /// # Errors
    /// The connection broke, or nsqd demands TLS.
    pub async fn probe(mut self, bound: Duration) -> Result<(), NsqError> {
        wire::put_cls(&mut self.written);
        match timeout(bound, self.response()).await {
            Ok(Ok(_) | Err(NsqError::Refused { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.io_error(late())),
        }
    }

    /// The address as it was configured or discovered: the name of this nsqd in keys and logs.
    #[must_use]
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// Our end of it, as nsqd sees it where no network changes addresses on the way.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The machine on the other end: a name may stand for several.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// How many servers the name stands for.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// Where commands are put; they are sent by the next flush.
    pub fn commands(&mut self) -> &mut BytesMut {
        &mut self.written
    }

    /// Whether everything that was put was handed to the system.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.written.is_empty() && !self.stream.holds_back()
    }

    /// Publishes all of `bodies` or nothing, within `bound`.
    ///
    /// # Errors
    /// The connection broke or the time is over, and the bodies may have been published; or nsqd refused, and
    /// they were not. The connection is of no more use either way: nsqd ends it when it refuses.
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

    /// Sends what is waiting and brings the next response that is not a heartbeat; not for use once messages
    /// may come.
    ///
    /// # Errors
    /// The connection broke, or nsqd answered with an error frame.
    pub async fn response(&mut self) -> Result<Bytes, NsqError> {
        let (mut frames, mut unsent) = (Vec::new(), None);
        loop {
            std::future::poll_fn(|cx| {
                // nsqd says what it does not like and closes, whether it read all of it or not. Why is worth
                // more than that it could not be sent; and a connection that can't be written to any more can
                // be read to its end.
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
                        return Err(self
                            .io_error(io::Error::new(io::ErrorKind::InvalidData, "a message came unasked")));
                    }
                }
            }
        }
    }

    /// An error frame as an error, by nsqd's `protocol_v2.go`: what it got a part of only (`failed to read
    /// body` and its like), the network has lost; and it may fail at what it was rightly asked for, as one
    /// that is about to end does (`SUB failed exiting`).
    fn refusal(&self, fault: &str) -> NsqError {
        const FAILED: [&str; 3] = ["E_SUB_FAILED", "E_PUB_FAILED", "E_MPUB_FAILED"];
        // nsqd tells a client the same whether its authentication server does not answer or does not know the
        // secret (`client_v2.go`, `QueryAuthd`).
        if fault.starts_with("E_AUTH_FAILED") {
            let words = format!(
                "its authentication server does not answer, or refuses `{}.auth-secret`: {fault}",
                self.section
            );
            return self.io_error(io::Error::other(words));
        }
        if FAILED.iter().any(|code| fault.starts_with(code)) {
            return self
                .io_error(io::Error::other(format!("it could not do what it was asked for: {fault}")));
        }
        if fault.contains(" failed to read ") {
            return self.io_error(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("a command was cut short on its way: {fault}"),
            ));
        }
        if fault.ends_with(TLS_REQUIRED) {
            return self.tls_error(&format!("it demands TLS, and `{}.tls` is not set", self.section));
        }
        NsqError::Refused { address: self.address.clone(), fault: fault.to_owned() }
    }

    /// Any command says that we are alive, so there is never more than one NOP waiting, however many
    /// heartbeats come.
    pub fn answer_heartbeat(&mut self) {
        if self.written.is_empty() {
            wire::put_nop(&mut self.written);
        }
    }

    fn io_error(&self, cause: io::Error) -> NsqError {
        NsqError::Io { address: self.address.clone(), cause }
    }

    fn tls_error(&self, fault: &str) -> NsqError {
        NsqError::Tls { address: self.address.clone(), fault: fault.to_owned() }
    }

    /// Reads whole frames: what is there, up to `BYTES_AT_ONCE` and one frame more.
    ///
    /// # Errors
    /// The peer closed, the network failed or the bytes are not the protocol; every frame before that was
    /// handed out by an earlier call.
    ///
    /// # Cancel safety
    /// A part of a frame stays in the buffer.
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
                        // nsqd ends a connection over TLS without saying so in TLS. What has to be known to
                        // have arrived has its own barrier.
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

    /// Sends the waiting commands.
    ///
    /// # Errors
    /// The network failed.
    ///
    /// # Cancel safety
    /// What was not sent stays in the buffer.
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

    /// Tells nsqd that no more commands follow; nsqd processes all that were sent, and then closes.
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
    fn a_name_with_an_address_of_each_family_is_one_server_and_one_with_two_of_a_family_is_two() {
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
