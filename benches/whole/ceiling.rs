//! Runs without a store or without a queue: the least that the other half costs, servers included.

use std::{
    cell::Cell,
    num::{NonZeroU32, NonZeroU64},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::{runtime::Builder, time::Instant};
use x_msrv::adapters;
use x_msrv_config::{self as config, Overrides, Settings};
use x_msrv_core::{
    BoxFuture,
    dead_letter::log::LogOnly,
    message::{Delivery, Message, Origin, Receipt, Settlement},
    run::{NotCounted, Parts, run},
    source::{
        Attempts, Closed, Consumer, Demand, Depth, Event, Identity, Lease, Retry, Source, SourceError,
        SourceTraits, Started,
    },
    store::{BatchLimits, Pending, Put, Reach, Repeat, Store, StoreError, StoreTraits},
};

use crate::support::message_of_150_bytes;

/// Receives, decodes and acknowledges messages of the configured queue, and stores nothing.
pub(crate) fn consume(configuration: &str) {
    let settings = settings(configuration);
    let source = async { settings.source.connect().await.expect("the queue answers") };
    drain(&settings, source, async { Box::new(Nothing) as Box<dyn Store> });
}

/// Stores messages from memory in the configured store.
pub(crate) fn store(configuration: &str) {
    let settings = settings(configuration);
    let source = Endless {
        left: 0,
        origin: Origin::new(&format!("memory-{}", std::process::id())),
        number: 0,
        body: Bytes::from(message_of_150_bytes(0)),
    };
    let store = async { settings.store.connect().await.expect("the store answers") };
    drain(&settings, async { Box::new(source) as Box<dyn Source> }, store);
}

fn settings(configuration: &str) -> Settings {
    config::load(adapters::ALL, Some(configuration.as_ref()), &Overrides::default()).expect("a configuration")
}

fn drain(
    settings: &Settings,
    source: impl Future<Output = Box<dyn Source>>,
    store: impl Future<Output = Box<dyn Store>>,
) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let decoder = settings.decoder().expect("no schema");
    runtime.block_on(async {
        let (source, store) = tokio::join!(source, store);
        let (clock, progress) = (|| SystemTime::UNIX_EPOCH, &Cell::default());
        let parts = Parts {
            source,
            stores: vec![&*store],
            dead_letter: &mut LogOnly,
            decoder: &decoder,
            failures: &mut NotCounted,
            clock,
            began: Instant::now(),
            progress,
        };
        let report = run(parts, settings.limits, std::future::pending()).await.expect("the queue starts");
        store.close().await.expect("the store closes");
        println!("{report}");
    });
    runtime.shutdown_background();
}

/// A store that stores nothing and answers at once.
struct Nothing;

impl Store for Nothing {
    fn traits(&self) -> StoreTraits {
        StoreTraits { repeat: Repeat::Idempotent, reach: Reach::PerRecord, wants_message: false }
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(100, 8)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        for Pending { answer, .. } in records {
            answer.give(Ok(Put::Stored));
        }
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A queue that is never empty.
struct Endless {
    left: u64,
    origin: Origin,
    number: u64,
    body: Bytes,
}

impl Source for Endless {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Immediate,
            attempts: Attempts::Counted,
            lease: Lease::None,
            identity: Identity::Stable,
        }
    }

    fn start(mut self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        self.left = NonZeroU64::get(demand.max_messages);
        Box::pin(std::future::ready(Ok(Started { consumer: self, depth: Depth::default() })))
    }
}

impl Consumer for Endless {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        const AT_ONCE: u64 = 2_500;
        if self.left == 0 {
            return Box::pin(std::future::pending());
        }
        let count = self.left.min(AT_ONCE);
        self.left -= count;
        let deliveries = (0..count).map(|_| {
            self.number += 1;
            let message = Message {
                origin: self.origin.clone(),
                id: format!("{:016x}", self.number).into(),
                body: self.body.clone(),
                attempts: NonZeroU32::new(1),
                published: None,
                last: false,
                details: None,
            };
            Delivery { message, receipt: Receipt(0) }
        });
        let deliveries = deliveries.collect();
        Box::pin(std::future::ready(Event::Deliveries(deliveries)))
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.left = more;
        Box::pin(std::future::ready(()))
    }

    fn settle(&mut self, _: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(std::future::ready(Closed { received: self.number, ..Closed::default() }))
    }
}
