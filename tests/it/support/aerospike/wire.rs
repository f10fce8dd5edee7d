//! The bytes on the connection: frames, and how they are parsed.
//!
//! Integers are big-endian, except the partition numbers of a query.

use tokio::io::{self, AsyncRead, AsyncReadExt as _};

/// The largest frame accepted; the client itself stops at 120 MB (`MAX_BUFFER_SIZE`).
const MAX_FRAME: u64 = 128 * 1024 * 1024;
/// Protocol version, first byte of every frame.
const VERSION: u8 = 2;

/// One frame: type and body.
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

/// Bytes that are no message of this protocol. The connection is closed.
#[derive(Debug)]
pub(super) struct Malformed;

/// Reads the next frame; returns an error if the client has closed the connection.
pub(super) async fn read_frame(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let prefix = socket.read_u64().await?;
    let size = prefix & 0x0000_FFFF_FFFF_FFFF;
    let [version, kind, ..] = prefix.to_be_bytes();
    if version != VERSION || size > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; usize::try_from(size).expect("128 MiB fits usize")];
    socket.read_exact(&mut body).await?;
    Ok(Frame { kind, body })
}

/// Prepends the frame header to a body.
pub(super) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u64::try_from(body.len()).expect("usize fits u64");
    let mut out = Vec::with_capacity(body.len() + 8);
    out.extend(size.to_be_bytes());
    out[0] = VERSION;
    out[1] = kind;
    out.extend(body);
    out
}

/// Takes big-endian values from the start of a slice.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A length that includes the `counted` bytes of fixed part that follow it.
    pub(super) fn len_less(&mut self, counted: usize) -> Result<usize, Malformed> {
        let len = usize::try_from(self.u32()?).expect("u32 fits usize");
        len.checked_sub(counted).ok_or(Malformed)
    }

    pub(super) fn text(&mut self, len: usize) -> Result<String, Malformed> {
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| Malformed)
    }
}
