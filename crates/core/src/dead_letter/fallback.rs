//! Two dead-letter destinations: the second is the fallback of the first.

use std::convert::Infallible;

use log::warn;

use super::{DeadLetter, DeadLetterError, Pending};
use crate::{BoxFuture, answer};

/// Keeps in `second` what `first` does not take. A dead letter is larger than its message, so a topic may
/// always refuse one. Without a fallback, its message would be retried forever.
pub struct Fallback {
    /// Receives every dead letter.
    pub first: Box<dyn DeadLetter>,
    /// Receives the dead letters that `first` did not take.
    pub second: Box<dyn DeadLetter>,
}

impl DeadLetter for Fallback {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (batch, verdicts) = answer::batch(letters.iter().map(|letter| letter.item));
            self.first.keep(batch).await;
            let (mut left, mut failure) = (Vec::new(), None);
            for (letter, verdict) in letters.into_iter().zip(verdicts.take()) {
                match verdict {
                    Some(Ok(kept)) => letter.answer.give(Ok(kept)),
                    Some(Err(error)) => {
                        failure.get_or_insert(error);
                        left.push(letter);
                    }
                    None => left.push(letter),
                }
            }
            if left.is_empty() {
                return;
            }
            let DeadLetterError { place, cause, .. } = failure.unwrap_or_else(DeadLetterError::not_answered);
            warn!(place = place, cause = cause, letters = left.len(); "dead letters go to the fallback file");
            self.second.keep(left).await;
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        Box::pin(async move {
            let (first, second) = (self.first.probe().await, self.second.probe().await);
            if let (Err(_), Err(DeadLetterError { place, cause, .. })) = (&first, &second) {
                warn!(place = place.as_str(), cause = cause.as_str(); "dead letters cannot go to the fallback file either");
            }
            Ok(format!("{}; as the fallback, {}", first?, second?))
        })
    }

    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        // Only `first` may have a connection: `second` is a file.
        self.first.keep_alive()
    }
}
