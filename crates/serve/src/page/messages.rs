//! The chart of the messages of each run and their outcomes.

use super::{
    Page,
    chart::{TALL, begin, end, key, without_plot},
    html::{By, Html},
    plot::Plot,
    scale::Linear,
    slots::{Slot, Slots},
};
use x_msrv_core::report::Counters;
use x_msrv_history::summary::Summary;
use x_msrv_history::words::{number, span};

/// The outcomes, from the bottom of a bar to its top.
const OUTCOMES: [&str; 4] = ["stored", "duplicate", "requeued", "rejected"];

fn outcomes(counters: &Counters) -> [u64; 4] {
    [counters.stored, counters.duplicate, counters.requeued, counters.rejected]
}

impl Page<'_> {
    pub(super) fn messages(&self, html: &mut Html, slots: &Slots<'_>, sum: &Summary) {
        const NAME: &str = "messages";
        const TITLE: &str = "Messages per run";
        let most = slots.all.iter().map(|slot| slot.summary.counters.received).max().unwrap_or(0);
        if most == 0 {
            without_plot(html, TITLE, "No run received a message.");
            return;
        }
        let limit = self.known.max_messages;
        // If runs take much less than N, the line would make their bars too low to read.
        let shows_limit = slots.span.is_none() && most >= limit / 3;
        let scale = Linear::up_to(if shows_limit { most.max(limit) } else { most });
        let of_one =
            slots.span.map_or_else(|| "one run".to_owned(), |length| format!("the runs of {}", span(length)));
        begin(html, NAME, TITLE, &format_args!("Outcomes of the messages. Each bar shows {of_one}."));
        for (name, count) in OUTCOMES.into_iter().zip(outcomes(&sum.counters)) {
            key(html, name, &format_args!("{name} {}", By(number, count)));
        }
        let mut plot = Plot::begin(html, NAME, TALL, slots.times, &scale.ticks());
        for slot in &slots.all {
            let parts = outcomes(&slot.summary.counters).map(|count| scale.place(count));
            plot.stack((slot.left, slot.width), &OUTCOMES, &parts);
        }
        if shows_limit {
            plot.reference(scale.place(limit), "N", &By(number, limit));
        }
        plot.end();
        let heads: &[_] = if slots.span.is_some() {
            &["runs", "received", "stored", "duplicate", "requeued", "rejected"]
        } else {
            &["stop reason", "received", "stored", "duplicate", "requeued", "rejected"]
        };
        end(html, slots, (heads, if slots.span.is_some() { summed } else { each }));
    }
}

fn summed(html: &mut Html, slot: &Slot<'_>) {
    html.put("<td>{}</td>", &[&By(number, slot.summary.runs)]);
    counts(html, slot);
}

fn each(html: &mut Html, slot: &Slot<'_>) {
    html.put("<td>{}</td>", &[&slot.runs[0].stop_reason]);
    counts(html, slot);
}

fn counts(html: &mut Html, slot: &Slot<'_>) {
    let counters = &slot.summary.counters;
    for count in [counters.received].into_iter().chain(outcomes(counters)) {
        html.put("<td>{}</td>", &[&By(number, count)]);
    }
}
