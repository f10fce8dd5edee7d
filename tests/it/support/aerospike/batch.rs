//! Batches: many rows in one message (the client's `commands/batch_operate_command.rs` and
//! `set_batch_operate` in `commands/buffer.rs`).

use std::sync::Arc;

use super::{
    message::{Answer, Field, Flags, Op, Request, Row, last_message},
    protocol::{frame_type, result},
    storage::NAMESPACE,
    wire::{Malformed, Reader, frame},
};

/// How a row is written (`BATCH_MSG_*` in `buffer.rs`): as a digest only, for what the row before
/// it asks; else with the named parts of a message header.
const ROW_REPEATS: u8 = 0x1;
const ROW_HAS_INFO: u8 = 0x2;
const ROW_HAS_GENERATION: u8 = 0x4;
const ROW_HAS_TTL: u8 = 0x8;
const ROW_HAS_INFO4: u8 = 0x10;

/// Batch flag `respond_all_keys` (`get_batch_flags` in `buffer.rs`).
const ANSWER_ALL_ROWS: u8 = 0x4;

/// A batch as received.
pub(super) struct Batch {
    /// The rows, each with the index that its answer carries.
    pub(super) rows: Vec<(u32, Row)>,
    answer_all_rows: bool,
    /// Set where the rows end before their announced number, or at one for an unknown namespace:
    /// the server carries out the rows before it, and answers only that it is `PARAMETER`.
    broken: bool,
}

impl Batch {
    /// Reads the batch field of a message.
    pub(super) fn read(field: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(field);
        let (count, flags) = (from.u32()?, from.u8()?);
        let mut rows: Vec<(u32, Row)> = Vec::new();
        for _ in 0..count {
            let previous = rows.last().map(|(_, row)| &row.request);
            match read_row(&mut from, previous) {
                Ok(row) if row.1.request.namespace == NAMESPACE => rows.push(row),
                _ => break,
            }
        }
        let broken = rows.len() != usize::try_from(count).expect("u32 fits usize");
        Ok(Batch { rows, answer_all_rows: flags & ANSWER_ALL_ROWS != 0, broken })
    }

    /// Returns the answers to the first rows, as one frame.
    pub(super) fn encode(&self, answers: &[Answer]) -> Vec<u8> {
        if answers.is_empty() || self.broken {
            return Vec::new(); // A frame without a message would end the batch for the client.
        }
        let mut body = Vec::new();
        for ((index, _), answer) in self.rows.iter().zip(answers) {
            answer.write_to(&mut body, *index, &[]);
        }
        frame(frame_type::MESSAGE, &body)
    }

    /// Returns the message that ends the answers. Without `respond_all_keys` it carries the code of the last
    /// row that failed; all answers are sent, as the server does while they fit into its 128 KiB buffer.
    pub(super) fn end(&self, answers: &[Answer]) -> Vec<u8> {
        let fails = |code: &u8| ![result::OK, result::NOT_FOUND, result::FILTERED_OUT].contains(code);
        let failed = answers.iter().rev().map(|answer| answer.code).find(fails);
        last_message(match failed {
            _ if self.broken => result::PARAMETER,
            Some(code) if !self.answer_all_rows => code,
            _ => result::OK,
        })
    }
}

fn read_row(from: &mut Reader<'_>, previous: Option<&Arc<Request>>) -> Result<(u32, Row), Malformed> {
    let (index, digest, form) = (from.u32()?, from.array()?, from.u8()?);
    if form & ROW_REPEATS != 0 {
        let request = Arc::clone(previous.ok_or(Malformed)?);
        return Ok((index, Row { digest, request }));
    }
    let info1 = from.u8()?;
    let [info2, info3] = if form & ROW_HAS_INFO != 0 { from.array()? } else { [0, 0] };
    if form & ROW_HAS_INFO4 != 0 {
        from.u8()?; // error details and transactions
    }
    let generation = if form & ROW_HAS_GENERATION != 0 { u32::from(from.u16()?) } else { 0 };
    let ttl = if form & ROW_HAS_TTL != 0 { from.u32()? } else { 0 };
    let flags = Flags { info1, info2, info3, generation, ttl };
    let (field_count, op_count) = (from.u16()?, from.u16()?);
    let fields = Field::read_all(from, field_count)?;
    let request = Arc::new(Request::new(flags, &fields, Op::read_all(from, op_count)?)?);
    Ok((index, Row { digest, request }))
}
