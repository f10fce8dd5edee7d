//! The publisher of NSQ with the real nsqd: what happens to its connection between two messages.

use std::{collections::BTreeSet, io::Write as _, num::NonZeroU64, time::Duration};

use tokio::time::{sleep, timeout};
use x_msrv_contract::memory::dead_letter::MemoryDeadLetter;
use x_msrv_core::{
    answer,
    dead_letter::{DeadLetter, fallback::Fallback, published::Published},
    fault::Fault,
    source::{Outgoing, Publisher},
};
use x_msrv_nsq::source::{NsqPublisher, Servers, Settings};

use crate::support::{PATIENCE, block_on, nsqd::Nsqd, program::Program, wait_until};

/// Longer than nsqd with these options waits for an answer to a heartbeat, which is 2 s.
const IDLE: Duration = Duration::from_secs(5);

/// An nsqd that refuses the interval of heartbeats that the publisher requests first.
fn nsqd() -> Nsqd {
    Nsqd::with(&["-max-heartbeat-interval=1s"])
}

fn settings(nsqd: &Nsqd) -> Settings {
    Settings {
        section: "nsq",
        servers: Servers::Nsqd(vec![nsqd.tcp.clone()]),
        topic: "t".parse().expect("a topic"),
        channel: "c".parse().expect("a channel"),
        max_in_flight: NonZeroU64::MIN,
        max_message_size: 1 << 20,
        connect_timeout: Duration::from_secs(2),
        auth_secret: None,
        tls: None,
        longest_run: Duration::from_secs(2),
    }
}

async fn publish(publisher: &NsqPublisher) -> Result<(), Fault> {
    let (batch, verdicts) =
        answer::batch([Outgoing { body: "{}".into(), ..Outgoing::default() }].into_iter());
    publisher.publish(batch).await;
    verdicts.take().remove(0).expect("an answer")
}

/// nsqd closes a connection on which it hears nothing for two heartbeats. A message that was published just
/// then was in doubt.
#[test]
fn an_idle_publisher_keeps_its_connection() {
    let nsqd = nsqd();
    block_on(async {
        let publisher = NsqPublisher::connect(&settings(&nsqd)).await.expect("connected");
        publish(&publisher).await.expect("published");
        let connections = nsqd.publishers().await;
        assert_eq!(connections.len(), 1, "one connection is enough: {connections:?}");
        timeout(IDLE, publisher.keep_alive()).await.expect_err("it never ends");
        assert_eq!(nsqd.publishers().await, connections);
        publish(&publisher).await.expect("published");
        assert_eq!(nsqd.publishers().await, connections);
    });
}

/// The publisher may be used by other tasks while one keeps it alive: a connection that is returned meanwhile
/// was not watched.
#[test]
fn connections_that_become_idle_later_are_kept_too() {
    let nsqd = nsqd();
    block_on(async {
        let publisher = NsqPublisher::connect(&settings(&nsqd)).await.expect("connected");
        let several = async {
            tokio::task::yield_now().await;
            let (one, other) = tokio::join!(publish(&publisher), publish(&publisher));
            one.and(other).expect("published");
            let connections = nsqd.publishers().await;
            assert_eq!(connections.len(), 2, "{connections:?}");
            sleep(IDLE).await;
            assert_eq!(nsqd.publishers().await, connections);
        };
        tokio::select! {
            never = publisher.keep_alive() => match never {},
            () = several => {}
        }
    });
}

/// The first message after a restart was in doubt, and was published twice if it had arrived.
#[test]
fn a_publisher_whose_nsqd_was_restarted_reconnects_with_nothing_in_doubt() {
    let mut nsqd = nsqd();
    let settings = settings(&nsqd);
    block_on(async {
        for is_watched in [true, false] {
            let publisher = NsqPublisher::connect(&settings).await.expect("connected");
            publish(&publisher).await.expect("published");
            let before = nsqd.publishers().await;
            nsqd.kill();
            nsqd.restart();
            if is_watched {
                timeout(Duration::from_millis(100), publisher.keep_alive()).await.expect_err("it never ends");
            }
            publish(&publisher).await.expect("published by another connection");
            assert!(nsqd.publishers().await.is_disjoint(&before), "watched: {is_watched}");
        }
    });
}

/// Without a driver, for instance while the disk is slow, nsqd closes the connection: the next message must not
/// be lost on it.
#[test]
fn a_connection_that_nsqd_closed_is_not_used() {
    let nsqd = nsqd();
    block_on(async {
        let publisher = NsqPublisher::connect(&settings(&nsqd)).await.expect("connected");
        publish(&publisher).await.expect("published");
        let closed = async {
            while !nsqd.publishers().await.is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("nsqd hears nothing");
        publish(&publisher).await.expect("published by another connection");
    });
}

/// A server without power sends no end of the connection: the next message would have waited for the timeout, and
/// then have been in doubt.
#[test]
fn a_server_that_falls_silent_is_noticed_before_the_next_message() {
    let nsqd = nsqd();
    block_on(async {
        let publisher = NsqPublisher::connect(&settings(&nsqd)).await.expect("connected");
        publish(&publisher).await.expect("published");
        nsqd.freeze();
        timeout(IDLE, publisher.keep_alive()).await.expect_err("it never ends");
        let fault = publish(&publisher).await.expect_err("nsqd is frozen");
        assert!(!fault.in_doubt, "{fault:?}");
        nsqd.thaw();
        publish(&publisher).await.expect("published");
    });
}

/// A dead letter that follows a long time after the last one went to the file, and was published as well.
#[test]
fn a_topic_of_dead_letters_keeps_its_connection_between_letters() {
    let nsqd = nsqd();
    let settings = settings(&nsqd);
    let connect = move || -> x_msrv_core::BoxFuture<'static, Result<Box<dyn Publisher>, _>> {
        let settings = settings.clone();
        Box::pin(async move { Ok(Box::new(NsqPublisher::connect(&settings).await?) as Box<dyn Publisher>) })
    };
    let published = Published::new(
        "the topic t".to_owned(),
        Box::new(connect),
        Box::new(|| Box::pin(async { Ok(String::new()) })),
    );
    let mut letters = Fallback { first: Box::new(published), second: Box::new(MemoryDeadLetter::broken()) };
    let letter = super::contracts::dead_letter::letter(b"{");
    block_on(async {
        for _ in 0..2 {
            let (batch, verdicts) = answer::batch([&letter].into_iter());
            letters.keep(batch).await;
            assert!(matches!(verdicts.take()[..], [Some(Ok(_))]));
            let connections = nsqd.publishers().await;
            timeout(IDLE, letters.keep_alive()).await.expect_err("it never ends");
            assert_eq!((connections.len(), nsqd.publishers().await), (1, connections));
        }
    });
}

/// `tail -f | x-msrv send` reads for hours between two lines, and answered no heartbeat meanwhile.
#[test]
fn send_keeps_its_connection_while_it_waits_for_a_line() {
    let nsqd = nsqd();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: s, set: s}}\n",
        nsqd.tcp
    ));
    let mut child = program.spawn_with_input(&["send"]);
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{{\"n\":1}}").expect("it reads");
    wait_until("the first line is sent at once", || nsqd.depths("t").waiting == 1);
    let connections: BTreeSet<String> = block_on(nsqd.publishers());
    assert_eq!(connections.len(), 1, "{connections:?}");
    block_on(async { sleep(IDLE).await });
    assert_eq!(block_on(nsqd.publishers()), connections);
    writeln!(input, "{{\"n\":2}}").expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(nsqd.depths("t").waiting, 2);
}
