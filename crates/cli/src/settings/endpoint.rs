//! Where requests go and in what form: `--url` and what belongs to it.

use crate::args::{ProfileArgs, Selection, UrlStrategy};
use crate::settings::kserve;
use anyhow::{Result, bail};
use serde_json::{Map, Value};
use streamgauge_core::plan::{
    Balance, Endpoint, EndpointKind, Header, HeaderValue, Identity, ModelSelection, Target, Trust,
};
use streamgauge_core::secrets::{is_harmless, shown_url};

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
) -> Result<Endpoint> {
    let kind = kserve::kind(args)?;
    let kserve = kserve::kserve(args, kind)?;
    let (target, others, path) = destinations(args, kind)?;
    let streaming = args.streaming || args.sim;
    if args.model.iter().any(|name| name.trim().is_empty()) {
        bail!("--model: a name is empty; give names that the server knows, or leave it out");
    }
    if kind.is_kserve() && !args.sim && args.model.len() != 1 {
        bail!("--model: a request of Triton's kind needs its model's name; give one");
    }
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
        balance: match args.url_strategy {
            None | Some(UrlStrategy::RoundRobin) => Balance::RoundRobin,
            Some(UrlStrategy::LeastInFlight) => Balance::LeastInFlight,
        },
        path,
        models: if kind.is_kserve() && args.model.is_empty() { vec![SIM_MODEL.to_owned()] } else { args.model.clone() },
        model_selection: match args.model_selection_strategy {
            Selection::RoundRobin => ModelSelection::RoundRobin,
            Selection::Random => ModelSelection::Random,
        },
        streaming,
        ask_usage: streaming && !kind.is_kserve(),
        headers: headers(args, env, notes)?,
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

/// Servers and their path: of each `--url`, which may have a path in front of the endpoint's, and of `--endpoint`.
fn destinations(args: &ProfileArgs, kind: EndpointKind) -> Result<(Target, Vec<Target>, String)> {
    let usual = if kind == EndpointKind::KserveGrpc { DEFAULT_GRPC_URL } else { DEFAULT_URL };
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
    let (target, base) = target("--url", url)?;
    let base = base.trim_end_matches('/');
    if kind == EndpointKind::KserveGrpc {
        // The path is the call's, which the model decides.
        if let Some(path) = args.endpoint.as_deref().or((!base.is_empty()).then_some(base)) {
            bail!("`{path}`: gRPC has no path to choose; leave out --endpoint, and give --url as HOST:PORT");
        }
        return Ok((target, String::new()));
    }
    let path = match &args.endpoint {
        Some(path) => format!("/{}", path.trim_start_matches([' ', '/'])),
        None => kind.default_path(
            args.model.first().map_or(SIM_MODEL, String::as_str),
            args.triton.model_version.as_deref(),
            args.streaming || args.sim,
        ),
    };
    // People give the URL with and without the /v1 that the path begins with.
    let base = if path.starts_with("/v1/") { base.strip_suffix("/v1").unwrap_or(base) } else { base };
    let path = format!("{base}{path}");
    match path.parse::<http::Uri>() {
        Ok(_) => Ok((target, path)),
        Err(error) => bail!("--endpoint: `{}` is not a path: {error}", shown_url(&path)),
    }
}

/// A server and a path on it, as the URL that `flag` was given.
pub fn target(flag: &str, url: &str) -> Result<(Target, String)> {
    // What stands before an @ may be a password, and a query a key: no message repeats them.
    let shown = shown_url(url);
    let refuse = |reason: &str| {
        anyhow::anyhow!(
            "{flag} {shown}: {reason}; give http://HOST[:PORT][/PATH] or https://.. (an IPv6 address in brackets)"
        )
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let tls = match scheme {
        "http" | "grpc" => false,
        "https" | "grpcs" => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_the_forms_people_give() {
        let parse = |url| target("--url", url).map(|(target, path)| (target.to_string(), path)).unwrap();
        assert_eq!(parse("localhost:8000"), ("http://localhost:8000".into(), "/".into()));
        assert_eq!(parse("http://10.0.0.1"), ("http://10.0.0.1".into(), "/".into()));
        assert_eq!(parse("https://api.example/v1/"), ("https://api.example".into(), "/v1/".into()));
        assert_eq!(parse("http://[::1]:9000"), ("http://[::1]:9000".into(), "/".into()));
        for url in ["ftp://x", "http://", "http://x:99999", "http://x:0", "http://[::1"] {
            let error = target("--url", url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--url {url}: ")), "{error}");
        }
        let error = target("--url", "http://me:secret@host").unwrap_err().to_string();
        assert!(error.starts_with("--url http://<hidden>@host: a user name") && !error.contains("secret"), "{error}");
        let error = target("--url", "http://x?q=secret").unwrap_err().to_string();
        assert!(error.starts_with("--url http://x?q=<hidden>: a query") && !error.contains("secret"), "{error}");
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
}
