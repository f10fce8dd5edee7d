//! TLS: converts the configuration to what rustls needs. Files are read when a connection is about to be
//! made, and only if it is encrypted.
//!
//! The cryptography is *ring*, which the Aerospike client already depends on. Certificates are always
//! verified, against the configured CA certificates or the system's, unless the configuration explicitly
//! turns verification off.

use std::{borrow::Cow, fmt, io, path::PathBuf, str::FromStr, sync::Arc};

use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use x_msrv_settings::{self as settings, Kind, OnOr, ReadFile, Reader, Setting, Told, Value, text_setting};

use crate::secret::{Place, Secret, SecretError};

/// How connections to one kind of server are encrypted and verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// CA certificates (PEM); the system's if unset.
    pub ca_file: Option<PathBuf>,
    /// The client certificate for mutual TLS.
    pub certificate: Option<ClientCertificate>,
    /// The name that the server's certificate must contain; the host's name if unset.
    pub server_name: Option<Name>,
    /// Whether certificates are not verified (insecure).
    pub insecure_skip_verify: bool,
}

/// A client certificate and its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with the intermediate certificates.
    pub chain: Secret,
    /// Its key.
    pub key: Secret,
}

/// A host's name or address, as in certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(ServerName<'static>);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = ServerName::try_from(text.to_owned());
        name.map(Self)
            .map_err(|_| format!("`{text}` is not a name or address that a certificate can contain"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

text_setting!(Name, Kind::Text);

/// The keys of a section `tls`.
#[derive(Debug, Clone, PartialEq, Eq, settings::Settings)]
pub struct Keys {
    /// CA certificates (PEM) that replace the system's: those of the package ca-certificates, or of
    /// `$SSL_CERT_FILE` and `$SSL_CERT_DIR`.
    #[setting(words = "the system's", unset = "(the system's)", example = "ca.pem")]
    ca_file: Option<ReadFile>,
    /// Client certificate for mutual TLS (PEM), with the intermediate certificates: the path of a file, or
    /// `{credential: NAME}`. It needs `key`.
    #[setting(example = "x-msrv.pem")]
    certificate: Option<Place>,
    /// The private key of `certificate`, in PEM and without a passphrase. It is a secret.
    #[setting(example = "{file: x-msrv.key}")]
    key: Option<Secret>,
    /// The name or address that the server's certificate must contain.
    #[setting(
        words = "the configured name or address of the host",
        unset = "(the host's)",
        example = "db.example"
    )]
    server_name: Option<Name>,
    /// Certificates are not verified (insecure): an attacker on the network path can read and change everything.
    /// Each run logs a warning.
    #[setting(default = "false")]
    insecure_skip_verify: bool,
}

/// A section `tls` with consistent keys, or `true` or `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section(pub OnOr<Keys>);

impl Setting for Section {
    const KIND: Kind = <OnOr<Keys> as Setting>::KIND;

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let section = OnOr::<Keys>::read(found, reader)?;
        match section.0.as_ref().map(|keys| (&keys.certificate, &keys.key)) {
            Some((Some(_), None) | (None, Some(_))) => {
                reader.fault("`certificate` and `key` must be set together");
                None
            }
            Some((_, Some(Secret::Text(key)))) if !key.contains("-----BEGIN ") => {
                reader.fault_at("key", "is not a private key in PEM; use `file: PATH` for a key in a file");
                None
            }
            _ => Some(Self(section)),
        }
    }

    fn tell(&self, key: &str, told: &mut Told) {
        self.0.tell(key, told);
        if self.0.0.as_ref().is_some_and(|keys| keys.insecure_skip_verify) {
            told.warning(
                &settings::join(key, "insecure-skip-verify"),
                "certificates are not verified, so an attacker on the network path can read and change everything",
            );
        }
    }
}

impl Section {
    /// Returns settings without encryption.
    #[must_use]
    pub fn none() -> Self {
        Self(OnOr(None))
    }

    /// Returns the settings for connections; `None` if they are not encrypted.
    #[must_use]
    pub fn settings(&self) -> Option<Box<Settings>> {
        let keys = self.0.0.as_ref()?;
        let pair = keys.certificate.clone().zip(keys.key.clone());
        Some(Box::new(Settings {
            ca_file: keys.ca_file.clone().map(|ReadFile(path)| path),
            certificate: pair.map(|(Place(chain), key)| ClientCertificate { chain, key }),
            server_name: keys.server_name.clone(),
            insecure_skip_verify: keys.insecure_skip_verify,
        }))
    }
}

/// Why TLS cannot be used. Blame: the configuration, or the files that it names.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The client certificate or its key cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The content is not as expected.
    #[error("the {place} contains no {wanted} in PEM")]
    Content {
        /// The location.
        place: String,
        /// The expected content.
        wanted: &'static str,
    },
    /// There are no CA certificates.
    #[error("this system has no CA certificates (package ca-certificates); set `ca-file`")]
    NoAuthorities,
    /// Certificate and key do not match, or have an unknown type.
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
    /// A host name that no certificate can contain.
    #[error("{0}; set `server-name` to the expected name")]
    Name(String),
}

/// Everything that encrypted connections need, read and checked.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For rustls, and for clients that use it.
    pub config: Arc<ClientConfig>,
    server_name: Option<Name>,
}

impl Tls {
    /// Reads the files of the settings.
    ///
    /// # Errors
    /// A file cannot be read, or its content is not as expected.
    pub fn load(settings: &Settings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has cipher suites for them");
        let builder = if settings.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(authorities(settings.ca_file.as_ref())?)
        };
        let config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = certificate.read()?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Pair)?
            }
        };
        Ok(Self { config: Arc::new(config), server_name: settings.server_name.clone() })
    }

    /// Returns the name that the certificate of a server at `host` must contain.
    ///
    /// # Errors
    /// No certificate can contain it.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.server_name {
            Some(Name(name)) => Ok(name.clone()),
            None => host.parse::<Name>().map(|Name(name)| name).map_err(TlsError::Name),
        }
    }
}

fn authorities(file: Option<&PathBuf>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|cause| TlsError::Read { path: path.clone(), cause })?;
            let place = || format!("file {}", path.display());
            let certificates = certificates(&pem)
                .ok_or_else(|| TlsError::Content { place: place(), wanted: "certificate" })?;
            for certificate in certificates {
                store
                    .add(certificate)
                    .map_err(|_| TlsError::Content { place: place(), wanted: "valid certificate" })?;
            }
        }
        // Some of the system's many files may be broken; the others are used.
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
}

/// Returns all certificates in a text; `None` if there is none, or a broken one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok().filter(|found| !found.is_empty())
}

impl ClientCertificate {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let wrong = |secret: &Secret, wanted| TlsError::Content { place: secret.to_string(), wanted };
        let chain =
            certificates(self.chain.read()?.as_bytes()).ok_or_else(|| wrong(&self.chain, "certificate"))?;
        // Its error is not passed on: it might contain a part of the key.
        let key = PrivateKeyDer::from_pem_slice(self.key.read()?.as_bytes());
        Ok((chain, key.map_err(|_| wrong(&self.key, "private key without a passphrase"))?))
    }
}

/// `insecure-skip-verify`: any certificate is accepted. The handshake signature must still match it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns whether a handshake failed because the server refuses the client certificate, or requires one.
/// Only the configuration can fix that. (Alerts of RFC 8446, section 6.2.)
#[must_use]
pub fn is_refusal_of_ours(fault: &str) -> bool {
    const ALERTS: [&str; 7] = [
        "CertificateRequired",
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateRevoked",
        "CertificateExpired",
        "UnknownCA",
        "DecryptError", // its authority has the right name and another key
    ];
    fault
        .split_once("received fatal alert: ")
        .is_some_and(|(_, alert)| ALERTS.iter().any(|name| alert.starts_with(name)))
}

/// Explains rustls' text for a failed handshake. It works on text, because the Aerospike client keeps nothing
/// else.
#[must_use]
pub fn in_plain_words(fault: &str) -> Cow<'_, str> {
    const WORDS: [(&str, &str); 7] = [
        ("UnknownIssuer", "it is signed by an unknown CA (see `ca-file`)"),
        ("BadSignature", "it is signed by another CA with the name of a trusted one"),
        (
            "Other(OtherError(CaUsedAsEndEntity))",
            "it is a CA certificate (CA:TRUE), not a server certificate",
        ),
        ("received corrupt message of type InvalidContentType", "the other side does not speak TLS"),
        ("tls handshake eof", "the other side closed the connection instead of speaking TLS"),
        (
            "received fatal alert: CertificateRequired",
            "the server requires a client certificate (`certificate` and `key`)",
        ),
        ("received fatal alert:", "the server refuses the handshake:"),
    ];
    if let Some(date) = expiry(fault) {
        return format!("the server's certificate expired at {date}").into();
    }
    let Some((theirs, ours)) = WORDS.iter().find(|(theirs, _)| fault.contains(theirs)) else {
        return fault.into();
    };
    fault.replace(theirs, ours).into()
}

/// Returns when a certificate expired, from `… but certificate is not valid after SECONDS (… ago)`.
fn expiry(fault: &str) -> Option<humantime::Rfc3339Timestamp> {
    let (_, seconds) = fault.split_once("certificate is not valid after ")?;
    let seconds = seconds.split(' ').next()?.parse().ok()?;
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    Some(humantime::format_rfc3339_seconds(time))
}
