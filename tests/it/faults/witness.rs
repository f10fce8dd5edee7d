//! Decodes the bytes between a run and nsqd to record which of the scene's messages were acknowledged. Only
//! this distinguishes the losses of a stopped or killed nsqd from losses of the program.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use tokio_util::{
    bytes::{Buf as _, BytesMut},
    codec::Decoder as _,
};
use x_msrv_contract::faults::{
    proxy::{NewTap, Tap, Way},
    scene::number,
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
    /// The numbers of the acknowledged messages, of all connections.
    finished: Arc<Mutex<BTreeSet<u64>>>,
}

impl Witness {
    /// Returns what gives each connection a witness that adds to these numbers.
    pub(super) fn taps(finished: &Arc<Mutex<BTreeSet<u64>>>) -> NewTap {
        let finished = Arc::clone(finished);
        Box::new(move || {
            Box::new(Self {
                decoder: FrameDecoder::new(MAX_BODY),
                from_server: BytesMut::new(),
                from_client: BytesMut::new(),
                delivered: HashMap::new(),
                begun: false,
                finished: Arc::clone(&finished),
            })
        })
    }

    fn says_server(&mut self, bytes: &[u8]) {
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
    fn says_client(&mut self, bytes: &[u8]) {
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
                let number = self.delivered.remove(id);
                self.finished.lock().expect("no panic while they were locked").extend(number);
            }
            self.from_client.advance(length);
        }
    }
}

impl Tap for Witness {
    fn see(&mut self, way: Way, bytes: &[u8]) {
        match way {
            Way::ToServer => self.says_client(bytes),
            Way::ToClient => self.says_server(bytes),
        }
    }
}
