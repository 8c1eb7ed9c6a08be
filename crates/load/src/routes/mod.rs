//! How the servers of a run are reached: names are resolved once, before load, and certificates are read once.

mod addresses;
mod tls;

pub use tls::TlsError;

use crate::connection::{self, Channel, Channels, Connection, Grpc, Http1, Rule, StampingIo};
use crate::failure;
use addresses::Addresses;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use streamgauge_core::clock::{Clock, SystemClock};
use streamgauge_core::plan::{Endpoint, Stamps, Target, Transport};
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_net::StampedStream;
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// The routes to all servers of an endpoint, prepared before the load. Copies share the state of the addresses.
#[derive(Clone)]
pub struct Routes {
    servers: Arc<[Route]>,
    served_here: bool,
}

/// The way to one server: everything that a connection there needs.
pub(crate) struct Route {
    /// The server.
    pub target: Target,
    addresses: Addresses,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    stamps: Stamps,
    /// The settings of gRPC, if it is used.
    grpc: Option<Rule>,
}

/// There is no route to a server.
#[derive(Debug, Error)]
#[error("{target}: {failure}")]
pub struct NoRoute {
    /// Which server.
    pub target: Target,
    /// Why: at the stage of DNS or TLS.
    pub failure: Failure,
    /// What is wrong with the certificates, if they are the reason.
    pub certificates: Option<Box<TlsError>>,
}

/// The reason why there is no route to a server.
struct Obstacle {
    failure: Failure,
    certificates: Option<Box<TlsError>>,
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Obstacle {
        Obstacle { failure, certificates: None }
    }
}

impl Routes {
    /// Resolves the names of the endpoint's servers and reads the certificates.
    ///
    /// # Errors
    /// When a name has no address, or the certificates cannot be used.
    pub fn find(endpoint: &Endpoint, transport: &Transport) -> Result<Routes, NoRoute> {
        let mut trust = None;
        let routes =
            endpoint.targets().map(|target| {
                Route::find(endpoint, target, transport, &mut trust).map_err(|Obstacle { failure, certificates }| {
                    NoRoute { target: target.clone(), failure, certificates }
                })
            });
        Ok(Routes { servers: routes.collect::<Result<_, _>>()?, served_here: false })
    }

    /// Notes that the servers are in this process, so that the other end of each connection takes a descriptor here too.
    pub fn served_here(self) -> Routes {
        Routes { served_here: true, ..self }
    }

    /// Ends of a connection that are in this process.
    pub(crate) fn ends(&self) -> u64 {
        if self.served_here { 2 } else { 1 }
    }

    /// The addresses of each server, in the order of the endpoint's targets.
    pub(crate) fn addresses(&self) -> Vec<Vec<SocketAddr>> {
        self.servers.iter().map(|route| route.addresses.iter().collect()).collect()
    }

    /// The way to each server.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.servers.iter()
    }

    /// How many servers there are, at least one.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The way to target number `target` of the endpoint, which has it.
    pub(crate) fn to(&self, target: usize) -> &Route {
        &self.servers[target]
    }
}

impl Route {
    /// `trust` is made for the first server that needs it, and used by the others.
    fn find(
        endpoint: &Endpoint,
        target: &Target,
        transport: &Transport,
        trust: &mut Option<Arc<ClientConfig>>,
    ) -> Result<Route, Obstacle> {
        let addresses = resolve(target)?;
        let tls = match target.tls {
            true => Some(connector(endpoint, target, trust)?),
            false => None,
        };
        let grpc = Rule::of(endpoint, transport.channels);
        Ok(Route { target: target.clone(), addresses, tls, stamps: transport.stamps, grpc })
    }

    /// The first of its addresses.
    pub fn first_address(&self) -> Option<SocketAddr> {
        self.addresses.iter().next()
    }

    /// Whether nothing has answered there lately, so that others are better asked.
    pub fn is_down(&self, clock: SystemClock) -> bool {
        self.addresses.all_rest(clock.now())
    }

    /// Opens a connection: TCP to the next address that answers, then TLS where the target wants it. Says nothing of time; the
    /// caller bounds it.
    ///
    /// # Errors
    /// The failure of the last address tried.
    pub async fn open(&self, clock: SystemClock) -> Result<Connection, Failure> {
        self.open_as(self.grpc, clock).await
    }

    /// Opens a connection outside the load, for calls one after another.
    ///
    /// # Errors
    /// As [`Route::open`].
    pub async fn open_for_questions(&self, clock: SystemClock) -> Result<Connection, Failure> {
        let rule = self.grpc.map(|_| Rule { streaming: false, slots: 1, keep_alive: None });
        self.open_as(rule, clock).await
    }

    async fn open_as(&self, rule: Option<Rule>, clock: SystemClock) -> Result<Connection, Failure> {
        let transport = self.transport(clock).await?;
        Ok(match rule {
            None => Http1::new(transport).await?.into(),
            Some(rule) => Grpc::new(Channel::open(transport, rule).await?, rule).into(),
        })
    }

    /// Returns a connection to this server, whose number is `target`, for the slot at `seat` of a load thread, and whether it is new:
    /// channels may be shared.
    ///
    /// # Errors
    /// As [`Route::open`].
    pub async fn connect(
        &self,
        clock: SystemClock,
        target: usize,
        seat: u32,
        channels: &Channels,
    ) -> Result<(Connection, bool), Failure> {
        let Some(rule) = self.grpc.filter(|rule| rule.slots > 1) else { return Ok((self.open(clock).await?, true)) };
        let open = async { Channel::open(self.transport(clock).await?, rule).await };
        let (channel, is_new) = channels.join(target, seat, rule, open).await?;
        Ok((Grpc::new(channel, rule).into(), is_new))
    }

    async fn transport(&self, clock: SystemClock) -> Result<connection::Transport, Failure> {
        let begun = clock.now();
        let (address, tcp) =
            self.addresses.connect(clock).await.map_err(|error| failure::from_io(Stage::Connect, &error))?;
        let stream =
            StampedStream::new(tcp, clock, self.stamps).map_err(|error| failure::from_io(Stage::Connect, &error))?;
        let noted = StampingIo::new(stream, clock.now() - begun);
        Ok(match &self.tls {
            None => connection::Transport::Plain(noted),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), noted).await.map_err(|error| {
                    self.addresses.stand_back(address, clock.now());
                    Failure { class: FailureClass::Tls, ..failure::from_io(Stage::Tls, &error) }
                })?;
                connection::Transport::Tls(Box::new(stream))
            }
        })
    }
}

fn resolve(target: &Target) -> Result<Addresses, Failure> {
    let found =
        (target.host.as_str(), target.port).to_socket_addrs().map_err(|error| unresolved(&error.to_string()))?;
    let addresses = Addresses::new(found);
    if addresses.iter().next().is_none() {
        return Err(unresolved(&format!("{} has no address", target.host)));
    }
    Ok(addresses)
}

fn unresolved(message: &str) -> Failure {
    Failure { stage: Stage::Dns, class: FailureClass::Unresolved, message: message.to_owned() }
}

fn connector(
    endpoint: &Endpoint,
    target: &Target,
    trust: &mut Option<Arc<ClientConfig>>,
) -> Result<(TlsConnector, ServerName<'static>), Obstacle> {
    let refuse = |message: String| Failure { stage: Stage::Tls, class: FailureClass::Tls, message };
    let config = match trust {
        Some(config) => config.clone(),
        None => {
            let config = tls::client_config(endpoint);
            let config = config.map_err(|error| Obstacle {
                failure: refuse(error.to_string()),
                certificates: Some(Box::new(error)),
            })?;
            trust.insert(config).clone()
        }
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|error| refuse(error.to_string()))?;
    Ok((TlsConnector::from(config), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::clock::Nanos;
    use tokio::task::LocalSet;

    #[test]
    fn a_server_is_down_when_none_of_its_addresses_answers_and_until_one_does() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Bound and not listening: nobody else can take the address meanwhile.
        let closed = tokio::net::TcpSocket::new_v4().unwrap();
        closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let (refusing, at) = (closed.local_addr().unwrap(), listener.local_addr().unwrap());
        let target = Target { tls: false, host: "twice".to_owned(), port: 1 };
        let route =
            Route { target, addresses: Addresses::new([refusing, at]), tls: None, stamps: Stamps::Kernel, grpc: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = SystemClock::start();
        LocalSet::new().block_on(&runtime, async {
            for _ in 0..3 {
                route.open(clock).await.map(drop).unwrap();
                assert!(!route.is_down(clock));
            }
            drop(listener);
            let failure = route.open(clock).await.map(drop).unwrap_err();
            assert_eq!((failure.stage, failure.class), (Stage::Connect, FailureClass::Refused));
            assert!(route.addresses.all_rest(Nanos::ZERO));
            let _listener = std::net::TcpListener::bind(at).unwrap();
            route.open(clock).await.map(drop).unwrap();
            assert!(!route.is_down(clock));
        });
    }
}
