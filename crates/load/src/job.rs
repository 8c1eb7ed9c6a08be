//! What the load threads are given, and what they give back.

use crate::balance::{Balancer, Seat};
use crate::connect::Routes;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::Full;
use std::sync::Arc;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::event::OutputKind;
use streamgauge_core::plan::{self, Endpoint, HIDDEN, RunPlan, Target};
use streamgauge_core::record::{RawPiece, Record};
use streamgauge_wire::Codec;
use thiserror::Error;

/// Everything a run needs, made before load: nothing in it changes once load has begun.
pub struct Job {
    /// The plan.
    pub plan: Arc<RunPlan>,
    /// Reads the answers.
    pub codec: Codec,
    /// The requests' bodies; requests go round them in order.
    pub inputs: Vec<Input>,
    /// Where connections go.
    pub routes: Routes,
    /// The run's clock.
    pub clock: SystemClock,
    /// Gives requests their servers.
    pub(crate) balancer: Balancer,
    /// Of the requests to each server.
    heads: Vec<Head>,
}

/// One prepared request.
#[derive(Clone, Debug)]
pub struct Input {
    /// The body.
    pub body: Bytes,
    /// Tokens of its prompt.
    pub tokens: u32,
    /// Output length that it asks for.
    pub want_out: Option<u32>,
}

/// A request that has ended, with what a record does not keep.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The record; its `text_tokens` are not counted yet.
    pub record: Record,
    /// The output, for counting tokens: one text for each answer and kind of output.
    pub outputs: Vec<Output>,
    /// The body's bytes as they came, if they are to be kept.
    pub raw: Vec<RawPiece>,
}

/// All text of one kind in one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which answer.
    pub choice: u32,
    /// What kind.
    pub kind: OutputKind,
    /// The text.
    pub text: String,
}

/// Requests that ended on one load thread, in the order of their ends.
pub type Batch = Vec<Finished>;

/// Why there is nothing to run.
#[derive(Debug, Error)]
pub enum JobError {
    /// A header that HTTP does not allow.
    #[error("header `{name}` cannot be sent: {reason}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No request was prepared.
    #[error("there is nothing to send")]
    NoInput,
    /// More servers than a record can tell apart.
    #[error("--url: {0} servers; give at most {most}", most = u16::MAX)]
    TooManyTargets(usize),
}

impl Job {
    /// Puts a run together; `routes` are those of the plan's endpoint.
    ///
    /// # Errors
    /// When one of the plan's headers is not one, there are no inputs, or there are too many servers.
    pub fn new(
        plan: Arc<RunPlan>,
        codec: Codec,
        inputs: Vec<Input>,
        routes: Routes,
        clock: SystemClock,
    ) -> Result<Job, JobError> {
        if inputs.is_empty() {
            return Err(JobError::NoInput);
        }
        if routes.len() > usize::from(u16::MAX) {
            return Err(JobError::TooManyTargets(routes.len()));
        }
        let heads = routes.iter().map(|route| Head::new(&plan.endpoint, &route.target)).collect::<Result<_, _>>()?;
        let balancer = Balancer::new(plan.endpoint.balance, routes.len());
        Ok(Job { plan, codec, inputs, routes, clock, balancer, heads })
    }

    /// `message` without the values of secret headers, which a server may repeat in what it says.
    pub(crate) fn scrub(&self, message: String) -> String {
        let secrets = self.plan.endpoint.headers.iter().filter_map(|header| match &header.value {
            plan::HeaderValue::Secret(value) => Some(value.strip_prefix("Bearer ").unwrap_or(value)),
            plan::HeaderValue::Plain(_) => None,
        });
        let secrets = secrets.filter(|secret| !secret.is_empty());
        secrets.fold(message, |message, secret| message.replace(secret, HIDDEN))
    }

    /// The input of request number `seq`, and its index.
    pub(crate) fn input(&self, seq: u64) -> (u32, &Input) {
        // The remainder is smaller than the number of inputs, which is a u32.
        let index = (seq % self.inputs.len() as u64) as u32;
        (index, &self.inputs[index as usize])
    }

    /// The request for `input` at server number `target`.
    pub(crate) fn request(&self, target: usize, input: &Input) -> http::Request<Full<Bytes>> {
        self.heads[target].request(http::Method::POST, &self.plan.endpoint.path, input.body.clone())
    }

    /// A server for request number `seq`, which is issued now.
    pub(crate) fn seat(&self, seq: u64) -> Seat<'_> {
        self.balancer.seat(seq, |target| self.routes.to(target).is_down(self.clock))
    }

    /// Whether some server other than number `target` may answer.
    pub(crate) fn has_other_than(&self, target: usize) -> bool {
        (0..self.routes.len()).any(|other| other != target && !self.routes.to(other).is_down(self.clock))
    }
}

/// The head that all requests to a server share.
pub(crate) struct Head(HeaderMap);

impl Head {
    pub(crate) fn new(endpoint: &Endpoint, target: &Target) -> Result<Head, JobError> {
        let mut map = HeaderMap::new();
        map.insert(HOST, value("Host", &target.authority())?);
        map.insert(USER_AGENT, HeaderValue::from_static(concat!("streamgauge/", env!("CARGO_PKG_VERSION"))));
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accept = if endpoint.streaming { "text/event-stream" } else { "application/json" };
        map.insert(ACCEPT, HeaderValue::from_static(accept));
        let mut given = HeaderMap::new();
        for header in &endpoint.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|error| JobError::Header { name: header.name.clone(), reason: error.to_string() })?;
            given.append(name, value(&header.name, header.value.expose())?);
        }
        // What was given replaces ours; a name that was given twice is sent twice.
        map.extend(given);
        Ok(Head(map))
    }

    pub(crate) fn request(&self, method: http::Method, path: &str, body: Bytes) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        // The path was checked when the plan was made; a request that still has none goes to the root and is refused there.
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = self.0.clone();
        request
    }
}

fn value(name: &str, text: &str) -> Result<HeaderValue, JobError> {
    HeaderValue::from_str(text).map_err(|error| JobError::Header { name: name.to_owned(), reason: error.to_string() })
}
