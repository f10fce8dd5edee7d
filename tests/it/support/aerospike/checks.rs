//! The checks that refuse a request: those of Aerospike CE 8.1, in the order of its `transaction/write.c`,
//! `read.c` and `delete_ce.c`.

use super::{
    message::{Op, Request},
    protocol::{flag, operation, result},
    storage::Record,
    value,
};

const MAX_BIN_NAME: usize = 15;
const MAX_SET_NAME: usize = 63;
const MAX_OPS: usize = 32 * 1024;
const MAX_BINS: usize = 0x7FFF;

/// The outcome of a check: nothing, or the result code that refuses the request.
pub(super) type Check = Result<(), u8>;

fn refuse_if(refused: bool, code: u8) -> Check {
    if refused { Err(code) } else { Ok(()) }
}

/// The checks on a write that need no record.
pub(super) fn write_alone(request: &Request) -> Check {
    refuse_if(request.ops.is_empty() || request.ops.len() > MAX_OPS, result::PARAMETER)?;
    for op in &request.ops {
        match op.code {
            operation::TOUCH => {}
            operation::READ | operation::WRITE | operation::DELETE => bin_name(&op.name)?,
            _ => return Err(result::UNSUPPORTED),
        }
        let null = op.code == operation::WRITE && op.particle.kind == value::NULL;
        let needs_old_bins = null || op.code == operation::TOUCH || op.code == operation::DELETE;
        refuse_if(replaces(request) && needs_old_bins, result::PARAMETER)?;
    }
    let reads = request.ops.iter().filter(|op| op.code == operation::READ);
    let (of_all, of_one): (Vec<&Op>, Vec<&Op>) = reads.partition(|op| reads_all(op, request));
    let mixed = of_all.len() > 1 || !of_all.is_empty() && !of_one.is_empty();
    refuse_if(mixed, result::PARAMETER)?;
    refuse_if(!of_all.is_empty() && request.has2(flag::INFO2_RESPOND_ALL_OPS), result::PARAMETER)?;
    refuse_if(of_all.is_empty() && request.has1(flag::INFO1_GET_ALL), result::PARAMETER)?;
    let any = !of_all.is_empty() || !of_one.is_empty();
    refuse_if(any && !request.has1(flag::INFO1_READ), result::PARAMETER)
}

/// Checks whether a write allows that the record exists, or does not exist.
pub(super) fn existence(old: Option<&Record>, request: &Request) -> Check {
    let touches = request.ops.iter().any(|op| op.code == operation::TOUCH);
    let must_exist = touches || request.has3(flag::INFO3_UPDATE_ONLY | flag::INFO3_REPLACE_ONLY);
    refuse_if(old.is_none() && must_exist, result::NOT_FOUND)?;
    refuse_if(old.is_some() && request.has2(flag::INFO2_CREATE_ONLY), result::RECORD_EXISTS)
}

/// Checks whether a write names the set that the record is in, or the set accepts a new record.
pub(super) fn set_of_write(old: Option<&Record>, request: &Request) -> Check {
    let wrong = old.map_or(request.set.len() > MAX_SET_NAME, |old| old.set != request.set);
    refuse_if(wrong, result::PARAMETER)
}

/// Checks whether a read or a delete names the set that the record is in, if it names one.
pub(super) fn set(record: &Record, request: &Request) -> Check {
    refuse_if(!request.set.is_empty() && request.set != record.set, result::PARAMETER)
}

/// Checks whether the record has the generation that the request requires.
pub(super) fn generation(current: u32, request: &Request) -> Check {
    let expected = request.flags.generation;
    refuse_if(request.has2(flag::INFO2_GENERATION) && expected != current, result::GENERATION_MISMATCH)?;
    refuse_if(request.has2(flag::INFO2_GENERATION_GT) && expected <= current, result::GENERATION_MISMATCH)
}

/// Checks the stored user key: if it differs from the one sent, two keys have one digest.
pub(super) fn key(record: &Record, request: &Request) -> Check {
    let keys = record.user_key.as_ref().zip(request.user_key.as_ref());
    refuse_if(keys.is_some_and(|(stored, sent)| stored != sent), result::KEY_MISMATCH)
}

/// Checks the number of bins of a record.
pub(super) fn bins(record: &Record) -> Check {
    refuse_if(record.bins.len() > MAX_BINS, result::PARAMETER)
}

/// Checks whether a read of named bins names some, and does nothing else.
pub(super) fn reads(request: &Request) -> Check {
    refuse_if(request.ops.is_empty() || request.ops.len() > MAX_OPS, result::PARAMETER)?;
    for op in &request.ops {
        bin_name(&op.name)?;
        match op.code {
            operation::READ => {}
            operation::WRITE | operation::TOUCH | operation::DELETE => return Err(result::PARAMETER),
            _ => return Err(result::UNSUPPORTED),
        }
    }
    Ok(())
}

/// An empty name is a valid name.
pub(super) fn bin_name(name: &str) -> Check {
    refuse_if(name.len() > MAX_BIN_NAME || name.contains('\0'), result::BIN_NAME)
}

/// Returns whether a write removes the bins that it does not write.
pub(super) fn replaces(request: &Request) -> bool {
    request.has3(flag::INFO3_CREATE_OR_REPLACE | flag::INFO3_REPLACE_ONLY)
}

/// A read of all bins is a read without a name, if the request says so.
pub(super) fn reads_all(op: &Op, request: &Request) -> bool {
    op.code == operation::READ && op.name.is_empty() && request.has1(flag::INFO1_GET_ALL)
}
