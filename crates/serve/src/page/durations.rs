//! The chart of run durations, together with the time between the starts of runs.

use super::{
    Page,
    chart::{LOW, begin, end, key},
    html::{By, Html},
    plot::Plot,
    scale::{Logarithmic, Seconds, short_duration},
    slots::{Slot, Slots},
};
use x_msrv_history::words::{number, span};
use x_msrv_history::{Run, summary::Summary};

impl Page<'_> {
    pub(super) fn durations(&self, html: &mut Html, slots: &Slots<'_>, sum: &Summary) {
        const NAME: &str = "durations";
        let (period, [shortest, _, longest]) = (self.known.period.as_secs_f64(), spread(self.runs));
        let scale = Logarithmic::between(shortest.min(period), longest.max(period));
        let bars = slots
            .span
            .map(|length| format!(" Each bar shows the runs of {}.", span(length)))
            .unwrap_or_default();
        begin(
            html,
            NAME,
            "Run duration",
            &format_args!("Duration of the runs, on a logarithmic scale.{bars}"),
        );
        if slots.span.is_some() {
            key(html, "spread", &"shortest to longest");
            key(html, "median", &"median");
        } else {
            key(html, "run", &"a run");
        }
        if sum.failed > 0 {
            key(html, "failed", &format_args!("failed {}", By(number, sum.failed)));
        }
        key(html, "reference", &"M: time between starts");
        let mut plot = Plot::begin(html, NAME, LOW, slots.times, &scale.ticks());
        plot.reference(scale.place(period), "M", &By(span, self.known.period));
        for slot in &slots.all {
            let [shortest, median, longest] = spread(slot.runs).map(|duration| scale.place(duration));
            if slots.span.is_some() {
                plot.bar("spread", (slot.left, slot.width), (shortest, longest));
                plot.bar("median", (slot.left, slot.width), (median, median));
            } else if slot.summary.failed == 0 {
                plot.dot("run", (slot.middle(), median));
            }
            if let Some(failed) =
                slot.runs.iter().filter(|run| run.exit_code != 0).map(|run| run.elapsed).max()
            {
                plot.cross((slot.middle(), scale.place(failed.as_secs_f64())));
            }
        }
        plot.end();
        if slots.span.is_some() {
            end(html, slots, (&["shortest", "median", "longest", "failed"], summed));
        } else {
            end(html, slots, (&["duration", "exit code"], each));
        }
    }
}

fn summed(html: &mut Html, slot: &Slot<'_>) {
    for duration in spread(slot.runs) {
        html.put("<td>{}</td>", &[&By(short_duration, duration)]);
    }
    html.put("<td>{}</td>", &[&By(number, slot.summary.failed)]);
}

fn each(html: &mut Html, slot: &Slot<'_>) {
    let run = &slot.runs[0];
    html.put("<td>{}</td><td>{}</td>", &[&By(short_duration, run.elapsed.as_secs_f64()), &run.exit_code]);
}

/// Returns the shortest, the median and the longest duration.
fn spread(runs: &[Run]) -> [Seconds; 3] {
    let mut durations: Vec<_> = runs.iter().map(|run| run.elapsed).collect();
    durations.sort_unstable();
    [0, durations.len() / 2, durations.len() - 1].map(|index| durations[index].as_secs_f64())
}
