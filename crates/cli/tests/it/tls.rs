//! The binary over https, to a relay before the simulated server whose certificate is made here.

use crate::context::TestContext;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const ARGS: &str = "--streaming --concurrency 2 --request-count 6 --isl 10 --osl 3";

/// What a server needs to speak TLS as 127.0.0.1; the authority of its certificate is in `directory` as ca.pem. Clients
/// must show a certificate of that authority's where `mutual` says so.
pub fn server_config(directory: &Path, mutual: bool) -> Arc<ServerConfig> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of these tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match mutual {
        false => config.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            config.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap())
}

/// What a server needs whose certificate, in `directory` as own.pem, signed itself: as most tools make one, an authority's, or a
/// plain server's.
fn self_signed(directory: &Path, name: &str, is_ca: bool) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join("own.pem"), certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// An https relay to `server`; the authority of its certificate is in `directory` as ca.pem.
fn relay(server: SocketAddr, directory: &Path) -> String {
    relay_as(server, server_config(directory, false))
}

/// An https relay to `server` with this certificate.
fn relay_as(server: SocketAddr, config: Arc<ServerConfig>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // It lives as long as the process; nothing comes to it once the test is over.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (listener, acceptor) = (TcpListener::from_std(listener).unwrap(), TlsAcceptor::from(config));
            loop {
                let (client, acceptor) = (listener.accept().await.unwrap().0, acceptor.clone());
                tokio::spawn(async move {
                    // A client that does not trust us says goodbye in the handshake.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    url
}

#[test]
fn a_server_is_trusted_by_the_file_the_system_or_blindly() {
    let context = TestContext::new();
    let url = relay(context.addr(), context.path());
    for trust in ["--ca-file ca.pem", "--insecure"] {
        let run = context.run(context.command_to(&url, &format!("{ARGS} {trust}"))).expect(0);
        assert_eq!(run.summary()["requests"]["ok"], 6, "{trust}");
    }
    // What the system trusts is where the environment says.
    let mut command = context.command_to(&url, ARGS);
    command.env("SSL_CERT_FILE", context.path().join("ca.pem"));
    assert_eq!(context.run(command).expect(0).summary()["requests"]["ok"], 6);
}

#[test]
fn a_server_that_is_not_trusted_ends_the_run_with_the_reason() {
    let context = TestContext::new();
    let url = relay(context.addr(), context.path());
    let run = context.run(context.command_to(&url, ARGS)).expect(1);
    assert!(run.stderr.contains("TLS failure (tls): invalid peer certificate"), "{}", run.stderr);
    assert!(run.stderr.contains("--ca-file FILE") && run.stderr.contains("--insecure"), "{}", run.stderr);
    assert!(context.requests().is_empty());
}

#[test]
fn a_certificate_that_signed_itself_is_its_own_authority() {
    for is_ca in [false, true] {
        let context = TestContext::new();
        let url = relay_as(context.addr(), self_signed(context.path(), "127.0.0.1", is_ca));
        let run = context.run(context.command_to(&url, &format!("{ARGS} --ca-file own.pem"))).expect(0);
        assert_eq!(run.summary()["requests"]["ok"], 6, "{is_ca}");
        // Another one, of the same name, is not it.
        let other = TestContext::new();
        self_signed(other.path(), "127.0.0.1", is_ca);
        let run = other.run(other.command_to(&url, &format!("{ARGS} --ca-file own.pem"))).expect(1);
        assert!(run.stderr.contains("invalid peer certificate"), "{}", run.stderr);
    }
    let context = TestContext::new();
    let url = relay_as(context.addr(), self_signed(context.path(), "elsewhere.example", true));
    let run = context.run(context.command_to(&url, &format!("{ARGS} --ca-file own.pem"))).expect(1);
    assert!(run.stderr.contains("the certificate is for another name"), "{}", run.stderr);
}

#[test]
fn a_scheme_that_is_not_the_servers_is_named_with_the_right_one() {
    let context = TestContext::new();
    let tls = relay(context.addr(), context.path());
    let port = tls.rsplit_once(':').unwrap().1;
    let run = context.run(context.command_to(&format!("http://127.0.0.1:{port}"), ARGS)).expect(1);
    assert!(run.stderr.contains(&format!("speaks TLS on this port; give --url https://127.0.0.1:{port}")), "{run:?}");
    let plain = context.addr().port();
    let run = context.run(context.command_to(&format!("https://127.0.0.1:{plain}"), ARGS)).expect(1);
    let words = format!("speaks HTTP without TLS on this port; give --url http://127.0.0.1:{plain}");
    assert!(run.stderr.contains(&words), "{}", run.stderr);
    let grpc = format!("{ARGS} -m ensemble --service-kind triton");
    let run = context.run(context.command_to(&format!("127.0.0.1:{port}"), &grpc)).expect(1);
    assert!(run.stderr.contains(&format!("give --url grpcs://127.0.0.1:{port}")), "{}", run.stderr);
}

#[test]
fn a_file_without_certificates_is_refused_by_its_flag() {
    let context = TestContext::new();
    std::fs::write(context.path().join("none.pem"), "no certificate").unwrap();
    for file in ["none.pem", "nosuch.pem"] {
        let run = context.run(context.command_to("https://127.0.0.1:1", &format!("--ca-file {file}"))).expect(2);
        assert!(run.stderr.contains(&format!("--ca-file {file}: ")), "{}", run.stderr);
        assert!(run.stderr.contains("give a PEM file with at least one certificate"), "{}", run.stderr);
    }
}
