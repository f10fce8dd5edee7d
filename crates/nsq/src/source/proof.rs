//! Tracks which settlements nsqd has certainly received. Pure; time is passed in.
//!
//! nsqd does not answer FIN and REQ. `CLOSE_WAIT` confirms all settlements before it, but a lost connection
//! has none. However, nsqd sends no message while RDY messages are in flight (`nsqd/client_v2.go`,
//! `IsReadyForMessages`). So each message beyond RDY proves that an earlier one was settled, as long as none
//! can have timed out.

use std::time::Duration;

use tokio::time::Instant;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Proof {
    delivered: u64,
    settled: u64,
    /// The largest RDY that was sent to nsqd.
    most_rdy: u64,
    /// The number of FIN and REQ that nsqd has certainly read.
    confirmed: u64,
    /// After this time a message may have timed out.
    reliable_until: Instant,
}

impl Proof {
    pub(super) fn new(lease: Duration, now: Instant) -> Self {
        Self { delivered: 0, settled: 0, most_rdy: 0, confirmed: 0, reliable_until: now + lease }
    }

    /// Returns the number of messages that arrived, with any outcome.
    pub(super) fn messages(&self) -> u64 {
        self.delivered
    }

    /// Records a message.
    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
    }

    /// Records this many FIN and REQ.
    pub(super) fn settled(&mut self, count: u64) {
        self.settled += count;
    }

    /// nsqd refused one of them, so it is not in doubt.
    pub(super) fn refused(&mut self) {
        self.settled = self.settled.saturating_sub(1);
        self.confirmed = self.confirmed.min(self.settled);
    }

    /// Records an RDY.
    pub(super) fn rdy(&mut self, rdy: u32) {
        self.most_rdy = self.most_rdy.max(rdy.into());
    }

    /// nsqd has read everything so far: `CLOSE_WAIT` arrived, or nsqd closed the stream after the sending
    /// side was closed.
    pub(super) fn confirmed(&mut self) {
        self.confirmed = self.settled;
    }

    /// Returns how many FIN and REQ may not have arrived.
    pub(super) fn in_doubt(&self, now: Instant) -> u64 {
        let implied =
            if now < self.reliable_until { self.delivered.saturating_sub(self.most_rdy) } else { 0 };
        self.settled.saturating_sub(self.confirmed.max(implied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    fn proof(delivered: u64, settled: u64, rdy: &[u32], now: Instant) -> Proof {
        let mut proof = Proof::new(LEASE, now);
        for &rdy in rdy {
            proof.rdy(rdy);
        }
        for _ in 0..delivered {
            proof.delivered();
        }
        proof.settled(settled);
        proof
    }

    #[test]
    fn messages_beyond_rdy_prove_that_earlier_ones_were_settled() {
        let now = Instant::now();
        for (delivered, settled, rdy, in_doubt) in [
            (1_000, 1_000, &[5][..], 5),
            (1_000, 997, &[5], 2),
            (1_000, 995, &[5], 0),
            (5, 5, &[5], 5),
            (1_000, 1_000, &[5, 40, 5], 40),
            (0, 0, &[], 0),
        ] {
            assert_eq!(
                proof(delivered, settled, rdy, now).in_doubt(now),
                in_doubt,
                "{delivered} {settled} {rdy:?}"
            );
        }
    }

    #[test]
    fn after_a_possible_timeout_only_a_response_is_proof() {
        let now = Instant::now();
        let mut proof = proof(1_000, 1_000, &[5], now);
        assert_eq!(proof.in_doubt(now + LEASE), 1_000);
        proof.refused();
        assert_eq!(proof.in_doubt(now + LEASE), 999);
        proof.confirmed();
        assert_eq!(proof.in_doubt(now + LEASE), 0);
        proof.settled(2);
        assert_eq!(proof.in_doubt(now + LEASE), 2, "a response confirms everything before it");
        proof.confirmed();
        assert_eq!(proof.in_doubt(now + LEASE), 0);
    }
}
