//! The progress of a run on a terminal. A run of a few milliseconds shows nothing.

use std::{cell::Cell, future::Future, time::Duration};

use tokio::time::{Instant, sleep};

use crate::logging;
use x_msrv_core::report::Progress;
use x_msrv_history::words::{number, rate, span};

/// The delay before progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// The interval between updates.
const REFRESH: Duration = Duration::from_millis(100);

/// The width of the bar in columns.
const BAR: u64 = 20;

/// Does the work, and shows its progress if standard error is a terminal.
pub(super) async fn beside<T>(work: impl Future<Output = T>, progress: &Cell<Progress>) -> T {
    if !logging::is_watched() {
        return work.await;
    }
    let done = tokio::select! {
        biased;
        done = work => done,
        never = show(progress) => match never {},
    };
    logging::passing("");
    done
}

async fn show(progress: &Cell<Progress>) -> std::convert::Infallible {
    let began = Instant::now();
    sleep(PATIENCE).await;
    loop {
        logging::passing(&line(progress.get(), began.elapsed()));
        sleep(REFRESH).await;
    }
}

/// Returns a bar, the count, the rate and the remaining time; unknown parts are omitted.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
fn line(progress: Progress, elapsed: Duration) -> String {
    let Progress { done, expected } = progress;
    let per_second = done as f64 / elapsed.as_secs_f64().max(0.001);
    let speed = if done > 0 { format!("  {}", rate(per_second)) } else { String::new() };
    match expected.filter(|expected| *expected > 0 && done <= *expected) {
        None => format!("{} messages{speed}  {}", number(done), span(elapsed)),
        Some(expected) => {
            let bar: String =
                (0..BAR).map(|column| if column < done * BAR / expected { '#' } else { '-' }).collect();
            let left =
                Duration::try_from_secs_f64((expected - done) as f64 / per_second).ok().filter(|_| done > 0);
            let left = left.map(|left| format!("  {} left", span(left))).unwrap_or_default();
            format!(
                "[{bar}] {} of {}  {}%{speed}{left}",
                number(done),
                number(expected),
                done * 100 / expected
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_are_not_shown() {
        let table = [
            (0, None, "0 messages  2 s"),
            (500, None, "500 messages  250/s  2 s"),
            (0, Some(1_000), "[--------------------] 0 of 1,000  0%"),
            (250, Some(1_000), "[#####---------------] 250 of 1,000  25%  125/s  6 s left"),
            (1_000, Some(1_000), "[####################] 1,000 of 1,000  100%  500/s  0 ms left"),
            (1_001, Some(1_000), "1,001 messages  500/s  2 s"),
        ];
        for (done, expected, text) in table {
            assert_eq!(line(Progress { done, expected }, Duration::from_secs(2)), text);
        }
    }
}
