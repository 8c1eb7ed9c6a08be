//! KServe v2 over HTTP/1.1: the resources of its paths, and the way of requests for output through an exchange.

use super::grpc::counted;
use super::json;
use super::session::{Over, Response, Session, Sink};
use crate::faults::is_midway;
use crate::faults::{FaultKind, Place};
use crate::http::Exchange;
use crate::http::{End, JSON, document, document_with};
use crate::state::Server;
use crate::triton::config;
use crate::triton::memory::Region;
use crate::triton::problem::Problem;
use rand::Rng;
use serde_json::{Value, json};
use std::io;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::seed::Seed;

/// The resource of a path under `/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Infer(InferPath),
    Page(Page),
    Unknown,
}

/// A model and a version of it, which may be empty.
type Named = (String, String);

/// Anything but requests for output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Config(Named),
    Index,
    Live,
    Log,
    Model(Named),
    ModelReady(Named),
    Server,
    SharedRegister(String),
    SharedStatus(Option<String>),
    SharedUnregister(Option<String>),
    /// Of all models where the name is empty.
    Statistics(Named),
    Trace,
}

/// The target of a request for output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InferPath {
    model: String,
    version: String,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Generate,
    GenerateStream,
    Infer,
}

impl InferPath {
    /// The kind of endpoint in the log.
    pub(crate) fn kind(&self) -> EndpointKind {
        match self.way {
            Way::Infer => EndpointKind::KserveHttp,
            Way::Generate | Way::GenerateStream => EndpointKind::Generate,
        }
    }
}

impl Target {
    /// Reads a path without its query.
    pub(crate) fn of(path: &str) -> Target {
        let page = |page| Target::Page(page);
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let named = |model: &str, version: &str| (model.to_owned(), version.to_owned());
        let infer = |model: &str, version: &str, way| {
            let (model, version) = named(model, version);
            Target::Infer(InferPath { model, version, way })
        };
        let (model, version, verb) = match parts.as_slice() {
            ["v2"] => return page(Page::Server),
            ["v2", "health", "live" | "ready"] => return page(Page::Live),
            ["v2", "models", "stats"] => return page(Page::Statistics(named("", ""))),
            ["v2", "repository", "index"] => return page(Page::Index),
            ["v2", "systemsharedmemory", "status"] => return page(Page::SharedStatus(None)),
            ["v2", "systemsharedmemory", "unregister"] => return page(Page::SharedUnregister(None)),
            ["v2", "systemsharedmemory", "region", name, verb] => {
                let name = (*name).to_owned();
                return match *verb {
                    "register" => page(Page::SharedRegister(name)),
                    "status" => page(Page::SharedStatus(Some(name))),
                    "unregister" => page(Page::SharedUnregister(Some(name))),
                    _ => Target::Unknown,
                };
            }
            ["v2", "trace", "setting"] => return page(Page::Trace),
            ["v2", "models", _, "trace", "setting"] => return page(Page::Trace),
            ["v2", "logging"] => return page(Page::Log),
            ["v2", "models", model, "versions", version, verb @ ..] => (*model, *version, verb),
            ["v2", "models", model, verb @ ..] => (*model, "", verb),
            _ => return Target::Unknown,
        };
        match verb {
            [] => page(Page::Model(named(model, version))),
            ["ready"] => page(Page::ModelReady(named(model, version))),
            ["config"] => page(Page::Config(named(model, version))),
            ["stats"] => page(Page::Statistics(named(model, version))),
            ["infer"] => infer(model, version, Way::Infer),
            ["generate"] => infer(model, version, Way::Generate),
            ["generate_stream"] => infer(model, version, Way::GenerateStream),
            _ => Target::Unknown,
        }
    }
}

impl Page {
    /// Answers a request that posts (`body` has the content) or gets.
    pub(crate) fn answer(&self, server: &Server, posted: Option<&[u8]>, close: bool) -> Vec<u8> {
        let refused = |problem: &Problem| document(problem.status, JSON, &problem.body(), close);
        let empty = |content_type| document(200, content_type, b"", close);
        let only_post = matches!(self, Page::Index | Page::SharedRegister(_) | Page::SharedUnregister(_));
        let both = matches!(self, Page::Trace | Page::Log);
        if posted.is_some() != only_post && !both {
            return refused(&Problem::new(405, "Method Not Allowed"));
        }
        let ready = |(model, version): &Named| server.triton.repository.find(model, version).is_ok();
        match self {
            Page::Live => return empty("text/plain"),
            Page::ModelReady(named) if ready(named) => return empty("text/plain"),
            _ => {}
        }
        match self.json(server, posted.unwrap_or_default()) {
            Ok(Value::Null) => empty(JSON),
            Ok(value) => document(200, JSON, value.to_string().as_bytes(), close),
            Err(problem) => refused(&problem),
        }
    }

    /// The body of the answer; null where there is none.
    fn json(&self, server: &Server, posted: &[u8]) -> Result<Value, Problem> {
        let triton = &server.triton;
        let find = |(model, version): &Named| triton.repository.find(model, version).map(|(model, _)| model);
        Ok(match self {
            Page::Live => Value::Null,
            Page::ModelReady(_) => return Err(Problem::invalid("Model version not ready")),
            Page::Server => config::server_json(),
            Page::Index => config::index_json(&triton.repository),
            Page::Model(named) => find(named)?.metadata_json(),
            Page::Config(named) => find(named)?.config_json(),
            Page::Statistics((model, version)) => config::statistics_json(&counted(server, model, version)?),
            Page::SharedStatus(name) => {
                let memory = triton.memory.borrow();
                let row = |(name, region): (&str, &Region)| json!({"name": name, "key": region.key, "offset": region.offset, "byte_size": region.bytes});
                memory.status(name.as_deref())?.into_iter().map(row).collect()
            }
            Page::SharedRegister(name) => {
                let asked: Value = serde_json::from_slice(posted)
                    .map_err(|_| Problem::internal("failed to parse the request JSON buffer: Invalid value. at 0"))?;
                let bytes = asked["byte_size"].as_u64();
                let (Some(key), Some(bytes)) = (asked["key"].as_str(), bytes) else {
                    return Err(Problem::invalid("a shared memory region needs a 'key' and a 'byte_size'"));
                };
                let region = Region { key: key.to_owned(), offset: asked["offset"].as_u64().unwrap_or(0), bytes };
                triton.memory.borrow_mut().register(name, region)?;
                Value::Null
            }
            Page::SharedUnregister(name) => {
                triton.memory.borrow_mut().unregister(name.as_deref());
                Value::Null
            }
            Page::Trace => json!({
                "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": "",
                "trace_mode": "triton",
            }),
            Page::Log => json!({
                "log_file": "", "log_info": true, "log_warning": true, "log_error": true, "log_verbose_level": 0,
                "log_format": "default",
            }),
        })
    }
}

impl<R: Rng> Exchange<'_, R> {
    /// Answers a request for output of a model.
    pub(crate) async fn infer(
        &mut self,
        path: &InferPath,
        received: Nanos,
        header: Option<usize>,
        body: &[u8],
    ) -> io::Result<End> {
        if self.has(FaultKind::Reset(Place::Start)) {
            return Ok(End::Reset);
        }
        let server = self.server;
        let status = self.fault(|fault| if let FaultKind::Status(code) = fault { Some(code) } else { None });
        let read = || {
            if let Some(status) = status {
                return Err(Problem::simulated(status));
            }
            let InferPath { model, version, way } = path;
            let (found, _) = server.triton.repository.find(model, version)?;
            match way {
                Way::Infer => json::ask(model, version, body, header, &server.triton.memory.borrow()),
                Way::Generate | Way::GenerateStream => json::generate_ask(found, version, body),
            }
        };
        let ask = match read() {
            Ok(ask) => ask,
            Err(problem) => return self.refuse_infer(path.way, &problem, received).await,
        };
        let streams = path.way == Way::GenerateStream;
        // A whole answer is hit while it is sent; and what only gRPC has, hits gRPC only.
        let in_session = |fault: &FaultKind| {
            !matches!(fault, FaultKind::NoFinal | FaultKind::UnknownId | FaultKind::ExtraResponse)
                && (streams || !is_midway(*fault) || *fault == FaultKind::ErrorEvent)
        };
        let faults: Vec<FaultKind> = self.faults.iter().copied().filter(in_session).collect();
        let undivided = (path.way == Way::Infer).then_some("HTTP end point");
        let chance = Seed(self.chance.next_u64()).stream("session");
        let session = Session { server, ask: &ask, received, faults: &faults, chance, undivided };
        if streams {
            let mut sink = Events { exchange: self, payload: Vec::new(), events: 0, begun: false };
            let over = session.run(&mut sink).await?;
            let begun = sink.begun;
            return match over {
                Over::Done => Ok(self.end()),
                Over::Reset => Ok(End::Reset),
                Over::Truncated => Ok(End::Close),
                Over::Failed(problem) if begun => {
                    self.buffers.payload.extend_from_slice(b"data: ");
                    self.buffers.payload.extend_from_slice(&problem.body());
                    self.buffers.payload.extend_from_slice(b"\n\n");
                    self.send_chunk(true, 0).await?;
                    Ok(self.end())
                }
                Over::Failed(problem) => self.refuse_infer(path.way, &problem, received).await,
            };
        }
        let mut sink = Whole { exchange: self, way: path.way, answers: Vec::new() };
        let over = session.run(&mut sink).await?;
        let mut answers = sink.answers;
        match over {
            Over::Reset => Ok(End::Reset),
            Over::Truncated => Ok(End::Close),
            Over::Failed(problem) => self.refuse_infer(path.way, &problem, received).await,
            // A status of 200, as Triton has it.
            Over::Done if answers.len() != 1 => {
                let message = "generate expects model to produce exactly 1 response, use generate stream for model that \
                               generates various number of responses";
                self.send_whole(JSON, "", Problem::internal(message).body(), 0).await
            }
            Over::Done => match answers.remove(0) {
                Ok((body, None)) => self.send_whole(JSON, "", body, 1).await,
                Ok((body, Some(json))) => {
                    let header = format!("inference-header-content-length: {json}\r\n");
                    self.send_whole("application/octet-stream", &header, body, 1).await
                }
                Err(problem) => self.refuse_infer(path.way, &problem, received).await,
            },
        }
    }

    async fn refuse_infer(&mut self, way: Way, problem: &Problem, received: Nanos) -> io::Result<End> {
        self.entry.note(|request| request.status = problem.status);
        // As in Triton, the messages of the core have the type of a text, although they are JSON.
        let content_type = if way == Way::Infer && problem.is_of_core { "text/plain" } else { JSON };
        if let Some(span) = self.stall(Place::Start).filter(|_| !problem.ran) {
            self.server.engine.sleep_until(received + span).await?;
        }
        self.buffers.frame.extend_from_slice(&document_with(
            problem.status,
            content_type,
            "",
            &problem.body(),
            self.close,
        ));
        self.send(0).await?;
        Ok(self.end())
    }

    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32) {
        self.entry.note(|request| {
            request.status = 200;
            request.prompt_tokens = prompt_tokens;
            request.output_tokens = output_tokens;
        });
    }
}

/// Responses as events of a stream.
struct Events<'e, 's, R> {
    exchange: &'e mut Exchange<'s, R>,
    payload: Vec<u8>,
    events: u32,
    begun: bool,
}

impl<R: Rng> Sink for Events<'_, '_, R> {
    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32) {
        self.exchange.accept(prompt_tokens, output_tokens);
    }

    fn put(&mut self, response: &Response<'_>) {
        if response.outputs.is_empty() {
            return;
        }
        self.payload.extend_from_slice(b"data: ");
        self.payload.extend_from_slice(&json::generated(response));
        self.payload.extend_from_slice(b"\n\n");
        self.events += 1;
    }

    fn put_malformed(&mut self) {
        self.payload.extend_from_slice(b"data: {\"model_name\":\"broken\",\"text_out\n\n");
    }

    fn held(&self) -> usize {
        self.payload.len()
    }

    async fn flush(&mut self, last: bool) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.exchange.begin_stream();
        }
        self.exchange.buffers.payload.append(&mut self.payload);
        self.exchange.send_chunk(last, std::mem::take(&mut self.events)).await
    }
}

/// An answer's body, and where its JSON ends if bytes follow it.
type Body = (Vec<u8>, Option<usize>);

/// Responses gathered.
struct Whole<'e, 's, R> {
    exchange: &'e mut Exchange<'s, R>,
    way: Way,
    answers: Vec<Result<Body, Problem>>,
}

impl<R: Rng> Sink for Whole<'_, '_, R> {
    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32) {
        self.exchange.accept(prompt_tokens, output_tokens);
    }

    fn put(&mut self, response: &Response<'_>) {
        let infer = self.way == Way::Infer;
        self.answers.push(if infer { json::response(response) } else { Ok((json::generated(response), None)) });
    }

    fn put_malformed(&mut self) {}

    fn held(&self) -> usize {
        0
    }

    async fn flush(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_models_and_versions() {
        let infer = |model: &str, version: &str, way| {
            Target::Infer(InferPath { model: model.to_owned(), version: version.to_owned(), way })
        };
        assert_eq!(Target::of("/v2/models/m/versions/2/infer"), infer("m", "2", Way::Infer));
        assert_eq!(Target::of("/v2/models/m/generate_stream"), infer("m", "", Way::GenerateStream));
        assert_eq!(Target::of("/v2/models/stats"), Target::Page(Page::Statistics((String::new(), String::new()))));
        assert_eq!(Target::of("/v2/models/m/stats"), Target::Page(Page::Statistics(("m".to_owned(), String::new()))));
        assert_eq!(
            Target::of("/v2/systemsharedmemory/region/r/register"),
            Target::Page(Page::SharedRegister("r".to_owned()))
        );
        assert_eq!(Target::of("/v2/nope"), Target::Unknown);
        assert_eq!(Target::of("/v2/models/m/versions/2/nope"), Target::Unknown);
    }
}
