//! The parts of every chart: a sentence that describes it, a legend, the plot, and the same numbers as a
//! table, which the script also reads.

use std::{fmt::Display, time::Duration};

use super::{
    html::{At, Html},
    scale::short_stamp,
    slots::{Slot, Slots},
};

/// Heights of plots in pixels.
pub(super) const TALL: f64 = 180.0;
pub(super) const LOW: f64 = 130.0;

/// The columns of a table of slots: their headings, and a function that writes the cells of a row.
pub(super) type Columns = (&'static [&'static str], fn(&mut Html, &Slot<'_>));

/// Writes what is above a plot. The ids of its elements start with `name`. The keys of the legend follow,
/// then the plot, then [`end`].
pub(super) fn begin(html: &mut Html, name: &'static str, title: &'static str, note: &dyn Display) {
    html.put("<section class=\"chart\" id=\"{}\">\n<h2 id=\"{}-title\">{}</h2>\n", &[&name, &name, &title]);
    html.put("<p class=\"note\" id=\"{}-note\">{}</p>\n<ul class=\"legend\">", &[&name, note]);
}

/// Writes a key of the legend, as it is drawn, and its meaning.
pub(super) fn key(html: &mut Html, key: &'static str, words: &dyn Display) {
    html.put("<li><svg class=\"key\" aria-hidden=\"true\">", &[]);
    match key {
        "waiting" | "reference" => html.put("<line class=\"{}\" x2=\"12\" y1=\"6\" y2=\"6\"/>", &[&key]),
        "median" => html.put("<rect class=\"median\" width=\"12\" height=\"2\" y=\"5\"/>", &[]),
        "run" => html.put("<circle class=\"run\" cx=\"6\" cy=\"6\" r=\"2.5\"/>", &[]),
        "failed" => html.put("<use class=\"failed\" href=\"#cross\" x=\"6\" y=\"6\"/>", &[]),
        _ => html.put("<rect class=\"{}\" width=\"12\" height=\"12\"/>", &[&key]),
    }
    html.put("</svg>{}</li>", &[words]);
}

/// Writes a note in place of a chart that would be empty.
pub(super) fn without_plot(html: &mut Html, title: &'static str, note: &'static str) {
    html.put("<section>\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n</section>\n", &[&title, &note]);
}

/// Writes the table below a plot, and ends the chart.
pub(super) fn end(html: &mut Html, slots: &Slots<'_>, (heads, cells): Columns) {
    let first = if slots.span.is_some() { "from (UTC)" } else { "started (UTC)" };
    html.put(
        "<details><summary>As a table</summary><div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>",
        &[],
    );
    for head in [first].iter().chain(heads) {
        html.put("<th scope=\"col\">{}</th>", &[head]);
    }
    html.put("</tr></thead>\n<tbody>\n", &[]);
    let with_seconds = slots.span.is_none_or(|span| span < Duration::from_secs(60));
    for slot in &slots.all {
        let (place, time) = (At(slot.middle() * 100.0), short_stamp(slot.begin, with_seconds));
        html.put("<tr data-x=\"{}\"><th scope=\"row\">{}</th>", &[&place, &time]);
        cells(html, slot);
        html.put("</tr>\n", &[]);
    }
    html.put("</tbody></table></div></details>\n</section>\n", &[]);
}
