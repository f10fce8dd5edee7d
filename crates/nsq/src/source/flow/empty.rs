//! Decides whether the queue is empty.
//!
//! The best answer comes from nsqd's statistics (`nsqd/stats.go`): they count waiting messages, and messages
//! sent to this client, arrived or not. A lane that is *asked* has no permit meanwhile, so nothing is under
//! way when the answer is "nothing". Without statistics, only silence can tell.

use std::time::Duration;

use tokio::time::Instant;

use super::{FILL_TIME, Flow, Lane, Phase, Statistics};

/// The minimum silence if statistics are not available.
const LEAST_SILENCE: Duration = Duration::from_millis(10);

/// The maximum silence, however long messages were flowing, unless two round trips take longer.
const LONGEST_SILENCE: Duration = Duration::from_millis(250);

/// The minimum silence after a message that used up a lane's last permit: nsqd sent all that it could, so it
/// probably has more.
const SILENCE_WHEN_FULL: Duration = Duration::from_millis(100);

/// How often statistics that may be from another nsqd are trusted when they report more waiting messages than
/// arrive.
const MOST_CONTRADICTIONS: u32 = 3;

/// The minimum silence in multiples of a round trip, or of a timer's delay.
const PATIENCE: u32 = 5;

/// The usual delay of tokio's timers on an idle machine.
const TIMER_PRECISION: Duration = Duration::from_millis(2);

impl Flow {
    /// Returns whether nothing waits on any lane: its statistics say so, or it was silent for long enough.
    pub(in crate::source) fn is_empty(&self, now: Instant) -> bool {
        !self.paused
            && self.alive().all(|lane| match (lane.statistics, lane.phase) {
                (Statistics::None, _) => self.is_silent(lane, now),
                (_, Phase::Dry { checked, told: true }) => lane.heard_since(checked, self.last_message),
                _ => false,
            })
    }

    /// Returns whether the statistics of all lanes prove that the queue is empty: nothing can be under way
    /// then.
    pub(in crate::source) fn is_told_by_all(&self) -> bool {
        self.alive().all(|lane| lane.statistics == Statistics::Proven)
    }

    /// Returns whether the statistics are to be requested: as soon as all known messages have arrived, or
    /// silence suggests that there are no more.
    pub(in crate::source) fn wants_to_ask(&self, now: Instant) -> bool {
        !self.paused
            && now >= self.ask_after.max(self.idle_since + self.idle_timeout)
            && self.alive().any(|lane| lane.statistics != Statistics::None)
            && self.alive().all(|lane| match lane.statistics {
                Statistics::Proven => {
                    lane.expected == 0 && lane.phase != Phase::Wide || matches!(lane.phase, Phase::Dry { .. })
                }
                Statistics::None | Statistics::Unproven => self.is_silent(lane, now),
            })
    }

    /// Marks the statistics as being requested.
    pub(in crate::source) fn asked(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.statistics == Statistics::Proven) {
            lane.phase = Phase::Asked;
        }
    }

    /// Marks their pending response as outdated.
    pub(in crate::source) fn not_asked(&mut self, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.phase == Phase::Asked) {
            lane.phase = Phase::Narrow;
            lane.since = now;
        }
    }

    /// Returns whether a lane's statistics are known to be its own.
    pub(in crate::source) fn is_proven(&self, lane: usize) -> bool {
        self.lanes[lane].statistics == Statistics::Proven
    }

    /// Records the number of waiting messages that have not arrived, by a lane's statistics; `None` if they
    /// are not available. Nothing has arrived since they were requested.
    pub(in crate::source) fn told(&mut self, lane: usize, waiting: Option<u64>, now: Instant) {
        let lane = &mut self.lanes[lane];
        match waiting {
            None => lane.statistics = Statistics::None,
            Some(0) => {
                lane.expected = 0;
                lane.phase = Phase::Dry { checked: now, told: true };
            }
            // If other consumers share the channel, some messages do not arrive here, and nsqd pauses while
            // it reads from its disk.
            Some(_)
                if lane.statistics == Statistics::Unproven && self.contradictions >= MOST_CONTRADICTIONS =>
            {
                lane.statistics = Statistics::None;
            }
            Some(waiting) => {
                if lane.statistics == Statistics::Proven {
                    lane.expected = waiting;
                } else {
                    self.idle_since = now;
                }
                lane.phase = Phase::Wide;
                lane.since = now;
            }
        }
    }

    /// Completes a request after all responses.
    pub(in crate::source) fn all_told(&mut self, now: Instant) {
        let pause = (FILL_TIME * 2_u32.saturating_pow(self.contradictions)).min(LONGEST_SILENCE);
        self.contradictions += 1;
        self.ask_after = now + pause;
        self.not_asked(now); // lanes without a response
        let is_told = |lane: &Lane| matches!(lane.phase, Phase::Dry { told: true, .. });
        let all = self.alive().all(|lane| is_told(lane) || lane.statistics == Statistics::None);
        for lane in
            self.lanes.iter_mut().filter(|lane| lane.statistics == Statistics::Proven && is_told(lane))
        {
            if all {
                self.left += std::mem::take(&mut lane.open); // nothing is under way, and nsqd may send nothing
            } else {
                lane.phase = Phase::Narrow; // the run continues and listens to it
                lane.since = now;
            }
        }
        self.share_out(now);
    }

    /// Returns [`LEAST_SILENCE`], the idle timeout or two round trips, whichever is longest. It is more, up
    /// to [`LONGEST_SILENCE`], if silence is less conclusive:
    /// - after a long flow, because a backlog on nsqd's disk arrives with pauses: it syncs every 2,500
    ///   messages (`nsqd/options.go`, `SyncEvery`), which takes tens of milliseconds on a slow disk; half of
    ///   the time that messages were flowing costs little in comparison;
    /// - if nsqd sent all that it could the last time;
    /// - while a store works, which keeps the machine busy;
    /// - if nsqd is slow to answer;
    /// - if local timers are late: the machine is busy, and an nsqd on it waits for the CPU as well.
    pub(super) fn needed_silence(&self) -> Duration {
        let flow = self.last_message - self.started;
        let round_trip = self.alive().map(|lane| lane.round_trip).max().unwrap_or_default();
        let full = if self.alive().any(|lane| lane.was_full) { SILENCE_WHEN_FULL } else { Duration::ZERO };
        let busy =
            if self.lanes.iter().any(|lane| lane.unsettled > 0) { LONGEST_SILENCE } else { Duration::ZERO };
        let doubt = (flow / 2).max(full).max(busy).max(round_trip * PATIENCE).max(self.lateness * PATIENCE);
        self.idle_timeout.max(LEAST_SILENCE).max(round_trip * 2).max(doubt.min(LONGEST_SILENCE))
    }

    /// Records that a local timer was `late`.
    pub(in crate::source) fn woke(&mut self, late: Duration) {
        if late > TIMER_PRECISION {
            self.lateness += late;
        }
    }

    /// Returns whether a lane is dry, and nothing arrived anywhere or was settled for long enough.
    fn is_silent(&self, lane: &Lane, now: Instant) -> bool {
        let is_dry =
            matches!(lane.phase, Phase::Dry { checked, .. } if lane.heard_since(checked, self.last_message));
        is_dry && now - self.idle_since >= self.needed_silence()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            LaneStart, RdyChange,
            tests::{MS, lanes, proven, rdy},
        },
        *,
    };

    #[test]
    fn the_queue_is_empty_after_silence_on_all_lanes_and_the_idle_timeout() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, 10 * MS, &lanes(2), now);
        flow.tick(now + MS);
        flow.tick(now + 4 * MS);
        assert!(!flow.is_empty(now + 9 * MS) && flow.is_empty(now + 10 * MS));
        assert!(flow.received(1, now + 9 * MS));
        flow.settled(1, 1, now + 9 * MS);
        assert!(!flow.is_empty(now + 19 * MS), "lane 1 must be silent again first");
        flow.tick(now + 19 * MS);
        flow.tick(now + 22 * MS);
        assert!(flow.is_empty(now + 22 * MS));
    }

    #[test]
    fn a_long_flow_requires_a_longer_silence() {
        let now = Instant::now();
        let mut flow = Flow::new(100, 10, 10 * MS, &lanes(1), now);
        for (last, silence) in [(100, 50), (10_000, 250)] {
            let last = now + last * MS;
            assert!(flow.received(0, last));
            flow.settled(0, 1, last);
            flow.tick(last + MS);
            flow.tick(last + 4 * MS);
            assert!(!flow.is_empty(last + (silence - 1) * MS) && flow.is_empty(last + silence * MS));
        }
    }

    #[test]
    fn a_message_that_uses_up_the_permits_requires_a_longer_silence() {
        let now = Instant::now();
        let after = |count| {
            let mut flow = Flow::new(100, 2, 10 * MS, &lanes(1), now);
            assert!((0..count).all(|_| flow.received(0, now)));
            assert_eq!(flow.needed_silence(), LONGEST_SILENCE, "a store keeps the machine busy");
            flow.settled(0, count, now);
            flow.needed_silence()
        };
        assert_eq!(after(1), 10 * MS, "one of two permits is left: there was no more");
        assert_eq!(after(2), SILENCE_WHEN_FULL);
    }

    #[test]
    fn a_slow_nsqd_or_machine_requires_a_longer_silence() {
        let now = Instant::now();
        let silence_needed = |round_trip, late| {
            let start =
                LaneStart { max_rdy: 2_500, round_trip, available: None, statistics: Statistics::None };
            Flow { lateness: late, ..Flow::new(1, 1, 10 * MS, &[start], now) }.needed_silence()
        };
        assert_eq!(silence_needed(MS, Duration::ZERO), 10 * MS);
        assert_eq!(silence_needed(20 * MS, Duration::ZERO), 100 * MS);
        assert_eq!(silence_needed(MS, 8 * MS), 40 * MS);
        assert_eq!(silence_needed(100 * MS, 1_000 * MS), LONGEST_SILENCE);
        assert_eq!(silence_needed(200 * MS, Duration::ZERO), 400 * MS, "no answer can be there before");
        let mut flow = Flow::new(1, 1, 10 * MS, &lanes(1), now);
        flow.woke(TIMER_PRECISION);
        assert_eq!(flow.needed_silence(), 10 * MS);
        flow.woke(6 * MS);
        assert_eq!(flow.needed_silence(), 30 * MS);
    }

    #[test]
    fn known_messages_are_requested_exactly_and_then_the_statistics_again() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, Duration::ZERO, &proven(&[2]), now);
        assert_eq!(rdy(&mut flow, 0), Some(2), "two fill RDY, so nsqd holds back neither");
        assert!(flow.received(0, now) && !flow.wants_to_ask(now));
        assert!(
            flow.received(0, now) && flow.wants_to_ask(now),
            "nothing has to be settled first, and no silence waited for"
        );
        assert_eq!(rdy(&mut flow, 0), Some(3), "two in flight, and one to listen with");
        flow.asked();
        assert_eq!(
            flow.change_of_rdy(0),
            Some(RdyChange { rdy: 0, sinks: true }),
            "nothing is to be under way when the answer comes"
        );
        flow.told(0, Some(0), now);
        flow.all_told(now);
        assert!(flow.is_empty(now) && !flow.pause(), "and nothing can have been sent since");
    }

    #[test]
    fn a_message_that_arrives_during_a_request_is_taken_and_the_statistics_are_requested_again() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, Duration::ZERO, &proven(&[0, 0]), now);
        flow.asked();
        assert!(flow.received(1, now));
        flow.not_asked(now);
        assert!(!flow.wants_to_ask(now) && !flow.is_empty(now));
        assert_eq!((rdy(&mut flow, 0), rdy(&mut flow, 1)), (Some(1), Some(5)), "both are listened to");
        flow.tick(now + MS);
        assert!(flow.wants_to_ask(now + MS));
    }

    #[test]
    fn statistics_are_requested_less_often_if_waiting_messages_do_not_arrive() {
        let mut now = Instant::now();
        let mut flow = Flow::new(10, 10, Duration::ZERO, &proven(&[0]), now);
        assert!(flow.wants_to_ask(now));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let asked = now;
            flow.told(0, Some(3), now);
            flow.all_told(now);
            while !flow.wants_to_ask(now) {
                now = flow.next_tick(now).expect("it is asked again");
                flow.tick(now);
                assert!(!flow.is_empty(now));
            }
            pauses.push(now - asked);
        }
        assert!(pauses.is_sorted() && pauses[0] < 5 * MS && pauses[11] == LONGEST_SILENCE, "{pauses:?}");
        assert!(flow.received(0, now));
        flow.told(0, Some(0), now);
        flow.all_told(now);
        assert!(flow.is_empty(now));
    }

    #[test]
    fn an_empty_lane_stays_open_as_long_as_another_has_more() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, Duration::ZERO, &proven(&[0, 0]), now);
        flow.asked();
        flow.told(0, Some(0), now);
        flow.told(1, Some(7), now);
        flow.all_told(now);
        assert_eq!((rdy(&mut flow, 0), rdy(&mut flow, 1)), (Some(1), Some(5)));
        assert!(!flow.is_empty(now));
    }

    #[test]
    fn an_empty_queue_stays_open_for_the_idle_timeout() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, 50 * MS, &proven(&[0]), now);
        assert_eq!(rdy(&mut flow, 0), Some(1));
        assert!(!flow.wants_to_ask(now + 49 * MS) && flow.wants_to_ask(now + 50 * MS));
        assert!(flow.received(0, now + 20 * MS));
        assert!(!flow.wants_to_ask(now + 69 * MS));
    }

    #[test]
    fn a_lane_without_statistics_must_be_silent() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, Duration::ZERO, &proven(&[0, 0]), now);
        flow.told(0, Some(0), now);
        flow.told(1, None, now);
        flow.all_told(now);
        assert!(!flow.is_empty(now));
        flow.tick(now + 3 * MS);
        assert!(!flow.is_empty(now + 9 * MS) && flow.is_empty(now + 10 * MS));
    }

    #[test]
    fn statistics_that_may_be_from_another_nsqd_are_requested_after_a_silence_and_trusted_for_a_limited_time()
    {
        let mut now = Instant::now();
        let start = LaneStart { available: Some(0), statistics: Statistics::Unproven, ..lanes(1)[0] };
        let mut flow = Flow::new(10, 10, Duration::ZERO, &[start], now);
        let mut asked = 0;
        while !flow.is_empty(now) {
            now = flow.next_tick(now).expect("it ends");
            flow.tick(now);
            if flow.wants_to_ask(now) {
                asked += 1;
                flow.told(0, Some(7), now);
                flow.all_told(now);
            }
        }
        assert_eq!(asked, MOST_CONTRADICTIONS + 1);
    }
}
