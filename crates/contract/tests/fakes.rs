//! The in-memory queues and stores pass the suites that adapters pass.

use std::{num::NonZeroU64, time::Duration};

use bytes::Bytes;
use x_msrv_contract::{
    dead_letter::OnQueue,
    dead_letter_suite,
    memory::{
        no_delay::NoDelayQueue, position::PositionQueue, requests::Requests, source::MemoryQueue,
        store::MemoryStore,
    },
    publisher::Refusing,
    publisher_suite,
    source::Queue,
    source_suite,
    store::Database,
    store_suite,
};
use x_msrv_core::{
    layers::{Bisect, Limit},
    source::{Attempts, Publisher, Source},
    store::{BatchLimits, Store},
};

fn nonzero(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

struct Memory(MemoryQueue);

impl Queue for Memory {
    const IS_COUNTED: bool = true;
    const ATTEMPTS: Attempts = Attempts::Counted;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        Self(MemoryQueue::new(nonzero(max_in_flight), lease).refusing_over(1 << 20))
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(self.0.clone())
    }

    async fn counts(&self) -> (u64, u64) {
        (self.0.depth() as u64, self.0.in_flight() as u64)
    }
}

impl Refusing for Memory {
    fn refused(&self) -> Bytes {
        vec![b' '; (1 << 20) + 1].into()
    }
}

struct Position(PositionQueue);

impl Queue for Position {
    const IS_COUNTED: bool = true;
    const ATTEMPTS: Attempts = Attempts::Unknown;

    async fn open(max_in_flight: u64, _: Duration) -> Self {
        Self(PositionQueue::new(max_in_flight, 50))
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(self.0.clone())
    }

    async fn counts(&self) -> (u64, u64) {
        (self.0.lag(), 0)
    }
}

struct NoDelay(NoDelayQueue);

impl Queue for NoDelay {
    const IS_COUNTED: bool = true;
    const ATTEMPTS: Attempts = Attempts::Redelivered;

    async fn open(max_in_flight: u64, _: Duration) -> Self {
        Self(NoDelayQueue::new(max_in_flight, None))
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(self.0.clone())
    }

    async fn counts(&self) -> (u64, u64) {
        self.0.counts()
    }
}

struct Asked(Requests);

impl Queue for Asked {
    const IS_COUNTED: bool = false;
    const ATTEMPTS: Attempts = Attempts::Unknown;

    async fn open(_: u64, _: Duration) -> Self {
        Self(Requests::default())
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(self.0.clone())
    }

    async fn counts(&self) -> (u64, u64) {
        self.0.counts()
    }
}

struct MemoryDatabase(MemoryStore);

impl Database for MemoryDatabase {
    async fn open() -> Self {
        Self(MemoryStore::default())
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

/// A whole-batch store, with three records in a batch and two batches at once.
struct Whole(MemoryStore);

impl Database for Whole {
    async fn open() -> Self {
        Self(MemoryStore::whole_batch().limited(BatchLimits::new(3, 2)))
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(Limit(Bisect(self.0.clone())))
    }
}

source_suite!(memory, Memory, [every, window, listens, delays, leases]);
source_suite!(position, Position, [every, window]);
source_suite!(no_delay, NoDelay, [every, window]);
source_suite!(requests, Asked, [every, listens]);
publisher_suite!(memory_publisher, Memory, [every, order, refusals]);
publisher_suite!(position_publisher, Position, [every, order]);
publisher_suite!(no_delay_publisher, NoDelay, [every, order, ids, headers]);
publisher_suite!(requests_publisher, Asked, [every, order]);
dead_letter_suite!(memory_letters, OnQueue<Memory>, [every, refusals]);
dead_letter_suite!(no_delay_letters, OnQueue<NoDelay>, [every]);
dead_letter_suite!(position_letters, OnQueue<Position>, [every]);
store_suite!(memory_store, MemoryDatabase);
store_suite!(whole_batch, Whole);
