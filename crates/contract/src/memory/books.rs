//! The bookkeeping of every in-memory consumer.

use x_msrv_core::{
    message::{Delivery, Settlement, bytes},
    source::{BYTES_IN_FLIGHT, Closed, Demand, Event, Proof},
};

/// How many deliveries may be handed out, and what was reported to the run.
#[derive(Debug)]
pub(super) struct Books {
    /// Deliveries that may still be handed out.
    pub(super) left: u64,
    window: u64,
    pub(super) unsettled: u64,
    bytes: usize,
    reported: Option<Reported>,
    pub(super) closed: Closed,
}

/// The last event that the run received; each is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    Full,
    Stopped,
}

/// The next step of a consumer.
pub(super) enum Next {
    /// Look for up to this many messages.
    Take(usize),
    /// Return this event.
    Report(Event),
    /// Wait for another call.
    Wait,
}

impl Books {
    pub(super) fn new(demand: &Demand, window: u64) -> Self {
        let left = demand.max_messages.get();
        Self { left, window, unsettled: 0, bytes: 0, reported: None, closed: Closed::default() }
    }

    pub(super) fn next(&mut self) -> Next {
        let is_full = self.unsettled >= self.window || self.bytes >= BYTES_IN_FLIGHT;
        let (reported, event) = match (self.left, is_full) {
            (0, _) => (Reported::Stopped, Event::Idle(Proof::Proven)),
            (_, true) => (Reported::Full, Event::Full),
            (left, false) => {
                self.reported = None;
                return Next::Take(
                    usize::try_from(left.min(self.window - self.unsettled)).unwrap_or(usize::MAX),
                );
            }
        };
        if self.reported.replace(reported) == Some(reported) { Next::Wait } else { Next::Report(event) }
    }

    /// Returns whether the byte limit leaves room for another delivery.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BYTES_IN_FLIGHT
    }

    pub(super) fn took(&mut self, delivery: &Delivery) {
        self.bytes += delivery.message.body.len();
        self.closed.received += 1;
        self.left -= 1;
        self.unsettled += 1;
    }

    pub(super) fn want(&mut self, more: u64) {
        (self.left, self.reported) = (more, None);
    }

    pub(super) fn settled(&mut self, settled: &[(Delivery, Settlement)]) {
        self.unsettled -= settled.len() as u64;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
    }
}
