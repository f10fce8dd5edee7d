//! The original's behaviour, only when asked for: the warning that every rejection gives anyway, and nothing is kept.

use super::{DeadLetter, DeadLetterError, Kept, Letter};
use crate::BoxFuture;

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct LogOnly;

impl DeadLetter for LogOnly {
    fn keep<'a>(&'a mut self, letters: &'a [Letter]) -> BoxFuture<'a, Vec<Result<Kept, DeadLetterError>>> {
        Box::pin(std::future::ready(vec![Ok(Kept::NotAtAll); letters.len()]))
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
