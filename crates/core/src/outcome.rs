//! The outcome of a message, and how it is settled. Pure.

use std::time::Duration;

use crate::{
    decode::Rejection,
    fault::{Blame, Fault},
    message::Settlement,
    store::Put,
};

/// The first delay of a retried message; it doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay of a retried message.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The outcome of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store has acknowledged it.
    Stored,
    /// The store already had it.
    Duplicate,
    /// It was rejected, and the dead letter has been acknowledged.
    Rejected(Rejection),
    /// The store or the dead-letter destination has an outage, or the cause is unknown: it is retried later.
    Deferred {
        /// Deliveries so far, including this one, if they are counted.
        attempts: Option<u32>,
        /// What failed.
        cause: String,
    },
    /// Over N, or the run stopped before it was started.
    NotStarted,
}

impl Outcome {
    /// Returns the outcome of a record that the store did not accept, before any dead letter is written.
    ///
    /// The limit on attempts (0 means none) applies to failures of unknown cause, where the message may be at
    /// fault. A known outage of the store is no reason to reject a message, and neither are many deliveries
    /// because runs were killed.
    #[must_use]
    pub fn of_failure(fault: Fault, attempts: Option<u32>, max_attempts: u32) -> Self {
        let cause = fault.text;
        match fault.blame {
            Blame::Record => Self::Rejected(Rejection::Refused(cause)),
            Blame::Unknown | Blame::Suspect => match attempts {
                Some(attempts) if max_attempts > 0 && attempts >= max_attempts => {
                    Self::Rejected(Rejection::TooManyAttempts { attempts, limit: max_attempts, cause })
                }
                attempts => Self::Deferred { attempts, cause },
            },
            Blame::Outage => Self::Deferred { attempts, cause },
            // A wrong setup uses no further attempt: the message waits in the queue.
            Blame::Setup => Self::NotStarted,
        }
    }

    /// Returns the outcome for the queue's last delivery of a message: the queue would not deliver it again,
    /// so it is rejected instead of retried or released.
    #[must_use]
    pub fn of_last_delivery(self) -> Self {
        match self {
            Self::Deferred { cause, .. } => Self::Rejected(Rejection::LastDelivery { cause }),
            Self::NotStarted => Self::Rejected(Rejection::LastDelivery {
                cause: "the run stopped before it was started".to_owned(),
            }),
            other => other,
        }
    }

    /// Returns the settlement for the outcome. This table is the only place that decides it.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        match self {
            // A rejected message is acknowledged, not retried: the next attempt would fail the same way, and
            // the dead letter is safe.
            Self::Stored | Self::Duplicate | Self::Rejected(_) => Settlement::Done,
            Self::Deferred { attempts, .. } => {
                Settlement::Retry { after: delay_after(attempts.unwrap_or(1)) }
            }
            Self::NotStarted => Settlement::Release,
        }
    }
}

/// Assigns the blame for one batch from its answers and from what the store `took_before` in this run.
///
/// If the store accepts other records, the refused records are at fault. If several records fail alike before
/// the store has accepted any, the store is at fault. A single record proves neither, and the limit on
/// attempts decides.
pub fn weigh(answers: &mut [Result<Put, Fault>], took_before: bool) {
    let takes = took_before || answers.iter().any(Result::is_ok);
    let are_alike = answers.len() > 1 && answers.windows(2).all(|two| two[0] == two[1]);
    let count = answers.len();
    for fault in answers.iter_mut().filter_map(|answer| answer.as_mut().err()) {
        match fault.blame {
            Blame::Suspect if takes => fault.blame = Blame::Record,
            Blame::Suspect if are_alike => {
                fault.blame = Blame::Setup;
                fault.text = format!(
                    "the store took none of the first {count} records, all for the same reason: {}",
                    fault.text
                );
            }
            Blame::Unknown if are_alike && !takes => fault.blame = Blame::Outage,
            _ => {}
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
        Outcome::Deferred { attempts: Some(attempts), cause: "down".into() }
    }

    #[test]
    fn each_outcome_has_its_settlement() {
        let seconds = |seconds| Settlement::Retry { after: Duration::from_secs(seconds) };
        let table = [
            (Outcome::Stored, Settlement::Done),
            (Outcome::Duplicate, Settlement::Done),
            (Outcome::Rejected(Rejection::ReservedField), Settlement::Done),
            (Outcome::NotStarted, Settlement::Release),
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
    fn an_unknown_failure_is_retried_up_to_the_attempts_limit_and_an_outage_without_limit() {
        let down = || Fault::new(Blame::Unknown, "down");
        assert_eq!(
            Outcome::of_failure(Fault::new(Blame::Outage, "down"), Some(u32::MAX), 5),
            deferred(u32::MAX)
        );
        assert_eq!(Outcome::of_failure(down(), Some(4), 5), deferred(4));
        let spent = Rejection::TooManyAttempts { attempts: 5, limit: 5, cause: "down".into() };
        assert_eq!(Outcome::of_failure(down(), Some(5), 5), Outcome::Rejected(spent));
        assert_eq!(Outcome::of_failure(down(), Some(u32::MAX), 0), deferred(u32::MAX), "0 is no limit");
        assert_eq!(
            Outcome::of_failure(Fault::new(Blame::Record, "big"), Some(1), 5),
            Outcome::Rejected(Rejection::Refused("big".into()))
        );
        assert_eq!(
            Outcome::of_failure(Fault::new(Blame::Setup, "no such table"), Some(9), 5),
            Outcome::NotStarted
        );
    }

    /// A namespace that had no room for another set refused every record with a code that blames records, and
    /// all of them became dead letters.
    #[test]
    fn a_fault_of_all_records_is_blamed_on_the_store_and_a_fault_of_one_on_the_record() {
        let suspect = || Err(Fault::new(Blame::Suspect, "code 4"));
        let unknown = || Err(Fault::new(Blame::Unknown, "code 99"));
        let refused = || Err(Fault::new(Blame::Record, "code 4"));
        let setup = || {
            Err(Fault::new(
                Blame::Setup,
                "the store took none of the first 2 records, all for the same reason: code 4",
            ))
        };
        let down = || Err(Fault::new(Blame::Outage, "code 99"));
        let big = || Err(Fault::new(Blame::Record, "too big"));
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
