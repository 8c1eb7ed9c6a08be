//! The state that all connections of the server share on its one thread.

use crate::engine::Engine;
use crate::faults::{Fault, FaultKind};
use crate::log::{Log, RequestLog};
use crate::model::{Lengths, SimConfig};
use crate::tokens::Tokens;
use crate::triton::Triton;
use crate::words::{Word, Words};
use rand::Rng;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::{EndpointKind, Stamps};
use streamgauge_core::seed::Seed;
use streamgauge_net::Timer;

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) tokens: Tokens,
    pub(crate) lengths: Lengths,
    pub(crate) log: Log,
    pub(crate) triton: Triton,
    words: Words,
    faults: Vec<Fault>,
    pub(crate) stamps: Stamps,
    /// Two chances from one seed: what requests draw, what connections draw.
    requests: u64,
    connections: u64,
    next_request: Cell<u64>,
    next_connection: Cell<u64>,
    totals: RefCell<Totals>,
}

/// A request for output as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The number of its connection.
    pub(crate) connection: u64,
    /// The endpoint that it was sent to.
    pub(crate) kind: EndpointKind,
    /// What the identifiers of that endpoint's answers begin with.
    pub(crate) id_prefix: &'static str,
    /// When its last byte came.
    pub(crate) received: Nanos,
    /// Whether `received` is the kernel's stamp.
    pub(crate) kernel_stamp: bool,
}

/// A request for output that has a number, before it is read.
pub(crate) struct Begun<R> {
    /// The request's log entry, without the parts that its answer adds.
    pub(crate) request: RequestLog,
    /// The faults of the request.
    pub(crate) faults: Vec<FaultKind>,
    /// What else it draws from.
    pub(crate) chance: R,
}

/// The counters of the metrics page.
#[derive(Debug, Default)]
struct Totals {
    requests: BTreeMap<u16, u64>,
    prompt_tokens: u64,
    output_tokens: u64,
    prefix_cache_resets: u64,
}

impl Server {
    /// A server for the runtime that this is called within.
    pub(crate) fn new(config: SimConfig, clock: SystemClock, timer: Timer, log: Log) -> Server {
        let mut seeds = config.seed.stream("simulated server");
        Server {
            engine: Engine::new(config.service, clock, timer),
            triton: Triton::new(&config.models, config.gpus),
            words: Words::of(&config.tokenizer),
            tokens: Tokens::new(config.models, config.lengths.context, config.tokenizer),
            lengths: config.lengths,
            log,
            faults: config.faults,
            stamps: config.stamps,
            requests: seeds.next_u64(),
            connections: seeds.next_u64(),
            next_request: Cell::new(0),
            next_connection: Cell::new(0),
            totals: RefCell::default(),
        }
    }

    /// Gives a request for output its number and draws its faults.
    pub(crate) fn begin(&self, arrival: Arrival) -> Begun<impl Rng + use<>> {
        let Arrival { connection, kind, id_prefix, received, kernel_stamp } = arrival;
        let number = taken(&self.next_request);
        let mut chance = Seed(self.requests.wrapping_add(number)).stream("request");
        let faults = self.hits(false, number, &mut chance);
        let request = RequestLog {
            number,
            connection,
            kind,
            id_prefix,
            received,
            kernel_stamp,
            prompt_tokens: 0,
            output_tokens: 0,
            status: 0,
            faults: faults.iter().map(|fault| fault.name()).collect(),
            writes: Vec::new(),
            complete: false,
        };
        Begun { request, faults, chance }
    }

    /// The number of the next connection.
    pub(crate) fn next_connection(&self) -> u64 {
        taken(&self.next_connection)
    }

    /// The faults of connection `number`.
    pub(crate) fn connection_faults(&self, number: u64) -> Vec<FaultKind> {
        self.hits(true, number, &mut Seed(self.connections.wrapping_add(number)).stream("connection"))
    }

    fn hits(&self, of_connection: bool, number: u64, chance: &mut impl Rng) -> Vec<FaultKind> {
        let faults = self.faults.iter().filter(|fault| fault.kind.is_of_connection() == of_connection);
        faults.filter_map(|fault| fault.when.hits(number, chance).then_some(fault.kind)).collect()
    }

    /// The words to speak in.
    pub(crate) fn words(&self, accented: bool) -> &[Word] {
        if accented { &self.words.accented } else { &self.words.plain }
    }

    /// Adds a finished request to the totals.
    pub(crate) fn count(&self, request: Option<&RequestLog>) {
        let Some(request) = request else { return };
        let mut totals = self.totals.borrow_mut();
        *totals.requests.entry(request.status).or_default() += 1;
        totals.prompt_tokens += u64::from(request.prompt_tokens);
        totals.output_tokens += u64::from(request.output_tokens);
    }

    /// Notes that a client had the prefix cache emptied. This server keeps no prefixes, so there is nothing else to do.
    pub(crate) fn reset_prefix_cache(&self) {
        self.totals.borrow_mut().prefix_cache_resets += 1;
    }

    /// The metrics page, in vLLM's names where it has them, and in Triton's.
    pub(crate) fn metrics(&self) -> Vec<u8> {
        let totals = self.totals.borrow();
        let mut page = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(page, "{name}{labels} {value}");
            }
        };
        let plain = |value: u64| [(String::new(), value)];
        let (running, waiting) = (u64::from(self.engine.running()), u64::from(self.engine.waiting()));
        family("vllm:num_requests_running", "gauge", "Sequences in the batch.", &plain(running));
        family("vllm:num_requests_waiting", "gauge", "Requests waiting for a place in the batch.", &plain(waiting));
        family("vllm:prompt_tokens_total", "counter", "Prompt tokens processed.", &plain(totals.prompt_tokens));
        family("vllm:generation_tokens_total", "counter", "Tokens produced.", &plain(totals.output_tokens));
        let requests: Vec<_> =
            totals.requests.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count)).collect();
        family("sim:requests_total", "counter", "Answered requests for output, by HTTP status.", &requests);
        family(
            "sim:prefix_cache_resets_total",
            "counter",
            "Requests to empty the prefix cache.",
            &plain(totals.prefix_cache_resets),
        );
        self.triton.metrics(&mut page);
        page.into_bytes()
    }

    /// The list of models.
    pub(crate) fn models(&self) -> Vec<u8> {
        let created = self.engine.clock.wall(Nanos::ZERO) / 1_000_000_000;
        let models = self.tokens.models.iter().map(|model| {
            serde_json::json!({
                "id": model, "object": "model", "created": created, "owned_by": "streamgauge-sim", "root": model,
                "parent": null, "max_model_len": self.tokens.context, "permission": [],
            })
        });
        serde_json::json!({"object": "list", "data": models.collect::<Vec<_>>()}).to_string().into_bytes()
    }
}

fn taken(next: &Cell<u64>) -> u64 {
    next.replace(next.get() + 1)
}
