//! Messages that are delivered again and again. On a queue that delays them, most runs do not see them, and
//! succeed.

use super::Known;
use crate::{
    Run,
    words::{number, span},
};

impl Known<'_> {
    /// Returns the problem of messages that wait because runs could neither store nor reject them: no run has
    /// settled a message since, or runs settle others in between. They are settled when a run leaves nothing.
    /// A failure of the last run itself is reported by its exit code.
    pub(super) fn come_again(&self) -> Option<String> {
        let has_left_something = |run: &&Run| run.depth.after != Some(0);
        let runs: Vec<_> = self.runs.iter().rev().take_while(has_left_something).collect();
        let is_deferring = |run: &&Run| run.counters.deferred > 0;
        let newest = runs.iter().position(is_deferring).filter(|newest| *newest > 0)?;
        let (later, run, earlier) = (&runs[..newest], runs[newest], &runs[newest + 1..]);
        let settles = |run: &&Run| run.counters.received > run.counters.requeued;
        let before = earlier.iter().position(is_deferring);
        let in_between = before.is_some_and(|before| earlier[..before].iter().any(settles));
        (in_between || !later.iter().any(settles)).then(|| {
            let (count, ago) = (number(run.counters.deferred), self.ago(run));
            let cause = run.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("messages are delivered again and again; a run requeued {count} of them {ago} ago{cause}")
        })
    }

    fn ago(&self, run: &Run) -> String {
        span(self.now.duration_since(run.ended()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Level,
            tests::{at, judged, known, run, ticking},
        },
        *,
    };
    use x_msrv_core::report::{Counters, Depth};

    /// A run each ten seconds that left so many messages.
    struct Seen {
        settled: u64,
        deferred: u64,
        left: Option<u64>,
    }

    const IDLE: Seen = Seen { settled: 0, deferred: 0, left: Some(200) };
    const DEFERS: Seen = Seen { deferred: 200, ..IDLE };
    const WORKS: Seen = Seen { settled: 10, ..IDLE };

    #[track_caller]
    fn is_reported(seen: &[&Seen], expected: bool) {
        let of = |(seen, number): (&&Seen, u64)| Run {
            counters: Counters {
                received: seen.settled + seen.deferred,
                stored: seen.settled,
                requeued: seen.deferred,
                deferred: seen.deferred,
                ..Counters::default()
            },
            depth: Depth { before: None, after: seen.left },
            exit_code: if seen.deferred > 0 { 75 } else { 0 },
            error: (seen.deferred > 0).then(|| "no space left".to_owned()),
            ..run(10 * number, "queue-empty", 0)
        };
        let runs: Vec<_> = seen.iter().zip(0..).map(of).collect();
        let now = 10 * seen.len() as u64 - 5;
        let (ticking, text) =
            (ticking(now), "messages are delivered again and again; a run requeued 200 of them ");
        let expected = if expected { &[(Level::Warning, text)][..] } else { &[] };
        judged(
            &super::super::Known { last_success: Some(at(now)), ..known(&runs, now, &ticking) },
            &[],
            expected,
        );
    }

    /// The disk for dead letters was full, and 200 messages could not be rejected. Their delays grew, so 24 of
    /// 30 runs received nothing, succeeded, and left a stable backlog: the status was ok.
    #[test]
    fn delayed_messages_that_no_run_could_settle_are_a_problem() {
        is_reported(&[&WORKS, &DEFERS, &IDLE], true);
        is_reported(&[&WORKS, &DEFERS, &IDLE, &IDLE, &IDLE, &IDLE], true);
        let unknown = Seen { left: None, ..IDLE };
        is_reported(&[&DEFERS, &unknown, &unknown], true);
    }

    /// Other messages were stored in between, so that a run with trouble was never the last that received
    /// something.
    #[test]
    fn delayed_messages_beside_others_that_are_stored_are_a_problem() {
        is_reported(&[&DEFERS, &WORKS, &DEFERS, &WORKS, &WORKS], true);
    }

    #[test]
    fn messages_that_were_stored_after_an_outage_are_no_problem() {
        is_reported(&[&DEFERS, &DEFERS, &WORKS, &WORKS], false);
        let empty = Seen { left: Some(0), ..IDLE };
        is_reported(&[&DEFERS, &IDLE, &empty, &IDLE], false);
        is_reported(&[&WORKS, &IDLE], false);
    }
}
