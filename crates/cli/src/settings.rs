//! What was typed, made into what is meant: every default resolved, every refusal a sentence that names the flag. Nothing
//! here asks the server or opens a file.

use crate::args::{Clock, Export, Levels, Pattern, ProfileArgs, Report, Selection, TokenCounting, Ui, Wanted};
use anyhow::{Result, bail};
use serde_json::{Map, Value};
use streamgauge_core::arrival::{Arrival, Shape};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Arrivals, Load, Places};
use streamgauge_core::plan::{
    Balance, ConnectionPolicy, Endpoint, EndpointKind, ExportLevel, Header, HeaderValue, Length, ModelSelection,
    PromptPlan, RunPlan, Stamps, Target, Timeouts, TokenCount, Trust, Warmup,
};
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::StopRule;
use streamgauge_report::Style;
use streamgauge_stats::{Goodput, Grade};

/// Where servers are looked for.
const DEFAULT_URL: &str = "http://localhost:8000";
/// What `--sim` runs unless told otherwise.
const SIM_STREAMS: u32 = 8;
/// How long `--sim` runs unless told otherwise.
const SIM_DURATION: Nanos = Nanos::from_millis(10_000);
/// An environment variable that other clients of such servers read too.
const COMMON_KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// Everything a profile needs to know. The plan still lacks what only the server and the machine can say: the models where
/// none was named, the tokenizer's name, and the directory that is named after the model.
pub struct Settings {
    /// The plan of the first level; what the others have otherwise is in `levels`.
    pub plan: RunPlan,
    /// The levels in their order, the first included.
    pub levels: Vec<Level>,
    /// How often each level is run, at least once.
    pub repeat: u32,
    /// Start a simulated server and go there; the plan's target is then to be replaced.
    pub sim: bool,
    /// What was asked for as tokenizer.
    pub tokenizer: Option<String>,
    /// Layout of the table.
    pub style: Style,
    /// Progress bar: asked for, refused, or whatever the terminal allows.
    pub bar: Option<bool>,
    /// The worst verdict that is good enough.
    pub require_fidelity: Option<Grade>,
    /// Say more.
    pub verbose: bool,
    /// What the user should know before load.
    pub notes: Vec<String>,
}

/// What one level of a series has otherwise than the others.
#[derive(Clone, Debug)]
pub struct Level {
    /// How load is offered.
    pub load: Load,
    /// When it ends.
    pub stop: StopRule,
    /// Load before the measured one.
    pub warmup: Option<Warmup>,
    /// Load threads.
    pub threads: u16,
}

impl Level {
    fn of(args: &ProfileArgs, load: Load) -> Result<Level> {
        let warmup = (args.warmup_request_count > 0).then(|| Warmup {
            load: load.clone(),
            prefill: None,
            requests: Some(args.warmup_request_count),
            duration: None,
            grace: args.grace_period,
        });
        // A thread without a slot would have nothing to do.
        let threads = args.threads.unwrap_or_else(default_threads).min(u16::try_from(load.slots()).unwrap_or(u16::MAX));
        Ok(Level { stop: stop_rule(args, &load)?, warmup, threads, load })
    }

    /// `plan` at this level.
    pub fn of_plan(&self, plan: &RunPlan) -> RunPlan {
        let Level { load, stop, warmup, threads } = self.clone();
        RunPlan { load, stop, warmup, threads, ..plan.clone() }
    }
}

impl Settings {
    /// Settles what `args` mean. `env` reads an environment variable.
    ///
    /// # Errors
    /// A sentence that names the flag and what is accepted.
    pub fn resolve(args: ProfileArgs, env: &impl Fn(&str) -> Option<String>) -> Result<Settings> {
        let mut notes = Vec::new();
        if args.tokenizer_trust_remote_code {
            notes.push(
                "--tokenizer-trust-remote-code has no effect: code that comes with a tokenizer is never run".into(),
            );
        }
        if args.endpoint_type == EndpointKind::Chat && args.batch_size > 1 {
            bail!(
                "--batch-size {}: chat takes one text a request; give 1, or --endpoint-type completions",
                args.batch_size
            );
        }
        let (target, path) = destination(&args)?;
        let endpoint = endpoint(&args, target, path, env, &mut notes)?;
        let goodput = goodput(&args.goodput)?;
        let levels = loads(&args)?.into_iter().map(|load| Level::of(&args, load)).collect::<Result<Vec<Level>>>()?;
        // A flag's levels are at least one.
        let Level { load, stop, warmup, threads } = levels[0].clone();
        let plan = RunPlan {
            prompts: prompts(&args),
            endpoint,
            load,
            stop,
            warmup,
            prefill: None,
            cancel: None,
            connections: ConnectionPolicy::Reuse,
            steady_state: false,
            timeouts: Timeouts {
                connect: args.connect_timeout,
                first_byte: args.first_byte_timeout,
                idle: args.idle_timeout,
                total: args.request_timeout,
            },
            threads,
            stamps: match args.clock {
                Clock::Kernel => Stamps::Kernel,
                Clock::User => Stamps::User,
            },
            token_count: match args.token_count {
                TokenCounting::Auto => TokenCount::Auto,
                TokenCounting::Usage => TokenCount::Usage,
                TokenCounting::Tokenizer => TokenCount::Tokenizer,
                TokenCounting::Chunks => TokenCount::Chunks,
            },
            export: match args.export_level {
                Export::Summary => ExportLevel::Summary,
                Export::Records => ExportLevel::Records,
                Export::Raw => ExportLevel::Raw,
            },
            goodput,
            probe: !args.no_probe,
            artifacts: args.artifact_dir,
            export_file: args.profile_export_file,
        };
        Ok(Settings {
            plan,
            levels,
            repeat: args.repeat,
            sim: args.sim,
            tokenizer: args.tokenizer,
            style: args.report.into(),
            bar: args.ui.map(|ui| ui == Ui::Bar),
            require_fidelity: args.require_fidelity.map(|wanted| match wanted {
                Wanted::Good => Grade::Good,
                Wanted::Degraded => Grade::Degraded,
            }),
            verbose: args.verbose,
            notes,
        })
    }
}

impl From<Report> for Style {
    fn from(report: Report) -> Style {
        match report {
            Report::Native => Style::Native,
            Report::GenaiPerf2024 => Style::GenaiPerf2024,
            Report::GenaiPerf2024Early => Style::GenaiPerf2024Early,
        }
    }
}

fn endpoint(
    args: &ProfileArgs,
    target: Target,
    path: String,
    env: &impl Fn(&str) -> Option<String>,
    notes: &mut Vec<String>,
) -> Result<Endpoint> {
    let streaming = args.streaming || args.sim;
    Ok(Endpoint {
        kind: args.endpoint_type,
        target,
        others: Vec::new(),
        balance: Balance::RoundRobin,
        path,
        models: args.model.clone(),
        model_selection: match args.model_selection_strategy {
            Selection::RoundRobin => ModelSelection::RoundRobin,
            Selection::Random => ModelSelection::Random,
        },
        streaming,
        ask_usage: streaming,
        headers: headers(args, env, notes)?,
        extra: extra_inputs(&args.extra_inputs)?,
        trust: match (&args.ca_file, args.insecure) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, true) => Trust::Insecure,
            (None, false) => Trust::System,
        },
    })
}

fn prompts(args: &ProfileArgs) -> PromptPlan {
    PromptPlan {
        count: args.num_dataset_entries,
        input: Length { mean: args.isl, stddev: args.isl_stddev },
        output: args.osl.map(|mean| Length { mean, stddev: args.osl_stddev.unwrap_or(0.0) }),
        output_exact: args.output_tokens_mean_deterministic,
        batch: args.batch_size,
        prefixes: args.num_prefix_prompts,
        prefix_tokens: args.prefix_prompt_length,
        seed: Seed(args.random_seed),
        tokenizer: String::new(),
        tokenizer_revision: args.tokenizer_revision.clone(),
    }
}

/// The load of each level. A rate makes an open loop, whose cap the concurrency then is.
fn loads(args: &ProfileArgs) -> Result<Vec<Load>> {
    let streams = args.concurrency.as_ref().map(Levels::values);
    let Some(rates) = args.request_rate.as_ref().map(Levels::values) else {
        let default = [if args.sim { SIM_STREAMS } else { 1 }];
        return Ok(streams.unwrap_or(&default).iter().copied().map(Load::concurrency).collect());
    };
    let arrival = match (args.arrival_pattern, args.arrival_smoothness) {
        (Some(Pattern::Gamma), shape) => Arrival::Gamma { shape: shape.unwrap_or(Shape::POISSON) },
        (None, Some(shape)) => Arrival::Gamma { shape },
        // GenAI-Perf's only one; AIPerf's default is poisson.
        (None | Some(Pattern::Constant), None) => Arrival::Constant,
        (Some(Pattern::Poisson), None) => Arrival::Poisson,
        (Some(_), Some(shape)) => bail!(
            "--arrival-smoothness {}: only gamma arrivals have a shape; give --arrival-pattern gamma, or leave one out",
            shape.value()
        ),
    };
    if rates.len() > 1 && streams.is_some_and(|caps| caps.len() > 1) {
        bail!("--concurrency and --request-rate are both given several levels; give one of them a single number");
    }
    let open = |rate, cap| Load::Open { arrivals: Arrivals::steady(rate, arrival), cap };
    let caps: Vec<Option<Places>> =
        streams.map_or(vec![None], |caps| caps.iter().map(|cap| Some(Places::all(*cap))).collect());
    Ok(rates.iter().flat_map(|rate| caps.iter().map(|cap| open(*rate, *cap))).collect())
}

fn stop_rule(args: &ProfileArgs, load: &Load) -> Result<StopRule> {
    let duration = args.benchmark_duration.or(args.measurement_interval);
    let (streams, all_at_once) = match load {
        Load::Concurrency(Places { most: slots, .. }) => {
            if let Some(count) = args.request_count.filter(|count| *count < u64::from(*slots)) {
                bail!(
                    "--request-count {count} is less than --concurrency {slots}, which could then never be reached; give at least {slots}"
                );
            }
            (*slots, false)
        }
        // Like the replaced tools: their default counts a rate without a cap as one stream.
        load => (load.most().unwrap_or(1), load.peak_rate().is_infinite()),
    };
    if all_at_once && duration.is_some() && args.request_count.is_none() {
        bail!("--request-rate inf: a time makes no end of requests that are all due at once; give --request-count");
    }
    let (requests, duration) = match (args.request_count, duration) {
        (None, None) if args.sim && !all_at_once => (None, Some(SIM_DURATION)),
        (None, None) => (Some(10.max(2 * u64::from(streams))), None),
        given => given,
    };
    Ok(StopRule { requests, duration, grace: args.grace_period, failed_share: None, stability: None, confidence: None })
}

/// Processors less one, which is left to the observers and to the system.
fn default_threads() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors.saturating_sub(1)).unwrap_or(u16::MAX).max(1)
}

/// Server and path: of `--url`, which may have a path in front of the endpoint's, and of `--endpoint`.
fn destination(args: &ProfileArgs) -> Result<(Target, String)> {
    let url = args.url.as_deref().unwrap_or(DEFAULT_URL);
    let (target, base) = target(url)?;
    let path = match &args.endpoint {
        Some(path) => format!("/{}", path.trim_start_matches([' ', '/'])),
        None => args.endpoint_type.default_path().to_owned(),
    };
    // People give the URL with and without the /v1 that the path begins with.
    let base = base.trim_end_matches('/');
    let base = if path.starts_with("/v1/") { base.strip_suffix("/v1").unwrap_or(base) } else { base };
    let path = format!("{base}{path}");
    match path.parse::<http::Uri>() {
        Ok(_) => Ok((target, path)),
        Err(error) => bail!("--endpoint: `{path}` is not a path: {error}"),
    }
}

fn target(url: &str) -> Result<(Target, String)> {
    // What stands before an @ may be a password, which no message repeats.
    let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("..@{host}"));
    let refuse = |reason: &str| {
        anyhow::anyhow!(
            "--url {shown}: {reason}; give http://HOST[:PORT][/PATH] or https://.. (an IPv6 address in brackets)"
        )
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(refuse(&format!("the scheme `{scheme}` is not known"))),
    };
    let uri: http::Uri = format!("http://{rest}").parse().map_err(|error| refuse(&format!("not a URL ({error})")))?;
    let authority = uri.authority().ok_or_else(|| refuse("no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("a user name is not taken here; use --api-key or --header"));
    }
    if uri.query().is_some() {
        return Err(refuse("a query is not taken here; put it into --endpoint"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(refuse("no host"));
    }
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") | None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(port) => match port.trim_start_matches(':').parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(refuse("the port must be from 1 to 65535")),
        },
    };
    Ok((Target { tls, host, port }, uri.path().to_owned()))
}

fn headers(args: &ProfileArgs, env: &impl Fn(&str) -> Option<String>, notes: &mut Vec<String>) -> Result<Vec<Header>> {
    let mut headers = Vec::new();
    for text in &args.header {
        let Some((name, value)) = text.split_once(':') else {
            // What follows the name is not shown: it may be a key.
            let name = text.split_whitespace().next().unwrap_or_default();
            bail!("--header {name}: there is no colon; give `Name: value`");
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if let Err(error) = http::HeaderName::from_bytes(name.as_bytes()) {
            bail!("--header {name}: this is no header's name ({error}); give `Name: value`");
        }
        if http::HeaderValue::from_str(&value).is_err() {
            bail!("--header {name}: the value holds characters that a header cannot; give `Name: value`");
        }
        let value = if is_secret(&name) { HeaderValue::Secret(value) } else { HeaderValue::Plain(value) };
        headers.push(Header { name, value });
    }
    let authorized = headers.iter().any(|header| header.name.eq_ignore_ascii_case("authorization"));
    let key = match (&args.api_key, authorized) {
        (Some(_), true) => bail!("--api-key and an Authorization header are both given; give one of them"),
        (Some(key), false) => Some(key.clone()),
        (None, true) => None,
        (None, false) => env(COMMON_KEY_VARIABLE).filter(|key| !key.is_empty()).inspect(|_| {
            notes.push(format!("using the API key in {COMMON_KEY_VARIABLE}"));
        }),
    };
    if let Some(key) = key {
        let value = format!("Bearer {key}");
        if http::HeaderValue::from_str(&value).is_err() {
            bail!("--api-key: the key holds characters that a header cannot");
        }
        headers.push(Header { name: "Authorization".into(), value: HeaderValue::Secret(value) });
    }
    Ok(headers)
}

/// Whether a header's value is better not shown. Rather one too many.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}

/// GenAI-Perf's `--extra-inputs`: `name:value`, `name`, or a JSON object.
fn extra_inputs(inputs: &[String]) -> Result<Map<String, Value>> {
    let mut extra = Map::new();
    for input in inputs {
        let members = match input.trim().starts_with('{') {
            true => match serde_json::from_str::<Map<String, Value>>(input) {
                Ok(members) => members,
                Err(error) => bail!("--extra-inputs {input}: not a JSON object ({error})"),
            },
            false => Map::from_iter([plain_input(input)?]),
        };
        for (name, value) in members {
            if extra.insert(name.clone(), value).is_some() {
                bail!("--extra-inputs: `{name}` is given twice; give each name once");
            }
        }
    }
    Ok(extra)
}

fn plain_input(input: &str) -> Result<(String, Value)> {
    let (name, value) = match input.split_once(':') {
        None => (input, Value::Null),
        Some((name, value)) if !value.contains(':') => (name, scalar(value)),
        Some(_) => bail!("--extra-inputs {input}: more than one colon; give `name:value`, `name`, or a JSON object"),
    };
    if name.is_empty() {
        bail!("--extra-inputs {input}: no name; give `name:value`, `name`, or a JSON object");
    }
    Ok((name.to_owned(), value))
}

/// `true`/`false`, digits, digits with one point; anything else is text.
fn scalar(text: &str) -> Value {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.to_ascii_lowercase().as_str() {
        "true" => return true.into(),
        "false" => return false.into(),
        _ => {}
    }
    let whole = digits(text).then(|| text.parse::<u64>().ok()).flatten();
    let fraction = text.split_once('.').filter(|(left, right)| digits(&format!("{left}{right}")));
    match (whole, fraction) {
        (Some(number), _) => number.into(),
        (None, Some(_)) => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
        (None, None) => text.into(),
    }
}

fn goodput(limits: &[String]) -> Result<Vec<(String, f64)>> {
    let mut parsed = Vec::new();
    for limit in limits {
        match limit.split_once(':').map(|(key, value)| (key, value.parse::<f64>())) {
            Some((key, Ok(value))) => parsed.push((key.to_owned(), value)),
            _ => bail!("--goodput {limit}: give `metric:value`, such as time_to_first_token:200"),
        }
    }
    Goodput::parse(&parsed)?;
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_the_forms_people_give() {
        let parse = |url| target(url).map(|(target, path)| (target.to_string(), path)).unwrap();
        assert_eq!(parse("localhost:8000"), ("http://localhost:8000".into(), "/".into()));
        assert_eq!(parse("http://10.0.0.1"), ("http://10.0.0.1".into(), "/".into()));
        assert_eq!(parse("https://api.example/v1/"), ("https://api.example".into(), "/v1/".into()));
        assert_eq!(parse("http://[::1]:9000"), ("http://[::1]:9000".into(), "/".into()));
        for url in ["ftp://x", "http://", "http://x:99999", "http://x:0", "http://x?q=1", "http://[::1"] {
            let error = target(url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--url {url}: ")), "{error}");
        }
        let error = target("http://me:secret@host").unwrap_err().to_string();
        assert!(error.starts_with("--url ..@host: a user name") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn extra_inputs_have_genai_perfs_types() {
        let inputs = ["a:true", "b:12", "c:0.5", "d:text", "e", r#"{"f": {"g": [1]}}"#].map(String::from);
        let extra = Value::Object(extra_inputs(&inputs).unwrap());
        let expected = r#"{"a":true,"b":12,"c":0.5,"d":"text","e":null,"f":{"g":[1]}}"#;
        assert_eq!(extra.to_string(), expected);
        for bad in [vec!["a:1".to_owned(), "a:2".into()], vec!["a:b:c".into()], vec![":x".into()], vec!["{".into()]] {
            assert!(extra_inputs(&bad).unwrap_err().to_string().starts_with("--extra-inputs"), "{bad:?}");
        }
    }

    #[test]
    fn secrets_are_known_by_their_headers() {
        assert!(["Authorization", "X-API-Key", "api-key", "Cookie", "X-Auth-Token"].into_iter().all(is_secret));
        assert!(!["X-Request-Id", "Accept", "User-Agent"].into_iter().any(is_secret));
    }
}
