//! Exit codes, those of `sysexits.h` where it has one.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was received is settled.
    Success = 0,
    /// The command line is wrong.
    Usage = 2,
    /// Of `status`: how the pipeline is can't be said.
    Unknown = 3,
    /// The queue refuses a message that it was to be sent.
    DataError = 65,
    /// A file that a command was given can't be read or used.
    NoInput = 66,
    /// The queue or the store can't be reached.
    Unavailable = 69,
    /// A bug of ours.
    Software = 70,
    /// Standard output can't be written.
    OutputFailed = 74,
    /// Some messages were requeued because of an outage, or are not known to be settled; or another process
    /// is at it.
    TemporaryFailure = 75,
    /// The configuration, or what it names, is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
