//! What the load threads are given, and what they give back.

use crate::balance::{Balancer, Seat};
use crate::failure::CLOSING_RACE;
use crate::prepared::{Input, Prepared};
use crate::request::{Head, HeaderError, Outgoing, header_name};
use crate::routes::Routes;
use crate::supply::{Conversations, Feeder, Kept, Supply, Window};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::kserve::SequenceTag;
use streamgauge_core::message;
use streamgauge_core::plan::{RunPlan, Target};
use streamgauge_core::received::Received;
use streamgauge_core::record::{Phase, Record};
use streamgauge_core::secrets::Secrets;
use streamgauge_core::setting::{Explain, Message, Setting};
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_wire::{Codec, Tag};
use thiserror::Error;

/// Bytes of an answer that are read, a stream's too: a million tokens in events of 256 bytes. A server that sends more is not answering,
/// and each event that is kept takes memory.
const LONGEST_REPLY: u64 = 256 << 20;
/// How many conversations of each phase are ready before load begins, where they are streamed.
const READY: usize = 256;
/// How long the load waits for them: a source that is slower than this is slower than any load.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Everything a run needs, made before load. Nothing in it changes once load has begun, but for requests that are streamed from their
/// source.
pub struct Job {
    /// The plan.
    pub plan: Arc<RunPlan>,
    /// Reads the answers.
    pub codec: Codec,
    /// Where the requests come from.
    pub(crate) supply: Supply,
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
    /// The header that names the conversation of a request.
    conversation_header: Option<HeaderName>,
    /// What no message may show.
    secrets: Secrets,
}

/// A request that has ended, with what a record does not keep.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The record; its `text_tokens` are not counted yet.
    pub record: Record,
    /// The content of the answer, as far as it is kept.
    pub received: Received,
    /// What a file shows as its input, where that came with the request ([`Input::listed`]).
    pub listed: Option<Arc<str>>,
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
    #[error("{}", self.message())]
    TooManyTargets(usize),
}

impl Explain for JobError {
    fn message(&self) -> Message {
        match self {
            JobError::TooManyTargets(servers) => {
                message![Setting::Url, format!(": {servers} servers; give at most {}", u16::MAX)]
            }
            JobError::Header(_) | JobError::NoInput => self.to_string().into(),
        }
    }
}

impl Job {
    /// Puts a run of these requests together; `routes` are those of the plan's endpoint.
    ///
    /// # Errors
    /// When one of the plan's headers is not one, there are no inputs, or there are too many servers.
    pub fn new(
        plan: Arc<RunPlan>,
        codec: Codec,
        inputs: impl IntoIterator<Item = Input>,
        routes: Routes,
        clock: SystemClock,
    ) -> Result<Job, JobError> {
        let any = any_tag(&plan);
        let inputs: Vec<Prepared> = inputs.into_iter().map(|input| Prepared::new(input, &codec, &any)).collect();
        if inputs.is_empty() {
            return Err(JobError::NoInput);
        }
        let kept = Kept { inputs, order: None, streams: None, conversations: None };
        Job::with(plan, codec, Supply::Kept(kept), routes, clock)
    }

    /// Puts a run together whose requests are prepared while it goes on, by whoever has the feeders: one for each phase of the plan, in
    /// their order.
    ///
    /// # Errors
    /// When one of the plan's headers is not one, or there are too many servers.
    pub fn streamed(
        plan: Arc<RunPlan>,
        codec: Codec,
        routes: Routes,
        clock: SystemClock,
    ) -> Result<(Job, Vec<Feeder>), JobError> {
        let any = any_tag(&plan);
        let windows: Vec<_> = plan.phases().iter().map(|phase| Arc::new(Window::new(phase.requests))).collect();
        let feeders = windows.iter().map(|window| Feeder::new(window.clone(), codec.clone(), any)).collect();
        Ok((Job::with(plan, codec, Supply::Streamed(windows), routes, clock)?, feeders))
    }

    fn with(
        plan: Arc<RunPlan>,
        codec: Codec,
        supply: Supply,
        routes: Routes,
        clock: SystemClock,
    ) -> Result<Job, JobError> {
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
        let secrets = Secrets::of(&plan.endpoint);
        let conversation_header = plan.load.conversations.header.as_deref().map(header_name).transpose()?;
        Ok(Job {
            conversation_header,
            plan,
            codec,
            supply,
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
    /// one stream in their order. Of a job that keeps its inputs.
    pub fn in_streams(mut self, streams: Vec<u32>) -> Job {
        if let Supply::Kept(kept) = &mut self.supply {
            kept.streams = Conversations::new(&streams);
        }
        self
    }

    /// The inputs are sent in this order of their indices, again and again, and not in their own. Conversations then stand in this order too.
    /// Of a job that keeps its inputs. An index of no input is left out.
    pub fn in_order(mut self, order: Vec<u32>) -> Job {
        if let Supply::Kept(kept) = &mut self.supply {
            let known = |index: &u32| (*index as usize) < kept.inputs.len();
            kept.order = Some(order.into_iter().filter(known).collect::<Vec<_>>()).filter(|order| !order.is_empty());
        }
        self
    }

    /// The inputs are conversations, one after another, of so many turns each: a turn is sent when the turn before it has been answered,
    /// and after everything that was said before it. Of a job that keeps its inputs.
    pub fn in_conversations(mut self, turns: &[u32]) -> Job {
        if let Supply::Kept(kept) = &mut self.supply {
            // Conversations of one turn are requests by themselves.
            kept.conversations = Conversations::new(turns).filter(|_| turns.iter().any(|turns| *turns > 1));
        }
        self
    }

    /// Waits until the first requests are ready, where they are streamed from their source.
    pub fn wait_until_ready(&self) {
        if let Supply::Streamed(windows) = &self.supply {
            windows.iter().for_each(|window| window.wait_until_filled(READY, READY_WITHIN));
        }
    }

    /// Whether the load came to an end of the requests that are streamed from their source.
    pub fn ran_out(&self) -> bool {
        match &self.supply {
            Supply::Kept(_) => false,
            Supply::Streamed(windows) => windows.iter().any(|window| window.ran_out()),
        }
    }

    /// The load is over or did not come about: whoever prepares requests is to stop.
    pub fn stop_feeding(&self) {
        if let Supply::Streamed(windows) = &self.supply {
            windows.iter().for_each(|window| window.close());
        }
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
        let Supply::Kept(kept) = &self.supply else { return Vec::new() };
        kept.streams.iter().flat_map(Conversations::all_turns).collect()
    }

    /// `message` without the plan's secrets, which a server may repeat in what it says, and no longer than a record keeps it. It is cut
    /// last: half a secret would not be found.
    pub(crate) fn scrub(&self, message: String) -> String {
        clip(self.secrets.hide(message), LONGEST_MESSAGE)
    }

    /// The request with this input and tag to server number `target`.
    pub(crate) fn outgoing(
        &self,
        target: usize,
        input: &Prepared,
        tag: &Tag,
        named: Option<HeaderValue>,
    ) -> Outgoing<'_> {
        let (head, uri) = &self.heads[target];
        let (body, json) = input.body(&self.codec, tag);
        let json = (!self.codec.spec().is_grpc() && json < body.len()).then_some(json);
        let named = self.conversation_header.as_ref().zip(named);
        Outgoing { head, method: Method::POST, uri, body, json, named }
    }

    /// What the header says that names conversation number `number` of a phase, if requests have such a header: the same for all turns, and
    /// for no other conversation of any run.
    pub(crate) fn conversation_name(&self, phase: Phase, number: u64) -> Option<HeaderValue> {
        self.conversation_header.as_ref()?;
        let phase = match phase {
            Phase::Warmup => "w",
            Phase::Profiling => "p",
        };
        HeaderValue::from_str(&format!("{:x}-{phase}{number}", self.clock.anchor_wall())).ok()
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

/// A tag like those of all sendings.
fn any_tag(plan: &RunPlan) -> Tag {
    let sequence = plan.load.sequences.map(|_| SequenceTag { id: 1, start: true, end: true });
    Tag { id: 0, sequence }
}
