//! Questions to a KServe v2 server outside the load, which are in no figure: the server, its models, and its counters.

use super::probe::{ProbeError, whole_body};
use super::waiter::Waiter;
use crate::connection::{Connection, State};
use crate::failure;
use crate::request::{Head, Outgoing};
use crate::routes::Routes;
use bytes::Bytes;
use http::{Method, StatusCode};
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::kserve::{ModelInfo, ModelStatistics, ServerInfo};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_core::secrets::Secrets;
use streamgauge_core::text::{LONGEST_MESSAGE, clip, one_line};
use streamgauge_wire::endpoints::{TransportKind, spec};
use streamgauge_wire::grpc::{Messages, framed};
use streamgauge_wire::kserve::{self, Call, KserveError, Protocol};
use streamgauge_wire::server_message;
use thiserror::Error;

/// How servers refuse a call that they do not have: by HTTP's status, or by gRPC's.
const NO_SUCH_CALL: [&str; 4] = ["404", "405", "501", "UNIMPLEMENTED"];

/// Asks the first server of an endpoint, and waits for its answers. It has a runtime and a connection of its own, and opens a new connection
/// when that one was lost.
pub struct Client {
    // Dropped before the runtime that it needs.
    connection: Option<Connection>,
    waiter: Waiter,
    protocol: Protocol,
    routes: Routes,
    head: Head,
    clock: SystemClock,
    limit: Nanos,
    secrets: Secrets,
}

/// Why a question got no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// No complete answer arrived.
    #[error("{0}")]
    Failed(Failure),
    /// The server refused to answer.
    #[error("{}: {}", one_line(status), one_line(message))]
    Refused {
        /// The status of HTTP, or gRPC's name of its own.
        status: String,
        /// The server's answer.
        message: String,
    },
    /// The answer says nothing.
    #[error(transparent)]
    Answer(#[from] KserveError),
}

/// The HTTP status, and the answer or the error message.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Client {
    /// For the first server of `endpoint`, over gRPC where that is its kind and over HTTP otherwise. An answer may take `limit`, the
    /// connection included.
    ///
    /// # Errors
    /// When this machine cannot ask, or a header of the endpoint cannot be sent.
    pub fn new(endpoint: &Endpoint, routes: &Routes, clock: SystemClock, limit: Nanos) -> Result<Client, ProbeError> {
        let (protocol, content_type) = match spec(endpoint.kind).transport {
            TransportKind::Grpc => (Protocol::Grpc, "application/grpc"),
            TransportKind::Http1 => (Protocol::Http, "application/json"),
        };
        Ok(Client {
            connection: None,
            waiter: Waiter::new()?,
            protocol,
            routes: routes.clone(),
            head: Head::new(endpoint, &endpoint.target, content_type)?,
            clock,
            limit,
            secrets: Secrets::of(endpoint),
        })
    }

    /// The server's message, without the secrets that were sent to it.
    fn shown(&self, message: String) -> String {
        clip(self.secrets.hide(message), LONGEST_MESSAGE)
    }

    /// The answer's bytes: of gRPC the message, of HTTP the body.
    ///
    /// # Errors
    /// When there is none, or it is a refusal.
    pub fn ask(&mut self, call: &Call<'_>) -> Result<Vec<u8>, AskError> {
        let Reply { status, body } = self.reply(call)?;
        if status.is_success() {
            return Ok(body);
        }
        let message = server_message(&body).unwrap_or_else(|| "no message".to_owned());
        Err(AskError::Refused { status: status.as_u16().to_string(), message: self.shown(message) })
    }

    /// Asks for the server's name and extensions.
    ///
    /// # Errors
    /// As [`Client::ask`], and when the answer cannot be read.
    pub fn server(&mut self) -> Result<ServerInfo, AskError> {
        let answer = self.ask(&Call::ServerMetadata)?;
        Ok(kserve::server_info(self.protocol, &answer)?)
    }

    /// Asks for the configuration of a model; without a version, of the one that the server chooses. If the server has no configurations,
    /// which are an extension of Triton, the model's metadata are used.
    ///
    /// # Errors
    /// As [`Client::server`].
    pub fn model(&mut self, model: &str, version: Option<&str>) -> Result<ModelInfo, AskError> {
        let metadata = self.ask(&Call::ModelMetadata { model, version })?;
        match self.ask(&Call::ModelConfig { model, version }) {
            Ok(config) => Ok(kserve::model_info(self.protocol, &metadata, &config)?),
            Err(AskError::Refused { status, .. }) if NO_SUCH_CALL.contains(&status.as_str()) => {
                Ok(kserve::model_info_of_metadata(self.protocol, &metadata)?)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for the server's counters of one model or of all.
    ///
    /// # Errors
    /// As [`Client::server`].
    pub fn statistics(&mut self, model: Option<&str>, version: Option<&str>) -> Result<Vec<ModelStatistics>, AskError> {
        let answer = self.ask(&Call::ModelStatistics { model, version })?;
        Ok(kserve::statistics(self.protocol, &answer)?)
    }

    /// The answer to [`Call::ServerLive`], [`Call::ServerReady`] or [`Call::ModelReady`].
    ///
    /// # Errors
    /// When there is none, or it is something else.
    pub fn is_ready(&mut self, call: &Call<'_>) -> Result<bool, AskError> {
        let Reply { status, body } = self.reply(call)?;
        Ok(kserve::ready(self.protocol, status.as_u16(), &body)?)
    }

    fn reply(&mut self, call: &Call<'_>) -> Result<Reply, AskError> {
        let (method, path, body) = match self.protocol {
            Protocol::Grpc => {
                let (path, message) = call.grpc();
                (Method::POST, path.to_owned(), framed(&message))
            }
            Protocol::Http => {
                let (method, path, body) = call.http();
                (method.parse().unwrap_or(Method::POST), path, body.unwrap_or_default())
            }
        };
        let uri = self.head.uri(&path);
        let Client { connection: kept, waiter, protocol, routes, head, clock, limit, .. } = self;
        let exchange = async {
            loop {
                let mut connection = kept.take();
                if let Some(kept) = &mut connection
                    && !matches!(kept.state().await, State::Usable | State::Renewed)
                {
                    connection = None;
                }
                let is_kept = connection.is_some();
                let mut connection = match connection {
                    Some(kept) => kept,
                    None => routes.to(0).open_for_questions(*clock).await?,
                };
                let body = Bytes::from(body.clone());
                let outgoing = Outgoing { head, method: method.clone(), uri: &uri, body, json: None, named: None };
                match exchange(*protocol, &mut connection, outgoing).await {
                    Ok((reply, last)) => {
                        connection.finish();
                        *kept = (!last).then_some(connection);
                        return Ok(reply);
                    }
                    Err(failure) if is_kept && failure::is_loss(&failure) => {}
                    Err(failure) => {
                        *kept = connection.abandon().await.then_some(connection);
                        return Err(failure);
                    }
                }
            }
        };
        let answered = waiter.answer(*limit, exchange);
        let answered = answered.map_err(|failure| Failure { message: self.shown(failure.message), ..failure });
        answered.map_err(|failure| match failure.message.split_once(": ") {
            Some((status, message)) if failure.class == FailureClass::Status => {
                AskError::Refused { status: status.to_owned(), message: message.to_owned() }
            }
            _ => AskError::Failed(failure),
        })
    }
}

/// One question and its answer, and whether the connection ends with it.
async fn exchange(
    protocol: Protocol,
    connection: &mut Connection,
    outgoing: Outgoing<'_>,
) -> Result<(Reply, bool), Failure> {
    let answer = connection.answer(outgoing).await?;
    // Over gRPC messages are compressed one by one.
    let unpacker = if protocol == Protocol::Http { answer.unpacker() } else { Ok(None) };
    let body = whole_body(connection, unpacker).await?;
    let (status, last) = (answer.status, answer.ends_connection);
    if protocol == Protocol::Http || !status.is_success() {
        return Ok((Reply { status, body }, last));
    }
    let malformed = |message: String| Failure { stage: Stage::Body, class: FailureClass::Malformed, message };
    let (mut messages, mut message) = (Messages::new(answer.header("grpc-encoding")), None);
    let read = messages.feed(&body, &mut |bytes| {
        message.get_or_insert_with(|| bytes.to_vec());
        true
    });
    read.map_err(malformed)?;
    let body = message.ok_or_else(|| malformed("the answer holds no message".to_owned()))?;
    Ok((Reply { status, body }, last))
}
