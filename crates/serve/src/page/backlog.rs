//! The chart of the messages that waited after each run.

use super::{
    Page,
    chart::{LOW, begin, end, key, without_plot},
    html::{By, Html},
    plot::{Plot, Point},
    scale::{Linear, Seconds, seconds},
    slots::{Slot, Slots},
};
use x_msrv_history::words::number;

impl Page<'_> {
    pub(super) fn backlog(&self, html: &mut Html, slots: &Slots<'_>) {
        const NAME: &str = "backlog";
        const TITLE: &str = "Backlog";
        let Some(most) = self.runs.iter().filter_map(|run| run.depth.after).max() else {
            without_plot(html, TITLE, "Unknown: no run of this time could determine it.");
            return;
        };
        let scale = Linear::up_to(most);
        let lines = lines(slots, scale);
        let unknown = gaps(&lines, edges(slots));
        begin(
            html,
            NAME,
            TITLE,
            &format_args!(
                "Messages in the queue after each run. After the last one: {}.",
                self.known.backlog()
            ),
        );
        key(html, "waiting", &"waiting");
        if !unknown.is_empty() {
            key(html, "unknown", &"unknown");
        }
        let mut plot = Plot::begin(html, NAME, LOW, slots.times, &scale.ticks());
        for (from, until) in unknown {
            plot.bar("unknown", (from, until - from), (0.0, 1.0));
        }
        plot.lines("waiting", &lines);
        plot.end();
        if slots.span.is_some() {
            end(html, slots, (&["at the end", "least", "most"], summed));
        } else {
            end(html, slots, (&["before", "after"], each));
        }
    }
}

fn summed(html: &mut Html, slot: &Slot<'_>) {
    let depths = || slot.runs.iter().filter_map(|run| run.depth.after);
    cells(html, &[slot.summary.depth, depths().min(), depths().max()]);
}

fn each(html: &mut Html, slot: &Slot<'_>) {
    let depth = slot.runs[0].depth;
    cells(html, &[depth.before, depth.after]);
}

fn cells(html: &mut Html, depths: &[Option<u64>]) {
    for depth in depths {
        html.put("<td>{}</td>", &[&By(number_or_dash, *depth)]);
    }
}

pub(super) fn number_or_dash(depth: Option<u64>) -> String {
    depth.map_or_else(|| "–".to_owned(), number)
}

/// Returns the depth after each run that knew it, as a line for each time without a gap. Of several runs in a
/// slot, only those are kept that determine the line's shape: the first, the smallest, the largest and the
/// last.
fn lines(slots: &Slots<'_>, scale: Linear) -> Vec<Vec<Point>> {
    let mut lines: Vec<Vec<Point>> = Vec::new();
    let mut last = None;
    for slot in &slots.all {
        let known: Vec<_> =
            slot.runs.iter().filter_map(|run| Some((seconds(run.ended()), run.depth.after?))).collect();
        let Some(first) = known.first() else {
            last = None;
            continue;
        };
        if last.is_none_or(|last| first.0 - last > slots.silence) {
            lines.push(Vec::new());
        }
        let line = lines.last_mut().expect("a line was started");
        for index in extremes(&known) {
            let (time, depth) = known[index];
            line.push((slots.times.place(time), scale.place(depth)));
        }
        last = known.last().map(|(time, _)| *time);
    }
    lines
}

/// Returns the indexes of the first, the smallest, the largest and the last value, in order.
fn extremes(values: &[(Seconds, u64)]) -> Vec<usize> {
    let (mut least, mut most) = (0, 0);
    for (index, (_, value)) in values.iter().enumerate() {
        if *value < values[least].1 {
            least = index;
        }
        if *value > values[most].1 {
            most = index;
        }
    }
    let mut extremes = vec![0, least.min(most), least.max(most), values.len() - 1];
    extremes.dedup();
    extremes
}

/// Returns the range in which lines are expected: from the first run to the last, or to the end if the next
/// run is overdue.
fn edges(slots: &Slots<'_>) -> (f64, f64) {
    let [first, last] = [0, slots.all.len() - 1].map(|index| slots.all[index].runs);
    let (first, last) = (seconds(first[0].started), seconds(last[last.len() - 1].started));
    let end = if slots.until - last > slots.silence { slots.until } else { last };
    (slots.times.place(first), slots.times.place(end))
}

/// Returns the times, from 0 to 1, that no line covers and that are wide enough to be visible.
fn gaps(lines: &[Vec<Point>], (from, until): (f64, f64)) -> Vec<(f64, f64)> {
    const VISIBLE: f64 = 0.004;
    let (mut gaps, mut end) = (Vec::new(), from);
    for line in lines.iter().map(Vec::as_slice).chain([&[(until, 0.0)][..]]) {
        if line[0].0 - end > VISIBLE {
            gaps.push((end, line[0].0));
        }
        end = line[line.len() - 1].0;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{super::tests::run, *};
    use x_msrv_history::Run;

    fn runs(depths: &[(u64, Option<u64>)]) -> Vec<Run> {
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        depths
            .iter()
            .map(|(second, after)| {
                let mut run = run(begin + Duration::from_secs(*second), 1);
                run.depth.after = *after;
                run
            })
            .collect()
    }

    fn depths(runs: &[Run]) -> Vec<Vec<u64>> {
        let slots = Slots::of(runs, None, Duration::from_secs(10)).expect("there are runs");
        let scale = Linear::up_to(100);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        lines(&slots, scale)
            .iter()
            .map(|line| line.iter().map(|(_, y)| (y * 100.0).round() as u64).collect())
            .collect()
    }

    /// It would look as if no message had waited.
    #[test]
    fn an_unknown_depth_is_a_gap_and_not_0() {
        assert_eq!(
            depths(&runs(&[(0, Some(10)), (10, None), (20, Some(30)), (30, Some(20))])),
            [vec![10], vec![30, 20]]
        );
        assert_eq!(depths(&runs(&[(0, None), (10, None)])), [[0; 0]; 0]);
    }

    #[test]
    fn a_time_without_runs_is_a_gap() {
        let runs = runs(&[(0, Some(1)), (10, Some(2)), (20, Some(3)), (600, Some(4)), (610, Some(5))]);
        assert_eq!(depths(&runs), [vec![1, 2, 3], vec![4, 5]]);
    }

    /// A peak within a span would be lost.
    #[test]
    fn extremes_of_many_runs_are_kept() {
        let runs: Vec<_> =
            (0..2_000).map(|number| (number * 10, Some(if number == 777 { 99 } else { 50 }))).collect();
        let lines = depths(&self::runs(&runs));
        assert_eq!((lines.len(), lines[0].iter().max()), (1, Some(&99)));
        assert!(lines[0].len() <= 600, "{}", lines[0].len());
    }

    #[test]
    fn gaps_are_the_times_without_a_line() {
        assert_eq!(
            gaps(&[vec![(0.0, 0.5), (0.4, 0.5)], vec![(0.6, 0.5), (0.997, 0.5)]], (0.0, 1.0)),
            [(0.4, 0.6)]
        );
        assert_eq!(gaps(&[], (0.0, 1.0)), [(0.0, 1.0)]);
        assert_eq!(gaps(&[vec![(0.2, 0.1)]], (0.1, 0.9)), [(0.1, 0.2), (0.2, 0.9)]);
    }
}
