//! The behaviour of the original, only if it is configured: rejections are logged, and nothing is kept.

use super::{DeadLetter, DeadLetterError, Kept, Pending, answer_all};
use crate::BoxFuture;

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct LogOnly;

impl DeadLetter for LogOnly {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        answer_all(letters, &Ok(Kept::NotAtAll));
        Box::pin(std::future::ready(()))
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        Box::pin(std::future::ready(Ok("rejected messages are only logged, as configured".to_owned())))
    }
}
