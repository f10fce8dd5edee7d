//! Access control of the stand-in: TLS, and logins as a server of the enterprise edition requires them.
//!
//! The client's half is in its `commands/admin_command.rs`. The answers to a connection without a login are
//! in the server's `thr_info.c` (`authenticate`) and `thr_tsvc.c`; the codes are those of its `proto.h`.

use std::sync::Arc;

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use super::{
    message::{Field, last_message},
    protocol::{frame_type, result},
    wire::{Frame, Malformed, Reader, frame},
};
use crate::support::certificates::{Authority, Pair};

/// The requirements for a connection; none by default.
#[derive(Default)]
pub(crate) struct Guard {
    tls: Option<Arc<ServerConfig>>,
    login: bool,
}

/// The only user. Both the server and a directory (LDAP) know its password.
pub(crate) const USER: &str = "writer";

/// Its password.
pub(crate) const PASSWORD: &str = "p@ss w\u{f6}rd";

/// The bcrypt hash of the password with the salt of all Aerospike clients: a known answer from the client's
/// own tests.
const HASH: &str = "$2a$10$7EqJtq98hPqEX7fNZaFWoOvOHC3TQiAAgdPnOsxztx/kKSmQ9nwIm";

const TOKEN: &[u8] = b"a token";

mod command {
    pub(super) const AUTHENTICATE: u8 = 0;
    pub(super) const LOGIN: u8 = 20;
}

mod field {
    pub(super) const USER: u8 = 0;
    pub(super) const CREDENTIAL: u8 = 3;
    pub(super) const CLEAR_PASSWORD: u8 = 4;
    pub(super) const SESSION_TOKEN: u8 = 5;
    pub(super) const SESSION_TTL: u8 = 6;
}

impl Guard {
    /// Requires TLS with this certificate, and a client certificate if `clients` is an authority that signs
    /// them.
    pub(crate) fn tls(self, pair: &Pair, clients: Option<&Authority>) -> Self {
        self.tls_of(&[&TLS12, &TLS13], pair, clients)
    }

    /// Requires TLS 1.2 and nothing newer.
    pub(crate) fn tls_1_2(self, pair: &Pair) -> Self {
        self.tls_of(&[&TLS12], pair, None)
    }

    fn tls_of(
        mut self,
        versions: &[&'static SupportedProtocolVersion],
        pair: &Pair,
        clients: Option<&Authority>,
    ) -> Self {
        let chain = CertificateDer::pem_file_iter(&pair.certificate)
            .expect("a file")
            .collect::<Result<_, _>>()
            .expect("certificates");
        let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_file(&authority.file).expect("a certificate"))
                    .expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("an authority"))
            }
        };
        self.tls =
            Some(Arc::new(builder.with_single_cert(chain, key).expect("certificate and key are a pair")));
        self
    }

    /// Requires a login with [`USER`] and [`PASSWORD`].
    pub(crate) fn login(mut self) -> Self {
        self.login = true;
        self
    }

    pub(super) fn acceptor(&self) -> Option<tokio_rustls::TlsAcceptor> {
        self.tls.clone().map(Into::into)
    }

    /// Returns the answer to a frame that the guard does not pass on: a frame about logins, or any other
    /// frame before a login.
    pub(super) fn answer(&self, frame: &Frame, logged_in: &mut bool) -> Option<Result<Vec<u8>, Malformed>> {
        match frame.kind {
            _ if !self.login => None,
            frame_type::SECURITY => Some(login(&frame.body, logged_in)),
            _ if *logged_in => None,
            frame_type::INFO => {
                Some(Ok(super::wire::frame(frame_type::INFO, b"ERROR:80:not authenticated\n")))
            }
            _ => Some(Ok(last_message(result::NOT_AUTHENTICATED))),
        }
    }
}

fn login(body: &[u8], logged_in: &mut bool) -> Result<Vec<u8>, Malformed> {
    let mut from = Reader(body);
    let header: [u8; 16] = from.array()?;
    let fields = Field::read_all(&mut from, header[3].into())?;
    let field = |kind| fields.iter().find(|field| field.kind == kind).map(|field| field.data);
    let known = field(field::USER) == Some(USER.as_bytes());
    let code = match header[2] {
        command::LOGIN if !known => result::INVALID_USER,
        command::LOGIN => match (field(field::CREDENTIAL), field(field::CLEAR_PASSWORD)) {
            (_, Some(password)) if password == PASSWORD.as_bytes() => result::OK,
            (Some(hash), None) if hash == HASH.as_bytes() => result::OK,
            _ => result::INVALID_CREDENTIAL,
        },
        command::AUTHENTICATE if known && field(field::SESSION_TOKEN) == Some(TOKEN) => result::OK,
        command::AUTHENTICATE => result::EXPIRED_SESSION,
        _ => result::SECURITY_NOT_SUPPORTED,
    };
    *logged_in = code == result::OK;
    let mut answer = vec![0; 16];
    answer[1] = code;
    if *logged_in && header[2] == command::LOGIN {
        answer[3] = 2;
        for (kind, data) in [(field::SESSION_TOKEN, TOKEN), (field::SESSION_TTL, &3600_u32.to_be_bytes())] {
            answer.extend(u32::try_from(data.len() + 1).expect("short").to_be_bytes());
            answer.push(kind);
            answer.extend(data);
        }
    }
    Ok(frame(frame_type::SECURITY, &answer))
}
