//! Silence is put to the test before it counts as an empty queue.
//!
//! Nobody but nsqd's statistics knows that a queue is empty; where they cannot be had, a silence only
//! suggests it, and a path that delays small segments, or all of them, is silent too. So the connections are
//! asked to end (CLS) before the run is: nsqd answers `CLOSE_WAIT` behind everything that it has sent, and
//! goes on to take settlements (`nsqd/protocol_v2.go`, `CLS`, `FIN`). A message that arrives until then
//! proves that the queue was not empty: it is taken, and nsqd is connected to once more. So it is where the
//! answer took so long that the silence before it says nothing. What the answer took is from then on the
//! round trip that silence is measured by. A connection stays open until the end: an ephemeral channel ends
//! with its last one.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use log::{debug, warn};
use tokio::time::Instant;

use super::{
    super::{
        connect::{self, CloseState, Connected},
        flow::LaneStart,
    },
    NsqConsumer, SEND_BOUND, STRAY_TIME,
};
use crate::client::wire;
use x_msrv_core::{
    BoxFuture, error_chain,
    source::{Event, Proof, SourceError},
};

/// How often a run connects once more. Each time a longer silence is waited for; a path for which that is not
/// enough is left to the next run.
const MOST_TESTS: u32 = 16;

/// How far the test of a silence has come.
pub(super) enum Test {
    /// CLS was sent to all.
    Asked(Asked),
    /// Nothing came.
    Passed,
    /// Something came, or might have: new connections are made.
    Reopening {
        connected: BoxFuture<'static, Result<Connected, SourceError>>,
        asked: Asked,
        /// How long the answer to CLS took.
        round_trip: Duration,
    },
}

/// A silence that nsqd was asked to confirm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    /// How long it had lasted then.
    silence: Duration,
    /// Deliveries that had arrived then.
    received: u64,
    /// When all had answered.
    answered: Option<Instant>,
}

impl NsqConsumer {
    /// What is known of the queue while no message is here: that it is empty, that it is gone, or nothing
    /// yet.
    pub(super) fn judge(&mut self, now: Instant) -> Option<Event> {
        let flow = &self.flow;
        if flow.is_paused() {
            return None;
        }
        match &self.test {
            None if !flow.is_empty(now) => None,
            None if flow.is_told_by_all() => Some(Event::Idle(Proof::Proven)),
            None => {
                self.begin_test(now);
                None
            }
            Some(Test::Asked(asked)) => self.conclude(*asked, now),
            // More is wanted: of what came since.
            Some(Test::Passed) if self.wants => {
                let asked = Asked {
                    at: now,
                    silence: Duration::ZERO,
                    received: self.closed.received,
                    answered: Some(now),
                };
                self.reopen(asked, Duration::ZERO);
                None
            }
            Some(Test::Passed | Test::Reopening { .. }) => None,
        }
    }

    /// When [`judge`](Self::judge) has to be asked again, if nothing comes until then.
    pub(super) fn next_judgement(&self) -> Option<Instant> {
        match &self.test {
            Some(Test::Asked(asked)) => {
                Some(asked.answered.map_or(asked.at + SEND_BOUND, |answered| answered + STRAY_TIME))
            }
            _ => None,
        }
    }

    /// The time that nsqd has left to confirm the end of its connections, all of which have been asked or are
    /// asked now.
    pub(super) fn left_to_confirm(&self, now: Instant) -> Duration {
        self.asked_at.map_or(SEND_BOUND, |at| SEND_BOUND.saturating_sub(now - at))
    }

    fn begin_test(&mut self, now: Instant) {
        let silence = self.flow.silence(now);
        self.flow.retire();
        for lane in self.lanes[self.first..].iter_mut().filter(|lane| lane.closing == CloseState::Open) {
            lane.closing = CloseState::Asked;
            wire::put_cls(lane.connection.commands());
        }
        self.asked_at = Some(now);
        self.tests += 1;
        self.question = None;
        self.test =
            Some(Test::Asked(Asked { at: now, silence, received: self.closed.received, answered: None }));
    }

    fn conclude(&mut self, mut asked: Asked, now: Instant) -> Option<Event> {
        let lanes = &self.lanes[self.first..];
        if asked.answered.is_none() && lanes.iter().all(|lane| lane.closing != CloseState::Asked) {
            // When it came, and not when there was time to look: a store may have been waited for meanwhile.
            asked.answered = Some(self.answered_at.map_or(now, |at| at.max(asked.at)));
            self.test = Some(Test::Asked(asked));
        }
        if self.next_judgement().is_some_and(|at| now < at) {
            return None;
        }
        let round_trip = asked.answered.map(|answered| answered - asked.at);
        let refuted = self.closed.received > asked.received;
        // Without an answer nothing is known, and the end of the run says so.
        let says_nothing = round_trip.is_some_and(|round_trip| round_trip > asked.silence);
        if (refuted || says_nothing) && self.tests < MOST_TESTS {
            debug!(refuted, answered_in_ms = (now - asked.at).as_millis(); "the silence was no empty queue");
            self.reopen(asked, round_trip.unwrap_or(SEND_BOUND));
            return None;
        }
        self.test = Some(Test::Passed);
        Some(Event::Idle(Proof::Inferred))
    }

    fn reopen(&mut self, asked: Asked, round_trip: Duration) {
        let settings = self.settings.clone();
        let connected = Box::pin(async move { connect::connect(&settings).await });
        self.test = Some(Test::Reopening { connected, asked, round_trip });
    }

    /// Takes the new connections to the books once they are there. Ready where there is something new to
    /// judge.
    pub(super) fn poll_reopening(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(Test::Reopening { connected, asked, round_trip }) = &mut self.test else {
            return Poll::Pending;
        };
        let (asked, round_trip) = (*asked, *round_trip);
        let result = ready!(connected.as_mut().poll(cx));
        match result {
            Ok(Connected { lanes, .. }) if lanes.is_empty() => {
                self.test = Some(Test::Passed);
                Poll::Ready(Some(Event::Idle(Proof::Proven))) // nsqlookupd lists no nsqd: there is nobody to receive from
            }
            Ok(Connected { mut lanes, are_all, .. }) => {
                for lane in &mut lanes {
                    lane.start.round_trip = lane.start.round_trip.max(round_trip);
                }
                let starts: Vec<LaneStart> = lanes.iter().map(|lane| lane.start).collect();
                self.flow.reopen(&starts, Instant::now());
                self.are_all &= are_all;
                self.first = self.lanes.len();
                self.lanes.append(&mut lanes);
                (self.test, self.asked_at) = (None, None);
                Poll::Ready(None)
            }
            Err(error) => {
                self.test = Some(Test::Passed);
                warn!(cause = error_chain::text(&error); "cannot connect to nsqd again");
                // Something was on its way, so there may be more; otherwise the silence is all that is known.
                Poll::Ready(Some(if self.closed.received > asked.received {
                    Event::Lost
                } else {
                    Event::Idle(Proof::Inferred)
                }))
            }
        }
    }
}
