//! The same over TLS, against a server whose certificates are made here.

use crate::connections::{close_the_first_while_idle, was_replaced};
use crate::script::{Server, serve, serve_tls, settle};
use crate::trial::{Ended, Trial, failure, now};
use crate::words::{LAST_CHUNK, STREAM_HEAD, chunk, finish, stream, token};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::{Arc, Mutex};
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::Trust;
use streamgauge_core::record::{FailureClass, Stage};
use tempfile::TempDir;

/// A certificate authority, and a server's certificate from it.
struct Certificates {
    directory: TempDir,
    server: Arc<ServerConfig>,
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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let server = server.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        Certificates { directory, server: Arc::new(server) }
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
        let failure = trial.clone().trust(certificates.file(name)).route().err().unwrap();
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
    let ended = Trial::to(server.https("localhost")).trust(certificates.trust()).requests(3).run();
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
