//! The frame decoder.

use bytes::{BufMut as _, BytesMut};
use tokio_util::codec::Decoder as _;
use x_msrv_nsq::client::wire::{Frame, FrameDecoder};

/// Small, so that frames over the limit are easily made.
const MAX_BODY: usize = 1 << 10;

/// The size that a buffer may have: a frame of the limit, as often as a `BytesMut` doubles, and its minimum.
const MAX_BUFFER: usize = 2 * (MAX_BODY + 64) + 1_024;

/// However the bytes are divided, the result is the same frames and the same end. The frames equal the input,
/// and an announced frame takes no more memory than allowed.
pub(crate) fn check(bytes: &[u8]) {
    let (frames, end) = decode(bytes, bytes.len());
    for piece in [1, 3, 61] {
        assert_eq!(decode(bytes, piece), (frames.clone(), end.clone()), "in pieces of {piece}");
    }
    let encoded = frames.iter().fold(Vec::new(), |mut out, frame| {
        encode(frame, &mut out);
        out
    });
    assert!(bytes.starts_with(&encoded), "frames that were not sent");
    match end {
        End::Incomplete(rest) => {
            assert_eq!(encoded.len() + rest, bytes.len(), "bytes are lost");
            let announced =
                bytes[encoded.len()..].first_chunk().map(|size| u32::from_be_bytes(*size) as usize);
            assert!(
                announced.is_none_or(|size| rest < 4 + size && size <= MAX_BODY + 30),
                "a complete frame is not returned"
            );
        }
        End::Fault(text) => assert!(!text.contains(char::is_control) && text.len() < 200, "{text}"),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum End {
    /// This many bytes are no complete frame.
    Incomplete(usize),
    Fault(String),
}

fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, End) {
    let (mut decoder, mut buffer, mut frames) = (FrameDecoder::new(MAX_BODY), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, End::Fault(error.to_string())),
            }
        }
        assert!(
            buffer.capacity() <= MAX_BUFFER.max(2 * bytes.len()),
            "a buffer of {} bytes",
            buffer.capacity()
        );
    }
    (frames, End::Incomplete(buffer.len()))
}

fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let (kind, data) = match frame {
        Frame::Response(data) => (0, data.to_vec()),
        Frame::Error(data) => (1, data.to_vec()),
        Frame::Message(message) => {
            let header =
                [&message.timestamp.to_be_bytes()[..], &message.attempts.to_be_bytes(), &message.id.0];
            (2, [&header.concat()[..], &message.body].concat())
        }
    };
    out.put_u32(u32::try_from(4 + data.len()).expect("a small frame"));
    out.put_u32(kind);
    out.put_slice(&data);
}
