//! Requests nsqd's statistics, and interprets them for a run.

use std::{
    future,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::join_all;
use log::{debug, warn};
use tokio::time::Instant;

use super::{
    super::{
        connect::{CloseState, Lane, patience},
        lookup::{self, Waiting},
    },
    NsqConsumer,
};
use x_msrv_core::{BoxFuture, error_chain, source::Depth};
use x_msrv_net::http::Late;

/// A request for the statistics of all lanes.
pub(super) struct Question {
    answers: BoxFuture<'static, Vec<Answer>>,
    /// When the responses are outdated.
    until: Instant,
}

/// The statistics of a lane.
struct Answer {
    lane: usize,
    /// `None` if they are not available.
    told: Option<Result<Waiting, Late>>,
}

/// How often statistics may be late before they are no longer requested.
const MOST_LATE: u32 = 2;

impl NsqConsumer {
    /// Requests the statistics of every lane with a known address.
    pub(super) fn ask(&self, now: Instant) -> Question {
        self.ask_again(now, 0)
    }

    /// Requests them again, with more patience for late responses.
    fn ask_again(&self, now: Instant, times: u32) -> Question {
        let lanes = || {
            self.lanes
                .iter()
                .enumerate()
                .skip(self.first)
                .filter(|(_, place)| place.closing != CloseState::Lost)
        };
        let ask = |(lane, place): (usize, &Lane)| {
            let (settings, ours, at) =
                (self.settings.clone(), place.connection.local_address(), place.http.clone()?);
            let bounds = patience(place.start.round_trip, place.late + times);
            Some(async move {
                let told = match lookup::waiting(&at, &settings.topic, &settings.channel, Some(ours), bounds)
                    .await
                {
                    Ok(told) => Some(Ok(told)),
                    Err(cause) => {
                        debug!(address = at.to_string(), cause = error_chain::text(&*cause); "nsqd does not return its statistics");
                        cause.downcast().ok().map(|late| Err(*late))
                    }
                };
                Answer { lane, told }
            })
        };
        let longest = lanes()
            .map(|(_, place)| patience(place.start.round_trip, place.late).answer)
            .max()
            .unwrap_or_default();
        Question {
            answers: Box::pin(join_all(lanes().filter_map(ask))),
            until: now + longest + patience(Duration::ZERO, 0).answer,
        }
    }

    /// Records the responses once all have arrived.
    pub(super) fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(question) = &mut self.question else { return Poll::Pending };
        let answers = ready!(question.answers.as_mut().poll(cx));
        let (now, until) = (Instant::now(), question.until);
        self.question = None;
        let flow = &mut self.flow;
        if now > until {
            flow.not_asked(now);
            return Poll::Ready(());
        }
        for Answer { lane, told } in answers {
            let place = &mut self.lanes[lane];
            let waiting = match told {
                Some(Ok(told)) => {
                    place.late = 0;
                    // nsqd does not count topic and channel at the same moment: if messages have moved, the
                    // statistics are requested once more.
                    let moved = u64::from(place.told.replace(told).is_some_and(|before| before.moving));
                    let waiting = if flow.is_proven(lane) {
                        told.not_come(place.proof.messages())
                    } else {
                        Some(told.available)
                    };
                    waiting.map(|waiting| waiting.max(moved))
                }
                Some(Err(Late)) if place.late < MOST_LATE => {
                    place.late += 1;
                    Some(1) // at least one may be waiting
                }
                _ => None,
            };
            if waiting.is_none() {
                place.http = None;
            }
            flow.told(lane, waiting, now);
        }
        flow.all_told(now);
        Poll::Ready(())
    }

    /// A forgotten pause looks like an empty queue otherwise. Logged once, not for each nsqd.
    pub(super) fn warn_of_pauses(&self) {
        let sum = |waiting: fn(Waiting) -> u64| {
            self.lanes.iter().filter_map(|lane| lane.told).map(waiting).fold(0, u64::saturating_add)
        };
        let (topic, channel) = (self.settings.topic.to_string(), self.settings.channel.to_string());
        if let messages @ 1.. = sum(|told| told.on_paused_topic) {
            warn!(topic = topic, messages = messages; "the topic is paused: its messages are not delivered");
        }
        if let messages @ 1.. = sum(|told| told.on_paused_channel) {
            warn!(topic = topic, channel = channel, messages = messages; "the channel is paused: its messages are not delivered");
        }
    }

    /// Returns the total depth over all nsqd; `None` if one of them was not reached or is lost, or if its
    /// statistics are not available in time.
    pub(super) fn depth(&self) -> BoxFuture<'static, Option<Depth>> {
        if !self.are_all
            || self.lanes[self.first..]
                .iter()
                .any(|lane| lane.closing == CloseState::Lost || lane.http.is_none())
        {
            return Box::pin(future::ready(None));
        }
        // Statistics that reported no ready messages also reported delayed and paused ones. They hold as long
        // as nothing is requeued.
        let said_empty = |lane: &Lane| lane.told.filter(|told| told.available == 0);
        if self.is_empty
            && !self.lanes.iter().any(|lane| lane.gave_back)
            && let Some(depth) = depth(self.lanes[self.first..].iter().map(said_empty))
        {
            return Box::pin(future::ready(Some(depth)));
        }
        // On a busy machine a response is late now and then: it is requested again, with more patience each
        // time. Only the end of the run waits for it.
        let mut asked: Vec<_> =
            (0..=MOST_LATE).map(|times| self.ask_again(Instant::now(), times).answers).collect();
        asked.reverse();
        Box::pin(async move {
            while let Some(answers) = asked.pop() {
                let answers = answers.await;
                let depth =
                    depth(answers.into_iter().map(|Answer { told, .. }| Some(told?.ok()?.at_the_end())));
                if depth.is_some() {
                    return depth;
                }
            }
            None
        })
    }
}

/// Returns the total depth; `None` if one of them did not report it.
pub(super) fn depth(mut told: impl Iterator<Item = Option<Waiting>>) -> Option<Depth> {
    let (ready, later) = told.try_fold((0_u64, 0_u64), |(ready, later), told| {
        let told = told?;
        Some((ready.saturating_add(told.available), later.saturating_add(told.later())))
    })?;
    Some(Depth { ready: Some(ready), later: Some(later), elsewhere: None })
}
