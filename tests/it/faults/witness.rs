//! Decodes the bytes between a run and nsqd to record which of the scene's messages were acknowledged. Only
//! this distinguishes the losses of a stopped or killed nsqd from losses of the program.

use std::collections::{BTreeSet, HashMap};

use tokio_util::{
    bytes::{Buf as _, BytesMut},
    codec::Decoder as _,
};
use x_msrv_nsq::client::wire::{Frame, FrameDecoder, MAGIC};

/// Larger than any body of a scene.
const MAX_BODY: usize = 1 << 20;

/// Both ways of one connection in plain text.
pub(super) struct Witness {
    decoder: FrameDecoder,
    from_server: BytesMut,
    from_client: BytesMut,
    /// Delivered messages that are not acknowledged yet.
    delivered: HashMap<[u8; 16], u64>,
    begun: bool,
}

/// The number in a body of the scene, valid or not.
pub(super) fn number(body: &[u8]) -> Option<u64> {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let from = body.iter().position(digits)?;
    let digits = body[from..].split(|byte| !digits(byte)).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Witness {
    pub(super) fn new() -> Self {
        let (from_server, from_client) = (BytesMut::new(), BytesMut::new());
        Self {
            decoder: FrameDecoder::new(MAX_BODY),
            from_server,
            from_client,
            delivered: HashMap::new(),
            begun: false,
        }
    }

    pub(super) fn says_server(&mut self, bytes: &[u8]) {
        self.from_server.extend_from_slice(bytes);
        while let Some(frame) = self.decoder.decode(&mut self.from_server).expect("nsqd says nothing else") {
            if let Frame::Message(message) = frame
                && let Some(number) = number(&message.body)
            {
                self.delivered.insert(message.id.0, number);
            }
        }
    }

    /// Adds the numbers of the messages that these bytes acknowledge.
    pub(super) fn says_client(&mut self, bytes: &[u8], finished: &mut BTreeSet<u64>) {
        self.from_client.extend_from_slice(bytes);
        if !self.begun && self.from_client.starts_with(MAGIC) {
            self.from_client.advance(MAGIC.len());
            self.begun = true;
        }
        while let Some(end) = self.from_client.iter().position(|&byte| byte == b'\n') {
            let line = &self.from_client[..end];
            let mut length = end + 1;
            if line == b"IDENTIFY" {
                let Some(size) = self.from_client[length..].first_chunk() else { return };
                length += size_of_val(size) + u32::from_be_bytes(*size) as usize;
                if self.from_client.len() < length {
                    return;
                }
            } else if let Some(id) = line.strip_prefix(b"FIN ") {
                finished.extend(self.delivered.remove(id));
            }
            self.from_client.advance(length);
        }
    }
}
