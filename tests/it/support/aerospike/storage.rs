//! The records, and the effect of a request on one.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    checks::{self, reads_all, replaces},
    message::{Answer, Digest, Request, Row},
    protocol::{flag, operation, result},
    value::{self, Particle},
};

/// The only namespace.
pub(super) const NAMESPACE: &str = "test";

/// The server's default of `max-record-size`.
pub(super) const MAX_RECORD_SIZE: usize = 1024 * 1024;
/// The fixed parts of a stored record: header and end mark.
const RECORD_OVERHEAD: usize = 35 + 4;

/// TTLs with a special meaning (`policy/expiration.rs`); up to ten years is a TTL in seconds.
const TTL_DEFAULT: u32 = 0;
const TTL_NEVER: u32 = u32::MAX;
const TTL_KEEP: u32 = u32::MAX - 1;
const TTL_MAX: u32 = 10 * 365 * 24 * 60 * 60;

/// Void times count from 2010-01-01 (`citrusleaf_epoch` in the client's `record.rs`).
const EPOCH: u64 = 1_262_304_000;

/// A record. A record without bins does not exist.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) set: String,
    pub(super) user_key: Option<Particle>,
    pub(super) bins: BTreeMap<String, Particle>,
    pub(super) generation: u32,
    /// The second at which the record expires, counted from 2010; 0 for never.
    pub(super) void_time: u32,
}

impl Record {
    fn answer(&self, code: u8) -> Answer {
        Answer { generation: self.generation, void_time: self.void_time, ..Answer::code(code) }
    }

    /// Seconds until the record expires; `None` for never.
    pub(super) fn ttl(&self) -> Option<u32> {
        (self.void_time != 0).then(|| self.void_time.saturating_sub(now()))
    }

    /// Bytes in the server's storage (its `storage/flat.c`).
    fn stored_size(&self) -> usize {
        let set = if self.set.is_empty() { 0 } else { 1 + self.set.len() };
        let key = self.user_key.as_ref().map_or(0, |key| {
            let size = 1 + key.bytes.len();
            counter_size(size) + size
        });
        let bins = self.bins.iter().map(|(name, value)| 1 + name.len() + value.stored_size());
        let void_time = if self.void_time == 0 { 0 } else { 4 };
        RECORD_OVERHEAD + set + key + void_time + counter_size(self.bins.len()) + bins.sum::<usize>()
    }

    /// Carries the operations out, one after another, and returns the results for the answer. A write has a
    /// result (an empty one) only if the request asks for one from every operation, as batch rows do.
    fn apply(&mut self, request: &Request) -> Vec<(String, Option<Particle>)> {
        let all_ops = request.has2(flag::INFO2_RESPOND_ALL_OPS);
        let mut results = Vec::new();
        for op in &request.ops {
            match op.code {
                operation::WRITE if op.particle.kind == value::NULL => drop(self.bins.remove(&op.name)),
                operation::WRITE => drop(self.bins.insert(op.name.clone(), op.particle.clone())),
                operation::DELETE => self.bins.clear(),
                _ => {}
            }
            if reads_all(op, request) {
                results.extend(self.all_bins());
                continue;
            }
            let value = (op.code == operation::READ).then(|| self.bins.get(&op.name).cloned()).flatten();
            if op.code != operation::TOUCH && (all_ops || value.is_some()) {
                results.push((op.name.clone(), value));
            }
        }
        results
    }

    fn all_bins(&self) -> impl Iterator<Item = (String, Option<Particle>)> {
        self.bins.iter().map(|(name, value)| (name.clone(), Some(value.clone())))
    }
}

/// Seven bits of a number are in each byte.
fn counter_size(n: usize) -> usize {
    1 + usize::from(n >= 1 << 7) + usize::from(n >= 1 << 14) + usize::from(n >= 1 << 21)
}

/// `AS_SET_MAX_COUNT` in the server's `datamodel.h`.
const MOST_SETS: usize = 4_095;

/// The settings of the namespace that an administrator can change (`set-config`) and that affect writes.
pub(super) struct Configuration {
    pub(super) nsup_period: u32,
    pub(super) default_ttl: u32,
    pub(super) reject_non_xdr_writes: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration { nsup_period: 120, default_ttl: 0, reject_non_xdr_writes: false }
    }
}

/// The settings of a set that an administrator can change; 0 is no limit.
#[derive(Default)]
pub(super) struct SetConfiguration {
    pub(super) stop_writes_count: u64,
    pub(super) stop_writes_size: u64,
}

/// All records of the namespace.
#[derive(Default)]
pub(super) struct Storage {
    records: BTreeMap<Digest, Record>,
    pub(super) configuration: Configuration,
    /// Every set that was ever created.
    pub(super) sets: BTreeMap<String, SetConfiguration>,
}

impl Storage {
    /// The records of a set, and their size in bytes.
    pub(super) fn used(&self, set: &str) -> (u64, u64) {
        let sizes = self
            .records
            .values()
            .filter(|record| record.set == set)
            .map(|record| record.stored_size() as u64);
        sizes.fold((0, 0), |(objects, bytes), size| (objects + 1, bytes + size))
    }

    /// Creates the maximum number of sets.
    pub(super) fn use_up_set_names(&mut self) {
        let missing = MOST_SETS - self.sets.len();
        self.sets.extend((0..missing).map(|number| (format!("full-{number}"), SetConfiguration::default())));
    }

    /// Returns whether a record may be written to its set (`set_set_from_msg` and `as_set_size_stop_writes`).
    fn check_set(&self, set: &str, is_new: bool) -> Result<(), u8> {
        let Some(&SetConfiguration { stop_writes_count: count, stop_writes_size: size }) = self.sets.get(set)
        else {
            return if self.sets.len() < MOST_SETS { Ok(()) } else { Err(result::PARAMETER) };
        };
        let is_full =
            count != 0 && is_new && self.used(set).0 >= count || size != 0 && self.used(set).1 > size;
        if is_full { Err(result::FORBIDDEN) } else { Ok(()) }
    }

    /// Carries out one request.
    pub(super) fn carry_out(&mut self, row: &Row) -> Answer {
        let request = &*row.request;
        let done = if request.namespace != NAMESPACE {
            Err(Answer::code(result::UNKNOWN_NAMESPACE))
        } else if request.unsupported {
            Err(Answer::code(result::UNSUPPORTED))
        } else if !request.is_write() {
            self.read(&row.digest, request)
        } else if request.has2(flag::INFO2_DELETE) {
            self.delete(&row.digest, request)
        } else {
            self.write(row.digest, request)
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    /// The records, in the order of their digests.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Digest, &Record)> {
        self.records.iter()
    }

    /// Removes the records of a set, or all of them.
    pub(super) fn truncate(&mut self, set: Option<&str>) {
        self.records.retain(|_, record| set.is_some_and(|set| record.set != set));
    }

    fn read(&self, digest: &Digest, request: &Request) -> Result<Answer, Answer> {
        let record = self.records.get(digest).ok_or(Answer::code(result::NOT_FOUND))?;
        let refuse = |code| record.answer(code);
        checks::set(record, request).map_err(refuse)?;
        checks::key(record, request).map_err(refuse)?;
        let mut answer = record.answer(result::OK);
        if request.has1(flag::INFO1_NOBINDATA) {
            return Ok(answer);
        }
        if request.has1(flag::INFO1_GET_ALL) {
            answer.bins = record.all_bins().collect();
        } else {
            checks::reads(request).map_err(refuse)?;
            answer.bins = record.clone().apply(request);
        }
        Ok(answer)
    }

    fn delete(&mut self, digest: &Digest, request: &Request) -> Result<Answer, Answer> {
        let record = self.records.get(digest).ok_or(Answer::code(result::NOT_FOUND))?;
        // Answers to refused deletes have no generation of the record, unlike those to refused writes.
        checks::set(record, request).map_err(Answer::code)?;
        checks::generation(record.generation, request).map_err(Answer::code)?;
        checks::key(record, request).map_err(Answer::code)?;
        self.records.remove(digest);
        Ok(Answer::code(result::OK))
    }

    fn write(&mut self, digest: Digest, request: &Request) -> Result<Answer, Answer> {
        if self.configuration.reject_non_xdr_writes {
            return Err(Answer::code(result::FORBIDDEN));
        }
        checks::write_alone(request).map_err(Answer::code)?;
        let old = self.records.get(&digest);
        let refuse = |code| old.map_or(Answer::code(code), |old| old.answer(code));
        let mut new = old.cloned().unwrap_or_default();
        checks::existence(old, request).map_err(refuse)?;
        checks::generation(new.generation, request).map_err(refuse)?;
        checks::set_of_write(old, request).map_err(refuse)?;
        if !request.set.is_empty() {
            self.check_set(&request.set, old.is_none()).map_err(refuse)?;
        }
        checks::key(&new, request).map_err(refuse)?;
        new.void_time = self.configuration.void_time(request.flags.ttl, new.void_time).map_err(refuse)?;

        new.set.clone_from(&request.set);
        new.user_key = new.user_key.or_else(|| request.user_key.clone());
        if replaces(request) {
            new.bins.clear();
        }
        let results = new.apply(request);
        checks::bins(&new).map_err(refuse)?;
        if new.bins.is_empty() {
            // A record is deleted with its last bin; a replacement does not check for this.
            if old.is_none() || replaces(request) {
                return Err(refuse(result::NOT_FOUND));
            }
            self.records.remove(&digest);
            return Ok(Answer { bins: results, ..Answer::code(result::OK) });
        }
        if new.stored_size() > MAX_RECORD_SIZE {
            return Err(refuse(result::RECORD_TOO_BIG));
        }
        new.generation += 1;
        let answer = Answer { bins: results, ..new.answer(result::OK) };
        if !new.set.is_empty() {
            self.sets.entry(new.set.clone()).or_default();
        }
        self.records.insert(digest, new);
        Ok(answer)
    }
}

impl Configuration {
    fn void_time(&self, ttl: u32, old: u32) -> Result<u32, u8> {
        match if ttl == TTL_DEFAULT { self.default_ttl } else { ttl } {
            TTL_DEFAULT | TTL_NEVER => Ok(0),
            TTL_KEEP => Ok(old),
            1..=TTL_MAX if self.nsup_period == 0 => Err(result::FORBIDDEN),
            ttl @ 1..=TTL_MAX => Ok(now() + ttl),
            _ => Err(result::PARAMETER),
        }
    }
}

/// The current second, counted from 2010.
#[allow(clippy::disallowed_methods, reason = "expiry times on the wire are wall-clock times")]
fn now() -> u32 {
    let since_1970 =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is past 1970");
    u32::try_from(since_1970.as_secs() - EPOCH).expect("32 bits of seconds last until 2146")
}
