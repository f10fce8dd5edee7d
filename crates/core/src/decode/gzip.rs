//! Bodies that are compressed with gzip (RFC 1952). The size of the document is limited while it is
//! decompressed.

use std::{
    borrow::Cow,
    io::{self, Read as _},
};

use flate2::bufread::GzDecoder;

use super::Rejection;

/// The first bytes of a gzip body. No JSON text starts with them.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The most bytes that one byte of compressed data can expand to.
const MOST_FROM_ONE: usize = 1_032;

/// The minimum growth of the buffer if the length of the document is unknown.
const LEAST_ROOM: usize = 4 << 10;

/// The encoding of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum ContentEncoding {
    /// Bodies are not encoded.
    Identity,
    /// A body that starts like gzip is decompressed; several members form one document. Any other body is
    /// used unchanged, so a queue may contain both.
    Gzip,
}

impl ContentEncoding {
    /// Returns the document in a body, of at most `limit` bytes.
    pub(super) fn decode(self, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Rejection> {
        match self {
            Self::Gzip if is_gzip(body) => inflated(body, limit).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(body)),
        }
    }

    /// Returns why the codec cannot read a document, if it is still compressed.
    pub(super) fn still_compressed(self, document: &[u8]) -> Option<Rejection> {
        let fault = match self {
            Self::Identity => "it is compressed with gzip; set `content-encoding: gzip` to accept it",
            Self::Gzip => "it is compressed with gzip twice",
        };
        is_gzip(document).then(|| Rejection::NotJson(fault.to_owned()))
    }
}

/// Returns whether a body is compressed with gzip.
fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Several members form one document, as with `gzip -d`.
fn inflated(body: &[u8], limit: usize) -> Result<Vec<u8>, Rejection> {
    // The last four bytes give the length, but they cannot be trusted.
    let told = body.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut document = Document {
        // One extra byte, so that the end is found without growing.
        bytes: vec![0; told.min(limit).min(body.len().saturating_mul(MOST_FROM_ONE)) + 1],
        length: 0,
        limit,
    };
    let mut rest = body;
    while !rest.is_empty() {
        if !is_gzip(rest) {
            return Err(Rejection::BadEncoding("bytes that are not gzip follow the compressed data"));
        }
        let mut member = GzDecoder::new(rest);
        document.add(&mut member)?;
        rest = member.into_inner();
    }
    document.bytes.truncate(document.length);
    Ok(document.bytes)
}

/// A partly decompressed document, and its remaining room.
struct Document {
    bytes: Vec<u8>,
    length: usize,
    limit: usize,
}

impl Document {
    fn add(&mut self, member: &mut GzDecoder<&[u8]>) -> Result<(), Rejection> {
        loop {
            match member
                .read(&mut self.bytes[self.length..])
                .map_err(|error| Rejection::BadEncoding(fault(&error)))?
            {
                0 => return Ok(()),
                read => self.length += read,
            }
            if self.length > self.limit {
                return Err(Rejection::InflatedTooLarge { limit: self.limit });
            }
            if self.length == self.bytes.len() {
                let more = self.length.max(LEAST_ROOM).min(self.limit + 1 - self.length);
                self.bytes.reserve_exact(more);
                self.bytes.resize(self.length + more, 0);
            }
        }
    }
}

fn fault(error: &io::Error) -> &'static str {
    match error.to_string() {
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "the body is truncated",
        text if text.contains("header") => "a header is damaged",
        text if text.contains("checksum") => "the checksum does not match",
        _ => "the compressed data is damaged",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("a Vec takes it");
        encoder.finish().expect("a Vec takes it")
    }

    fn decoded(body: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        ContentEncoding::Gzip
            .decode(body, limit)
            .map(Cow::into_owned)
            .map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn a_compressed_body_is_decompressed_and_any_other_is_left_unchanged() {
        let long = "x".repeat(100_000);
        for text in ["", "{}", &long] {
            assert_eq!(decoded(&gzip(text.as_bytes()), 100_000), Ok(text.into()));
            assert_eq!(decoded(text.as_bytes(), 100_000), Ok(text.into()));
        }
        assert_eq!(
            decoded(&[gzip(b"{\"a\""), gzip(b""), gzip(b":1}")].concat(), 100),
            Ok(b"{\"a\":1}".to_vec()),
            "several members"
        );
        assert_eq!(ContentEncoding::Identity.decode(&gzip(b"{}"), 100).map(Cow::into_owned), Ok(gzip(b"{}")));
    }

    /// A few kilobytes expanded to gigabytes before the length was checked. The length in the body cannot be
    /// trusted.
    #[test]
    fn memory_stays_within_the_limit_for_any_length_given_in_the_body() {
        let mut body = gzip(&vec![b' '; 10_000_000]);
        let end = body.len() - 4;
        for stated in [10_000_000_u32, 0, 1, 999, 1_000, 1_001, u32::MAX] {
            body[end..].copy_from_slice(&stated.to_le_bytes());
            assert_eq!(
                decoded(&body, 1_000),
                Err("the decompressed body has more than 1000 bytes".into()),
                "{stated}"
            );
        }
        let exact = gzip(&[b' '; 1_000]);
        for (limit, fits) in [(999, false), (1_000, true), (1_001, true)] {
            let document = ContentEncoding::Gzip.decode(&exact, limit).map(Cow::into_owned);
            assert_eq!(document.is_ok(), fits, "{limit}");
            assert!(document.map_or(0, |document| document.capacity()) <= limit + 1);
        }
    }

    #[test]
    fn a_damaged_body_is_rejected_with_its_fault() {
        let body = gzip(br#"{"a":"some text","b":"some text"}"#);
        let changed = |at: usize| {
            let mut body = body.clone();
            body[at] ^= 0xff;
            body
        };
        let table = [
            (body[..2].to_vec(), "the body is truncated"),
            (body[..body.len() - 9].to_vec(), "the body is truncated"),
            (body[..body.len() - 1].to_vec(), "the body is truncated"),
            (changed(2), "a header is damaged"),
            (changed(10), "the compressed data is damaged"),
            (changed(body.len() - 5), "the checksum does not match"),
            (changed(body.len() - 1), "the checksum does not match"),
            ([&body[..], b"{}"].concat(), "bytes that are not gzip follow the compressed data"),
            ([&body[..], b"\0"].concat(), "bytes that are not gzip follow the compressed data"),
        ];
        for (body, words) in table {
            let found = decoded(&body, 1_000);
            assert_eq!(found, Err(format!("gzip: {words}")), "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(mut body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}", cut in 0_usize..200) {
            body.splice(..0, MAGIC);
            let mut damaged = gzip(text.as_bytes());
            if let Some(byte) = damaged.get_mut(cut) {
                *byte = byte.wrapping_add(1);
            }
            for body in [&body, &damaged] {
                if let Ok(document) = decoded(body, 1_000) {
                    prop_assert!(document.len() <= 1_000);
                }
            }
        }
    }
}
