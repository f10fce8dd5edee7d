//! Exit codes. They follow `sysexits.h` where it defines one.

use std::process::ExitCode;

/// The result of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every received message is settled.
    Success = 0,
    /// The command line is wrong.
    Usage = 2,
    /// `status` cannot determine the state of the pipeline.
    Unknown = 3,
    /// The queue refused a message that was published to it.
    DataError = 65,
    /// An input file of a command cannot be read or used.
    NoInput = 66,
    /// The queue or the store cannot be reached.
    Unavailable = 69,
    /// A bug in x-msrv.
    Software = 70,
    /// Standard output cannot be written.
    OutputFailed = 74,
    /// Some messages were requeued because of an outage, or their settlement is in doubt; or another process
    /// holds a required lock.
    TemporaryFailure = 75,
    /// The configuration, or a file that it names, is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
