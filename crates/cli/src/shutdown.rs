//! SIGTERM and SIGINT: the first ends the run in order, the second exits at once with 128 + its number.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};

/// Installs handlers for both signals. The future is ready after the first signal.
///
/// # Errors
/// A handler cannot be installed.
pub fn on_signal() -> io::Result<impl Future<Output = ()>> {
    let (read, write) = UnixStream::pair()?;
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order matters: the first signal finds the flag unset and sets it for the second.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
        flag::register(signal, Arc::clone(&second))?;
        pipe::register(signal, write.try_clone()?)?;
    }
    read.set_nonblocking(true)?;
    let read = tokio::net::UnixStream::from_std(read)?;
    Ok(async move {
        if let Err(error) = read.readable().await {
            log::warn!(cause = error.to_string(); "cannot wait for signals");
            std::future::pending::<()>().await;
        }
    })
}
