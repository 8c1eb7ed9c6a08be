//! The same over TLS, against a server whose certificates are made here.

use crate::acknowledgements::{is_not_held, small_writes};
use crate::connections::{close_the_first_while_idle, counting, counts, was_replaced};
use crate::grpc::streams;
use crate::grpc_server::{self, answer_all};
use crate::script::{Server, serve, serve_tls, settle};
use crate::trial::{Ended, Trial, failure, now};
use crate::words::{LAST_CHUNK, STREAM_HEAD, chunk, finish, stream, token};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::{Arc, Mutex};
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::{Balance, ConnectionPolicy, Identity, Trust};
use streamgauge_core::record::{FailureClass, Stage};
use tempfile::TempDir;

/// A certificate authority, and a server's certificate from it.
struct Certificates {
    directory: TempDir,
    server: Arc<ServerConfig>,
    /// The same server, for clients that its authority vouches for.
    strict: Arc<ServerConfig>,
}

impl Certificates {
    fn make(names: &[&str]) -> Certificates {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, or one would be taken for another with a bad signature.
        params.distinguished_name.push(DnType::CommonName, format!("authority of {names:?}"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(directory.path().join("none.pem"), "no certificate").unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        let client = KeyPair::generate().unwrap();
        let known = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&client, &authority).unwrap();
        write("client.pem", known.pem().as_bytes());
        write("client.der", known.der());
        write("key.pem", client.serialize_pem().as_bytes());
        write("key.der", &client.serialize_der());
        write("other.pem", KeyPair::generate().unwrap().serialize_pem().as_bytes());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let server = |clients: Option<Arc<dyn ClientCertVerifier>>| {
            let server = ServerConfig::builder_with_provider(provider.clone());
            let server = server.with_safe_default_protocol_versions().unwrap();
            let server = match clients {
                Some(clients) => server.with_client_cert_verifier(clients),
                None => server.with_no_client_auth(),
            };
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            Arc::new(server.with_single_cert(vec![leaf.der().clone()], key).unwrap())
        };
        let (server, strict) = (server(None), server(Some(clients)));
        Certificates { directory, server, strict }
    }

    /// What a client shows, from these files.
    fn identity(&self, certificates: &str, key: &str) -> Option<Identity> {
        let at = |name: &str| self.directory.path().join(name);
        Some(Identity { certificates: at(certificates), key: at(key) })
    }

    fn file(&self, name: &str) -> Trust {
        Trust::File(self.directory.path().join(name))
    }

    fn trust(&self) -> Trust {
        self.file("ca.pem")
    }

    /// A server that answers each request with three tokens, a record of TLS each.
    fn talker(&self) -> Server {
        serve_tls(self.server.clone(), |peer| {
            let mut first = true;
            while peer.request().is_some() {
                if std::mem::take(&mut first) {
                    // The kernel begins to stamp a moment after the first socket has asked for it.
                    settle();
                }
                peer.send(STREAM_HEAD);
                ["a", " b", " c"].into_iter().for_each(|text| peer.send(&chunk(&token(text))));
                peer.send(&format!("{}{LAST_CHUNK}", chunk(&finish(0, "stop"))));
            }
        })
    }
}

fn local() -> Certificates {
    Certificates::make(&["localhost", "127.0.0.1"])
}

#[test]
fn a_trusted_server_is_measured_like_any_other() {
    let certificates = local();
    let server = certificates.talker();
    for (name, trust) in
        [("localhost", certificates.trust()), ("127.0.0.1", certificates.trust()), ("localhost", Trust::Insecure)]
    {
        let ended = Trial::to(server.https(name)).trust(trust).slots(2).warmup(2).requests(10).run();
        ended.all_ok(10);
        assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (2, 0));
        for record in ended.records() {
            assert_eq!((record.chunks.len(), record.connect, record.retries), (3, None, 0));
            assert_eq!(record.chunks.iter().all(|chunk| chunk.lag.is_some()), cfg!(target_os = "linux"));
        }
    }
}

#[test]
fn a_server_with_nagle_is_not_made_to_wait_over_tls() {
    let certificates = local();
    let server = serve_tls(certificates.server.clone(), small_writes);
    is_not_held(|| Trial::to(server.https("localhost")).trust(certificates.trust()));
}

/// Both requests failed at TLS with this in the message, and no connection counts as opened.
fn refused(ended: &Ended, complaint: &str) {
    assert_eq!(ended.finished.len(), 2);
    for record in ended.records() {
        let (stage, class, message) = failure(record);
        assert_eq!((stage, class), (Stage::Tls, FailureClass::Tls), "{message}");
        assert!(message.contains(complaint), "{message}");
        assert!(record.connect.is_some() && record.sent.is_none());
    }
    assert_eq!(ended.facts.connections_opened, 0);
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let server = local().talker();
    refused(
        &Trial::to(server.https("localhost")).trust(Certificates::make(&["other.invalid"]).trust()).requests(2).run(),
        "UnknownIssuer",
    );
}

#[test]
fn a_certificate_for_another_name() {
    let certificates = Certificates::make(&["elsewhere.invalid"]);
    let server = certificates.talker();
    let trial = Trial::to(server.https("localhost")).requests(2);
    refused(&trial.clone().trust(certificates.trust()).run(), "not valid for name");
    trial.trust(Trust::Insecure).run().all_ok(2);
}

#[test]
fn the_name_may_be_forgiven_and_the_chain_not() {
    let certificates = Certificates::make(&["elsewhere.invalid"]);
    let server = certificates.talker();
    let file = |of: &Certificates| Trust::AnyName(Some(of.directory.path().join("ca.pem")));
    let trial = Trial::to(server.https("localhost")).requests(2);
    trial.clone().trust(file(&certificates)).run().all_ok(2);
    refused(&trial.trust(file(&Certificates::make(&["localhost"]))).run(), "UnknownIssuer");
}

#[test]
fn a_server_that_asks_who_is_there_is_told() {
    let certificates = local();
    let server = serve_tls(certificates.strict.clone(), |peer| {
        while peer.request().is_some() {
            peer.send(&stream(&["a"]));
        }
    });
    let trial = Trial::to(server.https("localhost")).trust(certificates.trust()).requests(2);
    for (chain, key) in [("client.pem", "key.pem"), ("client.der", "key.der")] {
        let mut trial = trial.clone();
        trial.plan.endpoint.identity = certificates.identity(chain, key);
        trial.run().all_ok(2);
    }
    // The server's word comes after TLS 1.3 is open for the client.
    let ended = trial.run();
    for record in ended.records() {
        let (stage, class, message) = failure(record);
        assert!(stage >= Stage::Send && message.contains("CertificateRequired"), "{stage:?} {class:?} {message}");
    }
}

#[test]
fn an_identity_that_is_none_is_refused_before_load_by_its_file() {
    let certificates = local();
    let server = certificates.talker();
    let why = |chain: &str, key: &str| {
        let mut trial = Trial::to(server.https("localhost")).trust(certificates.trust());
        trial.plan.endpoint.identity = certificates.identity(chain, key);
        let failure = trial.routes().err().unwrap().failure;
        assert_eq!((failure.stage, failure.class), (Stage::Tls, FailureClass::Tls));
        failure.message
    };
    for (chain, key, what, file) in [
        ("missing.pem", "key.pem", "client certificate", "missing.pem"),
        ("key.pem", "key.pem", "client certificate", "key.pem"),
        ("client.pem", "missing.pem", "client key", "missing.pem"),
        ("client.pem", "none.pem", "client key", "none.pem"),
        ("client.pem", "client.pem", "client key", "client.pem"),
        ("client.pem", "other.pem", "client key", "other.pem"),
    ] {
        let said = why(chain, key);
        let path = certificates.directory.path().join(file).display().to_string();
        assert!(said.starts_with(&format!("{what} {path}: ")) && said.contains("; give "), "{said}");
    }
}

#[test]
fn grpc_over_tls() {
    let certificates = local();
    let mut config = (*certificates.strict).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = grpc_server::serve(Some(Arc::new(config)), h2::server::Builder::new(), answer_all);
    for share in [1, 2] {
        let mut trial = streams(&server).slots(2).requests(8).trust(certificates.trust());
        trial.plan.transport.channels.streams_per_channel = share;
        trial.plan.endpoint.target = server.https("localhost");
        trial.plan.endpoint.identity = certificates.identity("client.pem", "key.pem");
        let ended = trial.run();
        ended.all_ok(8);
        assert_eq!(ended.facts.connections_opened, u64::from(2 / share));
        assert!(ended.records().iter().all(|record| record.chunks.len() == 3 && record.written >= record.sent));
    }
}

#[test]
fn a_server_that_does_not_speak_tls() {
    let server = serve(|peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.hang();
    });
    refused(&Trial::to(server.https("localhost")).trust(Trust::Insecure).requests(2).run(), "");
}

#[test]
fn a_stream_whose_seal_is_broken() {
    let certificates = local();
    let server = serve_tls(certificates.server.clone(), |peer| {
        peer.request();
        peer.send(&format!("{STREAM_HEAD}{}", chunk(&token("a"))));
        settle();
        peer.garble();
        peer.hang();
    });
    let ended = Trial::to(server.https("localhost")).trust(certificates.trust()).run();
    let (stage, class, message) = failure(&ended.only().record);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Tls), "{message}");
    assert_eq!(ended.only().record.chunks.len(), 1);
}

#[test]
fn a_file_without_certificates_is_refused_before_load() {
    let certificates = local();
    let trial = Trial::to(certificates.talker().https("localhost"));
    for name in ["none.pem", "missing.pem"] {
        let failure = trial.clone().trust(certificates.file(name)).routes().err().unwrap().failure;
        assert_eq!((failure.stage, failure.class), (Stage::Tls, FailureClass::Tls));
        assert!(failure.message.starts_with("--ca-file ") && failure.message.contains(name), "{}", failure.message);
    }
}

#[test]
fn an_idle_connection_that_said_goodbye_is_replaced() {
    let certificates = local();
    let server = serve_tls(certificates.server.clone(), close_the_first_while_idle());
    was_replaced(Trial::to(server.https("localhost")).trust(certificates.trust()));
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_connection_that_ended_before_its_first_use_is_replaced() {
    let certificates = local();
    let server = serve_tls(certificates.server.clone(), |peer| {
        match peer.number {
            0 => {
                peer.shake_hands();
                return peer.say_goodbye();
            }
            // Load waits for all connections, so the first one is idle meanwhile.
            1 => settle(),
            _ => {}
        }
        while peer.request().is_some() {
            peer.send(&stream(&["a"]));
        }
    });
    let ended = Trial::to(server.https("localhost")).trust(certificates.trust()).slots(2).requests(2).run();
    ended.all_ok(2);
    assert!(ended.records().iter().all(|record| record.retries == 0));
    assert_eq!((ended.facts.connections_opened, ended.facts.connections_replaced), (3, 1));
}

#[test]
fn a_kept_one_that_says_goodbye_before_any_byte_of_the_answer_costs_one_retry() {
    let certificates = local();
    let server = serve_tls(certificates.server.clone(), |peer| {
        if peer.request().is_some() {
            peer.send(&stream(&["a"]));
            peer.request();
            peer.say_goodbye();
        }
    });
    let ended = Trial::to(server.https("localhost")).trust(certificates.trust()).requests(3).run_as_races();
    ended.all_ok(3);
    assert_eq!(ended.records().iter().map(|record| record.retries).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn what_tls_says_for_itself_is_no_first_byte_of_an_answer() {
    // A server sends session tickets right after the handshake, when a request that had to connect is already under way.
    let (certificates, clock) = (local(), SystemClock::start());
    let written = Arc::new(Mutex::new(Vec::new()));
    let noted = written.clone();
    let server = serve_tls(certificates.server.clone(), move |peer| {
        peer.request().unwrap();
        settle();
        noted.lock().unwrap().push(now(&clock));
        let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        peer.send(&stream(&["a"]).replace(STREAM_HEAD, &head));
        peer.say_goodbye();
    });
    let ended = Trial::to(server.https("localhost")).trust(certificates.trust()).clock(clock).requests(3).run();
    ended.all_ok(3);
    assert!(ended.records()[1..].iter().all(|record| record.connect.is_some()));
    for (record, written) in ended.records().into_iter().zip(written.lock().unwrap().iter()) {
        assert!(record.first_byte.unwrap() + Nanos::from_millis(1) >= *written, "{written} {record:?}");
    }
}

#[test]
fn a_spent_connection_is_left_with_a_goodbye() {
    let certificates = Certificates::make(&["localhost"]);
    let (script, told) = counting(2);
    let server = serve_tls(certificates.server.clone(), script);
    let trial = Trial::to(server.https("localhost")).trust(certificates.trust());
    let ended = trial.connections(ConnectionPolicy::Rotate(2)).requests(4).run();
    ended.all_ok(4);
    assert_eq!(counts(&told, 2), [2, 2]);
}

#[test]
fn a_server_that_does_not_speak_tls_is_not_the_least_busy() {
    let certificates = Certificates::make(&["localhost"]);
    let good = certificates.talker();
    let bad = serve(|peer| peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
    let mut trial = Trial::to(good.https("localhost")).trust(certificates.trust()).balance(Balance::LeastInFlight);
    trial.plan.endpoint.others = vec![bad.https("localhost")];
    let ended = trial.slots(3).requests(60).run();
    let failed: Vec<_> = ended.records().into_iter().filter(|record| !record.is_ok()).collect();
    assert!(failed.len() < 15, "{} of 60 failed", failed.len());
    assert!(failed.iter().all(|record| record.target == 1 && failure(record).1 == FailureClass::Tls));
}
