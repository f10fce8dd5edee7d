//! nsqd's side of the start of a connection: the answer to IDENTIFY, and to AUTH if it requires that.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket},
};
use tokio_util::codec::Decoder as _;
use x_msrv_core::error_chain;
use x_msrv_net::address::HostPort;
use x_msrv_nsq::client::{
    Connection, Identity, Role,
    wire::{Frame, FrameDecoder, HEARTBEAT},
};

const MAX_BODY: usize = 1 << 16;

/// Far more than loopback needs: a longer wait would never end.
const BOUND: Duration = Duration::from_secs(20);

/// A peer that sends `bytes`, whatever it receives, and closes.
pub(crate) fn check(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let opened = runtime.block_on(async {
        let (listener, address) = listen();
        let peer = async {
            let (mut stream, _) = listener.accept().await.expect("the client comes");
            stream.set_zero_linger().expect("the option exists"); // leaves no port in TIME_WAIT
            stream.write_all(bytes).await.ok();
            stream
        };
        let identity = Identity {
            section: "nsq",
            role: Role::PUBLISHER,
            max_body: MAX_BODY,
            auth_secret: None,
            tls: None,
        };
        let client = async {
            let opened = Connection::open(&address, &identity, BOUND).await;
            opened.map(|(_, limits)| limits).map_err(|error| error_chain::text(&error))
        };
        let talk = async { tokio::join!(client, async { drop(peer.await) }) };
        tokio::time::timeout(BOUND, talk).await.expect("it ends when the peer does").0
    });
    let answer = first_answer(bytes);
    match opened {
        Ok(limits) => {
            let answer = answer.expect("no limits without an answer");
            if answer.is_object() {
                assert_eq!(answer["max_rdy_count"], limits.max_rdy_count.get());
                assert_eq!(answer["msg_timeout"], limits.msg_timeout.get());
                assert_ne!(answer["auth_required"], true, "there was no secret to send");
            }
        }
        Err(text) => assert!(!text.contains(char::is_control), "{text:?}"),
    }
}

fn listen() -> (TcpListener, HostPort) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    let listener = socket.listen(1).expect("a bound socket");
    let address = listener.local_addr().expect("a bound socket").to_string().parse().expect("an address");
    (listener, address)
}

/// The first response that is no heartbeat, if it is JSON.
fn first_answer(bytes: &[u8]) -> Option<Value> {
    let (mut decoder, mut bytes) = (FrameDecoder::new(MAX_BODY), BytesMut::from(bytes));
    loop {
        match decoder.decode(&mut bytes).ok()?? {
            Frame::Response(data) if data == HEARTBEAT => {}
            Frame::Response(data) => return serde_json::from_slice(&data).ok(),
            _ => return None,
        }
    }
}
