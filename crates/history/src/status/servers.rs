//! The servers of the queue that runs do not reach.

use std::time::SystemTime;

use super::{Known, Level, lateness::PERIODS};
use crate::{KnownServer, Run, words::span};

/// The most servers that a problem names.
const SERVERS_NAMED: usize = 3;

impl Known<'_> {
    /// Returns the problem of known servers that runs do not reach. How long they have been missing is
    /// measured between runs: without runs, nothing was checked.
    pub(super) fn unreached(&self, last: &Run) -> Option<(Level, String)> {
        let missing: Vec<_> =
            self.servers.iter().filter_map(|server| Some((server, server.unreached_since?))).collect();
        let longest = missing
            .iter()
            .filter_map(|(_, since)| last.started.duration_since(*since).ok())
            .max()
            .unwrap_or_default();
        let level = if longest > self.interval() * PERIODS.1 { Level::Critical } else { Level::Warning };
        let name = |(server, _): &(&KnownServer, SystemTime)| {
            let reached = server.reached.map(|reached| self.now.duration_since(reached).unwrap_or_default());
            format!(
                "{} ({})",
                server.name,
                reached.map_or("never reached".to_owned(), |ago| format!("last reached {} ago", span(ago)))
            )
        };
        let named: Vec<_> = missing.iter().take(SERVERS_NAMED).map(name).collect();
        let more = if missing.len() > SERVERS_NAMED {
            format!(", and {} more", missing.len() - SERVERS_NAMED)
        } else {
            String::new()
        };
        let forget =
            missing.iter().find(|(server, _)| server.is_found).map_or(String::new(), |(server, _)| {
                let address = server.name.rsplit(' ').next().unwrap_or_default();
                format!("; to forget one that is gone for good: {} --forget {address}", self.command)
            });
        (!missing.is_empty()).then(|| {
            let counts = format!("{} of {} queue servers not reached", missing.len(), self.servers.len());
            (level, format!("{counts}, messages may be waiting there: {}{more}{forget}", named.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, judged, known, run, ticking},
        *,
    };

    /// One of two nsqd was down for good, with the messages in it, and neither runs nor `status` reported it.
    #[test]
    fn an_unreached_server_is_reported_and_is_critical_after_ten_periods() {
        let server = |name: &str, is_found, reached: Option<u64>, since: Option<u64>| KnownServer {
            name: name.to_owned(),
            is_found,
            reached: reached.map(at),
            unreached_since: since.map(at),
        };
        let judged = |second, servers: &[KnownServer], expected: &[(Level, &str)]| {
            let (runs, timer) = ([run(second, "queue-empty", 0)], ticking(second + 5));
            judged(&Known { servers, ..known(&runs, second + 5, &timer) }, &[], expected);
        };
        let reached = [server("nsqd at a:1", false, Some(0), None)];
        judged(500, &reached, &[]);
        let one = [&reached[..], &[server("nsqd at b:1", false, Some(40), Some(50))]].concat();
        let text =
            "1 of 2 queue servers not reached, messages may be waiting there: nsqd at b:1 (last reached ";
        judged(50, &one, &[(Level::Warning, text)]);
        judged(150, &one, &[(Level::Warning, text)]);
        judged(151, &one, &[(Level::Critical, text)]);
        judged(
            50,
            &[server("nsqd at c:1", false, None, Some(50))],
            &[(Level::Warning, "nsqd at c:1 (never reached)")],
        );
        let found = [server("nsqd at d:1", true, Some(40), Some(50))];
        judged(
            50,
            &found,
            &[(Level::Warning, "to forget one that is gone for good: x-msrv status --forget d:1")],
        );
        let many: Vec<_> =
            ('a'..='e').map(|name| server(&format!("nsqd at {name}:1"), false, None, Some(50))).collect();
        judged(50, &many, &[(Level::Warning, "nsqd at c:1 (never reached), and 2 more")]);
    }
}
