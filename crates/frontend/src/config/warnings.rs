//! What works, and is not wise.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use super::{DeadLetterSettings, Settings, SourceSettings, StoreSettings};
use x_msrv_engine::{secret::Secret, tls};

/// A section `tls` with the names of the two keys that are spoken of.
type Tls<'a> = (&'static str, &'static str, Option<&'a tls::Settings>);

/// Secrets in files of their own that everybody can read, and certificates that nobody verifies.
pub(super) fn of(settings: &Settings) -> Vec<String> {
    let (mut secrets, mut sections): (Vec<(_, Option<&Secret>)>, Vec<Tls>) = (Vec::new(), Vec::new());
    if let SourceSettings::Nsq(nsq) = &settings.source {
        secrets.push(("nsq.auth-secret", nsq.auth_secret.as_ref()));
        sections.push(("nsq.tls.key", "nsq.tls.insecure-skip-verify", nsq.tls.as_deref()));
    }
    if let DeadLetterSettings::Nsq(nsq, _) = &settings.dead_letter {
        // What it has from the queue was looked at above.
        let own_secret = nsq.auth_secret.as_ref().filter(|own| secrets.iter().all(|(_, other)| *other != Some(*own)));
        let own_tls = nsq.tls.as_deref().filter(|own| sections.iter().all(|(.., other)| *other != Some(*own)));
        secrets.push(("dead-letter.nsq.auth-secret", own_secret));
        sections.push(("dead-letter.nsq.tls.key", "dead-letter.nsq.tls.insecure-skip-verify", own_tls));
    }
    if let StoreSettings::Aerospike(aerospike) = &settings.store {
        secrets.push(("aerospike.password", aerospike.login.as_ref().map(|login| &login.password)));
        sections.push(("aerospike.tls.key", "aerospike.tls.insecure-skip-verify", aerospike.tls.as_deref()));
    }
    let mut warnings = Vec::new();
    for (key, insecure_skip_verify, tls) in sections {
        let Some(tls) = tls else { continue };
        secrets.push((key, tls.certificate.as_ref().map(|certificate| &certificate.key)));
        if tls.insecure_skip_verify {
            warnings.push(format!(
                "{insecure_skip_verify}: whoever is on the way can pretend to be the server, and read and change everything"
            ));
        }
    }
    for (key, secret) in secrets {
        if let Some(Secret::File(path)) = secret
            && everybody_can_read(path)
        {
            warnings.push(in_the_open(path, key));
        }
    }
    warnings
}

/// The warning of a secret that is in the open.
pub(super) fn in_the_open(path: &Path, key: &str) -> String {
    format!("{}: {key} is a secret, and everybody on this machine can read the file", path.display())
}

pub(super) fn everybody_can_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}
