//! Opening connections: the name is resolved once, before load; every address is kept and tried in turn.

use crate::connection::{Connection, Noted, Transport};
use crate::failure;
use crate::tls::{self, TlsError};
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use streamgauge_core::clock::SystemClock;
use streamgauge_core::plan::{Endpoint, Stamps, Target};
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_net::StampedStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Everything a connection needs, found out before load.
#[derive(Clone)]
pub struct Route {
    addresses: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    stamps: Stamps,
    /// Index of the address that answered last: the next connection tries it first.
    preferred: Arc<AtomicUsize>,
}

impl Route {
    /// Resolves the endpoint's name and reads the certificates.
    ///
    /// # Errors
    /// A failure at the stage of DNS or TLS.
    pub fn find(endpoint: &Endpoint, stamps: Stamps) -> Result<Route, Failure> {
        let target = &endpoint.target;
        let addresses = resolve(target)?;
        let tls = match target.tls {
            true => Some(connector(endpoint)?),
            false => None,
        };
        Ok(Route { addresses, tls, stamps, preferred: Arc::default() })
    }

    /// Opens a connection: TCP, then TLS where the target wants it. Says nothing of time; the caller bounds it.
    ///
    /// # Errors
    /// The failure of the last address tried.
    pub async fn open(&self, clock: SystemClock) -> Result<Connection, Failure> {
        let mut failed = None;
        let first = self.preferred.load(Ordering::Relaxed);
        for offset in 0..self.addresses.len() {
            let index = (first + offset) % self.addresses.len();
            match TcpStream::connect(self.addresses[index]).await {
                Ok(tcp) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return self.converse(tcp, clock).await;
                }
                Err(error) => failed = Some(failure::from_io(Stage::Connect, &error)),
            }
        }
        Err(failed.unwrap_or_else(|| unresolved("no address")))
    }

    async fn converse(&self, tcp: TcpStream, clock: SystemClock) -> Result<Connection, Failure> {
        let stream =
            StampedStream::new(tcp, clock, self.stamps).map_err(|error| failure::from_io(Stage::Connect, &error))?;
        let noted = Noted::new(stream);
        let transport = match &self.tls {
            None => Transport::Plain(noted),
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), noted)
                    .await
                    .map_err(|error| Failure { class: FailureClass::Tls, ..failure::from_io(Stage::Tls, &error) })?;
                Transport::Tls(Box::new(stream))
            }
        };
        Connection::new(transport).await.map_err(|error| failure::from_hyper(Stage::Connect, &error))
    }
}

fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let found =
        (target.host.as_str(), target.port).to_socket_addrs().map_err(|error| unresolved(&error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err(unresolved(&format!("{} has no address", target.host))) } else { Ok(addresses) }
}

fn unresolved(message: &str) -> Failure {
    Failure { stage: Stage::Dns, class: FailureClass::Unresolved, message: message.to_owned() }
}

fn connector(endpoint: &Endpoint) -> Result<(TlsConnector, ServerName<'static>), Failure> {
    let refuse = |message: String| Failure { stage: Stage::Tls, class: FailureClass::Tls, message };
    let config: Arc<_> = tls::client_config(&endpoint.trust).map_err(|error: TlsError| refuse(error.to_string()))?;
    let name = ServerName::try_from(endpoint.target.host.clone()).map_err(|error| refuse(error.to_string()))?;
    Ok((TlsConnector::from(config), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    #[test]
    fn the_address_that_answered_is_tried_first_next_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Bound and not listening: nobody else can take the address meanwhile.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addresses = vec![closed.local_addr().unwrap(), listener.local_addr().unwrap()];
        let route = Route { addresses, tls: None, stamps: Stamps::Kernel, preferred: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            for _ in 0..2 {
                route.open(SystemClock::start()).await.map(drop).unwrap();
                assert_eq!(route.preferred.load(Ordering::Relaxed), 1);
            }
            drop(listener);
            let failure = route.open(SystemClock::start()).await.map(drop).unwrap_err();
            assert_eq!((failure.stage, failure.class), (Stage::Connect, FailureClass::Refused));
        });
    }
}
