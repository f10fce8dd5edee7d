//! Encodes commands to nsqd and decodes its frames.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::name::{ChannelName, TopicName};

/// The first bytes that a client sends.
pub const MAGIC: &[u8] = b"  V2";

/// The data of a response frame that requires a NOP.
pub const HEARTBEAT: &[u8] = b"_heartbeat_";

/// The data of the response that confirms TLS, among others.
pub const OK: &[u8] = b"OK";

/// The data of the response to [`put_cls`].
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";

/// The bytes at the position of the type if nsqlookupd answers `E_BAD_PROTOCOL`
/// (`internal/protocol/protocol.go`, `SendResponse`).
const LOOKUPD_ERROR: i32 = i32::from_be_bytes(*b"E_BA");

/// The size of the header before a message's body: timestamp, attempts, id.
const MESSAGE_HEADER: usize = 8 + 2 + 16;

/// A message's id: 16 bytes of hexadecimal digits (`nsqd/message.go`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireId(pub [u8; 16]);

impl fmt::Debug for WireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// One frame from nsqd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Type 0: an answer or a heartbeat.
    Response(Bytes),
    /// Type 1: a code such as `E_FIN_FAILED`, followed by text.
    Error(Bytes),
    /// Type 2.
    Message(WireMessage),
}

impl Frame {
    /// Returns the size of its data; for a message, of its body.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Response(data) | Self::Error(data) => data.len(),
            Self::Message(message) => message.body.len(),
        }
    }
}

/// A message on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireMessage {
    /// When it was published, in nanoseconds since the epoch by nsqd's clock.
    pub timestamp: i64,
    /// Deliveries so far, including this one; nsqd wraps it at 65,535.
    pub attempts: u16,
    /// Unique within its nsqd.
    pub id: WireId,
    /// The body as published.
    pub body: Bytes,
}

/// The peer does not speak the protocol; the connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// An impossible frame size, or one over the limit.
    #[error(
        "received a frame size of {size} bytes (4 to {limit} are allowed): it is not nsqd, or its messages are far larger than `max-message-size`"
    )]
    Size {
        /// The received size.
        size: i32,
        /// The limit in bytes.
        limit: usize,
    },
    /// An HTTP response.
    #[error("this is an HTTP port: nsqd's TCP port is required, 4150 by default")]
    Http,
    /// A response of nsqlookupd, which has no type.
    #[error("this is nsqlookupd's TCP port, 4160 by default: nsqd's TCP port is required, 4150 by default")]
    Lookupd,
    /// A type that does not exist.
    #[error("it does not speak nsqd's protocol: unknown frame type {0}")]
    Type(i32),
    /// A message frame that is too short for its header, or whose id is not text.
    #[error("a message frame without a valid header")]
    Message,
}

/// Splits the stream into frames: size of the rest (4 bytes, big endian), type (4 bytes), data.
#[derive(Debug, Clone)]
pub struct FrameDecoder {
    max_size: usize,
}

impl FrameDecoder {
    /// Creates a decoder that refuses bodies over `max_body` bytes before it allocates memory for them.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        Self { max_size: max_body.saturating_add(4 + MESSAGE_HEADER) }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, Self::Error> {
        let Some(announced) = source.first_chunk::<4>() else { return Ok(None) };
        if announced == b"HTTP" {
            return Err(invalid(WireError::Http));
        }
        let announced = i32::from_be_bytes(*announced);
        let size = usize::try_from(announced)
            .ok()
            .filter(|size| (4..=self.max_size).contains(size))
            .ok_or_else(|| invalid(WireError::Size { size: announced, limit: self.max_size }))?;
        if source.len() < 4 + size {
            source.reserve(4 + size - source.len());
            return Ok(None);
        }
        source.advance(4);
        let mut frame = source.split_to(size).freeze();
        match frame.get_i32() {
            0 => Ok(Some(Frame::Response(frame))),
            1 => Ok(Some(Frame::Error(frame))),
            LOOKUPD_ERROR => Err(invalid(WireError::Lookupd)),
            2 => message(frame)
                .map(|message| Some(Frame::Message(message)))
                .ok_or_else(|| invalid(WireError::Message)),
            other => Err(invalid(WireError::Type(other))),
        }
    }
}

fn invalid(error: WireError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

fn message(mut frame: Bytes) -> Option<WireMessage> {
    if frame.len() < MESSAGE_HEADER {
        return None;
    }
    let timestamp = frame.get_i64();
    let attempts = frame.get_u16();
    let mut id = [0; 16];
    frame.copy_to_slice(&mut id);
    // The id is sent back within a line of text, and it becomes part of keys: only visible ASCII is allowed.
    id.iter().all(u8::is_ascii_graphic).then_some(WireMessage {
        timestamp,
        attempts,
        id: WireId(id),
        body: frame,
    })
}

/// `RDY`: the limit on messages in flight on this connection.
pub fn put_rdy(out: &mut BytesMut, count: u32) {
    put_line(out, format_args!("RDY {count}"));
}

/// `FIN`: acknowledges the message.
pub fn put_fin(out: &mut BytesMut, id: &str) {
    put_words(out, &["FIN ", id]);
}

/// `REQ`: requeues the message with a delay of `delay_ms` milliseconds.
pub fn put_req(out: &mut BytesMut, id: &str, delay_ms: u128) {
    put_line(out, format_args!("REQ {id} {delay_ms}"));
}

/// `TOUCH`: renews the lease of the message.
pub fn put_touch(out: &mut BytesMut, id: &str) {
    put_words(out, &["TOUCH ", id]);
}

/// `NOP`: the response to a heartbeat.
pub fn put_nop(out: &mut BytesMut) {
    put_words(out, &["NOP"]);
}

/// `CLS`: no more messages; [`CLOSE_WAIT`] follows after everything sent before.
pub fn put_cls(out: &mut BytesMut) {
    put_words(out, &["CLS"]);
}

/// `SUB`: subscribes to this topic and channel.
pub fn put_sub(out: &mut BytesMut, topic: &TopicName, channel: &ChannelName) {
    put_line(out, format_args!("SUB {topic} {channel}"));
}

/// `IDENTIFY` with its JSON body.
pub fn put_identify(out: &mut BytesMut, body: &[u8]) {
    put_words(out, &["IDENTIFY"]);
    put_sized(out, body);
}

/// `AUTH` with the secret.
pub fn put_auth(out: &mut BytesMut, secret: &[u8]) {
    put_words(out, &["AUTH"]);
    put_sized(out, secret);
}

/// `MPUB`: publishes all of these bodies, or none.
pub fn put_mpub(out: &mut BytesMut, topic: &TopicName, bodies: &[Bytes]) {
    put_line(out, format_args!("MPUB {topic}"));
    let size: usize = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
    out.put_u32(length(size));
    out.put_u32(length(bodies.len()));
    for body in bodies {
        put_sized(out, body);
    }
}

fn put_sized(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

/// Returns a length as the protocol's number. A length that does not fit becomes the largest number, which
/// nsqd reads as negative and refuses (`protocol_v2.go`, `MPUB` and `AUTH`).
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn put_words(out: &mut BytesMut, words: &[&str]) {
    for word in words {
        out.put_slice(word.as_bytes());
    }
    out.put_u8(b'\n');
}

fn put_line(out: &mut BytesMut, line: fmt::Arguments<'_>) {
    use fmt::Write as _;
    writeln!(out, "{line}").expect("a BytesMut grows");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A line of 5 GiB, or a letter six times as large as its message because of escapes, ended the program
    /// with a panic.
    #[test]
    fn a_body_too_large_for_the_protocol_is_refused_by_nsqd_without_a_panic() {
        assert_eq!((length(7), length(u32::MAX as usize + 1)), (7, u32::MAX));
    }

    fn encode(frame: &Frame) -> Vec<u8> {
        let (kind, data) = match frame {
            Frame::Response(data) => (0_u32, data.to_vec()),
            Frame::Error(data) => (1, data.to_vec()),
            Frame::Message(message) => {
                let mut data = message.timestamp.to_be_bytes().to_vec();
                data.extend(message.attempts.to_be_bytes());
                data.extend(message.id.0);
                data.extend(&message.body);
                (2, data)
            }
        };
        [&length(data.len() + 4).to_be_bytes()[..], &kind.to_be_bytes(), &data].concat()
    }

    fn decode_in_pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Frame> {
        let mut decoder = FrameDecoder::new(1 << 10);
        let mut cuts: Vec<usize> =
            cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let (mut read, mut from, mut frames) = (BytesMut::new(), 0, Vec::new());
        for cut in cuts {
            read.extend_from_slice(&bytes[from..cut]);
            from = cut;
            while let Some(frame) = decoder.decode(&mut read).expect("valid frames") {
                frames.push(frame);
            }
        }
        assert!(read.is_empty(), "all bytes are decoded");
        frames
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        let id = proptest::array::uniform16(b'0'..=b'f').prop_map(WireId);
        prop_oneof![
            bytes().prop_map(Frame::Response),
            bytes().prop_map(Frame::Error),
            (any::<i64>(), any::<u16>(), id, bytes()).prop_map(|(timestamp, attempts, id, body)| {
                Frame::Message(WireMessage { timestamp, attempts, id, body })
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_decode_the_same_from_any_pieces(
            frames in proptest::collection::vec(any_frame(), 1..20),
            cuts in proptest::collection::vec(any::<usize>(), 0..60),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
            prop_assert_eq!(decode_in_pieces(&bytes, &cuts), frames);
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic_and_in_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut decoder = FrameDecoder::new(64);
            let mut read = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decoder.decode(&mut read) {}
            prop_assert!(read.capacity() < 2_000);
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_memory_is_allocated() {
        for size in [i32::MIN, -1, 0, 3, 64 + 31, i32::MAX] {
            let mut read = BytesMut::from(&size.to_be_bytes()[..]);
            assert!(FrameDecoder::new(64).decode(&mut read).is_err(), "{size}");
            assert!(read.capacity() < 1_000);
        }
        let mut read = BytesMut::from(&(64_i32 + 30).to_be_bytes()[..]);
        assert!(FrameDecoder::new(64).decode(&mut read).expect("the largest allowed").is_none());
    }

    #[test]
    fn unknown_types_and_broken_messages_are_errors() {
        let frame = |kind: u8, data: &[u8]| {
            BytesMut::from(&[&length(data.len() + 4).to_be_bytes()[..], &[0, 0, 0, kind], data].concat()[..])
        };
        for mut read in [frame(3, b""), frame(2, &[b'0'; 25]), frame(2, b"TIMESTAMATid\nwith line end")] {
            assert!(FrameDecoder::new(64).decode(&mut read).is_err());
        }
    }

    #[test]
    fn commands_are_encoded_as_in_the_specification() {
        let mut out = BytesMut::new();
        put_rdy(&mut out, 10);
        put_fin(&mut out, "0123456789abcdef");
        put_req(&mut out, "0123456789abcdef", 1_500);
        put_touch(&mut out, "0123456789abcdef");
        put_nop(&mut out);
        put_cls(&mut out);
        put_sub(&mut out, &"t".parse().expect("a name"), &"c".parse().expect("a name"));
        put_identify(&mut out, b"{}");
        put_auth(&mut out, b"secret");
        put_mpub(
            &mut out,
            &"t".parse().expect("a name"),
            &[Bytes::from_static(b"a"), Bytes::from_static(b"bc")],
        );
        let expected = b"RDY 10\nFIN 0123456789abcdef\nREQ 0123456789abcdef 1500\nTOUCH 0123456789abcdef\nNOP\nCLS\nSUB t c\n\
            IDENTIFY\n\0\0\0\x02{}AUTH\n\0\0\0\x06secretMPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
