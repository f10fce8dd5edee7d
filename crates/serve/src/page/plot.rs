//! Drawings as SVG. Horizontal positions are percentages; vertical positions and text sizes are pixels. So a
//! plot is as wide as the page, and its text has the same size on a phone.

use std::fmt::Display;

use super::{
    html::{At, Html},
    scale::{Tick, Times},
};

/// Pixels above the drawing, for a label at the top, and below it, for the times.
const ABOVE: f64 = 12.0;
const BELOW: f64 = 26.0;

/// The smallest height in pixels, so that one message among thousands is visible.
const LEAST: f64 = 2.0;

/// The width of a line's own coordinate system.
const ACROSS: f64 = 10_000.0;

/// A drawing in progress.
pub(super) struct Plot<'a> {
    html: &'a mut Html,
    height: f64,
}

/// A position: horizontal, and vertical from the bottom, from 0 to 1.
pub(super) type Point = (f64, f64);

impl<'a> Plot<'a> {
    /// Ends the legend, and draws the axes of the chart with this name.
    pub(super) fn begin(html: &'a mut Html, name: &str, height: f64, times: Times, ticks: &[Tick]) -> Self {
        let mut plot = Self { html, height };
        plot.html.put(
            "</ul>\n<div class=\"plot\"><svg role=\"img\" aria-labelledby=\"{}-title\" aria-describedby=\"{}-note\" height=\"{}\">\n",
            &[&name, &name, &At(ABOVE + height + BELOW)],
        );
        for (place, label) in ticks {
            let y = plot.y(*place);
            plot.html.put("<line class=\"grid\" x2=\"100%\" y1=\"{}\" y2=\"{}\"/>", &[&y, &y]);
            plot.html.put("<text class=\"left\" x=\"-8\" y=\"{}\" dy=\".32em\">{}</text>\n", &[&y, label]);
        }
        plot.times(times);
        plot
    }

    fn times(&mut self, times: Times) {
        let (bottom, text) = (self.y(0.0), At(ABOVE + self.height + 19.0));
        self.html.put("<text class=\"left\" x=\"-8\" y=\"{}\">UTC</text>\n", &[&text]);
        for tick in times.ticks() {
            let x = At(tick.place * 100.0);
            self.html.put(
                "<line class=\"tick\" x1=\"{}%\" x2=\"{}%\" y1=\"{}\" y2=\"{}\"/>",
                &[&x, &x, &bottom, &At(bottom.0 + 4.0)],
            );
            if let Some(label) = tick.label {
                let class = if tick.is_main { "main" } else { "other" };
                self.html
                    .put("<text class=\"{}\" x=\"{}%\" y=\"{}\">{}</text>\n", &[&class, &x, &text, &label]);
            }
        }
        self.html.put("<line class=\"axis\" x2=\"100%\" y1=\"{}\" y2=\"{}\"/>\n", &[&bottom, &bottom]);
    }

    fn y(&self, place: f64) -> At {
        At(ABOVE + self.height * (1.0 - place))
    }

    /// Draws stacked bars, each with its class and height. Each is high enough to be visible.
    pub(super) fn stack(&mut self, place: (f64, f64), classes: &[&'static str], parts: &[f64]) {
        let mut low = 0.0;
        for (class, part) in classes.iter().zip(parts).filter(|(_, part)| **part > 0.0) {
            let high = low + part.max(LEAST / self.height);
            self.bar(class, place, (low, high));
            low = high;
        }
    }

    /// Draws a bar from one height to another.
    pub(super) fn bar(&mut self, class: &'static str, (left, width): (f64, f64), (low, high): (f64, f64)) {
        let height = ((high - low) * self.height).max(LEAST);
        let top = self.y(f64::midpoint(low, high)).0 - height / 2.0;
        self.html.put(
            "<rect class=\"{}\" x=\"{}%\" width=\"{}%\" y=\"{}\" height=\"{}\"/>\n",
            &[&class, &At(left * 100.0), &At(width * 100.0), &At(top), &At(height)],
        );
    }

    /// Draws a dot.
    pub(super) fn dot(&mut self, class: &'static str, (x, y): Point) {
        let y = self.y(y);
        self.html
            .put("<circle class=\"{}\" cx=\"{}%\" cy=\"{}\" r=\"2.5\"/>\n", &[&class, &At(x * 100.0), &y]);
    }

    /// Draws a cross, which differs from a dot even without colour.
    pub(super) fn cross(&mut self, (x, y): Point) {
        let y = self.y(y);
        self.html.put("<use class=\"failed\" href=\"#cross\" x=\"{}%\" y=\"{}\"/>\n", &[&At(x * 100.0), &y]);
    }

    /// Draws a reference value as a line across the whole plot, with its label above the line.
    pub(super) fn reference(&mut self, place: f64, name: &'static str, value: &dyn Display) {
        let y = self.y(place);
        self.html.put("<line class=\"reference\" x2=\"100%\" y1=\"{}\" y2=\"{}\"/>", &[&y, &y]);
        self.html.put(
            "<text class=\"reference\" x=\"100%\" y=\"{}\">{} = {}</text>\n",
            &[&At(y.0 - 5.0), &name, value],
        );
    }

    /// Draws lines and the areas below them. A line with a single point is a dot.
    pub(super) fn lines(&mut self, class: &'static str, lines: &[Vec<Point>]) {
        let (mut strokes, mut areas) = (Html::default(), Html::default());
        let (bottom, height) = (self.y(0.0), At(ABOVE + self.height));
        for line in lines {
            if let [point] = line[..] {
                self.dot(class, point);
                continue;
            }
            let mut stroke = Html::default();
            let mut first = None;
            let mut last = At(0.0);
            for (x, y) in line {
                last = At((x * ACROSS).round());
                stroke.put(if first.is_none() { "M{} {}" } else { "L{} {}" }, &[&last, &self.y(*y)]);
                first.get_or_insert(last);
            }
            strokes.add(&stroke);
            areas.add(&stroke);
            areas.put("L{} {}L{} {}z", &[&last, &bottom, &first.unwrap_or(last), &bottom]);
        }
        self.html.put(
            "<svg width=\"100%\" height=\"{}\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\"><path class=\"{}-area\" d=\"",
            &[&height, &ACROSS, &height, &class],
        );
        self.html.add(&areas);
        self.html.put("\"/><path class=\"{}\" d=\"", &[&class]);
        self.html.add(&strokes);
        self.html.put("\"/></svg>\n", &[]);
    }

    pub(super) fn end(self) {
        self.html.put("</svg></div>\n", &[]);
    }
}
