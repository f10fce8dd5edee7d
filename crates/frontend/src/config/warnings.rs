//! What works, and is not wise.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use super::{Settings, paths};
use x_msrv_engine::secret::Secret;

/// Secrets in files of their own that everybody can read, and certificates that nobody verifies.
pub(super) fn of(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for (section, _) in paths::tls_sections(settings).into_iter().filter(|(_, tls)| tls.insecure_skip_verify) {
        warnings.push(format!(
            "{section}.insecure-skip-verify: certificates are not verified, so an attacker on the network path can read and change everything"
        ));
    }
    for (key, secret) in paths::secrets(settings) {
        if let Secret::File(path) = secret
            && everybody_can_read(path)
        {
            warnings.push(in_the_open(path, &key));
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
