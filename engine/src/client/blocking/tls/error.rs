//! Why TLS was not agreed on.

use rustls::{CertificateError, Error};

/// Why TLS was not agreed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate is for other names.
    #[error("the server's certificate is not for this name: {0}")]
    WrongName(String),
    /// Nobody we trust vouches for the server's certificate.
    #[error("the server's certificate is from an authority that is not trusted here")]
    UnknownAuthority,
    /// The server's certificate is not valid yet, or no longer.
    #[error("the server's certificate is not valid at this time")]
    Expired,
    /// The server ended the handshake: with this alert (RFC 8446 §6).
    #[error("the server ended the TLS handshake: {0}")]
    Alert(String),
    /// Anything else, in the words of the TLS library: no common version or cipher suite, bytes that
    /// are no TLS.
    #[error("TLS: {0}")]
    Other(String),
}

impl TlsError {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => match error {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName(error.to_string())
                }
                // Of the name of one we trust, perhaps, and not by its key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownAuthority
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                error => Self::Other(error.to_string()),
            },
            Error::AlertReceived(alert) => Self::Alert(format!("{alert:?}")),
            error => Self::Other(error.to_string()),
        }
    }
}
