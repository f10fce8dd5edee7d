//! The native protocol of the journal: one datagram is one entry with custom fields
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! No crate provides [`Journal::flush`]: journald looks up the unit of a sender in `/proc` when it reads the
//! datagram, and if the process has exited by then, its last line belongs to no unit.

use std::{
    io,
    os::unix::net::UnixDatagram,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::{set_socket_send_buffer_size, socket_send_buffer_size},
};

use x_msrv_core::NAME;

/// The socket of journald.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The facility `daemon`, as for lines on standard error.
const FACILITY: u8 = 3;

/// Time limit for a journald that does not read; it is waited for only once.
const SEND_BOUND: Duration = Duration::from_millis(100);

/// Time limit for the flush at the end.
const FLUSH_BOUND: Duration = Duration::from_millis(200);

/// An entry that journald ignores as a comment. An unread datagram of this size makes a socket with the
/// smallest send buffer (4,608 bytes in Linux) not writable, because more than a quarter of the buffer is in
/// use (`unix_writable` in `net/unix/af_unix.c`).
const BARRIER: [u8; 1 << 10] = {
    let mut comment = [b'#'; 1 << 10];
    comment[(1 << 10) - 1] = b'\n';
    comment
};

/// A connection to journald.
pub(super) struct Journal {
    socket: UnixDatagram,
    /// Whether an entry was sent since the last flush.
    unflushed: AtomicBool,
    /// The number of entries that journald had no room for.
    lost: AtomicU64,
}

impl Journal {
    /// # Errors
    /// There is no journald, or its socket cannot be reached.
    pub(super) fn connect() -> io::Result<Self> {
        Self::connect_to(SOCKET)
    }

    fn connect_to(path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(SEND_BOUND))?;
        Ok(Self { socket, unflushed: AtomicBool::new(false), lost: AtomicU64::new(0) })
    }

    /// Sends one entry; `fields` have names that the journal allows: `A` to `Z`, digits and `_`.
    ///
    /// A run does not wait for its log: if journald has no room for an entry within the time limit, that
    /// entry and all later ones without room are dropped and counted.
    ///
    /// # Errors
    /// The entry is too large for a datagram, or journald is not running.
    pub(super) fn send(
        &self,
        identifier: &str,
        priority: u8,
        message: &str,
        fields: &[(String, String)],
    ) -> io::Result<()> {
        let (priority, facility) = (priority.to_string(), FACILITY.to_string());
        let common = [
            ("MESSAGE", message),
            ("PRIORITY", &priority),
            ("SYSLOG_FACILITY", &facility),
            ("SYSLOG_IDENTIFIER", identifier),
        ];
        let mut entry = Vec::with_capacity(512);
        for (name, value) in common.into_iter().chain(fields.iter().map(|(name, value)| (&**name, &**value)))
        {
            put_field(&mut entry, name, value);
        }
        let sent = self.socket.send(&entry).or_else(|error| match error.kind() {
            // journald was restarted with a new socket.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected => {
                self.socket.connect(SOCKET)?;
                self.socket.send(&entry)
            }
            _ => Err(error),
        });
        match sent {
            Ok(_) => self.unflushed.store(true, Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket.set_nonblocking(true)?;
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits, within a time limit, until journald has processed everything that was sent. It reads datagrams
    /// in order, so all entries before the barrier are processed when the barrier is read.
    pub(super) fn flush(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // If there is no room for this entry either, it is lost as well.
            drop(self.send(
                NAME,
                4,
                &format!("log lines dropped because the journal had no room: {lost}"),
                &[],
            ));
        }
        if self.unflushed.swap(false, Ordering::Relaxed) {
            // Without the wait an entry may belong to no unit, but it is in the journal.
            drop(self.wait_for_barrier(FLUSH_BOUND));
        }
    }

    /// Returns whether the barrier was read within `bound`.
    fn wait_for_barrier(&self, bound: Duration) -> io::Result<bool> {
        self.socket.send(&BARRIER)?;
        let size = socket_send_buffer_size(&self.socket)?;
        set_socket_send_buffer_size(&self.socket, 0)?;
        let bound = Timespec::try_from(bound).expect("seconds");
        let ready = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&bound))?;
        // The kernel doubles the value.
        set_socket_send_buffer_size(&self.socket, size / 2)?;
        Ok(ready > 0)
    }
}

/// Appends `NAME=value`. If the value has several lines: the name, the length in 8 bytes (little endian), and
/// the value.
fn put_field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journald() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal::connect_to(path.to_str().expect("UTF-8")).expect("it listens");
        (folder, server, journal)
    }

    #[test]
    fn an_entry_has_the_specified_format() {
        let (_folder, server, journal) = journald();
        journal.send("x-msrv", 4, "two\nlines", &[("X_MSRV_RECEIVED".into(), "3".into())]).expect("sent");
        let mut entry = [0; 1_000];
        let length = server.recv(&mut entry).expect("an entry");
        let expected =
            b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=4\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=x-msrv\nX_MSRV_RECEIVED=3\n";
        assert_eq!(entry[..length].escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn a_flush_returns_only_when_everything_was_read() {
        let (_folder, server, journal) = journald();
        journal.send("x-msrv", 6, "last words", &[]).expect("sent");
        assert!(
            !journal.wait_for_barrier(Duration::from_millis(1)).expect("a socket"),
            "nobody reads: the time limit ends it"
        );
        let reader = std::thread::spawn(move || {
            let mut entry = [0; 2_000];
            // The entry and both barriers, which journald ignores as comments.
            let read = (0..3)
                .map(|_| server.recv(&mut entry).map(|length| (length, entry[0])).expect("a datagram"))
                .collect::<Vec<_>>();
            (server, read)
        });
        // A busy machine may take a while to start the thread.
        assert!(journal.wait_for_barrier(Duration::from_secs(60)).expect("a socket"));
        let (_server, read) = reader.join().expect("it read");
        assert_eq!(read[1..], [(1 << 10, b'#'); 2]);
        journal.send("x-msrv", 6, &"long ".repeat(10_000), &[]).expect("the buffer is as large as before");
    }

    #[test]
    fn an_entry_that_is_too_large_is_an_error_so_that_it_can_be_logged_elsewhere() {
        let (_folder, _server, journal) = journald();
        journal.send("x-msrv", 6, &"x".repeat(1 << 20), &[]).expect_err("larger than a datagram");
    }

    /// Otherwise a run with 3,000 rejected messages takes five minutes while journald hangs, and is killed.
    #[test]
    fn a_hanging_journald_costs_the_time_limit_once_and_later_gets_the_number_of_dropped_lines() {
        let (_folder, server, journal) = journald();
        let begin = tokio::time::Instant::now();
        // 1,000 s if each one waited.
        for _ in 0..10_000 {
            journal.send("x-msrv", 6, "x", &[]).expect("sent or lost");
        }
        assert!(begin.elapsed() < 200 * SEND_BOUND, "{:?}", begin.elapsed());
        server.set_nonblocking(true).expect("a socket");
        let mut entry = [0; 2_000];
        let room = std::iter::from_fn(|| server.recv(&mut entry).ok()).count() as u64;
        assert!((1..10_000).contains(&room), "{room}");
        journal.flush();
        let length = server.recv(&mut entry).expect("the warning");
        let expected = format!(
            "MESSAGE=log lines dropped because the journal had no room: {}\nPRIORITY=4\n",
            10_000 - room
        );
        assert!(entry[..length].starts_with(expected.as_bytes()), "{}", entry[..length].escape_ascii());
    }
}
