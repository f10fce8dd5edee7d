//! Destinations for messages that cannot be stored: the contract for adapters, and the format of a dead
//! letter.

pub mod fallback;
pub mod log;
pub mod published;

use std::{convert::Infallible, io, num::NonZeroU32, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{BoxFuture, answer, decode::Rejection, message::Message};

/// A destination for messages that cannot be stored.
pub trait DeadLetter {
    /// Keeps dead letters, and answers for each of them before the future is ready. A letter that failed may
    /// have been kept anyway. It is kept again on the next attempt, as is a letter whose answer is dropped.
    ///
    /// # Cancel safety
    /// Not cancel safe: the letters may have been kept. The adapter limits the time.
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()>;

    /// Checks that dead letters can be kept, as far as that is possible without keeping one, and returns what
    /// that proves, as text for the user.
    ///
    /// # Errors
    /// They cannot be kept.
    ///
    /// # Cancel safety
    /// Leaves nothing behind.
    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>>;

    /// Keeps an open connection alive until the next dead letter. Polled while the run waits for other events.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        Box::pin(std::future::pending())
    }
}

/// A dead letter that waits for its verdict.
pub type Pending<'a> = answer::Pending<&'a Letter, Result<Kept, DeadLetterError>>;

/// Gives the same answer for all of these letters.
pub fn answer_all(letters: Vec<Pending<'_>>, result: &Result<Kept, DeadLetterError>) {
    for Pending { answer, .. } in letters {
        answer.give(result.clone());
    }
}

/// What happened to a dead letter that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on disk, or equally safe elsewhere.
    Durably,
    /// It is not kept, as configured.
    NotAtAll,
}

/// Why a dead letter could not be kept. Blame: the disk, the network or the server; the dead letter itself if
/// it is too large for a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep dead letters in {place}: {cause}")]
pub struct DeadLetterError {
    /// The file or topic.
    pub place: String,
    /// What happened.
    pub cause: String,
    /// Whether the fault lasts until the user changes the configuration or the server.
    pub is_setup: bool,
}

impl DeadLetterError {
    /// Returns the error for a letter without an answer.
    #[must_use]
    pub fn not_answered() -> Self {
        Self {
            place: "the dead letter".to_owned(),
            cause: "no answer for this letter".to_owned(),
            is_setup: false,
        }
    }
}

/// How every line starts. It leaves room for the time of a replay.
pub const NOT_REPLAYED: &[u8] = br#"{"replayed":false                     "#;

/// Returns the replacement for [`NOT_REPLAYED`] after the letter was published again: RFC 3339 in UTC, of the
/// same length.
#[must_use]
pub fn replayed(time: SystemTime) -> Vec<u8> {
    format!(r#"{{"replayed":"{}""#, humantime::format_rfc3339_millis(time)).into_bytes()
}

/// One message that could not be stored. Its JSON is one line. `replayed` is first and has a fixed width, so
/// that a replay can mark it in place while other processes append to the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When it was published again, RFC 3339 in UTC; `false` in JSON if it was not.
    #[serde(default, serialize_with = "or_false", deserialize_with = "unless_false")]
    pub replayed: Option<String>,
    /// When it was rejected, RFC 3339 in UTC.
    pub time: String,
    /// The origin of the message.
    pub source: String,
    /// The message's id at its origin.
    pub id: String,
    /// Deliveries so far; omitted if the queue does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// A fixed word, see [`Rejection::reason`].
    pub reason: String,
    /// The full reason.
    pub detail: String,
    /// The body as published.
    #[serde(flatten)]
    pub body: Body,
}

/// A body in a dead letter: text, or base64 (RFC 4648 section 4) if it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// UTF-8.
    Body(String),
    /// Anything else.
    BodyBase64(String),
}

impl Letter {
    /// Creates the dead letter for a message that was rejected at `time`.
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

    /// Writes the letter as one line of JSON, including the line end. It writes in pieces, because a letter
    /// can be six times as large as its message.
    ///
    /// # Errors
    /// Errors of `out`.
    pub fn write_line(&self, out: &mut impl io::Write) -> io::Result<()> {
        let plain = br#"{"replayed":false"#.len();
        if self.replayed.is_some() {
            serde_json::to_writer(&mut *out, self)?;
        } else {
            out.write_all(NOT_REPLAYED)?;
            serde_json::to_writer(SkipFirst { skip: plain, out: &mut *out }, self)?;
        }
        out.write_all(b"\n")
    }

    /// Returns an id that is unique across nsqd, which may give the same id to different messages.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("{}/{}", self.source, self.id)
    }

    /// Returns when the message was rejected, if the text is a valid time.
    #[must_use]
    pub fn rejected_at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.time).ok()
    }
}

/// For `#[serde(serialize_with)]`: a time, or `false` if there is none.
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
        Some(TimeOrFalse::Flag(true)) => Err(D::Error::custom("expected the time of the replay, or false")),
    }
}

/// A writer that skips its first bytes.
struct SkipFirst<W> {
    skip: usize,
    out: W,
}

impl<W: io::Write> io::Write for SkipFirst<W> {
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
    /// Returns the body as published.
    ///
    /// # Errors
    /// The base64 is damaged.
    pub fn to_bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Body(text) => Ok(text.clone().into_bytes()),
            Self::BodyBase64(text) => BASE64.decode(text),
        }
    }

    /// Returns the length of the body in the letter; the published body is not longer.
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
    fn a_letter_returns_the_whole_body_with_any_bytes() {
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
