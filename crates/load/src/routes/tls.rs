//! TLS: which certificates are trusted. No other file names the cryptography provider.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use streamgauge_core::message;
use streamgauge_core::plan::{Endpoint, Identity, Trust};
use streamgauge_core::setting::{Explain, Message, Setting};
use streamgauge_wire::endpoints::spec;
use thiserror::Error;

/// Why no TLS configuration could be made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of trusted certificates has none.
    #[error("{}", self.message())]
    CaFile {
        /// The file.
        path: String,
        /// What was wrong.
        reason: String,
    },
    /// A file of the client's identity is of no use.
    #[error("{what} {path}: {reason}; give {wanted}")]
    Identity {
        /// What it should contain.
        what: &'static str,
        /// The file.
        path: String,
        /// What was wrong.
        reason: String,
        /// What is accepted.
        wanted: &'static str,
    },
    /// The provider refused our settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// The system has no certificates.
    #[error("{}", self.message())]
    NoRoots,
}

impl Explain for TlsError {
    fn message(&self) -> Message {
        match self {
            TlsError::CaFile { path, reason } => {
                message![Setting::CaFile, format!(" {path}: {reason}; give a PEM file with at least one certificate"),]
            }
            TlsError::NoRoots => message!["this system has no trusted certificates; name some with ", Setting::CaFile],
            TlsError::Identity { .. } | TlsError::Setup(_) => self.to_string().into(),
        }
    }
}

/// The configuration for connections to the servers of `endpoint`.
///
/// # Errors
/// When the certificates or the key cannot be read or there are none.
pub fn client_config(endpoint: &Endpoint) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let chain = |roots: RootCertStore| {
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        chain.map_err(|error| rustls::Error::General(error.to_string()))
    };
    let check = match &endpoint.trust {
        Trust::System => None,
        Trust::File(path) => {
            Some(Check::ChainOrListed { chain: chain(file_roots(path)?)?, listed: file_certificates(path)? })
        }
        Trust::AnyName(path) => Some(Check::ChainOnly(chain(path.as_deref().map_or_else(system_roots, file_roots)?)?)),
        Trust::Insecure => Some(Check::Nothing),
    };
    let builder = match check {
        None => builder.with_root_certificates(system_roots()?),
        Some(check) => {
            let verifier = LenientVerifier { provider: provider.clone(), check };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match &endpoint.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = (certificates(identity)?, private_key(identity)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| no_key(identity, error.to_string()))?
        }
    };
    if spec(endpoint.kind).is_grpc() {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(Arc::new(config))
}

/// The chain that the client presents.
fn certificates(identity: &Identity) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |reason: String| TlsError::Identity {
        what: "client certificate",
        path: identity.certificates.display().to_string(),
        reason,
        wanted: "a PEM file with at least one certificate, or one in DER",
    };
    let bytes = std::fs::read(&identity.certificates).map_err(|error| refuse(error.to_string()))?;
    if !is_pem(&bytes) {
        return Ok(vec![bytes.into()]);
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| refuse(error.to_string()))?;
    if chain.is_empty() { Err(refuse("holds no certificate".into())) } else { Ok(chain) }
}

fn private_key(identity: &Identity) -> Result<PrivateKeyDer<'static>, TlsError> {
    let refuse = |reason: String| no_key(identity, reason);
    let bytes = std::fs::read(&identity.key).map_err(|error| refuse(error.to_string()))?;
    if is_pem(&bytes) {
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| refuse(error.to_string()));
    }
    PrivateKeyDer::try_from(bytes).map_err(|reason| refuse(reason.to_owned()))
}

fn no_key(identity: &Identity, reason: String) -> TlsError {
    let path = identity.key.display().to_string();
    TlsError::Identity { what: "client key", path, reason, wanted: "the certificate's private key, PEM or DER" }
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(10).any(|window| window == b"-----BEGIN")
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn file_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in file_certificates(path)? {
        roots.add(certificate).map_err(|error| no_authority(path, error.to_string()))?;
    }
    Ok(roots)
}

/// The certificates in a file, at least one.
fn file_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(no_authority(path, "holds no certificate".into())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(no_authority(path, error.to_string())),
    }
}

fn no_authority(path: &Path, reason: String) -> TlsError {
    TlsError::CaFile { path: path.display().to_string(), reason }
}

/// A verifier that checks less of a certificate than rustls does by default. The handshake must still be signed by the key of the
/// certificate.
#[derive(Debug)]
struct LenientVerifier {
    provider: Arc<CryptoProvider>,
    check: Check,
}

/// The parts of a certificate that are checked.
#[derive(Debug)]
enum Check {
    /// Everything, against the authorities of a file; certificates in that file are accepted as server certificates too. A self-signed
    /// certificate is its own authority, and if it is marked as an authority (which most tools do), it cannot be a server's by the rules
    /// of chains (RFC 5280, section 4.2.1.9). Its name and its validity are still checked.
    ChainOrListed { chain: Arc<WebPkiServerVerifier>, listed: Vec<CertificateDer<'static>> },
    /// Everything but the name.
    ChainOnly(Arc<WebPkiServerVerifier>),
    /// Nothing (`Trust::Insecure`).
    Nothing,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |chain: &WebPkiServerVerifier| chain.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::ChainOnly(chain) => match verify(chain) {
                // The name is checked last, after the chain was found good.
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            },
            Check::ChainOrListed { chain, listed } => match verify(chain) {
                // The time was checked before this.
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if listed.contains(end_entity) => {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                    Ok(ServerCertVerified::assertion())
                }
                verified => verified,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
