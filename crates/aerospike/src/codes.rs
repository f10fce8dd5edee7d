//! Result codes: the one place that says what each means for a message.
//!
//! Codes of the server are those of `as/include/base/proto.h` in aerospike-server 8.1, negative ones are the
//! client's (`ClientResultCode`). They were measured against a real server where they can be provoked.

/// A parameter is wrong; or the namespace cannot have another set.
pub(super) const PARAMETER: i32 = 4;

/// The namespace takes no writes.
pub(super) const NO_SPACE: i32 = 8;

/// A bin's name is wrong; or the namespace cannot have another one.
pub(super) const BIN_NAME: i32 = 21;

/// Forbidden as things are.
pub(super) const FORBIDDEN: i32 = 22;

/// What an error means for the record that it came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `exists: create-only`, and the record is there.
    AlreadyThere,
    /// The record is at fault: dead letter.
    Refuse,
    /// The record is at fault, or a condition of the store that the server knows (`conditions`).
    Ask,
    /// The batch was too large; smaller ones may do.
    Shrink,
    /// The set-up is wrong: no record can be written.
    Stop,
    /// The store is in trouble, or it is unknown what became of the write.
    Requeue,
    /// A code that is not known.
    Unknown,
}

/// The verdict on an error, by its code or, where that says nothing, by that of its causes.
pub(super) fn verdict(error: &aerospike::Error) -> Verdict {
    let causes = std::iter::successors(Some(error), |error| error.cause());
    let verdicts = causes.filter_map(|error| of_code(error.result_code()));
    verdicts.into_iter().next().unwrap_or(Verdict::Unknown)
}

/// `None` for a code that says nothing by itself.
pub(super) fn of_code(code: i32) -> Option<Verdict> {
    Some(match code {
        5 => Verdict::AlreadyThere,
        // Incompatible type, record too big, key mismatch, operation not applicable, text that is not UTF-8,
        // GeoJSON; serialize error.
        12 | 13 | 19 | 26 | 29 | 160 | -10 => Verdict::Refuse,
        // Parameter: the record's, or no room for another set. Bin name: they are checked before, so no room
        // for another one. No space, which may be for several reasons. Forbidden: a full set, a TTL where
        // nothing expires, and so on.
        PARAMETER | NO_SPACE | BIN_NAME | FORBIDDEN => Verdict::Ask,
        151 => Verdict::Shrink,
        // Not in this edition or not supported, namespace unknown, quota and everything about users, roles
        // and privileges, also of a directory (LDAP) that is not set up or refuses; one that does not answer
        // (94) may do so later.
        10 | 16 | 20 | 25 | 51..=56 | 60..=66 | 80..=82 | 90..=93 | 150 => Verdict::Stop,
        // Server error, timeout, cluster not available, partition unavailable, key busy, device overload, a
        // record that XDR ships or that a transaction holds, and so on.
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
    fn every_code_that_is_known_has_the_verdict_of_the_design() {
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
            assert_eq!(of_code(code), None, "{code} is left to its cause, or unknown");
        }
    }
}
