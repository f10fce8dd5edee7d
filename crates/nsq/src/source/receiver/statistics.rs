//! What nsqd's statistics are asked, and what their answers mean for a run.

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

/// A question to the statistics of all lanes.
pub(super) struct Question {
    answers: BoxFuture<'static, Vec<Answer>>,
    /// When the answers are no longer about now.
    until: Instant,
}

/// What a lane's statistics say.
struct Answer {
    lane: usize,
    /// `None` where they are not to be had.
    told: Option<Result<Waiting, Late>>,
}

/// How often statistics may be late before they are not asked any more.
const MOST_LATE: u32 = 2;

impl NsqConsumer {
    /// Asks the statistics of every lane for which it is known where they are.
    pub(super) fn ask(&self, now: Instant) -> Question {
        self.ask_again(now, 0)
    }

    /// The same with the patience for answers that were late so often more.
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
                        debug!(address = at.to_string(), cause = error_chain::text(&*cause); "nsqd's statistics do not answer");
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

    /// Takes the answers to the books once they are all there.
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
                    // nsqd does not count topic and channel in one moment: where messages have moved, it is
                    // asked once more.
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
                    Some(1) // for all that is known
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

    /// A pause that somebody forgot looks like an empty queue but for this. Said once, and not for each nsqd.
    pub(super) fn warn_of_pauses(&self) {
        let sum = |waiting: fn(Waiting) -> u64| {
            self.lanes.iter().filter_map(|lane| lane.told).map(waiting).fold(0, u64::saturating_add)
        };
        let (topic, channel) = (self.settings.topic.to_string(), self.settings.channel.to_string());
        if let messages @ 1.. = sum(|told| told.on_paused_topic) {
            warn!(topic = topic, messages = messages; "the topic is paused: its messages do not come");
        }
        if let messages @ 1.. = sum(|told| told.on_paused_channel) {
            warn!(topic = topic, channel = channel, messages = messages; "the channel is paused: its messages do not come");
        }
    }

    /// How many messages are left at all nsqd together; `None` where one of them was not reached or is lost,
    /// or where its statistics are not to be had, or not at once.
    pub(super) fn depth(&self) -> BoxFuture<'static, Option<Depth>> {
        if !self.are_all
            || self.lanes[self.first..]
                .iter()
                .any(|lane| lane.closing == CloseState::Lost || lane.http.is_none())
        {
            return Box::pin(future::ready(None));
        }
        // Who said that nothing is to be had said what is put off or paused as well. That holds as long as
        // nothing is given back.
        let said_empty = |lane: &Lane| lane.told.filter(|told| told.available == 0);
        if self.is_empty
            && !self.lanes.iter().any(|lane| lane.gave_back)
            && let Some(depth) = depth(self.lanes[self.first..].iter().map(said_empty))
        {
            return Box::pin(future::ready(Some(depth)));
        }
        // On a busy machine an answer is late now and then: it is asked for again, with more patience each
        // time, and nothing waits for it but the end.
        let mut asked: Vec<_> =
            (0..=MOST_LATE).map(|times| self.ask_again(Instant::now(), times).answers).collect();
        asked.reverse();
        Box::pin(async move {
            while let Some(answers) = asked.pop() {
                let answers = answers.await;
                let depth = depth(answers.into_iter().map(|Answer { told, .. }| told?.ok()));
                if depth.is_some() {
                    return depth;
                }
            }
            None
        })
    }
}

/// What is left at all of them; `None` where one did not tell.
pub(super) fn depth(mut told: impl Iterator<Item = Option<Waiting>>) -> Option<Depth> {
    let (ready, later) = told.try_fold((0_u64, 0_u64), |(ready, later), told| {
        let told = told?;
        Some((ready.saturating_add(told.available), later.saturating_add(told.later())))
    })?;
    Some(Depth { ready: Some(ready), later: Some(later), elsewhere: None })
}
