//! One bounded HTTP GET that brings JSON: for nsqlookupd and nsqd's statistics.

use std::{error::Error, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};

use crate::address::HostPort;

/// Bytes of the largest answer that is read.
const MAX_ANSWER: usize = 16 << 20;

/// What a server said.
#[derive(Debug)]
pub enum Answer<T> {
    /// 200, with a body of the expected shape.
    Found(T),
    /// 404, with whatever body: the server knows nothing of what was asked for.
    NotFound(Bytes),
}

/// Asks `address` for `path`; connecting, answer and all within `bound`.
///
/// # Errors
/// The server can't be reached in time, answers with another status, or with something that is not the expected JSON.
pub async fn get_json<T: DeserializeOwned>(
    address: &HostPort,
    path: &str,
    bound: Duration,
) -> Result<Answer<T>, Box<dyn Error + Send + Sync>> {
    timeout(bound, get(address, path)).await.map_err(|_| "no answer in time")?
}

async fn get<T: DeserializeOwned>(address: &HostPort, path: &str) -> Result<Answer<T>, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
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
        StatusCode::OK => Ok(Answer::Found(serde_json::from_slice(&body)?)),
        StatusCode::NOT_FOUND => Ok(Answer::NotFound(body)),
        other => Err(format!("the answer is HTTP status {other}").into()),
    }
}
