//! Result codes: the only place that defines what each means for a message.
//!
//! Server codes are from `as/include/base/proto.h` in aerospike-server 8.1; negative codes are the client's
//! (`ClientResultCode`). They were measured against a real server if they can be provoked.

/// A parameter is wrong, or the namespace cannot have another set.
pub(super) const PARAMETER: i32 = 4;

/// The namespace accepts no writes.
pub(super) const NO_SPACE: i32 = 8;

/// The name of a bin is wrong, or the namespace cannot have another bin name.
pub(super) const BIN_NAME: i32 = 21;

/// Forbidden in the current state.
pub(super) const FORBIDDEN: i32 = 22;

/// What an error means for its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The record already exists (`exists: create-only`).
    AlreadyThere,
    /// The record is at fault: it is rejected.
    Refuse,
    /// The record is at fault, or a condition of the store that the server reports (`conditions`).
    Ask,
    /// The batch was too large; smaller ones may succeed.
    Shrink,
    /// The setup is wrong: no record can be written.
    Stop,
    /// The store has an outage, or the write is in doubt.
    Requeue,
    /// An unknown code.
    Unknown,
}

/// Returns the verdict on an error, by its code or, if that is not specific, by the code of a cause.
pub(super) fn verdict(error: &aerospike::Error) -> Verdict {
    let causes = std::iter::successors(Some(error), |error| error.cause());
    let verdicts = causes.filter_map(|error| of_code(error.result_code()));
    verdicts.into_iter().next().unwrap_or(Verdict::Unknown)
}

/// Returns `None` for a code that is not specific.
pub(super) fn of_code(code: i32) -> Option<Verdict> {
    Some(match code {
        5 => Verdict::AlreadyThere,
        // Incompatible type, record too big, key mismatch, operation not applicable, text that is not UTF-8,
        // GeoJSON; serialize error.
        12 | 13 | 19 | 26 | 29 | 160 | -10 => Verdict::Refuse,
        // Parameter: the record is at fault, or there is no room for another set. Bin name: names are checked
        // before, so there is no room for another one. No space, for one of several reasons. Forbidden: a
        // full set, a TTL in a namespace without expiry, and so on.
        PARAMETER | NO_SPACE | BIN_NAME | FORBIDDEN => Verdict::Ask,
        151 => Verdict::Shrink,
        // Not in this edition or not supported, unknown namespace, quota, and everything about users, roles
        // and privileges, also of a directory (LDAP) that is not set up or refuses. A directory that does not
        // answer (94) may answer later.
        10 | 16 | 20 | 25 | 51..=56 | 60..=66 | 80..=82 | 90..=93 | 150 => Verdict::Stop,
        // Server error, timeout, cluster not available, partition unavailable, key busy, device overload, a
        // record that XDR ships or a transaction holds, and so on.
        1 | 7 | 9 | 11 | 14 | 18 | 32 | 83 | 94 | 120 | 152 | -3 | -7 | -8 | -11 | -12 | -15 => {
            Verdict::Requeue
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_has_its_verdict() {
        let table: [(&[i32], Verdict); 6] = [
            (&[5], Verdict::AlreadyThere),
            (&[12, 13, 19, 26, 29, 160, -10], Verdict::Refuse),
            (&[4, 8, 21, 22], Verdict::Ask),
            (&[151], Verdict::Shrink),
            (&[10, 16, 20, 25, 51, 56, 60, 66, 80, 81, 82, 90, 93, 150], Verdict::Stop),
            (&[1, 7, 9, 11, 14, 18, 32, 83, 94, 120, 152, -3, -7, -8, -11, -12, -15], Verdict::Requeue),
        ];
        for (codes, verdict) in table {
            for &code in codes {
                assert_eq!(of_code(code), Some(verdict), "{code}");
            }
        }
        for code in [-1, -2, 2, 57, 67, 99, 255] {
            assert_eq!(of_code(code), None, "{code} is decided by its cause, or unknown");
        }
    }
}
