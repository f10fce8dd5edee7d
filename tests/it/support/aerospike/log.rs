//! The log of what has reached the stand-in.

use super::{
    message::{Digest, Row},
    value::{Particle, Value},
};

/// A row that requested a write, whatever the outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// The record's digest.
    pub(crate) digest: Digest,
    /// The record's set.
    pub(crate) set: String,
    /// The user key, if the client sent it.
    pub(crate) user_key: Option<Value>,
}

/// The size of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize {
    /// Its rows.
    pub(crate) rows: usize,
    /// Its bytes, without the eight of the frame's header.
    pub(crate) bytes: usize,
}

/// The number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Connections {
    /// Since the stand-in was created.
    pub(crate) accepted: usize,
    /// Open now.
    pub(crate) open: usize,
}

/// The log of all requests.
#[derive(Default)]
pub(super) struct Log {
    writes: Vec<Write>,
    batches: Vec<BatchSize>,
    connections: Connections,
}

impl Log {
    /// Logs a write row; returns its number, counted from 1.
    pub(super) fn write(&mut self, row: &Row) -> usize {
        self.writes.push(Write {
            digest: row.digest,
            set: row.request.set.clone(),
            user_key: row.request.user_key.as_ref().map(Particle::value),
        });
        self.writes.len()
    }

    pub(super) fn batch(&mut self, rows: usize, bytes: usize) {
        self.batches.push(BatchSize { rows, bytes });
    }

    pub(super) fn connection_opened(&mut self) {
        self.connections.accepted += 1;
        self.connections.open += 1;
    }

    pub(super) fn connection_closed(&mut self) {
        self.connections.open -= 1;
    }

    pub(super) fn writes(&self) -> &[Write] {
        &self.writes
    }

    pub(super) fn batches(&self) -> &[BatchSize] {
        &self.batches
    }

    pub(super) fn connections(&self) -> Connections {
        self.connections
    }
}
