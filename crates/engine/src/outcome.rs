//! What became of a message, and what that means for the queue. Pure.

use std::time::Duration;

use crate::{decode::Rejection, message::Settlement, store::PutError};

/// The first delay of a message that is put off; it doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay of a message that is put off.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store has acknowledged it.
    Stored,
    /// The store had it already.
    Duplicate,
    /// It can't be stored, and the dead letter has acknowledged it.
    Rejected(Rejection),
    /// The store is in trouble, or the dead letter is: again later.
    Deferred {
        /// Deliveries so far, this one included.
        attempts: u32,
        /// What failed.
        cause: String,
    },
    /// Over N, or the run was told to stop before it was started.
    NotStarted,
}

impl Outcome {
    /// The outcome of a record that the store did not take, before the dead letter is asked.
    ///
    /// The limit on attempts (0 means none) is for failures of which nobody knows whether the message is at fault. A store that is known to be in
    /// trouble is no reason to give up a message, and neither is a message that was delivered often because runs were killed.
    #[must_use]
    pub fn of_failure(error: PutError, attempts: u32, max_attempts: u32) -> Self {
        match error {
            PutError::Refused(cause) => Self::Rejected(Rejection::Refused(cause)),
            PutError::Unknown(cause) if max_attempts > 0 && attempts >= max_attempts => {
                Self::Rejected(Rejection::TooManyAttempts { attempts, limit: max_attempts, cause })
            }
            PutError::Unavailable(cause) | PutError::Unknown(cause) => Self::Deferred { attempts, cause },
            // Not one attempt more is spent on a set-up that is wrong: the message waits at the queue.
            PutError::Setup(_) => Self::NotStarted,
        }
    }

    /// The table that decides: outcome to settlement.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        match self {
            // A rejected message is finished, not requeued: it would be as invalid next time, and the dead letter has it.
            Self::Stored | Self::Duplicate | Self::Rejected(_) => Settlement::Finish,
            Self::Deferred { attempts, .. } => Settlement::Requeue { delay: delay_after(*attempts) },
            Self::NotStarted => Settlement::REQUEUE_NOW,
        }
    }
}

fn delay_after(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (FIRST_DELAY * (1 << doublings)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(attempts: u32) -> Outcome {
        Outcome::Deferred { attempts, cause: "down".into() }
    }

    #[test]
    fn each_outcome_has_its_settlement() {
        let seconds = |seconds| Settlement::Requeue { delay: Duration::from_secs(seconds) };
        let table = [
            (Outcome::Stored, Settlement::Finish),
            (Outcome::Duplicate, Settlement::Finish),
            (Outcome::Rejected(Rejection::ReservedField), Settlement::Finish),
            (Outcome::NotStarted, seconds(0)),
            (deferred(0), seconds(1)),
            (deferred(1), seconds(1)),
            (deferred(2), seconds(2)),
            (deferred(5), seconds(16)),
            (deferred(10), seconds(300)),
            (deferred(u32::MAX), seconds(300)),
        ];
        for (outcome, settlement) in table {
            assert_eq!(outcome.settlement(), settlement, "{outcome:?}");
        }
    }

    #[test]
    fn an_unknown_failure_is_put_off_until_its_attempts_are_spent_and_an_outage_for_ever() {
        let down = || PutError::Unknown("down".into());
        assert_eq!(Outcome::of_failure(PutError::Unavailable("down".into()), u32::MAX, 5), deferred(u32::MAX));
        assert_eq!(Outcome::of_failure(down(), 4, 5), deferred(4));
        let spent = Rejection::TooManyAttempts { attempts: 5, limit: 5, cause: "down".into() };
        assert_eq!(Outcome::of_failure(down(), 5, 5), Outcome::Rejected(spent));
        assert_eq!(Outcome::of_failure(down(), u32::MAX, 0), deferred(u32::MAX), "0 is no limit");
        assert_eq!(Outcome::of_failure(PutError::Refused("big".into()), 1, 5), Outcome::Rejected(Rejection::Refused("big".into())));
        assert_eq!(Outcome::of_failure(PutError::Setup("no such table".into()), 9, 5), Outcome::NotStarted);
    }
}
