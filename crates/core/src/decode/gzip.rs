//! Bodies that are compressed with gzip (RFC 1952): to the document, and never to more bytes than are
//! allowed.

use std::{
    borrow::Cow,
    io::{self, Read as _},
};

use flate2::bufread::GzDecoder;

use super::Rejection;

/// How a body begins that is compressed with gzip; no JSON text does.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that one byte of compressed data can become at most.
const MOST_FROM_ONE: usize = 1_032;

/// The least by which room for a document grows whose length was not told.
const LEAST_ROOM: usize = 4 << 10;

/// How bodies are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum ContentEncoding {
    /// Bodies are not encoded.
    Identity,
    /// A body that begins like gzip is inflated; several members form one document. Any other body is used as
    /// it is, so a queue may contain both.
    Gzip,
}

impl ContentEncoding {
    /// The document that a body holds, of at most `limit` bytes.
    pub(super) fn decode(self, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Rejection> {
        match self {
            Self::Gzip if is_gzip(body) => inflated(body, limit).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(body)),
        }
    }
}

/// Whether a body is compressed with gzip.
pub(super) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Several members are one document, as for `gzip -d`.
fn inflated(body: &[u8], limit: usize) -> Result<Vec<u8>, Rejection> {
    // The last four bytes tell the length; they may hold anything.
    let told = body.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut document = Document {
        // A byte more, so that the end is seen without more room.
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

/// A document as far as it is inflated, and room for more.
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
    fn what_was_compressed_comes_back_and_what_was_not_is_left_as_it_is() {
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

    /// A few kilobytes would have become gigabytes before anybody looked at their length; what the body
    /// itself tells of that may be a lie.
    #[test]
    fn no_more_room_is_made_than_is_allowed_whatever_the_body_tells_of_its_length() {
        let mut body = gzip(&vec![b' '; 10_000_000]);
        let end = body.len() - 4;
        for told in [10_000_000_u32, 0, 1, 999, 1_000, 1_001, u32::MAX] {
            body[end..].copy_from_slice(&told.to_le_bytes());
            assert_eq!(
                decoded(&body, 1_000),
                Err("inflated, the body has more than 1000 bytes".into()),
                "{told}"
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
    fn what_is_wrong_with_a_body_is_told_in_words() {
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
        fn no_bytes_are_too_much_for_it(mut body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}", cut in 0_usize..200) {
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
