//! Where messages go that can't be stored: the contract that every adapter keeps, and the form of a letter.

pub mod fallback;
pub mod log;
pub mod published;

use std::{io, num::NonZeroU32, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{BoxFuture, answer, decode::Rejection, message::Message};

/// A place for messages that can't be stored.
pub trait DeadLetter {
    /// Keeps letters, and answers for each of them before it is ready. One that could not be kept may be
    /// there nevertheless: it is kept again the next time, as is one whose answer is dropped.
    ///
    /// # Cancel safety
    /// Not cancel safe: the letters may have been kept. Bounded in time by the adapter.
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()>;

    /// Proves, as far as it goes without writing or creating anything, that letters can be kept.
    ///
    /// # Errors
    /// They can't.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>>;
}

/// A letter that waits for its verdict.
pub type Pending<'a> = answer::Pending<&'a Letter, Result<Kept, DeadLetterError>>;

/// Answers for all of these letters alike.
pub fn answer_all(letters: Vec<Pending<'_>>, result: &Result<Kept, DeadLetterError>) {
    for Pending { answer, .. } in letters {
        answer.give(result.clone());
    }
}

/// What became of a letter that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on a disk, or wherever it is safe.
    Durably,
    /// It is not kept, and that is what was asked for.
    NotAtAll,
}

/// Why a letter could not be kept. Blame: the disk, the network or the server; for one that is too large for
/// a topic, the letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep dead letters in {place}: {cause}")]
pub struct DeadLetterError {
    /// Which file or topic.
    pub place: String,
    /// What happened.
    pub cause: String,
    /// Whether only the configuration, or an administrator, can mend it.
    pub is_setup: bool,
}

impl DeadLetterError {
    /// For a letter that nothing was said of.
    #[must_use]
    pub fn not_answered() -> Self {
        Self {
            place: "the dead letter".to_owned(),
            cause: "no answer for this letter".to_owned(),
            is_setup: false,
        }
    }
}

/// How every line begins: with room for the moment of a replay.
pub const NOT_REPLAYED: &[u8] = br#"{"replayed":false                     "#;

/// What takes the place of [`NOT_REPLAYED`], of the same length, once the letter was published again: RFC
/// 3339 in UTC.
#[must_use]
pub fn replayed(time: SystemTime) -> Vec<u8> {
    format!(r#"{{"replayed":"{}""#, humantime::format_rfc3339_millis(time)).into_bytes()
}

/// One message that could not be stored. As JSON it is one line; `replayed` comes first and has a fixed
/// width, so that a replay can mark it in place while others append to the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When it was published again, RFC 3339 in UTC; `false` in JSON where it was not.
    #[serde(default, serialize_with = "or_false", deserialize_with = "unless_false")]
    pub replayed: Option<String>,
    /// When it was rejected, RFC 3339 in UTC.
    pub time: String,
    /// Where the message came from.
    pub source: String,
    /// The message's id there.
    pub id: String,
    /// Deliveries until then; left out where the queue does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// A fixed word, see [`Rejection::reason`].
    pub reason: String,
    /// The reason in full.
    pub detail: String,
    /// The body as published.
    #[serde(flatten)]
    pub body: Body,
}

/// A body in a letter: as text, or in base64 (RFC 4648 section 4) where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// UTF-8.
    Body(String),
    /// Anything else.
    BodyBase64(String),
}

impl Letter {
    /// The letter for a message that was rejected at `time`.
    #[must_use]
    pub fn new(message: &Message, rejection: &Rejection, time: SystemTime) -> Self {
        Self {
            replayed: None,
            time: humantime::format_rfc3339_millis(time).to_string(),
            source: message.origin.to_string(),
            id: message.id.to_string(),
            attempts: message.attempts.map(NonZeroU32::get),
            reason: rejection.reason().to_owned(),
            detail: rejection.to_string(),
            body: match std::str::from_utf8(&message.body) {
                Ok(text) => Body::Body(text.to_owned()),
                Err(_) => Body::BodyBase64(BASE64.encode(&message.body)),
            },
        }
    }

    /// Writes the letter as one line of JSON, its end included: piece by piece, for it may have six times the
    /// size of its message.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_line(&self, out: &mut impl io::Write) -> io::Result<()> {
        let plain = br#"{"replayed":false"#.len();
        if self.replayed.is_some() {
            serde_json::to_writer(&mut *out, self)?;
        } else {
            out.write_all(NOT_REPLAYED)?;
            serde_json::to_writer(Behind { skip: plain, out: &mut *out }, self)?;
        }
        out.write_all(b"\n")
    }

    /// What tells its message from that of another nsqd, which may have given it the same id.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("{}/{}", self.source, self.id)
    }

    /// When it was rejected, where the text is a time.
    #[must_use]
    pub fn rejected_at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.time).ok()
    }
}

/// For `#[serde(serialize_with)]`: a time, or `false` where there was none.
///
/// # Errors
/// The serializer's.
pub fn or_false<S: Serializer>(time: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_str(time),
        None => serializer.serialize_bool(false),
    }
}

fn unless_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TimeOrFalse {
        Time(String),
        Flag(bool),
    }
    match Option::deserialize(deserializer)? {
        Some(TimeOrFalse::Time(time)) => Ok(Some(time)),
        Some(TimeOrFalse::Flag(false)) | None => Ok(None),
        Some(TimeOrFalse::Flag(true)) => Err(D::Error::custom("the time of the replay, or false, is wanted")),
    }
}

/// What is written, without its first bytes.
struct Behind<W> {
    skip: usize,
    out: W,
}

impl<W: io::Write> io::Write for Behind<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.out.write_all(&bytes[skipped..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Body {
    /// The body as it was published.
    ///
    /// # Errors
    /// The base64 is damaged.
    pub fn to_bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Body(text) => Ok(text.clone().into_bytes()),
            Self::BodyBase64(text) => BASE64.decode(text),
        }
    }

    /// Bytes of it in a letter; as published it has no more.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no body is asked whether it is empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Body(text) | Self::BodyBase64(text) => text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Origin;
    use bytes::Bytes;

    #[test]
    fn a_letter_brings_the_whole_body_back_whatever_its_bytes() {
        for (body, shape) in
            [(&b"{a: \"\n\"}"[..], r#""body":"{a: \"\n\"}"}"#), (b"\xff\x00", r#""body-base64":"/wA="}"#)]
        {
            let message = Message {
                origin: Origin::new("t@h:1"),
                id: "0a".into(),
                body: Bytes::copy_from_slice(body),
                attempts: NonZeroU32::new(2),
                last: false,
                details: None,
                published: None,
            };
            let letter = Letter::new(&message, &Rejection::ReservedField, SystemTime::UNIX_EPOCH);
            let mut line = Vec::new();
            letter.write_line(&mut line).expect("a Vec takes it");
            let line = String::from_utf8(line).expect("JSON is text");
            assert!(
                line.starts_with(
                    r#"{"replayed":false                     ,"time":"1970-01-01T00:00:00.000Z","source":"t@h:1","id":"0a","attempts":2,"#
                ),
                "{line}"
            );
            assert!(line.trim_end().ends_with(shape) && line.matches('\n').count() == 1, "{line}");
            let back: Letter = serde_json::from_str(&line).expect("a letter");
            assert_eq!(back.body.to_bytes().expect("not damaged"), body);
            assert_eq!(back, letter);
            let mark = replayed(SystemTime::UNIX_EPOCH);
            let marked = [&mark, line.as_bytes().strip_prefix(NOT_REPLAYED).expect("the mark")].concat();
            assert_eq!(marked.len(), line.len());
            let marked: Letter = serde_json::from_slice(&marked).expect("a letter");
            assert_eq!(marked.replayed.as_deref(), Some("1970-01-01T00:00:00.000Z"));
            let mut again = Vec::new();
            marked.write_line(&mut again).expect("a Vec takes it");
            assert_eq!(
                again,
                [&mark, line.as_bytes().strip_prefix(NOT_REPLAYED).expect("the mark")].concat(),
                "and back"
            );
        }
    }
}
