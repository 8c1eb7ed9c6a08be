//! A run in a few words: a plan with everything filled in, the run itself, and what it left behind in order.

use crate::words::{LIMIT, prompt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use streamgauge_core::arrival::{Arrival, Rate};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::load::{Arrivals, Load, Places};
use streamgauge_core::plan::{
    Balance, Cancel, ConnectionPolicy, ConversationRules, EndpointKind, ExportLevel, RunPlan, Target, Timeouts, Trust,
    Warmup,
};
use streamgauge_core::prompt::{History, Payload, Prompt};
use streamgauge_core::record::{FailureClass, Outcome, Phase, Record, RunFacts, Stage};
use streamgauge_core::stop::StopRule;
use streamgauge_load::{Control, DialogueTurn, Finished, Input, Job, NoRoute, Routes};
use streamgauge_wire::Codec;
use streamgauge_wire::endpoints::spec;

/// A run before it starts. Without further words: one streamed chat request in one slot on one thread.
#[derive(Clone)]
pub struct Trial {
    pub plan: RunPlan,
    pub prompts: Vec<Prompt>,
    pub clock: SystemClock,
    pub control: Control,
}

/// What a run left behind.
pub struct Ended {
    /// The measured requests, by their numbers.
    pub finished: Vec<Finished>,
    /// The warm-up's, by their numbers.
    pub warmup: Vec<Finished>,
    pub facts: RunFacts,
}

impl Trial {
    pub fn at(addr: SocketAddr) -> Trial {
        Trial::to(plain(addr))
    }

    pub fn to(target: Target) -> Trial {
        let mut plan = streamgauge_testing::plan();
        plan.endpoint.target = target;
        plan.endpoint.models = vec!["sim-model".to_owned()];
        plan.prompts.input.mean = 3.0;
        plan.load.stop = StopRule { grace: LIMIT, ..StopRule::after(1) };
        plan.transport.timeouts = Timeouts { connect: LIMIT, first_byte: LIMIT, idle: LIMIT, total: LIMIT };
        let clock = SystemClock::start();
        Trial { plan, prompts: vec![prompt(5)], clock, control: Control::default() }
    }

    pub fn kind(mut self, kind: EndpointKind) -> Trial {
        self.plan.endpoint.kind = kind;
        self.plan.endpoint.path = spec(kind).default_path("", None, false);
        self
    }

    pub fn streaming(mut self, streaming: bool) -> Trial {
        self.plan.endpoint.streaming = streaming;
        self
    }

    pub fn slots(mut self, slots: u32) -> Trial {
        self.plan.load.mode = Load::concurrency(slots);
        self
    }

    /// An open loop.
    pub fn rate(mut self, rate: f64, arrival: Arrival, cap: Option<u32>) -> Trial {
        let arrivals = Arrivals::steady(Rate::try_new(rate).unwrap(), arrival);
        self.plan.load.mode = Load::Open { arrivals, cap: cap.map(Places::all) };
        self
    }

    pub fn load(mut self, load: Load) -> Trial {
        self.plan.load.mode = load;
        self
    }

    /// An open loop with these arrivals.
    pub fn arrivals(self, arrivals: Arrivals) -> Trial {
        self.load(Load::Open { arrivals, cap: None })
    }

    pub fn users(self, users: u32, rate: f64) -> Trial {
        self.load(Load::Users { users, rate: Rate::try_new(rate).unwrap() })
    }

    pub fn prefill(mut self, places: Places) -> Trial {
        self.plan.load.prefill = Some(places);
        self
    }

    pub fn cancel(mut self, share: f64, delay: Nanos) -> Trial {
        self.plan.load.cancel = Some(Cancel { share, delay });
        self
    }

    pub fn requests(mut self, requests: u64) -> Trial {
        self.plan.load.stop.requests = Some(requests);
        self
    }

    /// Ends by nothing of its own.
    pub fn endless(mut self) -> Trial {
        self.plan.load.stop.requests = None;
        self
    }

    pub fn duration(mut self, duration: Nanos) -> Trial {
        self.plan.load.stop.duration = Some(duration);
        self.endless()
    }

    pub fn failed_share(mut self, share: f64) -> Trial {
        self.plan.load.stop.failed_share = Some(share);
        self
    }

    pub fn grace(mut self, grace: Nanos) -> Trial {
        self.plan.load.stop.grace = grace;
        self
    }

    pub fn warmup(self, requests: u64) -> Trial {
        let load = self.plan.load.mode.clone();
        self.warmup_load(load, requests)
    }

    /// A warm-up with a load of its own.
    pub fn warmup_load(mut self, load: Load, requests: u64) -> Trial {
        let requests = Some(requests);
        self.plan.load.warmup =
            Some(Warmup { load, prefill: None, requests, duration: None, grace: LIMIT, hands_over: true });
        self
    }

    /// A warm-up of so long and so much grace.
    pub fn warmup_time(mut self, load: Load, duration: Nanos, grace: Nanos) -> Trial {
        let duration = Some(duration);
        self.plan.load.warmup = Some(Warmup { load, prefill: None, requests: None, duration, grace, hands_over: true });
        self
    }

    pub fn threads(mut self, threads: u16) -> Trial {
        self.plan.transport.threads = threads;
        self
    }

    pub fn export(mut self, level: ExportLevel) -> Trial {
        self.plan.output.export = level;
        self
    }

    pub fn connections(mut self, policy: ConnectionPolicy) -> Trial {
        self.plan.transport.connections = policy;
        self
    }

    /// More servers beside the first.
    pub fn and_at(mut self, others: &[SocketAddr]) -> Trial {
        self.plan.endpoint.others = others.iter().map(|addr| plain(*addr)).collect();
        self
    }

    /// How conversations are held.
    pub fn conversations(mut self, change: impl FnOnce(&mut ConversationRules)) -> Trial {
        change(&mut self.plan.load.conversations);
        self
    }

    pub fn balance(mut self, balance: Balance) -> Trial {
        self.plan.endpoint.balance = balance;
        self
    }

    pub fn trust(mut self, trust: Trust) -> Trial {
        self.plan.endpoint.trust = trust;
        self
    }

    pub fn timeouts(mut self, change: impl FnOnce(&mut Timeouts)) -> Trial {
        change(&mut self.plan.transport.timeouts);
        self
    }

    pub fn prompts(mut self, prompts: Vec<Prompt>) -> Trial {
        self.prompts = prompts;
        self
    }

    pub fn clock(mut self, clock: SystemClock) -> Trial {
        self.clock = clock;
        self
    }

    pub fn control(mut self, control: &Control) -> Trial {
        self.control = control.clone();
        self
    }

    pub fn routes(&self) -> Result<Routes, NoRoute> {
        Routes::find(&self.plan.endpoint, &self.plan.transport)
    }

    pub fn job(&self) -> Arc<Job> {
        Arc::new(self.bare_job())
    }

    fn bare_job(&self) -> Job {
        let codec = Codec::new(&self.plan.endpoint, false);
        let input = |prompt: &Prompt| Input {
            encoded: codec.encode(prompt).unwrap(),
            expected: match &prompt.payload {
                Payload::Tensors { expected, .. } => expected.clone(),
                Payload::FromContent | Payload::Members(_) | Payload::Body(_) => Vec::new(),
            },
            tokens: prompt.tokens,
            requested_output_tokens: prompt.requested_output_tokens,
            dialogue: None,
            listed: None,
        };
        let inputs: Vec<Input> = self.prompts.iter().map(input).collect();
        let job = Job::new(Arc::new(self.plan.clone()), codec, inputs, self.routes().unwrap(), self.clock);
        job.unwrap()
    }

    /// A run whose prompts are the turns of conversations, one after another, of so many turns each.
    pub fn run_in_conversations(self, turns: &[u32], delay: Nanos) -> Ended {
        let histories = vec![History::default(); self.prompts.len()];
        self.run_in_branches(turns, &histories, delay)
    }

    /// Like [`Trial::run_in_conversations`], with what stands before each prompt.
    pub fn run_in_branches(self, turns: &[u32], histories: &[History], delay: Nanos) -> Ended {
        let mut histories = histories.iter();
        self.run_in_turns(turns, |turn| {
            turn.delay = delay;
            turn.history = histories.next().copied().unwrap_or_default();
        })
    }

    /// Like [`Trial::run_in_conversations`], with turns that `change` has changed.
    pub fn run_in_turns(self, turns: &[u32], mut change: impl FnMut(&mut DialogueTurn)) -> Ended {
        let codec = Codec::new(&self.plan.endpoint, false);
        let input = |prompt: &Prompt| {
            let mut input = said(&codec, prompt, History::default(), Nanos::ZERO);
            input.dialogue.iter_mut().for_each(&mut change);
            input
        };
        let inputs: Vec<Input> = self.prompts.iter().map(input).collect();
        let job = Job::new(Arc::new(self.plan.clone()), codec, inputs, self.routes().unwrap(), self.clock);
        run_into(job.unwrap().in_conversations(turns), self.control, 4, || {})
    }

    /// The same run, but with requests that are prepared while it goes on. `before` is called before each conversation is prepared, with its
    /// number and with how far the run has come; the source ends where it returns false.
    pub fn run_streamed(self, turns: &[u32], before: impl FnMut(usize, &Seen) -> bool + Clone + Send) -> Ended {
        let codec = Codec::new(&self.plan.endpoint, false);
        let routes = self.routes().unwrap();
        let (job, feeders) = Job::streamed(Arc::new(self.plan.clone()), codec.clone(), routes, self.clock).unwrap();
        let (job, seen) = (Arc::new(job), Arc::new(Seen::default()));
        std::thread::scope(|scope| {
            for feeder in feeders {
                let (prompts, codec, seen, mut before) = (&self.prompts, &codec, seen.clone(), before.clone());
                scope.spawn(move || {
                    let all = turns.len();
                    for round in 0.. {
                        let mut left = prompts.as_slice();
                        feeder.rewind();
                        for (index, length) in turns.iter().enumerate() {
                            let conversation = left.split_off(..*length as usize).unwrap();
                            let inputs =
                                conversation.iter().map(|prompt| said(codec, prompt, History::default(), Nanos::ZERO));
                            if !before(round * all + index, &seen) || !feeder.offer(inputs.collect::<Vec<_>>()) {
                                return;
                            }
                        }
                    }
                });
            }
            let ended = run_seen(job.clone(), self.control, 4, || {}, &seen);
            seen.is_over.store(true, Ordering::Relaxed);
            job.stop_feeding();
            ended
        })
    }

    pub fn run(self) -> Ended {
        self.run_job(|job| job)
    }

    /// A run of this job after `change`.
    pub fn run_job(self, change: impl FnOnce(Job) -> Job) -> Ended {
        let job = change(self.bare_job());
        run_into(job, self.control, 4, || {})
    }

    /// A run in which whatever is lost before any byte of the answer was lost in a race with the closing of the connection,
    /// however slow the machine is.
    pub fn run_as_races(self) -> Ended {
        self.run_job(|job| job.with_closing_race(LIMIT))
    }

    /// A run whose load threads come to a stop with their first records until `until` returns.
    pub fn run_and_stall(self, until: impl FnOnce() + Send + 'static) -> Ended {
        run_into(self.bare_job(), self.control, 0, until)
    }
}

/// A turn of a conversation that says `prompt`.
fn said(codec: &Codec, prompt: &Prompt, history: History, delay: Nanos) -> Input {
    Input {
        encoded: codec.encode(prompt).unwrap(),
        expected: Vec::new(),
        tokens: prompt.tokens,
        requested_output_tokens: prompt.requested_output_tokens,
        dialogue: Some(DialogueTurn { prompt: prompt.clone(), history, delay, at: None, answer: None }),
        listed: None,
    }
}

/// How far a run has come.
#[derive(Default)]
pub struct Seen {
    /// The records that have come in.
    pub records: AtomicUsize,
    /// Whether the load is over.
    pub is_over: AtomicBool,
}

impl Seen {
    /// Waits until `is_true`.
    pub fn wait_until(&self, is_true: impl Fn(&Seen) -> bool) {
        while !is_true(self) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// Runs `job`; its records wait in a channel with this room until `until` returns.
fn run_into(job: Job, control: Control, room: usize, until: impl FnOnce() + Send + 'static) -> Ended {
    run_seen(Arc::new(job), control, room, until, &Arc::default())
}

fn run_seen(
    job: Arc<Job>,
    control: Control,
    room: usize,
    until: impl FnOnce() + Send + 'static,
    seen: &Arc<Seen>,
) -> Ended {
    let (sink, batches) = sync_channel(room);
    let seen = seen.clone();
    let collector = std::thread::spawn(move || {
        until();
        let come = |_: &Finished| _ = seen.records.fetch_add(1, Ordering::Relaxed);
        batches.into_iter().flatten().inspect(come).collect::<Vec<Finished>>()
    });
    let facts = streamgauge_load::run(job, control, sink).unwrap().finish(|_| {});
    let mut all = collector.join().unwrap();
    all.sort_by_key(|finished| finished.record.seq);
    let (finished, warmup) = all.into_iter().partition(|finished| finished.record.phase == Phase::Profiling);
    Ended { finished, warmup, facts }
}

impl Ended {
    pub fn records(&self) -> Vec<&Record> {
        self.finished.iter().map(|finished| &finished.record).collect()
    }

    /// The record of a run that had one request.
    pub fn only(&self) -> &Finished {
        let [finished] = self.finished.as_slice() else { panic!("{} records", self.finished.len()) };
        finished
    }

    /// Every request ended well and its stamps are in order; the numbers are 0 to `count` − 1.
    pub fn all_ok(&self, count: u64) -> &Ended {
        assert_eq!(self.records().iter().map(|record| record.seq).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        for finished in self.finished.iter().chain(&self.warmup) {
            assert_eq!(finished.record.outcome, Outcome::Ok, "{:?}", finished.record);
            in_order(&finished.record);
        }
        self
    }
}

/// The server at `addr`, without TLS.
fn plain(addr: SocketAddr) -> Target {
    Target { tls: false, host: addr.ip().to_string(), port: addr.port() }
}

/// The most spans that hold one moment; one that ends where another begins is over.
pub fn most_at_once(spans: impl IntoIterator<Item = (Nanos, Nanos)>) -> usize {
    let mut changes: Vec<(Nanos, isize)> = spans.into_iter().flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    changes.sort_unstable();
    let mut sum = 0;
    let sums = changes.iter().map(|(_, change)| {
        sum += change;
        sum
    });
    sums.max().unwrap_or(0) as usize
}

/// From when a request was sent until it ended.
pub fn in_flight(record: &Record) -> (Nanos, Nanos) {
    (record.sent.unwrap(), record.end)
}

/// Stage, class and message of a request that failed.
pub fn failure(record: &Record) -> (Stage, FailureClass, &str) {
    match &record.outcome {
        Outcome::Failed(failure) => (failure.stage, failure.class, &failure.message),
        other => panic!("{other:?} of {record:?}"),
    }
}

/// The stamps of a record that has them all are in the order of what they mean.
pub fn in_order(record: &Record) {
    let mut stamps = vec![record.issued, record.sent.unwrap(), record.first_byte.unwrap(), record.first_event.unwrap()];
    stamps.extend(record.chunks.iter().map(|chunk| chunk.at));
    stamps.push(record.end);
    assert!(stamps.is_sorted(), "{stamps:?} in {record:?}");
    assert!(stamps[0] >= Nanos::ZERO);
    // One that was sent again opened a connection after it was sent first.
    if let Some(connect) = record.connect.filter(|_| record.retries == 0) {
        assert!(record.issued + connect <= stamps[1], "{record:?}");
    }
}

/// Now, on the clock that a script and a run share.
pub fn now(clock: &SystemClock) -> Nanos {
    clock.now()
}
