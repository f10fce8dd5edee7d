//! Queries over a set or the whole namespace, without an index (the client's `set_query` in
//! `commands/buffer.rs` and `commands/stream_command.rs`).

use std::collections::BTreeMap;

use super::{
    checks,
    message::{Answer, Digest, Field, Header, Op, last_message},
    protocol::{field_type, flag, frame_type, operation, result},
    storage::{NAMESPACE, Record, Storage},
    value::Particle,
    wire::{Malformed, Reader, frame},
};

/// Answers are sent in frames of about this size.
const FRAME_SIZE: usize = 128 * 1024;

/// A query as received.
pub(super) struct Query {
    namespace: String,
    set: String,
    /// The requested partitions, each with the digest to resume after.
    partitions: BTreeMap<u16, Option<Digest>>,
    max_records: usize,
    /// The requested bins; empty means all.
    bins: Vec<String>,
    without_bins: bool,
    /// The result code of a query that cannot be run.
    refused: Option<u8>,
}

impl Query {
    /// Creates a query from a message that has neither a digest nor a batch.
    pub(super) fn new(header: &Header, fields: &[Field<'_>], ops: Vec<Op>) -> Result<Self, Malformed> {
        let mut query = Query {
            namespace: String::new(),
            set: String::new(),
            partitions: BTreeMap::new(),
            max_records: usize::MAX,
            bins: Vec::new(),
            without_bins: header.flags.info1 & flag::INFO1_NOBINDATA != 0,
            refused: None,
        };
        for field in fields {
            query.take_field(field)?;
        }
        let background = header.flags.info2 & flag::INFO2_WRITE != 0;
        let old_client = header.flags.info3 & flag::INFO3_PARTITION_DONE == 0;
        if query.namespace != NAMESPACE {
            query.refused = Some(result::UNKNOWN_NAMESPACE);
        } else if background || old_client || query.partitions.is_empty() {
            query.refused = Some(result::UNSUPPORTED);
        } else if ops.iter().any(|op| op.code != operation::READ || checks::bin_name(&op.name).is_err()) {
            query.refused = Some(result::PARAMETER);
        }
        query.bins = ops.into_iter().map(|op| op.name).collect();
        Ok(query)
    }

    fn take_field(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        match field.kind {
            field_type::NAMESPACE => self.namespace = field.text()?,
            field_type::SET => self.set = field.text()?,
            field_type::PARTITIONS => {
                let pids = field.data.chunks_exact(2);
                self.partitions.extend(pids.map(|pid| (u16::from_le_bytes([pid[0], pid[1]]), None)));
            }
            field_type::RESUME_DIGESTS => {
                let mut from = Reader(field.data);
                while let Ok(digest) = from.array() {
                    self.partitions.insert(partition(&digest), Some(digest));
                }
            }
            field_type::MAX_RECORDS => {
                let max = u64::from_be_bytes(Reader(field.data).array()?);
                self.max_records = usize::try_from(max).map_err(|_| Malformed)?;
            }
            field_type::INDEX_RANGE => self.refused = Some(result::INDEX_NOT_FOUND),
            kind if kind == field_type::FILTER || field_type::UDF.contains(&kind) => {
                self.refused = Some(result::UNSUPPORTED);
            }
            _ => {}
        }
        Ok(())
    }

    /// The whole answer: records, and the message that ends it.
    pub(super) fn run(&self, storage: &Storage) -> Vec<u8> {
        if let Some(code) = self.refused {
            return last_message(code);
        }
        let mut found: Vec<(u16, &Digest, Answer, &Record)> = storage
            .iter()
            .filter(|(digest, record)| self.wants(digest, record))
            .filter_map(|(digest, record)| Some((partition(digest), digest, self.answer(record)?, record)))
            .collect();
        // The client resumes a partition after the last digest that it has seen.
        found.sort_by_key(|&(pid, digest, ..)| (pid, digest));

        let (mut out, mut body) = (Vec::new(), Vec::new());
        for (_, digest, answer, record) in found.into_iter().take(self.max_records) {
            append(&mut body, digest, &answer, record);
            if body.len() > FRAME_SIZE {
                out.extend(frame(frame_type::MESSAGE, &std::mem::take(&mut body)));
            }
        }
        if !body.is_empty() {
            out.extend(frame(frame_type::MESSAGE, &body));
        }
        out.extend(last_message(result::OK));
        out
    }

    fn wants(&self, digest: &Digest, record: &Record) -> bool {
        let of_set = self.set.is_empty() || self.set == record.set;
        let after = self.partitions.get(&partition(digest));
        of_set && after.is_some_and(|after| after.is_none_or(|after| *digest > after))
    }

    /// `None` for a record that has none of the requested bins.
    fn answer(&self, record: &Record) -> Option<Answer> {
        let named = |name: &str| self.bins.is_empty() || self.bins.iter().any(|bin| bin == name);
        let bin = |(name, value): (&String, &Particle)| (name.clone(), Some(value.clone()));
        let bins: Vec<_> = if self.without_bins {
            Vec::new()
        } else {
            record.bins.iter().filter(|(name, _)| named(name)).map(bin).collect()
        };
        let wanted = self.without_bins || !bins.is_empty();
        wanted.then_some(Answer {
            code: result::OK,
            generation: record.generation,
            void_time: record.void_time,
            bins,
        })
    }
}

fn append(body: &mut Vec<u8>, digest: &Digest, answer: &Answer, record: &Record) {
    let mut fields = vec![
        Field { kind: field_type::NAMESPACE, data: NAMESPACE.as_bytes() },
        Field { kind: field_type::DIGEST, data: digest },
    ];
    if !record.set.is_empty() {
        fields.push(Field { kind: field_type::SET, data: record.set.as_bytes() });
    }
    let key = record.user_key.as_ref().map(|key| [&[key.kind], &key.bytes[..]].concat());
    if let Some(key) = &key {
        fields.push(Field { kind: field_type::KEY, data: key });
    }
    answer.write_to(body, 0, &fields);
}

/// The partition of a record: twelve bits of its digest (`partition_id` in the client's `key.rs`).
fn partition(digest: &Digest) -> u16 {
    u16::from_le_bytes([digest[0], digest[1]]) & 0x0FFF
}
