//! The bookkeeping of every in-memory consumer.

use x_msrv_core::{
    message::{Delivery, Settlement, bytes},
    source::{BYTES_IN_FLIGHT, Closed, Demand, Event, Proof},
};

/// How many deliveries may come, and what the run knows.
#[derive(Debug)]
pub(super) struct Books {
    /// Deliveries that may still be handed out.
    pub(super) left: u64,
    window: u64,
    pub(super) unsettled: u64,
    bytes: usize,
    told: Option<Told>,
    pub(super) closed: Closed,
}

/// The last event that the run received; each is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Full,
    Stopped,
}

/// The next step of a consumer.
pub(super) enum Next {
    /// Look for up to this many messages.
    Take(usize),
    /// Return this event.
    Tell(Event),
    /// Wait for another call.
    Wait,
}

impl Books {
    pub(super) fn new(demand: &Demand, window: u64) -> Self {
        let left = demand.max_messages.get();
        Self { left, window, unsettled: 0, bytes: 0, told: None, closed: Closed::default() }
    }

    pub(super) fn next(&mut self) -> Next {
        let is_full = self.unsettled >= self.window || self.bytes >= BYTES_IN_FLIGHT;
        let (told, event) = match (self.left, is_full) {
            (0, _) => (Told::Stopped, Event::Idle(Proof::Proven)),
            (_, true) => (Told::Full, Event::Full),
            (left, false) => {
                self.told = None;
                return Next::Take(
                    usize::try_from(left.min(self.window - self.unsettled)).unwrap_or(usize::MAX),
                );
            }
        };
        if self.told.replace(told) == Some(told) { Next::Wait } else { Next::Tell(event) }
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
        (self.left, self.told) = (more, None);
    }

    pub(super) fn settled(&mut self, settled: &[(Delivery, Settlement)]) {
        self.unsettled -= settled.len() as u64;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
    }
}
