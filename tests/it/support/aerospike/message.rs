//! Messages: a header, fields, bin operations, and the answers to them.
//!
//! The client writes them in `commands/buffer.rs` and reads them in `commands/single_command.rs` and
//! `commands/batch_operate_command.rs`.

use std::sync::Arc;

use super::{
    protocol::{field_type, flag, frame_type, operation, result},
    value::Particle,
    wire::{Malformed, Reader, frame},
};

/// The server's address of a record: a hash of set name and user key.
pub(super) type Digest = [u8; 20];

const HEADER_LEN: u8 = 22;

/// A typed piece of a message: namespace, set, digest, …
pub(super) struct Field<'a> {
    pub(super) kind: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn read_all(from: &mut Reader<'a>, count: u16) -> Result<Vec<Self>, Malformed> {
        let mut field = || {
            let len = from.len_less(1)?;
            Ok(Field { kind: from.u8()?, data: from.take(len)? })
        };
        (0..count).map(|_| field()).collect()
    }

    pub(super) fn text(&self) -> Result<String, Malformed> {
        Reader(self.data).text(self.data.len())
    }
}

/// One bin operation of a request.
pub(super) struct Op {
    pub(super) code: u8,
    pub(super) name: String,
    pub(super) particle: Particle,
}

impl Op {
    pub(super) fn read_all(from: &mut Reader<'_>, count: u16) -> Result<Vec<Self>, Malformed> {
        let mut op = || {
            let len = from.len_less(4)?;
            let [code, kind, _, name_len] = from.array()?;
            let name = from.text(usize::from(name_len))?;
            let value_len = len.checked_sub(name.len()).ok_or(Malformed)?;
            let particle = Particle { kind, bytes: from.take(value_len)?.to_vec() };
            Ok(Op { code, name, particle })
        };
        (0..count).map(|_| op()).collect()
    }
}

/// The flags of a request, from a message header or from a batch row.
pub(super) struct Flags {
    pub(super) info1: u8,
    pub(super) info2: u8,
    pub(super) info3: u8,
    pub(super) generation: u32,
    pub(super) ttl: u32,
}

/// The 22 bytes at the start of every message.
pub(super) struct Header {
    pub(super) flags: Flags,
    pub(super) fields: u16,
    pub(super) ops: u16,
}

impl Header {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let [len, info1, info2, info3, _info4, _result] = from.array()?;
        if len != HEADER_LEN {
            return Err(Malformed);
        }
        let (generation, ttl, _timeout) = (from.u32()?, from.u32()?, from.u32()?);
        let flags = Flags { info1, info2, info3, generation, ttl };
        Ok(Header { flags, fields: from.u16()?, ops: from.u16()? })
    }
}

/// The operations requested for one record, without its identity. Batch rows that repeat the previous row
/// share it.
pub(super) struct Request {
    pub(super) flags: Flags,
    pub(super) namespace: String,
    pub(super) set: String,
    /// The user key, if the client sends it (`send_key`).
    pub(super) user_key: Option<Particle>,
    pub(super) ops: Vec<Op>,
    /// Set if the request needs a feature that the stand-in lacks: a filter expression, a function on the
    /// server, a transaction.
    pub(super) unsupported: bool,
}

impl Request {
    pub(super) fn new(flags: Flags, fields: &[Field<'_>], ops: Vec<Op>) -> Result<Self, Malformed> {
        let mut request = Request {
            flags,
            namespace: String::new(),
            set: String::new(),
            user_key: None,
            ops,
            unsupported: false,
        };
        for field in fields {
            match field.kind {
                field_type::NAMESPACE => request.namespace = field.text()?,
                field_type::SET => request.set = field.text()?,
                field_type::KEY => {
                    let mut data = Reader(field.data);
                    let kind = data.u8()?;
                    request.user_key = Some(Particle { kind, bytes: data.0.to_vec() });
                }
                kind => {
                    request.unsupported |= kind == field_type::FILTER
                        || field_type::UDF.contains(&kind)
                        || field_type::TRANSACTION.contains(&kind);
                }
            }
        }
        Ok(request)
    }

    /// Whether the request may change the record.
    pub(super) fn is_write(&self) -> bool {
        self.has2(flag::INFO2_WRITE)
    }

    /// Whether one of these bits is set in the first flag byte.
    pub(super) fn has1(&self, bits: u8) -> bool {
        self.flags.info1 & bits != 0
    }

    /// Whether one of these bits is set in the second flag byte.
    pub(super) fn has2(&self, bits: u8) -> bool {
        self.flags.info2 & bits != 0
    }

    /// Whether one of these bits is set in the third flag byte.
    pub(super) fn has3(&self, bits: u8) -> bool {
        self.flags.info3 & bits != 0
    }
}

/// A request for one record: a single command, or a row of a batch.
pub(super) struct Row {
    pub(super) digest: Digest,
    pub(super) request: Arc<Request>,
}

/// The answer for one record.
pub(super) struct Answer {
    pub(super) code: u8,
    pub(super) generation: u32,
    /// The second at which the record expires, counted from 2010; 0 for never.
    pub(super) void_time: u32,
    /// Bins and results of operations; an operation without a result is present without a particle.
    pub(super) bins: Vec<(String, Option<Particle>)>,
}

impl Answer {
    /// A result code and nothing else.
    pub(super) fn code(code: u8) -> Self {
        Answer { code, generation: 0, void_time: 0, bins: Vec::new() }
    }

    /// Appends the answer as a message. `index` is in the place of a request's timeout: in a batch, it is the
    /// number of the row that is answered.
    pub(super) fn write_to(&self, out: &mut Vec<u8>, index: u32, fields: &[Field<'_>]) {
        self.header(out, 0, index, fields.len());
        for field in fields {
            out.extend(len_prefix(field.data.len() + 1));
            out.push(field.kind);
            out.extend(field.data);
        }
        for (name, particle) in &self.bins {
            let (kind, bytes) = particle.as_ref().map_or((0, &[][..]), |p| (p.kind, &p.bytes[..]));
            out.extend(len_prefix(4 + name.len() + bytes.len()));
            let name_len = u8::try_from(name.len()).expect("a bin name came with an 8-bit length");
            out.extend([operation::READ, kind, 0, name_len]);
            out.extend(name.as_bytes());
            out.extend(bytes);
        }
    }

    fn header(&self, out: &mut Vec<u8>, info3: u8, index: u32, fields: usize) {
        out.extend([HEADER_LEN, 0, 0, info3, 0, self.code]);
        out.extend(self.generation.to_be_bytes());
        out.extend(self.void_time.to_be_bytes());
        out.extend(index.to_be_bytes());
        for count in [fields, self.bins.len()] {
            out.extend(u16::try_from(count).expect("counts came as 16 bits").to_be_bytes());
        }
    }
}

/// The message that ends the answer to a batch or a query: flag `INFO3_LAST` and a result code.
pub(super) fn last_message(code: u8) -> Vec<u8> {
    let mut body = Vec::new();
    Answer::code(code).header(&mut body, flag::INFO3_LAST, 0, 0);
    frame(frame_type::MESSAGE, &body)
}

fn len_prefix(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("values come in frames of at most 128 MiB").to_be_bytes()
}
