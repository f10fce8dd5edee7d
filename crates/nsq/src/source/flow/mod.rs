//! Distributes N and the in-flight limit over the connections. Pure; time is passed in.
//!
//! RDY limits what is *in flight* on a connection, so every settlement admits another message. The state is
//! therefore kept per lane (one connection) as `unsettled` (received, not settled) and `open` (what nsqd may
//! still send), and RDY is always their sum. Two limits hold over all lanes: `received + open <= N`, and
//! `unsettled + open <= max_in_flight`. A settlement becomes `open` again as long as N allows it, so RDY does
//! not change in the middle of a run. If it must decrease, it does so *before* the FIN that would admit a
//! message too many.
//!
//! nsqd holds messages back in its output buffer as long as fewer are in flight than RDY allows. It flushes
//! when its message pump finds the client "not ready", that is, in flight >= RDY (`nsqd/protocol_v2.go`,
//! `messagePump`). So if nothing arrived for [`FILL_TIME`], the lane is *narrowed*: RDY drops to one more
//! than the known messages. If anything is held back, in flight is at or above that, and nsqd flushes at
//! once. If not, the one remaining permit lets the next message through without delay, because it fills RDY.
//! Nothing can be missed, and nothing is sent twice, as could happen with a switch to 0 and back.
//!
//! Whether the queue is empty is a separate question; `empty` answers it from the same state.

mod empty;

use std::time::Duration;

use tokio::time::Instant;

/// Silence after which a lane is narrowed. Also the minimum time before statistics are requested again if
/// they report more waiting messages than arrive.
const FILL_TIME: Duration = Duration::from_millis(1);

/// The minimum silence on a narrowed lane that means that its nsqd has nothing.
const LEAST_QUIET_TIME: Duration = Duration::from_millis(3);

/// The state of all lanes.
#[derive(Debug)]
pub(super) struct Flow {
    /// Messages of N that are neither received nor open on a lane.
    left: u64,
    max_in_flight: u64,
    idle_timeout: Duration,
    lanes: Vec<Lane>,
    started: Instant,
    last_message: Instant,
    /// The time of the last message or settlement. While messages are processed the machine is busy, and
    /// silence means little.
    idle_since: Instant,
    /// The total delay of local timers.
    lateness: Duration,
    /// When statistics may be requested again, after they reported waiting messages that did not arrive.
    ask_after: Instant,
    /// How often they reported that since the last message.
    contradictions: u32,
    paused: bool,
}

#[derive(Debug)]
struct Lane {
    open: u64,
    unsettled: u64,
    /// The last RDY that was sent to nsqd.
    rdy: u64,
    /// The largest RDY that it accepts.
    max_rdy: u64,
    /// The number of waiting messages there, if known; a lane is opened in proportion.
    weight: u64,
    statistics: Statistics,
    /// The number of known waiting messages that have not arrived.
    expected: u64,
    round_trip: Duration,
    /// How long a narrowed lane must be silent.
    quiet_time: Duration,
    phase: Phase,
    /// Whether the last message used up the last permit.
    was_full: bool,
    /// The time of the last message, or of the last change of phase.
    since: Instant,
    gone: bool,
    /// nsqd sends nothing new: its connection is being closed.
    retired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// RDY covers everything that is open.
    Wide,
    /// RDY admits one message more than is in flight, whatever is open.
    Narrow,
    /// RDY admits no message, whatever is open, until the statistics arrive.
    Asked,
    /// Nothing waits there.
    Dry {
        /// Since when that is known.
        checked: Instant,
        /// Whether statistics prove it, not only silence.
        told: bool,
    },
}

/// Whether the statistics of a lane's nsqd are available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistics {
    /// Their address is unknown.
    None,
    /// At the address from nsqlookupd. They do not contain this connection, so nothing proves whose they are.
    Unproven,
    /// They contain this connection.
    Proven,
}

/// What is known about a lane before the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneStart {
    pub(super) max_rdy: u32,
    pub(super) round_trip: Duration,
    /// How many messages may arrive from it; `None` if unknown.
    pub(super) available: Option<u64>,
    pub(super) statistics: Statistics,
}

impl LaneStart {
    fn proven(&self) -> Option<u64> {
        self.available.filter(|_| self.statistics == Statistics::Proven)
    }
}

impl Flow {
    pub(super) fn new(
        max_messages: u64,
        max_in_flight: u64,
        idle_timeout: Duration,
        starts: &[LaneStart],
        now: Instant,
    ) -> Self {
        let mut flow = Self {
            left: max_messages,
            max_in_flight,
            idle_timeout,
            lanes: lanes(starts, now),
            started: now,
            last_message: now,
            idle_since: now,
            lateness: Duration::ZERO,
            ask_after: now,
            contradictions: 0,
            paused: false,
        };
        flow.share_out(now);
        flow
    }

    /// All connections are being closed: nsqd may send only what it has already sent, which is still taken
    /// within both limits.
    pub(super) fn retire(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.gone) {
            lane.retired = true;
            self.left += std::mem::take(&mut lane.open);
        }
    }

    /// Replaces the retired connections with new ones.
    pub(super) fn reopen(&mut self, starts: &[LaneStart], now: Instant) {
        self.lanes.append(&mut lanes(starts, now));
        self.idle_since = now;
        self.share_out(now);
    }

    /// Returns how long nothing has arrived and nothing was processed.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now - self.idle_since
    }

    /// Records a message. Returns false if the lane had no permit for it: it is a stray, and is not counted.
    pub(super) fn received(&mut self, lane: usize, now: Instant) -> bool {
        self.last_message = now;
        self.idle_since = now;
        self.ask_after = now;
        self.contradictions = 0;
        let room = self.room();
        let lane = &mut self.lanes[lane];
        lane.since = now;
        // The last of the known messages: there may be no more, and if there are, the next one arrives at
        // once.
        lane.phase = if lane.expected == 1 { Phase::Narrow } else { Phase::Wide };
        lane.expected = lane.expected.saturating_sub(1);
        if lane.open == 0 {
            // The permit was moved away while the message was under way: it is taken from the unassigned
            // ones, if there are any.
            if room == 0 || self.paused {
                return false;
            }
            self.left -= 1;
        } else {
            lane.open -= 1;
        }
        lane.unsettled += 1;
        lane.was_full = lane.open == 0;
        true
    }

    /// Records settlements that are about to be sent.
    pub(super) fn settled(&mut self, lane: usize, count: u64, now: Instant) {
        self.lanes[lane].unsettled -= count;
        self.idle_since = now;
        self.share_out(now);
    }

    /// Handles the passage of time: narrows silent lanes, and moves permits away from empty ones.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_open()) {
            match lane.phase {
                Phase::Wide if now - lane.since >= FILL_TIME => {
                    lane.phase = Phase::Narrow;
                    lane.since = now;
                }
                Phase::Narrow if now - lane.since >= lane.quiet_time => {
                    lane.phase = Phase::Dry { checked: now, told: false }
                }
                _ => {}
            }
        }
        self.share_out(now);
    }

    /// Returns when the state changes next if nothing arrives until then.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let lanes = self.lanes.iter().filter(|lane| lane.is_open()).filter_map(|lane| match lane.phase {
            Phase::Wide => Some(lane.since + FILL_TIME),
            Phase::Narrow => Some(lane.since + lane.quiet_time),
            Phase::Asked | Phase::Dry { .. } => None,
        });
        let all =
            [self.ask_after, self.idle_since + self.idle_timeout, self.idle_since + self.needed_silence()];
        lanes.chain(all).filter(|at| *at > now).min()
    }

    /// Lanes are read again after a pause: messages sent meanwhile are about to arrive.
    pub(super) fn resumed(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            lane.since = now;
        }
    }

    /// Stops asking for messages. Returns whether nsqd was allowed to send some.
    pub(super) fn pause(&mut self) -> bool {
        self.paused = true;
        let open: u64 = self.lanes.iter_mut().map(|lane| std::mem::take(&mut lane.open)).sum();
        self.left += open;
        open > 0
    }

    /// Asks for this many more messages, whatever was asked for before.
    pub(super) fn resume(&mut self, more: u64, now: Instant) {
        self.paused = false;
        let open: u64 = self.lanes.iter().map(|lane| lane.open).sum();
        self.left = more.saturating_sub(open);
        self.idle_since = now;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.gone && !lane.retired) {
            (lane.phase, lane.since) = (Phase::Wide, now);
        }
        self.share_out(now);
    }

    /// Returns whether a lane that may have more has no permit until something is settled.
    pub(super) fn is_full(&self) -> bool {
        !self.paused && self.left > 0 && self.alive().any(|lane| !lane.is_open() && !lane.is_dry())
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Records a lost connection; nsqd delivers its unsettled messages again.
    pub(super) fn lost(&mut self, lane: usize, now: Instant) {
        let lane = &mut self.lanes[lane];
        lane.gone = true;
        self.left += std::mem::take(&mut lane.open);
        lane.unsettled = 0;
        self.share_out(now);
    }

    /// Returns the RDY to send to nsqd if it differs from the last one; `None` if the lane is lost.
    pub(super) fn change_of_rdy(&mut self, lane: usize) -> Option<RdyChange> {
        let lane = &mut self.lanes[lane];
        let permits = match lane.phase {
            // Not more than will arrive: nsqd holds nothing back once RDY is filled.
            Phase::Wide if lane.expected > 0 => lane.open.min(lane.expected),
            Phase::Wide => lane.open,
            Phase::Narrow | Phase::Dry { .. } => lane.open.min(1),
            Phase::Asked => 0,
        };
        // If nothing will be opened again, RDY 0 has the same effect as RDY = in flight, and saves a command
        // with each settlement.
        let no_more = permits == 0 && (self.left == 0 || self.paused);
        let rdy = if no_more { 0 } else { (lane.unsettled + permits).min(lane.max_rdy) };
        if lane.gone || lane.retired || rdy == lane.rdy {
            return None;
        }
        let before = std::mem::replace(&mut lane.rdy, rdy);
        Some(RdyChange { rdy: u32::try_from(rdy).unwrap_or(u32::MAX), sinks: rdy < before })
    }

    fn alive(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|lane| !lane.gone && !lane.retired)
    }

    /// Returns how much may still be opened within both limits.
    fn room(&self) -> u64 {
        let in_flight: u64 = self.lanes.iter().map(|lane| lane.unsettled + lane.open).sum();
        self.left.min(self.max_in_flight.saturating_sub(in_flight))
    }

    fn share_out(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        self.take_back(now);
        let room = self.room();
        let wanting: Vec<usize> =
            (0..self.lanes.len()).filter(|&index| self.lanes[index].wants_more()).collect();
        if room == 0 || wanting.is_empty() {
            return;
        }
        let weights: Vec<u64> = wanting.iter().map(|&index| self.lanes[index].weight).collect();
        for (&index, share) in wanting.iter().zip(shares(room, &weights)) {
            let lane = &mut self.lanes[index];
            let share = share.min(lane.max_rdy.saturating_sub(lane.unsettled + lane.open));
            if share > 0 {
                if !lane.is_open() {
                    lane.since = now; // listening starts now
                }
                lane.open += share;
                self.left -= share;
            }
        }
    }

    /// Takes permits from empty lanes for others that can use them, down to one permit to listen with, or to
    /// none if lanes wait for their turn.
    fn take_back(&mut self, now: Instant) {
        let last_message = self.last_message;
        let stale = |lane: &Lane| matches!(lane.phase, Phase::Dry { checked, .. } if !lane.heard_since(checked, last_message));
        if self.alive().all(Lane::is_dry) {
            // All were dry once, but some of them before the last message arrived elsewhere: they get another
            // turn.
            for lane in self.lanes.iter_mut().filter(|lane| !lane.gone && !lane.retired && stale(lane)) {
                lane.phase = Phase::Wide;
                lane.since = now;
            }
        }
        if !self.lanes.iter().any(Lane::wants_more) {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_dry() && lane.open > 1) {
            self.left += lane.open - 1;
            lane.open = 1;
        }
        let waiting = self.alive().any(|lane| lane.wants_more() && !lane.is_open());
        if waiting
            && self.room() == 0
            && let Some(lane) = self.lanes.iter_mut().find(|lane| lane.is_dry() && lane.is_open())
        {
            lane.open = 0;
            self.left += 1;
        }
    }
}

fn lanes(starts: &[LaneStart], now: Instant) -> Vec<Lane> {
    let known = starts.iter().all(|start| start.available.is_some());
    let lane = |start: &LaneStart| Lane {
        open: 0,
        unsettled: 0,
        rdy: 0,
        max_rdy: u64::from(start.max_rdy),
        // An empty queue may have received messages since its statistics, so its lane listens as well.
        weight: if known { start.available.unwrap_or(0).max(1) } else { 1 },
        statistics: start.statistics,
        expected: start.proven().unwrap_or(0),
        round_trip: start.round_trip,
        quiet_time: LEAST_QUIET_TIME.max(start.round_trip * 2),
        phase: if start.proven() == Some(0) { Phase::Narrow } else { Phase::Wide },
        was_full: false,
        since: now,
        gone: false,
        retired: false,
    };
    starts.iter().map(lane).collect()
}

/// A change of RDY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RdyChange {
    pub(super) rdy: u32,
    /// Whether it decreases, and so must be sent before settlements.
    pub(super) sinks: bool,
}

impl Lane {
    fn is_open(&self) -> bool {
        self.open > 0
    }

    fn is_dry(&self) -> bool {
        matches!(self.phase, Phase::Dry { .. })
    }

    /// Returns whether a result from `checked` still holds after the last message on any lane: a lane that
    /// still listens would have received it.
    fn heard_since(&self, checked: Instant, last_message: Instant) -> bool {
        self.is_open() || checked >= last_message
    }

    fn wants_more(&self) -> bool {
        !self.gone && !self.retired && !self.is_dry() && self.unsettled + self.open < self.max_rdy
    }
}

/// Splits `total` in proportion to `weights` (none of them 0); every share is at least 1 as long as there is
/// enough.
fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let count = weights.len() as u64;
    if total <= count {
        return (0..count).map(|index| u64::from(index < total)).collect();
    }
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let spare = total - count;
    let mut shares: Vec<u64> = weights
        .iter()
        .map(|&weight| {
            1 + u64::try_from(u128::from(spare) * u128::from(weight) / sum)
                .expect("a share is no larger than the whole")
        })
        .collect();
    let given: u64 = shares.iter().sum();
    let rest = usize::try_from(total - given).expect("fewer than there are lanes");
    shares.iter_mut().take(rest).for_each(|share| *share += 1);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) const MS: Duration = Duration::from_millis(1);

    pub(super) fn lanes(count: usize) -> Vec<LaneStart> {
        vec![
            LaneStart {
                max_rdy: 2_500,
                round_trip: Duration::ZERO,
                available: None,
                statistics: Statistics::None
            };
            count
        ]
    }

    pub(super) fn proven(depths: &[u64]) -> Vec<LaneStart> {
        let start = |depth: &u64| LaneStart {
            available: Some(*depth),
            statistics: Statistics::Proven,
            ..lanes(1)[0]
        };
        depths.iter().map(start).collect()
    }

    pub(super) fn rdy(flow: &mut Flow, lane: usize) -> Option<u32> {
        flow.change_of_rdy(lane).map(|change| change.rdy)
    }

    #[test]
    fn rdy_is_constant_until_n_is_near_and_then_decreases_with_each_settlement() {
        let now = Instant::now();
        let mut flow = Flow::new(30, 10, 10 * MS, &lanes(1), now);
        assert_eq!(rdy(&mut flow, 0), Some(10));
        for _ in 0..20 {
            assert!(flow.received(0, now));
            flow.settled(0, 1, now);
            assert_eq!(rdy(&mut flow, 0), None, "every finish admits another message, and that is wanted");
        }
        assert!(flow.received(0, now));
        flow.settled(0, 1, now);
        assert_eq!(flow.change_of_rdy(0), Some(RdyChange { rdy: 9, sinks: true }), "21 are in, 9 are left");
        for _ in 0..9 {
            assert!(flow.received(0, now));
        }
        assert!(!flow.received(0, now), "the 31st is a stray");
        assert_eq!(rdy(&mut flow, 0), Some(0));
    }

    #[test]
    fn a_silent_lane_is_narrowed_to_one_permit_and_widened_by_a_message() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, 10 * MS, &lanes(1), now);
        assert_eq!(rdy(&mut flow, 0), Some(10));
        flow.tick(now + MS);
        assert_eq!(rdy(&mut flow, 0), Some(1));
        assert!(flow.received(0, now + 2 * MS));
        assert_eq!(rdy(&mut flow, 0), Some(10), "one in flight and nine open");
        flow.tick(now + 3 * MS);
        assert_eq!(rdy(&mut flow, 0), Some(2), "one in flight and one to listen with");
    }

    #[test]
    fn every_lane_gets_a_turn_if_n_is_smaller_than_their_number() {
        let mut now = Instant::now();
        let mut flow = Flow::new(2, 10, 10 * MS, &lanes(3), now);
        assert_eq!((rdy(&mut flow, 0), rdy(&mut flow, 1), rdy(&mut flow, 2)), (Some(1), Some(1), None));
        for _ in 0..8 {
            now += MS;
            flow.tick(now);
        }
        assert_eq!(rdy(&mut flow, 2), Some(1), "the first two have nothing");
        assert!(flow.received(2, now));
        flow.tick(now);
        assert_eq!(
            rdy(&mut flow, 2),
            Some(2),
            "one in flight, and the rest of N is open where the messages are"
        );
    }

    #[test]
    fn a_lost_lane_gives_its_share_to_the_others_and_pausing_closes_all() {
        let now = Instant::now();
        let mut flow = Flow::new(100, 10, 10 * MS, &lanes(2), now);
        assert_eq!((rdy(&mut flow, 0), rdy(&mut flow, 1)), (Some(5), Some(5)));
        flow.lost(0, now);
        assert_eq!((rdy(&mut flow, 0), rdy(&mut flow, 1)), (None, Some(10)));
        assert!(flow.received(1, now));
        assert!(flow.pause() && !flow.pause(), "nine were open");
        assert_eq!(rdy(&mut flow, 1), Some(0));
        assert!(!flow.received(1, now), "what comes after the pause is a stray");
        assert_eq!(flow.next_tick(now), None);
        assert!(!flow.is_empty(now + 10_000 * MS), "no lane listens any more, so it is unknown");
    }

    #[test]
    fn shares_are_proportional_to_depth_and_never_zero() {
        assert_eq!(shares(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(shares(100, &[1_000_000, 1, 1]), [98, 1, 1]);
        assert_eq!(shares(2, &[5, 5, 5]), [1, 1, 0]);
        assert_eq!(shares(u64::MAX, &[u64::MAX, u64::MAX]).iter().sum::<u64>(), u64::MAX);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Receive(usize),
        Settle(usize, u64),
        Wait(u64),
        Lose(usize),
        Ask,
        Told(usize, Option<u64>),
        Retire,
        Reopen,
    }

    impl Event {
        /// Maps the lanes 0 to 2 of an event to the most recently opened ones, from `current` on; 3 to 5 are
        /// the first ones.
        fn at(self, current: usize) -> Self {
            let at = |lane: usize| if lane < 3 { current + lane } else { lane - 3 };
            match self {
                Self::Receive(lane) => Self::Receive(at(lane)),
                Self::Settle(lane, count) => Self::Settle(at(lane), count),
                Self::Lose(lane) => Self::Lose(at(lane)),
                Self::Told(lane, waiting) => Self::Told(at(lane), waiting),
                other => other,
            }
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..6_usize).prop_map(Event::Receive),
            4 => (0..6_usize, 1..4_u64).prop_map(|(lane, count)| Event::Settle(lane, count)),
            3 => (0..6_u64).prop_map(Event::Wait),
            1 => (0..6_usize).prop_map(Event::Lose),
            2 => Just(Event::Ask),
            2 => (0..3_usize, proptest::option::of(0..9_u64)).prop_map(|(lane, waiting)| Event::Told(lane, waiting)),
            1 => Just(Event::Retire),
            1 => Just(Event::Reopen),
        ]
    }

    proptest! {
        /// One nsqd sends whenever its RDY allows, and others stay silent, in any order of events. Messages
        /// that were under way when a connection was closed still arrive, and are taken as long as no other
        /// connection uses their permits.
        #[test]
        fn never_more_than_n_and_never_more_in_flight_than_allowed(
            max_messages in 1..40_u64,
            max_in_flight in 1..12_u64,
            depths in proptest::option::of(proptest::array::uniform3(0..30_u64)),
            events in proptest::collection::vec(any_event(), 0..200),
        ) {
            let mut now = Instant::now();
            let starts = depths.map_or_else(|| lanes(3), |depths| proven(&depths));
            let mut flow = Flow::new(max_messages, max_in_flight, 10 * MS, &starts, now);
            let (mut told, mut in_flight, mut total) = (vec![0_u64; 3], vec![0_u64; 3], 0);
            // The index of the first of three lanes that are not retired.
            let mut first = 0;
            for event in events {
                for (lane, told) in told.iter_mut().enumerate() {
                    if let Some(change) = flow.change_of_rdy(lane) {
                        *told = u64::from(change.rdy);
                    }
                }
                let both = || told.iter().zip(&in_flight).enumerate().map(|(lane, (told, in_flight))| (*told * u64::from(lane >= first), *in_flight));
                prop_assert!(both().map(|(told, in_flight)| told.max(in_flight)).sum::<u64>() <= max_in_flight);
                prop_assert!(both().map(|(told, in_flight)| told.saturating_sub(in_flight)).sum::<u64>() + total <= max_messages);
                let current = flow.lanes.len() - 3;
                match event.at(current) {
                    Event::Receive(lane) if !flow.lanes[lane].gone && in_flight[lane] < told[lane] => {
                        let taken = flow.received(lane, now);
                        prop_assert!(taken || lane < first, "a message within RDY is never a stray");
                        if !taken {
                            continue;
                        }
                        in_flight[lane] += 1;
                        total += 1;
                    }
                    Event::Settle(lane, count) if !flow.lanes[lane].gone && in_flight[lane] >= count => {
                        flow.settled(lane, count, now);
                        in_flight[lane] -= count;
                    }
                    Event::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        flow.tick(now);
                    }
                    Event::Ask => flow.asked(),
                    Event::Told(lane, waiting) => {
                        flow.told(lane, waiting, now);
                        flow.all_told(now);
                    }
                    Event::Lose(lane) if !flow.lanes[lane].gone => {
                        flow.lost(lane, now);
                        (told[lane], in_flight[lane]) = (0, 0);
                    }
                    Event::Retire => {
                        flow.retire();
                        first = flow.lanes.len();
                    }
                    Event::Reopen if first == flow.lanes.len() => {
                        flow.reopen(&starts, now);
                        told.extend([0; 3]);
                        in_flight.extend([0; 3]);
                    }
                    _ => {}
                }
            }
            prop_assert!(total <= max_messages);
        }
    }
}
