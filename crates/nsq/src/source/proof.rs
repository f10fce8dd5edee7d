//! What nsqd is known to have heard of what it was told about messages. Pure; time is passed in.
//!
//! nsqd does not answer FIN and REQ. `CLOSE_WAIT` proves all that stand before it; where a connection is lost
//! there is none. But nsqd sends no message while as many are in flight as RDY allows (`nsqd/client_v2.go`,
//! `IsReadyForMessages`), so each message that came beyond that proves that one before it was settled, as
//! long as none can have timed out.

use std::time::Duration;

use tokio::time::Instant;

/// The books of one connection.
#[derive(Debug)]
pub(super) struct Proof {
    delivered: u64,
    settled: u64,
    /// The largest RDY that nsqd was told.
    most_rdy: u64,
    /// FIN and REQ that nsqd has certainly read.
    confirmed: u64,
    /// From here on a message may have timed out.
    reliable_until: Instant,
}

impl Proof {
    pub(super) fn new(lease: Duration, now: Instant) -> Self {
        Self { delivered: 0, settled: 0, most_rdy: 0, confirmed: 0, reliable_until: now + lease }
    }

    /// Messages that came, whatever became of them.
    pub(super) fn messages(&self) -> u64 {
        self.delivered
    }

    /// A message came.
    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
    }

    /// So many FIN and REQ were put.
    pub(super) fn settled(&mut self, count: u64) {
        self.settled += count;
    }

    /// nsqd refused one of them, which is thereby no longer in doubt.
    pub(super) fn refused(&mut self) {
        self.settled = self.settled.saturating_sub(1);
        self.confirmed = self.confirmed.min(self.settled);
    }

    /// RDY was put.
    pub(super) fn rdy(&mut self, rdy: u32) {
        self.most_rdy = self.most_rdy.max(rdy.into());
    }

    /// nsqd has read everything until now: `CLOSE_WAIT` came, or it has closed the stream after we had closed
    /// our half.
    pub(super) fn confirmed(&mut self) {
        self.confirmed = self.settled;
    }

    /// How many FIN and REQ may not have arrived.
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
    fn what_came_beyond_rdy_proves_that_others_were_settled() {
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
    fn where_a_message_may_have_timed_out_nothing_but_an_answer_proves_anything() {
        let now = Instant::now();
        let mut proof = proof(1_000, 1_000, &[5], now);
        assert_eq!(proof.in_doubt(now + LEASE), 1_000);
        proof.refused();
        assert_eq!(proof.in_doubt(now + LEASE), 999);
        proof.confirmed();
        assert_eq!(proof.in_doubt(now + LEASE), 0);
        proof.settled(2);
        assert_eq!(proof.in_doubt(now + LEASE), 2, "an answer proves what was before it");
        proof.confirmed();
        assert_eq!(proof.in_doubt(now + LEASE), 0);
    }
}
