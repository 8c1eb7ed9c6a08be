//! TLS: which certificates are believed. The only room that names the cryptography provider.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use streamgauge_core::plan::{Endpoint, Identity, Trust};
use streamgauge_core::setting::Setting;
use streamgauge_wire::endpoints::spec;
use thiserror::Error;

/// Why no TLS configuration could be made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of trusted certificates has none.
    #[error("{} {path}: {reason}; give a PEM file with at least one certificate", Setting::CaFile)]
    CaFile {
        /// The file.
        path: String,
        /// What was wrong.
        reason: String,
    },
    /// A file of the client's identity is of no use.
    #[error("{what} {path}: {reason}; give {wanted}")]
    Identity {
        /// What should be in it.
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
    #[error("this system has no trusted certificates; name some with {}", Setting::CaFile)]
    NoRoots,
}

/// The configuration for connections to the servers of `endpoint`.
///
/// # Errors
/// When the certificates or the key cannot be read or there are none.
pub fn client_config(endpoint: &Endpoint) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &endpoint.trust {
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::File(path) => {
            let (roots, own) = (file_roots(path)?, file_certificates(path)?);
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            let chain = chain.map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(OrItsOwn { chain, own }))
        }
        Trust::AnyName(path) => {
            let roots = path.as_deref().map_or_else(system_roots, file_roots)?;
            let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            let chain = Some(chains.map_err(|error| rustls::Error::General(error.to_string()))?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, chain }))
        }
        Trust::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, chain: None }))
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

/// Believes what the authorities of a file have signed, and the file's certificates themselves: one that signed itself is its own
/// authority, though as an authority's (which most tools make of it) it may not be a server's by the rules of chains (RFC 5280,
/// section 4.2.1.9). Its name and its time are checked all the same.
#[derive(Debug)]
struct OrItsOwn {
    chain: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrItsOwn {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // Its time was looked at before this.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.own.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Less than all of a certificate is checked, though the handshake must still be signed by its key.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Checks all but the name; without it (`--insecure`) any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // Looked at last: the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
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
