//! TLS, by rustls with ring, none of whose types can be seen from outside.

mod error;
mod session;

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

pub use self::error::TlsError;
use self::session::Session;
use super::{connect_error::ConnectError, transport::Line, until::Until};
use crate::error::Error;

/// How `wss://` is secured: TLS 1.2 or 1.3, `http/1.1` by ALPN, the server known by its name.
///
/// ```
/// use throng::client::blocking::{Connector, Tls};
///
/// # let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()])?.cert.pem();
/// let tls = Tls::with_roots(authority.as_bytes())?;
/// let connector = Connector::to("wss://127.0.0.1:9443/").tls(tls.server_name("db.internal"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share what they were made of, and TLS sessions to resume, as long as nothing is changed.
#[derive(Clone)]
pub struct Tls {
    roots: Roots,
    identity: Option<Arc<Identity>>,
    server_name: Option<String>,
    /// Made when it is first needed.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Whom we trust.
#[derive(Clone)]
enum Roots {
    Native,
    Given(Arc<RootCertStore>),
}

/// Who we are.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// All that can be known before there is a connection.
pub(super) struct Prepared {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Tls {
    /// Trusts whom the system trusts, as `SSL_CERT_FILE` and `SSL_CERT_DIR` or the distribution say:
    /// read when first needed, and once.
    pub fn native() -> Self {
        Self::trusting(Roots::Native)
    }

    /// Trusts these authorities and nobody else: certificates in PEM.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one that is none.
    pub fn with_roots(pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("roots", pem)? {
            roots.add(certificate).map_err(|error| wrong_pem("roots", &error))?;
        }
        Ok(Self::trusting(Roots::Given(Arc::new(roots))))
    }

    /// Says who we are to servers that ask: a certificate and those between it and its authority, and
    /// its private key (PKCS#8, PKCS#1 or SEC1), each in PEM.
    ///
    /// # Errors
    ///
    /// One of them is not what it should be, or they do not fit each other.
    pub fn identity(mut self, chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        let chain = certificates("identity", chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| wrong_pem("identity", &error))?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        self.config = Arc::default();
        self.config()?;
        Ok(self)
    }

    /// The name that the server is asked for (SNI) and has to prove, instead of the URL's host.
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    fn trusting(roots: Roots) -> Self {
        Self { roots, identity: None, server_name: None, config: Arc::default() }
    }

    /// Gets ready for a connection to `host`.
    pub(super) fn prepare(&self, host: &str) -> Result<Prepared, ConnectError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::setting("server_name", name, "use a DNS name or an address"))?;
        Ok(Prepared { config: self.config()?, server_name })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make_config()?);
        Ok(self.config.get_or_init(|| config).clone())
    }

    fn make_config(&self) -> Result<ClientConfig, Error> {
        let wrong = |error| Error::setting("tls", "identity", format!("{error}"));
        let roots = match &self.roots {
            Roots::Given(roots) => roots.clone(),
            Roots::Native => native_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what they need")
            .with_root_certificates(roots);
        let mut config = match self.identity.as_deref() {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error: rustls::Error| wrong(error))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Default for Tls {
    /// One and the same for all who say nothing else: [`native`](Self::native).
    fn default() -> Self {
        static NATIVE: LazyLock<Tls> = LazyLock::new(Tls::native);
        NATIVE.clone()
    }
}

impl Prepared {
    /// Goes through the TLS handshake over `line`.
    pub(super) fn handshake(self, line: Line, until: Until) -> Result<Line, ConnectError> {
        let connection = ClientConnection::new(self.config, self.server_name)
            .map_err(|error| TlsError::of(&error))?;
        let session = Session::new(connection, line.into_transport());
        session.handshake(until)?;
        Ok(Line::over(Arc::new(session)))
    }
}

/// What the system trusts. A certificate in its store that cannot be read is left out.
fn native_roots() -> Result<Arc<RootCertStore>, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let remedy = "the system has no root certificates: install them (ca-certificates), name \
                      them in SSL_CERT_FILE, or give some with `Tls::with_roots`";
        return Err(Error::setting("tls", "native roots", remedy));
    }
    Ok(Arc::new(roots))
}

fn certificates(setting: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if found.is_empty() => Err(wrong_pem(setting, &"there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong_pem(setting, &error)),
    }
}

fn wrong_pem(setting: &'static str, error: &dyn std::fmt::Display) -> Error {
    let remedy = format!("give what is between and with `-----BEGIN …` and `-----END …` ({error})");
    Error::setting(setting, "PEM", remedy)
}

/// Leaves the key out.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("has_identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
