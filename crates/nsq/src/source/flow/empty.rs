//! Whether the queue is empty.
//!
//! It is best asked of nsqd's statistics (`nsqd/stats.go`): they count what waits, and what was ever sent to
//! us whether it has come or not. A lane that is *asked* has no permit meanwhile, so that nothing is under
//! way when the answer is "nothing". Where a lane's statistics are not to be had, only silence can tell.

use std::time::Duration;

use tokio::time::Instant;

use super::{FILL_TIME, Flow, Lane, Phase, Statistics};

/// Silence that is needed at least where nobody can be asked.
const LEAST_SILENCE: Duration = Duration::from_millis(10);

/// The longest silence that is ever waited for, however long messages were flowing, where two round trips are
/// no longer.
const LONGEST_SILENCE: Duration = Duration::from_millis(250);

/// The least silence after a message that used up a lane's last permit: nsqd sent all that it was allowed to,
/// so it probably has more.
const SILENCE_WHEN_FULL: Duration = Duration::from_millis(100);

/// How often statistics that may be of another nsqd are believed that more waits than comes.
const MOST_CONTRADICTIONS: u32 = 3;

/// How many times a round trip, or the lateness of a timer, silence has to last.
const PATIENCE: u32 = 5;

/// How late tokio's timers come on a machine that has nothing else to do.
const TIMER_PRECISION: Duration = Duration::from_millis(2);

impl Flow {
    /// Whether nothing waits on any lane: its statistics say so, or it was listened to and was silent for
    /// long enough.
    pub(in crate::source) fn is_empty(&self, now: Instant) -> bool {
        !self.paused
            && self.alive().all(|lane| match (lane.statistics, lane.phase) {
                (Statistics::None, _) => self.is_silent(lane, now),
                (_, Phase::Dry { checked, told: true }) => lane.heard_since(checked, self.last_message),
                _ => false,
            })
    }

    /// Whether an empty queue is one by the statistics of all lanes, which are proven to be theirs: nothing
    /// can be under way then.
    pub(in crate::source) fn is_told_by_all(&self) -> bool {
        self.alive().all(|lane| lane.statistics == Statistics::Proven)
    }

    /// Whether the lanes' statistics are to be asked: as soon as all that is known of has come, or silence
    /// says that there is no more.
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

    /// The statistics are being asked.
    pub(in crate::source) fn asked(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.statistics == Statistics::Proven) {
            lane.phase = Phase::Asked;
        }
    }

    /// What they will answer is of no use any more.
    pub(in crate::source) fn not_asked(&mut self, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.phase == Phase::Asked) {
            lane.phase = Phase::Narrow;
            lane.since = now;
        }
    }

    /// Whether a lane's statistics are known to be its own.
    pub(in crate::source) fn is_proven(&self, lane: usize) -> bool {
        self.lanes[lane].statistics == Statistics::Proven
    }

    /// A lane's statistics say that so many wait that have not come; `None` where they are not to be had.
    /// Nothing has come since they were asked.
    pub(in crate::source) fn told(&mut self, lane: usize, waiting: Option<u64>, now: Instant) {
        let lane = &mut self.lanes[lane];
        match waiting {
            None => lane.statistics = Statistics::None,
            Some(0) => {
                lane.expected = 0;
                lane.phase = Phase::Dry { checked: now, told: true };
            }
            // A channel that others consume has messages that do not come to us, and nsqd pauses when it
            // reads from its disk.
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

    /// All of the answers were told.
    pub(in crate::source) fn all_told(&mut self, now: Instant) {
        let pause = (FILL_TIME * 2_u32.saturating_pow(self.contradictions)).min(LONGEST_SILENCE);
        self.contradictions += 1;
        self.ask_after = now + pause;
        self.not_asked(now); // those without an answer
        let is_told = |lane: &Lane| matches!(lane.phase, Phase::Dry { told: true, .. });
        let all = self.alive().all(|lane| is_told(lane) || lane.statistics == Statistics::None);
        for lane in
            self.lanes.iter_mut().filter(|lane| lane.statistics == Statistics::Proven && is_told(lane))
        {
            if all {
                self.left += std::mem::take(&mut lane.open); // nothing is under way, and nsqd may send nothing
            } else {
                lane.phase = Phase::Narrow; // the run goes on, and listens to it
                lane.since = now;
            }
        }
        self.share_out(now);
    }

    /// [`LEAST_SILENCE`], or the idle timeout, or two round trips, or more, up to [`LONGEST_SILENCE`], where
    /// silence says less:
    /// - after a long flow, for a backlog on nsqd's disk comes with pauses: it syncs every 2,500 messages
    ///   (`nsqd/options.go`, `SyncEvery`), which takes tens of milliseconds on a slow disk; half of the time
    ///   that messages were flowing costs little in comparison;
    /// - where nsqd sent all that it was allowed to the last time;
    /// - while a store works, which keeps the machine busy;
    /// - where nsqd is slow to answer;
    /// - where our own timers come late: the machine is busy, and nsqd on it waits for its turn as well.
    pub(super) fn needed_silence(&self) -> Duration {
        let flow = self.last_message - self.started;
        let round_trip = self.alive().map(|lane| lane.round_trip).max().unwrap_or_default();
        let full = if self.alive().any(|lane| lane.was_full) { SILENCE_WHEN_FULL } else { Duration::ZERO };
        let busy =
            if self.lanes.iter().any(|lane| lane.unsettled > 0) { LONGEST_SILENCE } else { Duration::ZERO };
        let doubt = (flow / 2).max(full).max(busy).max(round_trip * PATIENCE).max(self.lateness * PATIENCE);
        self.idle_timeout.max(LEAST_SILENCE).max(round_trip * 2).max(doubt.min(LONGEST_SILENCE))
    }

    /// A timer of ours came `late`.
    pub(in crate::source) fn woke(&mut self, late: Duration) {
        if late > TIMER_PRECISION {
            self.lateness += late;
        }
    }

    /// Whether a lane is dry, and nothing came from anywhere or was settled for long enough.
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
    fn the_queue_is_empty_when_all_lanes_were_silent_and_the_idle_timeout_is_over() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, 10 * MS, &lanes(2), now);
        flow.tick(now + MS);
        flow.tick(now + 4 * MS);
        assert!(!flow.is_empty(now + 9 * MS) && flow.is_empty(now + 10 * MS));
        assert!(flow.received(1, now + 9 * MS));
        flow.settled(1, 1, now + 9 * MS);
        assert!(!flow.is_empty(now + 19 * MS), "lane 1 has to be silent again first");
        flow.tick(now + 19 * MS);
        flow.tick(now + 22 * MS);
        assert!(flow.is_empty(now + 22 * MS));
    }

    #[test]
    fn after_a_long_flow_a_longer_silence_is_needed() {
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
    fn after_a_message_that_used_up_the_permits_a_longer_silence_is_needed() {
        let now = Instant::now();
        let after = |count| {
            let mut flow = Flow::new(100, 2, 10 * MS, &lanes(1), now);
            assert!((0..count).all(|_| flow.received(0, now)));
            assert_eq!(flow.needed_silence(), LONGEST_SILENCE, "a store works, and keeps the machine busy");
            flow.settled(0, count, now);
            flow.needed_silence()
        };
        assert_eq!(after(1), 10 * MS, "one of two permits is left: there was no more");
        assert_eq!(after(2), SILENCE_WHEN_FULL);
    }

    #[test]
    fn where_nsqd_or_the_machine_is_slow_a_longer_silence_is_needed() {
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
    fn what_is_known_to_wait_is_asked_for_and_no_more_and_then_whether_that_was_all() {
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
    fn a_message_that_comes_while_statistics_are_asked_is_taken_and_they_are_asked_again() {
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
    fn where_more_waits_than_comes_statistics_are_asked_less_and_less_often_and_the_queue_is_not_empty() {
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
    fn a_lane_that_has_nothing_is_listened_to_as_long_as_another_has_more() {
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
    fn an_empty_queue_is_listened_to_for_the_idle_timeout() {
        let now = Instant::now();
        let mut flow = Flow::new(10, 10, 50 * MS, &proven(&[0]), now);
        assert_eq!(rdy(&mut flow, 0), Some(1));
        assert!(!flow.wants_to_ask(now + 49 * MS) && flow.wants_to_ask(now + 50 * MS));
        assert!(flow.received(0, now + 20 * MS));
        assert!(!flow.wants_to_ask(now + 69 * MS));
    }

    #[test]
    fn a_lane_that_cannot_be_asked_any_more_has_to_be_silent() {
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
    fn statistics_that_may_be_of_another_nsqd_are_asked_after_a_silence_and_not_believed_for_ever() {
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
