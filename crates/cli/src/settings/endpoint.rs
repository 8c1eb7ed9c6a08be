//! Where requests go and in what form: `--url` and what belongs to it.

use crate::args::ProfileArgs;
use crate::settings::extra::extra_inputs;
use crate::settings::kserve;
use crate::settings::url::{self, Location};
use anyhow::{Result, bail};
use serde_json::Value;
use streamgauge_core::Setting;
use streamgauge_core::origin::{Origin, Origins};
use streamgauge_core::plan::{Balance, Endpoint, EndpointKind, HIDDEN, Header, HeaderValue, Identity, Target, Trust};
use streamgauge_core::secrets::{is_harmless, shown_url};
use streamgauge_wire::endpoints::{self, OutputLength, spec};

/// Where servers are looked for.
const DEFAULT_URL: &str = "http://localhost:8000";
/// Where Triton's gRPC is looked for.
const DEFAULT_GRPC_URL: &str = "grpc://localhost:8001";
/// The simulated server's model of Triton's kind, where none is named.
const SIM_MODEL: &str = "ensemble";
/// An environment variable that other clients of such servers read too.
const COMMON_KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// Headers that say where a body ends, which only whoever sends it can know.
const FRAMING: [&str; 2] = ["Content-Length", "Transfer-Encoding"];

/// Where requests go, and in what form.
pub fn endpoint(
    args: &ProfileArgs,
    env: &impl Fn(&str) -> Option<String>,
    notes: &mut Vec<String>,
    origins: &mut Origins,
) -> Result<Endpoint> {
    let kind = kserve::kind(args)?;
    let kserve = kserve::kserve(args, kind)?;
    let (target, others, path) = destinations(args, kind)?;
    let capabilities = spec(kind).capabilities;
    if args.streaming && !capabilities.streams {
        bail!("--streaming: {} answers in one piece; leave it out", kind.name());
    }
    let streaming = capabilities.streams && (args.streaming || args.sim);
    if args.reset_prefix_cache && capabilities.describes_models {
        bail!("--reset-prefix-cache: a Triton server has no hook for it; leave it out");
    }
    if args.model.iter().any(|name| name.trim().is_empty()) {
        bail!("--model: a name is empty; give names that the server knows, or leave it out");
    }
    if capabilities.describes_models && !args.sim && args.model.len() != 1 {
        bail!("--model: a request of Triton's kind needs its model's name; give one");
    }
    useless(args, kind, streaming)?;
    let extra = extra_inputs(&args.extra_inputs)?;
    // Else an answer in one piece would be measured as a stream, or a stream as one piece.
    if let Some(stream) = extra.get("stream").filter(|stream| **stream != Value::Bool(streaming)) {
        bail!(
            "--extra-inputs stream:{stream}: --streaming says whether answers are streams; give or leave out that, and leave this out"
        );
    }
    Ok(Endpoint {
        kind,
        target,
        others,
        balance: args.url_strategy.unwrap_or(Balance::RoundRobin),
        path,
        models: match args.model.is_empty() && capabilities.describes_models {
            true => vec![SIM_MODEL.to_owned()],
            false => args.model.clone(),
        },
        model_selection: args.model_selection_strategy,
        streaming,
        ask_usage: streaming && capabilities.usage && !args.no_usage,
        continuous_usage: args.continuous_usage,
        length_field: args.max_tokens_field.unwrap_or_default(),
        headers: headers(args, env, notes, origins)?,
        extra,
        trust: match (&args.ca_file, args.insecure) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, true) => Trust::Insecure,
            (None, false) => Trust::System,
        },
        identity: match (&args.triton.client_certificate, &args.triton.client_key) {
            (Some(certificates), Some(key)) => Some(Identity { certificates: certificates.clone(), key: key.clone() }),
            _ => None,
        },
        kserve,
    })
}

/// Refuses flags about members that the bodies of such an endpoint do not have.
fn useless(args: &ProfileArgs, kind: EndpointKind, streaming: bool) -> Result<()> {
    let capabilities = spec(kind).capabilities;
    let has_length_field = capabilities.output_length.has_member();
    let flags = [
        ("--no-usage", args.no_usage, capabilities.usage),
        ("--continuous-usage", args.continuous_usage, capabilities.usage),
        ("--max-tokens-field", args.max_tokens_field.is_some(), has_length_field),
    ];
    if args.osl.is_some() && capabilities.output_length == OutputLength::Never {
        bail!("--osl: a request to {} has no output length to ask for; leave it out", kind.name());
    }
    match flags.into_iter().find(|(_, given, _)| *given).map(|(flag, _, belongs)| (flag, belongs)) {
        Some((flag, false)) => {
            bail!("{flag} belongs to chat and completions; leave it out, or measure one of those")
        }
        Some((flag @ ("--no-usage" | "--continuous-usage"), _)) if !streaming => {
            bail!("{flag} does nothing without --streaming: only a stream is asked for its counts; leave it out")
        }
        Some(("--max-tokens-field", _)) if args.osl.is_none() => {
            bail!(
                "--max-tokens-field does nothing without --osl, which is what it sends; give that too, or leave it out"
            )
        }
        _ => Ok(()),
    }
}

/// Servers and their path: of each `--url`, which may have a path in front of the endpoint's, and of `--endpoint`.
fn destinations(args: &ProfileArgs, kind: EndpointKind) -> Result<(Target, Vec<Target>, String)> {
    let usual = if spec(kind).is_grpc() { DEFAULT_GRPC_URL } else { DEFAULT_URL };
    let (first, path) = destination(args, kind, args.url.first().map_or(usual, String::as_str))?;
    let mut others = Vec::new();
    for url in args.url.iter().skip(1) {
        let (other, its_path) = destination(args, kind, url)?;
        if its_path != path {
            bail!(
                "--url {}: its path is {}, and that of the first is {}; give URLs with the same path",
                shown_url(url),
                shown_url(&its_path),
                shown_url(&path)
            );
        }
        if other == first || others.contains(&other) {
            bail!("--url {url}: given twice; give each server once");
        }
        others.push(other);
    }
    Ok((first, others, path))
}

fn destination(args: &ProfileArgs, kind: EndpointKind, url: &str) -> Result<(Target, String)> {
    let Location { target, path: base, query } = url::location("--url", url)?;
    let base = base.trim_end_matches('/');
    let spec = spec(kind);
    if spec.is_grpc() {
        // The path is the call's, which the model decides.
        if let Some(path) = args.endpoint.as_deref().or((!base.is_empty()).then_some(base)) {
            bail!("`{path}`: gRPC has no path to choose; leave out --endpoint, and give --url as HOST:PORT");
        }
        return Ok((target, String::new()));
    }
    let usual = match &args.endpoint {
        Some(path) => format!("/{}", path.trim_start_matches([' ', '/'])),
        None => spec.default_path(
            args.model.first().map_or(SIM_MODEL, String::as_str),
            args.triton.model_version.as_deref(),
            spec.capabilities.streams && (args.streaming || args.sim),
        ),
    };
    let other = another(kind, base);
    let behind = url::behind(base, &usual);
    let path = match (behind, other) {
        (behind, Some(other)) if behind.is_none() || args.endpoint.is_none() => {
            bail!(
                "--url {}: this is the path of {other}; give --endpoint-type {other}, or the URL without it",
                shown_url(url)
            )
        }
        (None, _) => query.as_ref().map_or(base.to_owned(), |query| format!("{base}?{query}")),
        (Some(_), _) if query.is_some() => {
            bail!(
                "--url {}: a query is not taken here; put it into --endpoint, such as --endpoint '{usual}?NAME=VALUE'",
                shown_url(url)
            )
        }
        (Some(path), _) => path,
    };
    match path.parse::<http::Uri>() {
        Ok(_) => Ok((target, path)),
        Err(error) => bail!("--endpoint: `{}` is not a path: {error}", shown_url(&path)),
    }
}

/// The other OpenAI endpoint whose whole path `base` is: of several, the one with the longest path.
fn another(kind: EndpointKind, base: &str) -> Option<&'static str> {
    spec(kind).path_behind_version()?;
    endpoints::all()
        .filter_map(|spec| Some((spec, spec.path_behind_version().filter(|path| base.ends_with(path))?)))
        .max_by_key(|(_, path)| path.len())
        .filter(|(spec, _)| spec.kind != kind)
        .map(|(spec, _)| spec.name())
}

fn headers(
    args: &ProfileArgs,
    env: &impl Fn(&str) -> Option<String>,
    notes: &mut Vec<String>,
    origins: &mut Origins,
) -> Result<Vec<Header>> {
    let mut headers = Vec::new();
    for text in &args.header {
        let Some((name, value)) = text.split_once(':') else {
            // What follows the name is not shown: it may be a key.
            let name = text.split_whitespace().next().unwrap_or_default();
            bail!("--header {name}: there is no colon; give `Name: value`");
        };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if let Err(error) = http::HeaderName::from_bytes(name.as_bytes()) {
            bail!("--header {name}: this is not a valid header name ({error}); give `Name: value`");
        }
        if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
            bail!("--header {name}: each body brings its own; leave it out");
        }
        if http::HeaderValue::from_str(&value).is_err() {
            bail!("--header {name}: the value holds characters that a header cannot; give `Name: value`");
        }
        let value = if is_harmless(&name) { HeaderValue::Plain(value) } else { HeaderValue::Secret(value) };
        headers.push(Header { name, value });
    }
    let authorized = headers.iter().any(|header| header.name.eq_ignore_ascii_case("authorization"));
    let key = match (&args.api_key, authorized) {
        (Some(_), true) => bail!("--api-key and an Authorization header are both given; give one of them"),
        (Some(key), false) => Some(key.clone()),
        (None, true) => None,
        (None, false) => env(COMMON_KEY_VARIABLE).filter(|key| !key.is_empty()).inspect(|_| {
            notes.push(format!("using the API key in {COMMON_KEY_VARIABLE}"));
            origins.set(Setting::ApiKey, Some(HIDDEN.to_owned()), Origin::Environment);
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
