//! The numbers of the protocol, named as in the client.

/// Types of frames (`AS_MSG_TYPE` in `commands/buffer.rs`, `Message::new` in `info_command.rs`). Type 4, the
/// compressed message, is not understood: a client that compresses loses its connection.
pub(super) mod frame_type {
    pub(crate) const INFO: u8 = 1;
    pub(crate) const SECURITY: u8 = 2;
    pub(crate) const MESSAGE: u8 = 3;
}

/// Bits of the three flag bytes of a message (`commands/buffer.rs`).
pub(super) mod flag {
    pub(crate) const INFO1_READ: u8 = 1;
    pub(crate) const INFO1_GET_ALL: u8 = 1 << 1;
    pub(crate) const INFO1_NOBINDATA: u8 = 1 << 5;
    pub(crate) const INFO2_WRITE: u8 = 1;
    pub(crate) const INFO2_DELETE: u8 = 1 << 1;
    pub(crate) const INFO2_GENERATION: u8 = 1 << 2;
    pub(crate) const INFO2_GENERATION_GT: u8 = 1 << 3;
    pub(crate) const INFO2_CREATE_ONLY: u8 = 1 << 5;
    pub(crate) const INFO2_RESPOND_ALL_OPS: u8 = 1 << 7;
    pub(crate) const INFO3_LAST: u8 = 1;
    pub(crate) const INFO3_PARTITION_DONE: u8 = 1 << 2;
    pub(crate) const INFO3_UPDATE_ONLY: u8 = 1 << 3;
    pub(crate) const INFO3_CREATE_OR_REPLACE: u8 = 1 << 4;
    pub(crate) const INFO3_REPLACE_ONLY: u8 = 1 << 5;
}

/// Types of the fields in front of a message's operations (`commands/field_type.rs`).
pub(super) mod field_type {
    use std::ops::RangeInclusive;

    pub(crate) const NAMESPACE: u8 = 0;
    pub(crate) const SET: u8 = 1;
    pub(crate) const KEY: u8 = 2;
    pub(crate) const DIGEST: u8 = 4;
    /// Identity and deadline of a transaction over several records.
    pub(crate) const TRANSACTION: RangeInclusive<u8> = 5..=6;
    pub(crate) const PARTITIONS: u8 = 11;
    pub(crate) const RESUME_DIGESTS: u8 = 12;
    pub(crate) const MAX_RECORDS: u8 = 13;
    pub(crate) const INDEX_RANGE: u8 = 22;
    /// Name and arguments of a function on the server.
    pub(crate) const UDF: RangeInclusive<u8> = 30..=33;
    pub(crate) const BATCH: u8 = 41;
    pub(crate) const FILTER: u8 = 43;
}

/// Bin operations (`OperationType` in `operations/mod.rs`).
pub(super) mod operation {
    pub(crate) const READ: u8 = 1;
    pub(crate) const WRITE: u8 = 2;
    pub(crate) const TOUCH: u8 = 11;
    pub(crate) const DELETE: u8 = 14;
}

/// Result codes (`result_code.rs`).
pub(super) mod result {
    pub(crate) const OK: u8 = 0;
    pub(crate) const NOT_FOUND: u8 = 2;
    pub(crate) const GENERATION_MISMATCH: u8 = 3;
    pub(crate) const PARAMETER: u8 = 4;
    pub(crate) const RECORD_EXISTS: u8 = 5;
    pub(crate) const RECORD_TOO_BIG: u8 = 13;
    pub(crate) const UNSUPPORTED: u8 = 16;
    pub(crate) const KEY_MISMATCH: u8 = 19;
    pub(crate) const UNKNOWN_NAMESPACE: u8 = 20;
    pub(crate) const BIN_NAME: u8 = 21;
    pub(crate) const FORBIDDEN: u8 = 22;
    pub(crate) const FILTERED_OUT: u8 = 27;
    pub(crate) const SECURITY_NOT_SUPPORTED: u8 = 51;
    pub(crate) const INVALID_USER: u8 = 60;
    pub(crate) const INVALID_CREDENTIAL: u8 = 65;
    pub(crate) const EXPIRED_SESSION: u8 = 66;
    pub(crate) const NOT_AUTHENTICATED: u8 = 80;
    pub(crate) const INDEX_NOT_FOUND: u8 = 201;
}
