//! One request on its way through the engine: checked, admitted, answered response by response when each is due, counted, and
//! hit by faults. Where the responses go is the sink's business.

use super::generation::Generation;
use crate::faults::is_midway;
use crate::faults::{self, FaultKind};
use crate::state::Server;
use crate::triton::models;
use crate::triton::problem::Problem;
use crate::triton::repository::{Ask, Kind, Model, PARTS, Place};
use crate::triton::statistics::Passage;
use crate::writes::WRITE;
use rand::Rng;
use std::io;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::tensor::{Datatype, Tensor};

/// The receiver of responses.
pub(super) trait Sink {
    /// The request was understood: tokens of its prompts, and of the replies that are planned.
    fn accept(&mut self, prompt_tokens: u32, output_tokens: u32);
    /// Takes a response, which is sent with the next flush.
    fn put(&mut self, response: &Response<'_>);
    /// Takes something other than a response.
    fn put_malformed(&mut self);
    /// Bytes taken and not sent.
    fn held(&self) -> usize;
    /// Sends everything that was taken; `last` says that nothing follows.
    async fn flush(&mut self, last: bool) -> io::Result<()>;
}

/// One response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    pub(super) model: &'a str,
    /// Of the model; an empty response has none.
    pub(super) version: &'a str,
    pub(super) id: &'a str,
    pub(super) outputs: &'a [Output],
    /// Nothing follows, as the answer itself says.
    pub(super) is_final: bool,
    /// Ensembles say of every response to which sequence it belongs.
    pub(super) of_ensemble: bool,
}

/// An output of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Without data where these were written to shared memory.
    pub(super) tensor: Tensor,
    pub(super) in_memory: bool,
    /// HTTP: as bytes behind the JSON.
    pub(super) binary: bool,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Over {
    /// All was put that was meant to be.
    Done,
    /// It failed, in the middle of its responses perhaps.
    Failed(Problem),
    /// The connection is to be reset.
    Reset,
    /// The answer ends here, as if it were complete.
    Truncated,
}

/// A request and what belongs to it.
#[derive(Debug)]
pub(super) struct Session<'a, R> {
    pub(super) server: &'a Server,
    pub(super) ask: &'a Ask,
    pub(super) received: Nanos,
    pub(super) faults: &'a [FaultKind],
    pub(super) chance: R,
    /// The refusal of a model that may answer any number of times, where only one answer is possible.
    pub(super) undivided: Option<&'static str>,
}

/// The work for a request.
enum Work<'a> {
    Once(Vec<Tensor>),
    Text(Generation<'a>),
}

impl<'a, R: Rng> Session<'a, R> {
    /// Takes the request through the engine. The error is the socket's.
    pub(super) async fn run(mut self, sink: &mut impl Sink) -> io::Result<Over> {
        let triton = &self.server.triton;
        let found = triton.repository.find(&self.ask.model, &self.ask.version);
        let (model, place) = match found {
            Ok((model, _)) if model.decoupled && self.undivided.is_some() => {
                let what = self.undivided.unwrap_or_default();
                let message = format!("{what} doesn't support models with decoupled transaction policy");
                return Ok(Over::Failed(Problem::new(501, message)));
            }
            Ok(found) => found,
            Err(problem) => return Ok(Over::Failed(problem)),
        };
        let batch = match model.check(self.ask) {
            Ok(batch) => batch,
            Err(problem) => return Ok(Over::Failed(problem)),
        };
        let over = self.serve(model, place, batch, sink).await?;
        if let Over::Failed(_) = &over {
            triton.statistics.failed(place, self.server.engine.clock.now() - self.received);
        }
        Ok(over)
    }

    async fn serve(&mut self, model: &Model, place: Place, batch: u64, sink: &mut impl Sink) -> io::Result<Over> {
        let server = self.server;
        let mut work = match self.work(model) {
            Ok(work) => work,
            Err(problem) => return Ok(Over::Failed(problem)),
        };
        let (prompt, tokens, steps) = match &work {
            Work::Once(_) => (0, 0, 1),
            Work::Text(text) => (text.prompt_tokens, text.tokens(), text.steps()),
        };
        sink.accept(prompt, tokens);
        let understood = server.engine.clock.now();
        server.triton.statistics.pending(place, true);
        let admitted = server.engine.admit(u32::try_from(batch).unwrap_or(u32::MAX), self.received).await;
        server.triton.statistics.pending(place, false);
        let (_seat, begun) = admitted?;
        let mut due = begun + server.engine.service.prefill(u64::from(prompt), &mut self.chance) + self.stall_first();
        let begun = begun.max(understood);
        let mut times =
            Times { batch, place, received: self.received, understood, begun, made: Nanos::ZERO, responses: 0 };
        let streams = match &work {
            Work::Once(_) => true,
            Work::Text(text) => text.stream,
        };
        let steps = if streams {
            steps
        } else {
            for _ in 1..steps {
                server.engine.sleep_until(due).await?;
                due = server.engine.next_due(due, &mut self.chance);
            }
            1
        };
        self.respond(model, &mut work, (steps, due), &mut times, sink).await
    }

    /// The responses, each when it is due, and what goes wrong half-way.
    async fn respond(
        &mut self,
        model: &Model,
        work: &mut Work<'_>,
        (steps, mut due): (u32, Nanos),
        times: &mut Times,
        sink: &mut impl Sink,
    ) -> io::Result<Over> {
        let server = self.server;
        let version = model.versions[times.place.version];
        let of_ensemble = model.kind == Kind::Ensemble;
        let empty =
            Response { model: &model.name, version, id: &self.ask.id, outputs: &[], is_final: false, of_ensemble };
        let has = |fault: FaultKind| self.faults.contains(&fault);
        let mut mishaps: Vec<FaultKind> =
            self.faults.iter().copied().filter(|fault| is_midway(*fault) || *fault == FaultKind::UnknownId).collect();
        let (fail_after, ends_with_text) = match work {
            Work::Once(_) => (None, true),
            Work::Text(text) => (text.fail_after.filter(|_| text.stream), text.ends_with_text()),
        };
        let (middle, mut step) = (steps / 2, 0);
        loop {
            server.engine.sleep_until(due).await?;
            loop {
                if step == middle && !mishaps.is_empty() {
                    if sink.held() > 0 {
                        sink.flush(false).await?;
                    }
                    for mishap in std::mem::take(&mut mishaps) {
                        match mishap {
                            FaultKind::Stall(_, span) => due = due.max(server.engine.clock.now()) + span,
                            FaultKind::Reset(_) => return Ok(Over::Reset),
                            FaultKind::Truncate => return Ok(Over::Truncated),
                            FaultKind::Malformed => sink.put_malformed(),
                            FaultKind::UnknownId => {
                                let id = format!("{}-unknown", self.ask.id);
                                sink.put(&Response { id: &id, outputs: &[stray(model)], ..empty });
                            }
                            _ => return Ok(Over::Failed(Problem::of_model(500, "simulated fault: the engine died"))),
                        }
                    }
                    if sink.held() > 0 {
                        sink.flush(false).await?;
                    }
                    server.engine.sleep_until(due).await?;
                }
                if fail_after == Some(step) {
                    if sink.held() > 0 {
                        sink.flush(false).await?;
                    }
                    return Ok(Over::Failed(Problem::of_model(500, format!("engine failed after {step} tokens"))));
                }
                let before = server.engine.clock.now();
                let outputs = match work {
                    Work::Once(outputs) => std::mem::take(outputs),
                    Work::Text(text) => text.respond(),
                };
                let outputs = match self.placed(outputs) {
                    Ok(outputs) => outputs,
                    Err(problem) => return Ok(Over::Failed(problem)),
                };
                times.made += server.engine.clock.now() - before;
                times.responses += 1;
                step += 1;
                if step == steps {
                    times.count(server, model);
                }
                let ends = !has(FaultKind::NoFinal);
                let full = Response { outputs: &outputs, ..empty };
                sink.put(&Response { is_final: step == steps && ends_with_text && ends, ..full });
                if step == steps && !ends_with_text && ends && self.ask.empty_final {
                    sink.put(&Response { version: "", of_ensemble: false, is_final: true, ..empty });
                }
                if step == steps && has(FaultKind::ExtraResponse) {
                    sink.put(&full);
                }
                if step == steps || !server.engine.service.is_saturated() || sink.held() >= WRITE {
                    break;
                }
            }
            sink.flush(step == steps).await?;
            if step == steps {
                return Ok(Over::Done);
            }
            due = server.engine.next_due(due, &mut self.chance);
        }
    }

    /// What there is to say to the request.
    fn work(&mut self, model: &Model) -> Result<Work<'a>, Problem> {
        if model.is_llm() {
            return Generation::plan(self.server, model, self.ask, self.faults, &mut self.chance).map(Work::Text);
        }
        models::outputs(model, self.ask, &self.server.triton.sums).map(Work::Once)
    }

    fn stall_first(&self) -> Nanos {
        let stall = self.faults.iter().find_map(|fault| match fault {
            FaultKind::Stall(faults::Place::Start, span) => Some(*span),
            _ => None,
        });
        stall.unwrap_or_default()
    }

    /// The outputs that were asked for, those with a place in shared memory written there.
    fn placed(&self, outputs: Vec<Tensor>) -> Result<Vec<Output>, Problem> {
        let ask = self.ask;
        let mut placed = Vec::with_capacity(outputs.len());
        for mut tensor in outputs {
            let wanted = ask.outputs.iter().find(|wanted| wanted.name == tensor.name);
            if wanted.is_none() && !ask.outputs.is_empty() {
                continue;
            }
            let place = wanted.and_then(|wanted| wanted.place.as_ref());
            if let Some(place) = place {
                self.server.triton.memory.borrow().write(&tensor.name, place, &tensor.data)?;
                tensor.data.clear();
            }
            let binary = wanted.and_then(|wanted| wanted.binary).unwrap_or(ask.binary);
            placed.push(Output { tensor, in_memory: place.is_some(), binary });
        }
        Ok(placed)
    }
}

/// The times of a request.
struct Times {
    batch: u64,
    place: Place,
    received: Nanos,
    understood: Nanos,
    /// It had its place in the batch.
    begun: Nanos,
    /// Spent on making responses.
    made: Nanos,
    responses: u64,
}

impl Times {
    /// Counts an answered request for its model, and for the parts of an ensemble.
    fn count(&self, server: &Server, model: &Model) {
        let now = server.engine.clock.now();
        let wall = server.engine.clock.wall(now);
        let statistics = &server.triton.statistics;
        let read = self.understood - self.received;
        let ran = Passage {
            batch: self.batch,
            executions: 1,
            queue: self.begun - self.understood,
            infer: now - self.begun,
            ..Passage::default()
        };
        if !matches!(model.kind, Kind::Bls | Kind::Ensemble) {
            statistics.answered(self.place, Passage { input: read, ..ran }, wall);
            return;
        }
        let spans = [
            Passage { batch: self.batch, executions: 1, infer: read, ..Passage::default() },
            Passage { infer: ran.infer - self.made, ..ran },
            Passage { batch: self.batch, executions: self.responses, infer: self.made, ..Passage::default() },
        ];
        for (part, passage) in PARTS.into_iter().zip(spans) {
            if let Some(place) = server.triton.repository.place(part) {
                statistics.answered(place, passage, wall);
            }
        }
        statistics.answered(self.place, Passage { infer: read + ran.infer, ..ran }, wall);
    }
}

/// An output for a request that does not exist.
fn stray(model: &Model) -> Output {
    let mut data = Vec::new();
    Tensor::push_string(&mut data, b" stray");
    let shape = if model.max_batch_size > 0 { vec![1, 1] } else { vec![1] };
    let tensor = Tensor { name: "text_output".to_owned(), datatype: Datatype::Bytes, shape, data };
    Output { tensor, in_memory: false, binary: false }
}
