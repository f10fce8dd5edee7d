//! What became of a message, and what that means for the queue. Pure.

use std::time::Duration;

use crate::{
    decode::Rejection,
    message::Settlement,
    store::{Put, PutError},
};

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
    /// The limit on attempts (0 means none) is for failures of which nobody knows whether the message is at
    /// fault. A store that is known to be in trouble is no reason to give up a message, and neither is a
    /// message that was delivered often because runs were killed.
    #[must_use]
    pub fn of_failure(error: PutError, attempts: u32, max_attempts: u32) -> Self {
        match error {
            PutError::Refused(cause) => Self::Rejected(Rejection::Refused(cause)),
            PutError::Unknown(cause) | PutError::Suspect(cause)
                if max_attempts > 0 && attempts >= max_attempts =>
            {
                Self::Rejected(Rejection::TooManyAttempts { attempts, limit: max_attempts, cause })
            }
            PutError::Unavailable(cause) | PutError::Unknown(cause) | PutError::Suspect(cause) => {
                Self::Deferred { attempts, cause }
            }
            // Not one attempt more is spent on a set-up that is wrong: the message waits at the queue.
            PutError::Setup(_) => Self::NotStarted,
        }
    }

    /// The table that decides: outcome to settlement.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        match self {
            // A rejected message is finished, not requeued: it would be as invalid next time, and the dead
            // letter has it.
            Self::Stored | Self::Duplicate | Self::Rejected(_) => Settlement::Finish,
            Self::Deferred { attempts, .. } => Settlement::Requeue { delay: delay_after(*attempts) },
            Self::NotStarted => Settlement::REQUEUE_NOW,
        }
    }
}

/// Puts the blame for one batch where its answers, together with what the store `took_before` in this run,
/// show it to be.
///
/// Records that are refused while the store takes others are at fault themselves. Several records that fail
/// alike before the store has taken any are not: the store is. One record alone proves neither, and the limit
/// on attempts decides.
pub fn weigh(answers: &mut [Result<Put, PutError>], took_before: bool) {
    let takes = took_before || answers.iter().any(Result::is_ok);
    let are_alike = answers.len() > 1 && answers.windows(2).all(|two| two[0] == two[1]);
    let count = answers.len();
    for answer in answers {
        let Err(error) = answer else { continue };
        *error = match std::mem::replace(error, PutError::Unknown(String::new())) {
            PutError::Suspect(cause) if takes => PutError::Refused(cause),
            PutError::Suspect(cause) if are_alike => PutError::Setup(format!(
                "the store took none of the first {count} records, all for the same reason: {cause}"
            )),
            PutError::Unknown(cause) if are_alike && !takes => PutError::Unavailable(cause),
            other => other,
        };
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
        assert_eq!(
            Outcome::of_failure(PutError::Unavailable("down".into()), u32::MAX, 5),
            deferred(u32::MAX)
        );
        assert_eq!(Outcome::of_failure(down(), 4, 5), deferred(4));
        let spent = Rejection::TooManyAttempts { attempts: 5, limit: 5, cause: "down".into() };
        assert_eq!(Outcome::of_failure(down(), 5, 5), Outcome::Rejected(spent));
        assert_eq!(Outcome::of_failure(down(), u32::MAX, 0), deferred(u32::MAX), "0 is no limit");
        assert_eq!(
            Outcome::of_failure(PutError::Refused("big".into()), 1, 5),
            Outcome::Rejected(Rejection::Refused("big".into()))
        );
        assert_eq!(Outcome::of_failure(PutError::Setup("no such table".into()), 9, 5), Outcome::NotStarted);
    }

    /// A namespace that had no room for another set refused every record by a code that blames records, and
    /// all of them became dead letters.
    #[test]
    fn what_several_records_share_is_blamed_on_the_store_and_what_one_has_alone_on_the_record() {
        let suspect = || Err(PutError::Suspect("code 4".into()));
        let unknown = || Err(PutError::Unknown("code 99".into()));
        let refused = || Err(PutError::Refused("code 4".into()));
        let setup = || {
            Err(PutError::Setup(
                "the store took none of the first 2 records, all for the same reason: code 4".into(),
            ))
        };
        let down = || Err(PutError::Unavailable("code 99".into()));
        let big = || Err(PutError::Refused("too big".into()));
        let stored = || Ok(Put::Stored);
        let table = [
            ("several, all alike", vec![suspect(), suspect()], false, vec![setup(), setup()]),
            ("several, all alike", vec![unknown(), unknown()], false, vec![down(), down()]),
            ("one alone", vec![suspect()], false, vec![suspect()]),
            ("one alone", vec![unknown()], false, vec![unknown()]),
            ("not alike", vec![suspect(), unknown()], false, vec![suspect(), unknown()]),
            ("another is stored", vec![suspect(), stored()], false, vec![refused(), stored()]),
            (
                "another is a duplicate",
                vec![Ok(Put::Duplicate), suspect()],
                false,
                vec![Ok(Put::Duplicate), refused()],
            ),
            ("others were stored before", vec![suspect(), suspect()], true, vec![refused(), refused()]),
            ("others were stored before", vec![unknown(), unknown()], true, vec![unknown(), unknown()]),
            ("the records are known to be at fault", vec![big(), big()], false, vec![big(), big()]),
            ("nothing", vec![], false, vec![]),
        ];
        for (story, mut answers, took_before, expected) in table {
            weigh(&mut answers, took_before);
            assert_eq!(answers, expected, "{story}");
        }
    }
}
