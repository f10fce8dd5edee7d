//! A private certificate authority for the tests, and the certificates that it signs, as PEM files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority, with a folder for everything that it signs.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    /// The authority's own certificate.
    pub(crate) file: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

fn write(folder: &Path, name: &str, pem: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, pem).expect("written");
    path
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).expect("names that a certificate can bear")
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = write(folder.path(), "ca.pem", &params.self_signed(&key).expect("signed").pem());
        Self { folder, issuer: Issuer::new(params, key), file }
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        self.pair(name, &certificate.pem(), &key)
    }

    fn pair(&self, name: &str, certificate: &str, key: &KeyPair) -> Pair {
        let folder = self.folder.path();
        Pair {
            certificate: write(folder, &format!("{name}.pem"), certificate),
            key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }

    /// For a server with these names or addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Pair {
        self.sign("server", &params(names))
    }

    /// For a server at the loopback address; expired.
    pub(crate) fn expired(&self) -> Pair {
        let mut params = params(&["127.0.0.1"]);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        self.sign("expired", &params)
    }

    /// For a client.
    pub(crate) fn client(&self) -> Pair {
        self.sign("client", &params(&["a client"]))
    }

    /// For a server at the loopback address; self-signed.
    pub(crate) fn self_signed(&self) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(&["127.0.0.1"]).self_signed(&key).expect("signed");
        self.pair("self-signed", &certificate.pem(), &key)
    }
}
