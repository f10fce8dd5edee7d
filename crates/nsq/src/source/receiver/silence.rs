//! Tests a silence before it counts as an empty queue.
//!
//! Only nsqd's statistics can prove that a queue is empty. Without them, silence merely suggests it, and a
//! network that delays packets is silent too. So the run closes its connections first (CLS): nsqd sends
//! `CLOSE_WAIT` after everything that it has sent, and still accepts settlements (`nsqd/protocol_v2.go`,
//! `CLS`, `FIN`). A message that arrives before it proves that the queue was not empty: it is taken, and the
//! run reconnects to nsqd. The run also reconnects if the response took so long that the silence before it
//! means nothing. From then on, the time of that response is the round trip that silence is measured by. One
//! connection stays open until the end, because an ephemeral channel is deleted with its last one.
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

/// How often a run reconnects. Each time it waits for a longer silence; if that is not enough for a network,
/// the next run continues.
const MOST_TESTS: u32 = 16;

/// The progress of the test of a silence.
pub(super) enum Test {
    /// CLS was sent on all lanes.
    Asked(Asked),
    /// Nothing arrived.
    Passed,
    /// Something arrived, or might have: new connections are made.
    Reopening {
        connected: BoxFuture<'static, Result<Connected, SourceError>>,
        asked: Asked,
        /// How long the response to CLS took.
        round_trip: Duration,
    },
}

/// A silence that nsqd was asked to confirm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    /// How long it had lasted by then.
    silence: Duration,
    /// The number of deliveries by then.
    received: u64,
    /// When all had responded.
    answered: Option<Instant>,
}

impl NsqConsumer {
    /// Returns what is known about the queue while no message is waiting: that it is empty, that it is lost,
    /// or nothing yet.
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
            // The run wants more: of the messages since then.
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

    /// Returns when [`judge`](Self::judge) must be called again if nothing arrives until then.
    pub(super) fn next_judgement(&self) -> Option<Instant> {
        match &self.test {
            Some(Test::Asked(asked)) => {
                Some(asked.answered.map_or(asked.at + SEND_BOUND, |answered| answered + STRAY_TIME))
            }
            _ => None,
        }
    }

    /// Returns the remaining time for nsqd to confirm the end of its connections, all of which are being
    /// closed by now.
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
            // The time of arrival, not the time of processing: a store may have delayed that.
            asked.answered = Some(self.answered_at.map_or(now, |at| at.max(asked.at)));
            self.test = Some(Test::Asked(asked));
        }
        if self.next_judgement().is_some_and(|at| now < at) {
            return None;
        }
        let round_trip = asked.answered.map(|answered| answered - asked.at);
        let refuted = self.closed.received > asked.received;
        // Without a response nothing is known, and the end of the run reports it.
        let says_nothing = round_trip.is_some_and(|round_trip| round_trip > asked.silence);
        if (refuted || says_nothing) && self.tests < MOST_TESTS {
            debug!(refuted, answered_in_ms = (now - asked.at).as_millis(); "the queue was silent but not empty");
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

    /// Adds the new connections once they are open. Ready if there is something new to judge.
    pub(super) fn poll_reopening(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(Test::Reopening { connected, asked, round_trip }) = &mut self.test else {
            return Poll::Pending;
        };
        let (asked, round_trip) = (*asked, *round_trip);
        let result = ready!(connected.as_mut().poll(cx));
        match result {
            Ok(Connected { lanes, .. }) if lanes.is_empty() => {
                self.test = Some(Test::Passed);
                Poll::Ready(Some(Event::Idle(Proof::Proven))) // nsqlookupd lists no nsqd: there is nothing to receive
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
                warn!(cause = error_chain::text(&error); "cannot reconnect to nsqd");
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
