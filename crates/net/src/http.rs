//! One bounded HTTP GET that returns JSON: for nsqlookupd and nsqd's statistics.

use std::{error::Error, io, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};

use crate::address::HostPort;

/// The limit on the size of a response in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// The response of a server.
#[derive(Debug)]
pub enum Answer<T> {
    /// 200, with a body of the expected shape.
    Found(T),
    /// 404, with any body: the server does not know the requested object.
    NotFound(Bytes),
}

/// The time limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For the connection. The server's kernel accepts it even if the server is busy.
    pub connect: Duration,
    /// For the whole request.
    pub answer: Duration,
}

impl Bounds {
    /// Returns limits with the same time for both.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        Self { connect: bound, answer: bound }
    }
}

/// The server did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub struct Late;

/// Requests `path` from `address`.
///
/// # Errors
/// The server cannot be reached in time ([`io::Error`]), or does not answer in time ([`Late`]). It
/// answers with another status, or with something other than the expected JSON.
pub async fn get_json<T: DeserializeOwned>(
    address: &HostPort,
    path: &str,
    bounds: Bounds,
) -> Result<Answer<T>, Box<dyn Error + Send + Sync>> {
    timeout(bounds.answer, get(address, path, bounds.connect)).await.map_err(|_| Late)?
}

async fn get<T: DeserializeOwned>(
    address: &HostPort,
    path: &str,
    bound: Duration,
) -> Result<Answer<T>, Box<dyn Error + Send + Sync>> {
    let connect = TcpStream::connect((address.host.as_str(), address.port));
    let stream = timeout(bound, connect)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
        Ok::<_, Box<dyn Error + Send + Sync>>((status, body))
    };
    tokio::pin!(exchange, connection);
    let mut closed = false;
    let (status, body) = loop {
        tokio::select! {
            answer = &mut exchange => break answer?,
            end = &mut connection, if !closed => { closed = true; end?; }
        }
    };
    match status {
        StatusCode::OK => {
            let found = serde_json::from_slice(&body)
                .map_err(|error| format!("the answer is not the expected JSON: {error}"))?;
            Ok(Answer::Found(found))
        }
        StatusCode::NOT_FOUND => Ok(Answer::NotFound(body)),
        other => Err(format!("the answer is HTTP status {other}").into()),
    }
}

/// Returns whether a request failed because the other side does not speak HTTP.
#[must_use]
pub fn is_not_http(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}
