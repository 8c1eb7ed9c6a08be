//! Turns the arguments of `profile` into what they mean: every default is resolved, and every refusal is a sentence that names the flag.
//! Nothing here asks the server or opens a file.

mod checks;
mod endpoint;
mod extra;
mod kserve;
mod load;
mod proxy;
mod synthetic;
pub mod url;

use crate::args::repeats::Repeats;
use crate::args::{ProfileArgs, Ui};
use anyhow::{Result, bail};
use streamgauge_core::kserve::Backend;
use streamgauge_core::load::{Load, Places};
use streamgauge_core::origin::Origins;
use streamgauge_core::plan::{
    Acknowledge, Endpoint, Length, LoadPlan, Measure, Output, PromptPlan, RunPlan, Timeouts, TokenCount, Transport,
    Warmup,
};
use streamgauge_core::seed::Seed;
use streamgauge_prompt::{Dataset, SourceOptions};
use streamgauge_report::Style;
use streamgauge_run::{Level, Position, RunSpec, Subdirectory, TENSORRT_LLM_OUTPUT};
use streamgauge_stats::windows::Lenience;
use streamgauge_stats::{Confidence, Goodput, Grade};
use streamgauge_wire::endpoints::{self, EndpointSpec, spec};
use synthetic::Shape;

/// The number of distinct prompts by default.
const PROMPTS: u32 = 100;

/// What a command line means: what is measured, and how it is shown.
pub struct Settings {
    /// What is measured, at the first level.
    pub spec: RunSpec,
    /// The levels in their order, the first included.
    pub levels: Vec<Level>,
    /// How often each level is run.
    pub repeats: Repeats,
    /// Layout of the table.
    pub style: Style,
    /// Whether a progress bar is shown; where neither was asked for, that depends on the terminal.
    pub bar: Option<bool>,
    /// The worst verdict that is good enough.
    pub require_fidelity: Option<Grade>,
    /// Print more detail.
    pub verbose: bool,
}

/// What a level of `args` has beside its `load`.
fn level(args: &ProfileArgs, load: Load, prefill: Option<Places>, streaming: bool) -> Result<Level> {
    let ends_itself = args.synthetic.conversation_num.is_some();
    let stop = load::stop(&args.load, &load, args.sim, ends_itself)?;
    let warmup = load::warmup(&args.load, &load, prefill, streaming)?;
    let threads = args.load.threads.unwrap_or_else(default_threads).min(useful_threads(&load, warmup.as_ref()));
    Ok(Level { load, stop, warmup, threads })
}

impl Settings {
    /// Resolves what `args` mean, whose values came from where `origins` say. `env` reads an environment variable.
    ///
    /// # Errors
    /// A sentence that names the flag and what is accepted.
    pub fn resolve(args: ProfileArgs, mut origins: Origins, env: &impl Fn(&str) -> Option<String>) -> Result<Settings> {
        let mut notes = Vec::new();
        if args.tokenizer_trust_remote_code {
            notes.push(
                "--tokenizer-trust-remote-code has no effect: code that comes with a tokenizer is never run".into(),
            );
        }
        checks::flags(&args)?;
        let endpoint = endpoint::endpoint(&args, env, &mut notes, &mut origins)?;
        let capabilities = spec(endpoint.kind).capabilities;
        if !capabilities.batches && args.batch_size > 1 {
            let others: Vec<_> =
                endpoints::all().filter(|spec| spec.capabilities.batches).map(EndpointSpec::name).collect();
            bail!(
                "--batch-size {}: {} takes one text a request; give 1, or --endpoint-type {}",
                args.batch_size,
                endpoint.kind.name(),
                others.join(" or ")
            );
        }
        if !capabilities.text && args.token_count != TokenCount::Auto {
            bail!(
                "--token-count: {} answers without text, so no tokens are counted; leave it out",
                endpoint.kind.name()
            );
        }
        let token_count = if capabilities.text { args.token_count } else { TokenCount::None };
        let observe = kserve::observe(&args, &endpoint)?;
        let goodput = goodput(&args.goodput, endpoint.streaming)?;
        if !endpoint.streaming && capabilities.streams && !capabilities.describes_models {
            notes.push("without --streaming an answer comes in one piece: TTFT and ITL are not measured".to_owned());
        }
        if !args.sim {
            notes.extend(proxy::note(&endpoint, env));
        }
        let prefill = load::prefill(&args.load, endpoint.streaming)?;
        let level = |load| level(&args, load, prefill, endpoint.streaming);
        let levels = load::loads(&args)?.into_iter().map(level).collect::<Result<Vec<Level>>>()?;
        checks::levels(&args, &levels, prefill)?;
        // A flag's levels are at least one.
        let Level { load, stop, warmup, threads } = levels[0].clone();
        let conversations = args.sessions.rules(&endpoint, args.input_file.is_some())?;
        let plan = RunPlan {
            prompts: prompts(&args, &endpoint, &mut notes)?,
            endpoint,
            load: LoadPlan {
                mode: load,
                prefill,
                stop,
                warmup,
                cancel: load::cancel(&args.load),
                sequences: None,
                conversations,
            },
            transport: Transport {
                connections: args.connections,
                timeouts: Timeouts {
                    connect: args.connect_timeout,
                    first_byte: args.first_byte_timeout,
                    idle: args.idle_timeout,
                    total: args.request_timeout,
                },
                threads,
                stamps: args.load.clock,
                acknowledge: if args.load.delayed_acks { Acknowledge::Delayed } else { Acknowledge::AtOnce },
                channels: kserve::channels(&args),
            },
            measure: Measure { steady_state: args.load.steady_state, token_count, goodput },
            output: Output {
                export: args.export_level,
                artifacts: args.artifact_dir,
                export_file: args.profile_export_file,
                record_formats: args.record_formats,
            },
            probe: !args.no_probe,
            reset_prefix_cache: args.reset_prefix_cache,
            asked: origins,
        };
        Confidence::of(&plan)?;
        let repeats = args.load.repeats.resolve(&plan)?;
        let spec = RunSpec {
            plan,
            subdirectory: Subdirectory::default(),
            keeps_files: true,
            position: Position::default(),
            sim: args.sim,
            prompt_file: args.input_file.as_deref().filter(|_| !args.load.fixed_schedule).map(load::input_file),
            dataset: args.public_dataset.map(|name| Dataset {
                name,
                split: args.dataset_split,
                revision: args.dataset_revision,
            }),
            source: SourceOptions {
                format: args.custom_dataset_type,
                skip_bad_rows: args.skip_bad_rows,
                agents: args.agents.rules()?,
                columns: args.column.unwrap_or_default(),
                ..SourceOptions::default()
            },
            trace_part: load::trace_part(&args.load),
            observe,
            tokenizer: args.tokenizer,
            may_download: !args.no_download,
            lenience: Lenience::default(),
            notes,
        };
        Ok(Settings {
            spec,
            levels,
            repeats,
            style: args.report,
            bar: args.ui.map(|ui| ui == Ui::Bar),
            require_fidelity: args.require_fidelity,
            verbose: args.verbose,
        })
    }
}

fn prompts(args: &ProfileArgs, endpoint: &Endpoint, notes: &mut Vec<String>) -> Result<PromptPlan> {
    let count = args.num_dataset_entries.unwrap_or(PROMPTS);
    let Shape { input, output, synthesis } = synthetic::shape(args, endpoint.kind, count)?;
    let usual = (endpoint.kserve.backend == Some(Backend::TensorrtLlm)).then_some(TENSORRT_LLM_OUTPUT);
    if args.output_tokens_mean_deterministic && output.is_none() {
        bail!("--output-tokens-mean-deterministic: there is no output length to ask for; give --osl");
    }
    if let (None, Some(tokens)) = (output, usual) {
        notes.push(format!(
            "TensorRT-LLM is asked for {tokens} output tokens, as GenAI-Perf does; --osl says otherwise"
        ));
    }
    Ok(PromptPlan {
        count,
        input,
        output: output.or(usual.map(|mean| Length { mean, stddev: 0.0 })),
        output_exact: args.output_tokens_mean_deterministic,
        batch: args.batch_size,
        prefixes: args.num_prefix_prompts,
        prefix_tokens: args.prefix_prompt_length,
        seed: Seed(args.random_seed),
        tokenizer: String::new(),
        tokenizer_revision: args.tokenizer_revision.clone(),
        synthesis,
        sampling: args.synthetic.sampling,
    })
}

/// The greatest number of threads that have something to do: each needs a slot.
pub fn useful_threads(load: &Load, warmup: Option<&Warmup>) -> u16 {
    let slots = load.slots().max(warmup.map_or(0, |warmup| warmup.load.slots()));
    u16::try_from(slots).unwrap_or(u16::MAX)
}

/// All processors but one, which is left to the observers and to the system.
pub fn default_threads() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors.saturating_sub(1)).unwrap_or(u16::MAX).max(1)
}

/// Metrics that an answer in one piece does not have: it has no first token, and no time between tokens.
const OF_STREAMS: [&str; 5] = [
    "time_to_first_token",
    "time_to_second_token",
    "inter_token_latency",
    "output_token_throughput_per_user",
    "time_to_first_answer",
];

fn goodput(limits: &[String], streaming: bool) -> Result<Vec<(String, f64)>> {
    let mut parsed = Vec::new();
    for limit in limits {
        match limit.split_once(':').map(|(key, value)| (key, value.parse::<f64>())) {
            Some((key, Ok(_))) if !streaming && OF_STREAMS.contains(&key) => {
                bail!("--goodput {limit}: {key} needs streamed answers; give --streaming, or limit request_latency")
            }
            Some((key, Ok(value))) => parsed.push((key.to_owned(), value)),
            _ => bail!("--goodput {limit}: give `metric:value`, such as time_to_first_token:200"),
        }
    }
    Goodput::parse(&parsed)?;
    Ok(parsed)
}
