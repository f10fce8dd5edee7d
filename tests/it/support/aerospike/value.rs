//! Values: as received, and in a form that a test can read.

use std::collections::BTreeMap;

use super::wire::{Malformed, Reader};

/// Particle types (the client's `commands/particle_type.rs`).
pub(super) const NULL: u8 = 0;
const INTEGER: u8 = 1;
const FLOAT: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const BOOL: u8 = 17;
const MAP: u8 = 19;
const LIST: u8 = 20;

/// A value as received over the wire; reads return exactly this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Particle {
    /// The particle type.
    pub(crate) kind: u8,
    /// The value in the encoding of its type.
    pub(crate) bytes: Vec<u8>,
}

impl Particle {
    /// The value in readable form; `Other` for types and encodings without one.
    pub(crate) fn value(&self) -> Value {
        self.decode().unwrap_or_else(|Malformed| Value::Other(self.kind, self.bytes.clone()))
    }

    fn decode(&self) -> Result<Value, Malformed> {
        let mut bytes = Reader(&self.bytes);
        Ok(match self.kind {
            NULL => Value::Null,
            INTEGER => Value::Int(i64::from_be_bytes(bytes.array()?)),
            FLOAT => Value::Float(f64::from_be_bytes(bytes.array()?)),
            TEXT => text(&self.bytes)?,
            BLOB => Value::Bytes(self.bytes.clone()),
            BOOL => Value::Bool(bytes.u8()? != 0),
            MAP | LIST => unpack(&mut bytes)?,
            _ => return Err(Malformed),
        })
    }

    /// The size of the value in a stored record, type included. From the server's `particle_*.c`: integers
    /// shrink to 1, 2, 4 or 8 bytes after a size byte; everything of variable length has a 32-bit size.
    pub(super) fn stored_size(&self) -> usize {
        match (self.kind, self.value()) {
            (_, Value::Int(n)) => {
                2 + match n.cast_unsigned() {
                    0..=0xFF => 1,
                    0x100..=0xFFFF => 2,
                    0x1_0000..=0xFFFF_FFFF => 4,
                    _ => 8,
                }
            }
            (FLOAT | BOOL, _) => 1 + self.bytes.len(),
            _ => 5 + self.bytes.len(),
        }
    }
}

/// A value in readable form, close to JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing; only inside lists and maps, because a bin without a value does not exist.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// A blob.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map, sorted by key; keys that are not text are written as in Rust's debug format.
    Map(BTreeMap<String, Value>),
    /// A type (or an encoding) without a readable form, with its bytes.
    Other(u8, Vec<u8>),
}

fn text(bytes: &[u8]) -> Result<Value, Malformed> {
    let text = str::from_utf8(bytes).map_err(|_| Malformed)?;
    Ok(Value::Text(text.to_owned()))
}

/// Decodes one `MessagePack` value. Aerospike's dialect (`msgpack/encoder.rs` in the client) starts
/// every string and blob with a particle type byte, and keeps the sort order of a list or map in an
/// extension value in front of its elements.
fn unpack(from: &mut Reader<'_>) -> Result<Value, Malformed> {
    let tag = from.u8()?;
    Ok(match tag {
        0x00..=0x7f => Value::Int(i64::from(tag)),
        0x80..=0x8f => unpack_map(from, usize::from(tag & 0x0f))?,
        0x90..=0x9f => unpack_list(from, usize::from(tag & 0x0f))?,
        0xa0..=0xbf => unpack_bytes(from, usize::from(tag & 0x1f))?,
        0xc0 => Value::Null,
        0xc2 | 0xc3 => Value::Bool(tag == 0xc3),
        0xc4 | 0xd9 => sized(from, 1, unpack_bytes)?,
        0xc5 | 0xda => sized(from, 2, unpack_bytes)?,
        0xc6 | 0xdb => sized(from, 4, unpack_bytes)?,
        0xca => Value::Float(f64::from(f32::from_be_bytes(from.array()?))),
        0xcb => Value::Float(f64::from_be_bytes(from.array()?)),
        0xcc => Value::Int(i64::from(from.u8()?)),
        0xcd => Value::Int(i64::from(from.u16()?)),
        0xce => Value::Int(i64::from(from.u32()?)),
        0xcf => Value::Int(i64::try_from(u64::from_be_bytes(from.array()?)).map_err(|_| Malformed)?),
        0xd0 => Value::Int(i64::from(i8::from_be_bytes(from.array()?))),
        0xd1 => Value::Int(i64::from(i16::from_be_bytes(from.array()?))),
        0xd2 => Value::Int(i64::from(i32::from_be_bytes(from.array()?))),
        0xd3 => Value::Int(i64::from_be_bytes(from.array()?)),
        0xdc => sized(from, 2, unpack_list)?,
        0xdd => sized(from, 4, unpack_list)?,
        0xde => sized(from, 2, unpack_map)?,
        0xdf => sized(from, 4, unpack_map)?,
        0xe0..=0xff => Value::Int(i64::from(tag.cast_signed())),
        _ => return Err(Malformed),
    })
}

type Unpack = fn(&mut Reader<'_>, usize) -> Result<Value, Malformed>;

/// Decodes a value after its length, which takes `width` bytes.
fn sized(from: &mut Reader<'_>, width: usize, unpack: Unpack) -> Result<Value, Malformed> {
    let len = from.take(width)?.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
    unpack(from, len)
}

fn unpack_bytes(from: &mut Reader<'_>, len: usize) -> Result<Value, Malformed> {
    match from.take(len)?.split_first().ok_or(Malformed)? {
        (&TEXT, bytes) => text(bytes),
        (&BLOB, bytes) => Ok(Value::Bytes(bytes.to_vec())),
        (&kind, bytes) => Ok(Value::Other(kind, bytes.to_vec())),
    }
}

fn unpack_list(from: &mut Reader<'_>, len: usize) -> Result<Value, Malformed> {
    let len = if len > 0 && skip_order(from)? { len - 1 } else { len };
    (0..len).map(|_| unpack(from)).collect::<Result<_, _>>().map(Value::List)
}

fn unpack_map(from: &mut Reader<'_>, len: usize) -> Result<Value, Malformed> {
    let len = if len > 0 && skip_order(from)? {
        unpack(from)?; // the order is encoded as a key; its value is null
        len - 1
    } else {
        len
    };
    let mut entry = || {
        let key = match unpack(from)? {
            Value::Text(key) => key,
            other => format!("{other:?}"),
        };
        Ok((key, unpack(from)?))
    };
    (0..len).map(|_| entry()).collect::<Result<_, _>>().map(Value::Map)
}

/// Skips the extension value that describes the order of a list or map, if there is one.
fn skip_order(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    let len = match *from.0 {
        [0xc7, len, ..] => 3 + usize::from(len),
        [0xd4, ..] => 3,
        _ => return Ok(false),
    };
    from.take(len).map(|_| true)
}
