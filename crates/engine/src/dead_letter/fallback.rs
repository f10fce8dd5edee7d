//! Two dead letters, one behind the other.

use log::warn;

use super::{DeadLetter, DeadLetterError, Kept, Letter};
use crate::BoxFuture;

/// Keeps in `second` what `first` does not take: a letter is larger than its message, so a topic may refuse one for good, and without a second
/// place its message would go back and forth for ever.
pub struct Fallback {
    /// Asked for every letter.
    pub first: Box<dyn DeadLetter>,
    /// Asked for the letters that `first` did not take.
    pub second: Box<dyn DeadLetter>,
}

impl DeadLetter for Fallback {
    fn keep<'a>(&'a mut self, letters: &'a [Letter]) -> BoxFuture<'a, Vec<Result<Kept, DeadLetterError>>> {
        Box::pin(async move {
            let mut results = self.first.keep(letters).await;
            let left: Vec<usize> = (0..results.len()).filter(|&index| results[index].is_err()).collect();
            let Some(Err(DeadLetterError { place, cause, .. })) = left.first().map(|&index| &results[index]) else { return results };
            warn!(place = place, cause = cause, letters = left.len(); "dead letters go to the fallback file");
            let again: Vec<Letter> = left.iter().map(|&index| letters[index].clone()).collect();
            for (index, result) in left.into_iter().zip(self.second.keep(&again).await) {
                results[index] = result;
            }
            results
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(async move {
            self.first.probe().await?;
            self.second.probe().await
        })
    }
}
