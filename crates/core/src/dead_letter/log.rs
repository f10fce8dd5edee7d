//! The original's behaviour, only when asked for: the warning that every rejection gives anyway, and nothing
//! is kept.

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

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
