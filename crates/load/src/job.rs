//! What the load threads are given, and what they give back.

use crate::balance::{Balancer, Seat};
use crate::conversations::{Conversations, DialogueTurn};
use crate::failure::CLOSING_RACE;
use crate::request::{Head, HeaderError, Outgoing};
use crate::routes::Routes;
use bytes::Bytes;
use http::{Method, Uri};
use std::sync::Arc;
use streamgauge_core::Prompt;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::kserve::SequenceTag;
use streamgauge_core::plan::{RunPlan, Target};
use streamgauge_core::received::Received;
use streamgauge_core::record::Record;
use streamgauge_core::secrets::Secrets;
use streamgauge_core::sequence::Turn;
use streamgauge_core::setting::Setting;
use streamgauge_core::tensor::Tensor;
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_wire::{Codec, Encoded, Tag};
use thiserror::Error;

/// Bytes of an answer that are read, a stream's too: a million tokens in events of 256 bytes. A server that sends more is not answering,
/// and each event that is kept takes memory.
const LONGEST_REPLY: u64 = 256 << 20;

/// Everything a run needs, made before load: nothing in it changes once load has begun.
pub struct Job {
    /// The plan.
    pub plan: Arc<RunPlan>,
    /// Reads the answers.
    pub codec: Codec,
    /// The requests; the run goes round them in order.
    inputs: Vec<Prepared>,
    /// The streams of inputs that sequences of KServe models take their inputs from, where there are any.
    streams: Option<Conversations>,
    /// The conversations whose turns are released by the answers before them, where there are any.
    conversations: Option<Conversations>,
    /// Where connections go.
    pub routes: Routes,
    /// The run's clock.
    pub clock: SystemClock,
    /// How long after its write the loss of a kept connection may be a race with its closing, a round trip aside.
    pub(crate) closing_race: Nanos,
    /// Bytes of an answer that are read at most.
    pub(crate) longest_reply: u64,
    /// Gives requests their servers.
    pub(crate) balancer: Balancer,
    /// Of the requests to each server, with where they go.
    heads: Vec<(Head, Uri)>,
    /// What no message may show.
    secrets: Secrets,
}

/// One request as the codec made it.
#[derive(Clone, Debug)]
pub struct Input {
    /// What is sent.
    pub encoded: Encoded,
    /// What the outputs must be.
    pub expected: Vec<Tensor>,
    /// Tokens of its prompt.
    pub tokens: u32,
    /// Output length that it asks for.
    pub requested_output_tokens: Option<u32>,
    /// Of a turn of a conversation with several turns: what the later turns need to know of it.
    pub dialogue: Option<DialogueTurn>,
}

/// One request, ready for its sendings.
#[derive(Debug)]
pub(crate) struct Prepared {
    body: Body,
    pub expected: Vec<Tensor>,
    pub tokens: u32,
    pub requested_output_tokens: Option<u32>,
    pub dialogue: Option<Box<DialogueTurn>>,
}

#[derive(Debug)]
enum Body {
    /// The same in each sending, and how much of it is JSON.
    Whole(Bytes, usize),
    /// Each time the request is sent it has a tag of its own.
    Tagged(Encoded),
}

/// A request that has ended, with what a record does not keep.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The record; its `text_tokens` are not counted yet.
    pub record: Record,
    /// The content of the answer, as far as it is kept.
    pub received: Received,
}

/// Requests that ended on one load thread, in the order of their ends.
pub type Batch = Vec<Finished>;

/// Why there is nothing to run.
#[derive(Debug, Error)]
pub enum JobError {
    /// A header that HTTP does not allow.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No request was prepared.
    #[error("there is nothing to send")]
    NoInput,
    /// More servers than a record can tell apart.
    #[error("{url}: {0} servers; give at most {most}", url = Setting::Url, most = u16::MAX)]
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
        let head = |target: &Target| {
            let head = Head::new(&plan.endpoint, target, codec.content_type())?;
            let uri = head.uri(&plan.endpoint.path);
            Ok::<_, HeaderError>((head, uri))
        };
        let heads = routes.iter().map(|route| head(&route.target)).collect::<Result<_, _>>()?;
        let balancer = Balancer::new(plan.endpoint.balance, routes.len());
        let sequence = plan.load.sequences.map(|_| SequenceTag { id: 1, start: true, end: true });
        let any = Tag { id: 0, sequence };
        let inputs = inputs.into_iter().map(|input| Prepared::new(input, &codec, &any)).collect();
        let secrets = Secrets::of(&plan.endpoint);
        Ok(Job {
            plan,
            codec,
            inputs,
            streams: None,
            conversations: None,
            routes,
            clock,
            closing_race: CLOSING_RACE,
            longest_reply: LONGEST_REPLY,
            balancer,
            heads,
            secrets,
        })
    }

    /// The inputs are streams, one after another, of so many inputs each: where requests belong to sequences, a sequence sends those of
    /// one stream in their order.
    pub fn in_streams(self, streams: Vec<u32>) -> Job {
        Job { streams: Conversations::new(&streams), ..self }
    }

    /// The inputs are conversations, one after another, of so many turns each: a turn is sent when the turn before it has been answered,
    /// and after everything that was said before it.
    pub fn in_conversations(self, turns: &[u32]) -> Job {
        // Conversations of one turn are requests by themselves.
        let conversations = Conversations::new(turns).filter(|_| turns.iter().any(|turns| *turns > 1));
        Job { conversations, ..self }
    }

    /// Takes the loss of a kept connection for a race with its closing when it comes so long after the write of a request, instead of
    /// 10 ms. For tests, which know when a connection is lost but not how fast the machine is.
    pub fn with_closing_race(self, closing_race: Nanos) -> Job {
        Job { closing_race, ..self }
    }

    /// Reads no more than so many bytes of an answer. For tests, which need not fill memory to reach the limit.
    pub fn with_longest_reply(self, longest_reply: u64) -> Job {
        Job { longest_reply, ..self }
    }

    /// Lengths of the streams of inputs; none where there are no streams.
    pub(crate) fn streams(&self) -> Vec<u32> {
        self.streams.iter().flat_map(Conversations::all_turns).collect()
    }

    /// The conversations whose turns are released by the answers before them.
    pub(crate) fn conversations(&self) -> Option<&Conversations> {
        self.conversations.as_ref()
    }

    /// How many conversations begin with the first `requests` requests of a phase.
    pub(crate) fn begun_by(&self, requests: u64) -> u64 {
        self.conversations.as_ref().map_or(requests, |conversations| conversations.begun_by(requests))
    }

    /// The number of the request that begins conversation number `number`. Without conversations each request is one by itself.
    pub(crate) fn first_request(&self, number: u64) -> u64 {
        self.conversations.as_ref().map_or(number, |conversations| conversations.first_request(number))
    }

    /// `message` without the plan's secrets, which a server may repeat in what it says, and no longer than a record keeps it. It is cut
    /// last: half a secret would not be found.
    pub(crate) fn scrub(&self, message: String) -> String {
        clip(self.secrets.hide(message), LONGEST_MESSAGE)
    }

    /// The input of request number `seq`, which is this turn of a sequence if it belongs to one, and its index.
    pub(crate) fn input(&self, seq: u64, turn: Option<Turn>) -> (u32, &Prepared) {
        // The request that closes a sequence early has the input that would have come.
        let of_stream = turn.zip(self.streams.as_ref()).map(|(turn, streams)| streams.input(turn.sequence, turn.step));
        // The remainder is smaller than the number of inputs, which is a u32.
        let index = (of_stream.unwrap_or(seq) % self.inputs.len() as u64) as u32;
        (index, &self.inputs[index as usize])
    }

    /// The request with this input and tag to server number `target`.
    pub(crate) fn outgoing(&self, target: usize, input: &Prepared, tag: &Tag) -> Outgoing<'_> {
        let (head, uri) = &self.heads[target];
        let (body, json) = match &input.body {
            Body::Whole(body, json) => (body.clone(), *json),
            Body::Tagged(encoded) => match self.codec.with_tag(encoded, tag) {
                Some(request) => (request.body.into(), request.json),
                None => (Bytes::copy_from_slice(&encoded.body), encoded.json),
            },
        };
        let json = (!self.codec.spec().is_grpc() && json < body.len()).then_some(json);
        Outgoing { head, method: Method::POST, uri, body, json }
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

impl Prepared {
    /// `any` is like the tags that its sendings will have.
    fn new(input: Input, codec: &Codec, any: &Tag) -> Prepared {
        let Input { encoded, expected, tokens, requested_output_tokens, dialogue } = input;
        let body = match codec.with_tag(&encoded, any) {
            None => Body::Whole(encoded.body.into(), encoded.json),
            Some(_) => Body::Tagged(encoded),
        };
        Prepared { body, expected, tokens, requested_output_tokens, dialogue: dialogue.map(Box::new) }
    }

    /// This request with `prompt`, which holds what was said before it. `None` where the endpoint cannot be sent it, which is found out before
    /// load: a turn without its history was encoded then.
    pub(crate) fn made_from(&self, prompt: &Prompt, job: &Job) -> Option<Prepared> {
        let Encoded { body, json } = job.codec.encode(prompt).ok()?;
        Some(Prepared {
            body: Body::Whole(body.into(), json),
            expected: self.expected.clone(),
            tokens: self.tokens,
            requested_output_tokens: self.requested_output_tokens,
            dialogue: None,
        })
    }
}
