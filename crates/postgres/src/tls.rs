//! TLS by our own settings: what is trusted, which name is expected and which certificate is shown are decided
//! there, and the client's `sslmode` only says whether there is any.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::{TlsConnector, client, rustls::pki_types::ServerName};
use x_msrv_core::BoxFuture;
use x_msrv_net::tls::{Tls, TlsError};

/// Makes encrypted connections.
#[derive(Clone)]
pub(crate) struct MakeRustls(pub(crate) Tls);

impl MakeTlsConnect<Socket> for MakeRustls {
    type Stream = Encrypted;
    type TlsConnect = Rustls;
    type Error = TlsError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Rustls, TlsError> {
        let name = self.0.server_name(host)?;
        Ok(Rustls { connector: TlsConnector::from(self.0.config.clone()), name })
    }
}

/// Encrypts one connection.
pub(crate) struct Rustls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Rustls {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, socket).await.map(Encrypted) })
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted(client::TlsStream<Socket>);

impl TlsStream for Encrypted {
    /// None: the digest that SCRAM would bind to depends on the certificate's algorithm, which needs a parser
    /// of certificates. The certificate is verified, so the server is known without it.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
