//! Publishing of messages by commands.

use bytes::Bytes;

use x_msrv_core::{
    answer,
    fault::Fault,
    source::{Outgoing, Publisher},
};

/// Waits for something, and keeps the publisher's connection alive meanwhile.
pub(super) async fn alive_until<T>(publisher: &dyn Publisher, event: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        event = event => event,
        never = publisher.keep_alive() => match never {},
    }
}

/// Publishes messages. Returns the result of each.
pub(super) async fn publish(publisher: &dyn Publisher, bodies: &[Bytes]) -> Vec<Result<(), Fault>> {
    let messages = bodies.iter().map(|body| Outgoing { body: body.clone(), ..Outgoing::default() });
    let (batch, verdicts) = answer::batch(messages);
    publisher.publish(batch).await;
    let verdicts = verdicts.take().into_iter();
    verdicts
        .map(|verdict| {
            verdict.unwrap_or_else(|| Err(Fault::in_doubt("the queue did not answer for this message")))
        })
        .collect()
}
