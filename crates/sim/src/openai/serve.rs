//! Requests to the OpenAI endpoints, from their bodies to the last byte of their answers.

use super::ask::Ask;
use super::endpoint::{AnswerForm, DocumentParts, Endpoint};
use super::text::{Answer, AnswerParts};
use crate::faults::{FaultKind, Place, is_midway};
use crate::http::{End, Exchange, JSON, document};
use crate::refusal::Refusal;
use crate::words::{Reply, Word};
use crate::writes::WRITE;
use rand::{Rng, RngExt};
use std::io;
use streamgauge_core::clock::{Clock, Nanos};

impl<R: Rng> Exchange<'_, R> {
    /// Answers a request to `endpoint`.
    pub(crate) async fn run(&mut self, endpoint: &'static Endpoint, received: Nanos, body: &[u8]) -> io::Result<End> {
        if self.has(FaultKind::Reset(Place::Start)) {
            return Ok(End::Reset);
        }
        let server = self.server;
        let ask = match self.refused().map_or_else(|| Ask::read(&server.tokens, endpoint, body), Err) {
            Ok(ask) if ask.has_stream_options && self.has(FaultKind::RejectStreamOptions) => {
                let message = "Unknown field `stream_options`: extra fields are not permitted";
                return self.refuse(&Refusal::bad("stream_options", message), received).await;
            }
            Ok(ask) => ask,
            Err(refusal) => return self.refuse(&refusal, received).await,
        };
        let (_seat, begun) =
            server.engine.admit(u32::try_from(ask.prompts.len()).unwrap_or(u32::MAX), received).await?;
        let due = |chance: &mut R| begun + server.engine.service.prefill(u64::from(ask.prompt_tokens()), chance);
        let (created, model) =
            (server.engine.clock.wall(received) / 1_000_000_000, server.tokens.models[ask.model].as_str());
        let spelling = match &endpoint.answer {
            AnswerForm::Text(spelling) => spelling,
            AnswerForm::Document(document) => {
                let prompts = self.answered(&ask);
                let parts = DocumentParts { body, number: self.number, created, model, prompts };
                let document = match document(&parts) {
                    Ok(document) => document,
                    Err(refusal) => return self.refuse(&refusal, received).await,
                };
                self.entry.note(|request| {
                    request.status = 200;
                    request.prompt_tokens = ask.prompt_tokens();
                });
                let due = due(&mut self.chance) + self.stall(Place::Start).unwrap_or_default();
                server.engine.sleep_until(due).await?;
                let failed = self.has(FaultKind::ErrorEvent);
                let body = if failed { failure().body() } else { document };
                let answers = u32::try_from(self.answered(&ask).len()).unwrap_or(u32::MAX);
                return self.send_whole(JSON, "", body, answers).await;
            }
        };
        let words = server.words(self.has(FaultKind::SplitWrites));
        let replies = self.replies(&ask, words);
        let parts = AnswerParts {
            ask: &ask,
            spelling,
            number: self.number,
            created,
            model,
            words,
            replies,
            tokens_per_event: self.tokens_per_event(),
            bad_usage: self.fault(|fault| if let FaultKind::BadUsage(by) = fault { Some(by) } else { None }),
        };
        let answer = Answer::new(parts);
        self.entry.note(|request| {
            request.status = 200;
            request.prompt_tokens = ask.prompt_tokens();
            request.output_tokens = answer.tokens();
        });
        let due = due(&mut self.chance) + self.stall(Place::Start).unwrap_or_default();
        if ask.stream { self.stream(answer, due).await } else { self.whole(answer, due).await }
    }

    fn replies(&mut self, ask: &Ask, words: &[Word]) -> Vec<Reply> {
        let answered = self.answered(ask);
        let mut asked = ask.length;
        if self.has(FaultKind::IgnoreLength) {
            asked = Default::default();
        }
        let reply = |tokens: &u32| {
            let length = self.server.lengths.draw(asked, *tokens, &mut self.chance);
            let start = self.chance.random_range(0..words.len());
            Reply::plan(words, start, length, &ask.stop, asked.least)
        };
        answered.iter().map(reply).collect()
    }

    /// The prompts that are answered: all, unless the fault wants the last output to be missing.
    fn answered<'a>(&self, ask: &'a Ask) -> &'a [u32] {
        let missing = usize::from(self.has(FaultKind::MissingOutput));
        &ask.prompts[..ask.prompts.len().saturating_sub(missing)]
    }

    /// The reply's events, each when it is due, and what goes wrong half-way.
    async fn stream(&mut self, mut answer: Answer<'_>, mut due: Nanos) -> io::Result<End> {
        let server = self.server;
        let mut mishaps: Vec<FaultKind> = self.faults.iter().copied().filter(|fault| is_midway(*fault)).collect();
        let (steps, mut step, mut over) = (answer.steps(), 0, false);
        let middle = (steps / 2).max(1);
        self.begin_stream();
        while !over {
            server.engine.sleep_until(due).await?;
            if step == 0 {
                answer.begin(&mut self.buffers.payload);
            }
            let stop_at = if mishaps.is_empty() { steps } else { middle };
            let mut events = 0;
            while step < stop_at {
                events += answer.step(&mut self.buffers.payload);
                step += 1;
                if !server.engine.service.is_saturated() || self.buffers.payload.len() >= WRITE {
                    break;
                }
            }
            if step >= steps && mishaps.is_empty() {
                answer.end(&mut self.buffers.payload);
                over = true;
            }
            self.send_chunk(over, events).await?;
            due = server.engine.next_due(due, &mut self.chance);
            if step == middle {
                for mishap in std::mem::take(&mut mishaps) {
                    if let Some(end) = self.mishap(mishap, &mut due).await? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(self.end())
    }

    /// Something goes wrong in the middle of a stream; where that ends it, how.
    async fn mishap(&mut self, mishap: FaultKind, due: &mut Nanos) -> io::Result<Option<End>> {
        match mishap {
            FaultKind::Stall(_, span) => *due = (*due).max(self.server.engine.clock.now()) + span,
            FaultKind::Reset(_) => return Ok(Some(End::Reset)),
            FaultKind::Truncate => return Ok(Some(End::Close)),
            FaultKind::Malformed => {
                self.buffers
                    .payload
                    .extend_from_slice(b"data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\"index\":0,\"del\n\n");
                self.send_chunk(false, 0).await?;
            }
            _ => {
                self.buffers.payload.extend_from_slice(b"data: ");
                self.buffers.payload.extend_from_slice(&failure().body());
                self.buffers.payload.extend_from_slice(b"\n\ndata: [DONE]\n\n");
                self.send_chunk(true, 0).await?;
                return Ok(Some(self.end()));
            }
        }
        Ok(None)
    }

    /// The answer in one piece, once its last token is due.
    async fn whole(&mut self, mut answer: Answer<'_>, mut due: Nanos) -> io::Result<End> {
        let engine = &self.server.engine;
        for _ in 1..answer.steps() {
            engine.sleep_until(due).await?;
            due = engine.next_due(due, &mut self.chance);
        }
        engine.sleep_until(due).await?;
        let failed = self.has(FaultKind::ErrorEvent);
        let body = if failed { failure().body() } else { answer.whole() };
        self.send_whole(JSON, "", body, answer.replies()).await
    }

    async fn refuse(&mut self, refusal: &Refusal, received: Nanos) -> io::Result<End> {
        self.entry.note(|request| request.status = refusal.status);
        if let Some(span) = self.stall(Place::Start) {
            self.server.engine.sleep_until(received + span).await?;
        }
        self.buffers.frame.extend_from_slice(&document(
            refusal.status,
            "application/json",
            &refusal.body(),
            self.close,
        ));
        self.send(0).await?;
        Ok(self.end())
    }

    fn tokens_per_event(&self) -> u32 {
        let several = self.fault(|fault| if let FaultKind::MultiToken(n) = fault { Some(n) } else { None });
        several.unwrap_or(self.server.engine.service.tokens_per_event).max(1)
    }

    /// The refusal that a fault wants.
    fn refused(&self) -> Option<Refusal> {
        let status = self.fault(|fault| if let FaultKind::Status(code) = fault { Some(code) } else { None })?;
        let message = format!("simulated fault: status {status}");
        Some(Refusal { status, class: "SimulatedError", message, param: None })
    }
}

/// The error inside an answer that began well.
fn failure() -> Refusal {
    let message = "simulated fault: the engine died".to_owned();
    Refusal { status: 500, class: "InternalServerError", message, param: None }
}
