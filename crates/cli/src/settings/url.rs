//! URLs as people give them: with and without a scheme, a port, a base path, or the endpoint's whole path.

use anyhow::{Result, bail};
use streamgauge_core::plan::Target;
use streamgauge_core::secrets::shown_url;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The server.
    pub target: Target,
    /// The path, beginning with a slash.
    pub path: String,
    /// What follows a question mark, if anything does.
    pub query: Option<String>,
}

/// A server and a path on it, as the URL that `flag` was given.
///
/// # Errors
/// A sentence that names the flag and what is accepted.
pub fn location(flag: &str, url: &str) -> Result<Location> {
    // What stands before an @ may be a password, and a query a key: no message repeats them.
    let shown = shown_url(url);
    let refuse = |reason: &str| {
        anyhow::anyhow!(
            "{flag} {shown}: {reason}; give http://HOST[:PORT][/PATH] or https://.. (an IPv6 address in brackets)"
        )
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" | "grpc" => false,
        "https" | "grpcs" => true,
        _ => return Err(refuse(&format!("the scheme `{scheme}` is not known"))),
    };
    let scheme = if tls { "https" } else { "http" };
    let parsed = match url::Url::parse(&format!("{scheme}://{rest}")) {
        Ok(parsed) => parsed,
        Err(url::ParseError::EmptyHost) => return Err(refuse("no host")),
        Err(url::ParseError::InvalidPort) => return Err(refuse("the port must be from 1 to 65535")),
        Err(error) => return Err(refuse(&format!("not a URL ({error})"))),
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refuse("a user name is not taken here; use --api-key or --header"));
    }
    let (Some(host), Some(port)) = (parsed.host(), parsed.port_or_known_default()) else {
        return Err(refuse("no host"));
    };
    if port == 0 {
        return Err(refuse("the port must be from 1 to 65535"));
    }
    let host = match host {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => address.to_string(),
    };
    let query = parsed.query().filter(|query| !query.is_empty()).map(str::to_owned);
    Ok(Location { target: Target { tls, host, port }, path: parsed.path().to_owned(), query })
}

/// A server and a path on it, of a URL that has no query.
///
/// # Errors
/// As [`location`].
pub fn target(flag: &str, url: &str) -> Result<(Target, String)> {
    let Location { target, path, query } = location(flag, url)?;
    if query.is_some() {
        bail!(
            "{flag} {}: a query is not taken here; put it into --endpoint, such as --endpoint 'PATH?NAME=VALUE'",
            shown_url(url)
        );
    }
    Ok((target, path))
}

/// The path of an OpenAI-style endpoint behind `base`, the path of a URL: `usual` is the endpoint's path where there is no
/// base. A base that names a version (`/openai/v1`, `/api/v3`) is what other clients call a base URL, so that only the rest
/// of the path follows it; another base stands before all of it. None where `base` is the whole path already.
pub fn behind(base: &str, usual: &str) -> Option<String> {
    let base = base.trim_end_matches('/');
    let rest = usual.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(usual);
    if base.ends_with(rest) {
        return None;
    }
    let is_version = |part: &str| {
        part.strip_prefix(['v', 'V']).is_some_and(|number| number.starts_with(|first: char| first.is_ascii_digit()))
    };
    Some(if base.split('/').any(is_version) { format!("{base}{rest}") } else { format!("{base}{usual}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_the_forms_people_give() {
        let parse = |url| target("--url", url).map(|(target, path)| (target.to_string(), path)).unwrap();
        for (url, to, path) in [
            ("localhost:8000", "http://localhost:8000", "/"),
            ("http://10.0.0.1", "http://10.0.0.1", "/"),
            ("https://api.example/v1/", "https://api.example", "/v1/"),
            ("http://[::1]:9000", "http://[::1]:9000", "/"),
            ("HTTP://LocalHost:8000/V1", "http://localhost:8000", "/V1"),
            ("grpc://h:8001", "http://h:8001", "/"),
            ("GRPCS://h", "https://h", "/"),
            ("[::1]:9000", "http://[::1]:9000", "/"),
            ("http://bücher.example", "http://xn--bcher-kva.example", "/"),
        ] {
            assert_eq!(parse(url), (to.to_owned(), path.to_owned()), "{url}");
        }
        for url in ["ftp://x", "http://", "http://x:99999", "http://x:0", "http://[::1", "", "http:// x"] {
            let error = target("--url", url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--url {url}: ")), "{error}");
        }
        let error = target("--url", "http://me:secret@host").unwrap_err().to_string();
        assert!(error.starts_with("--url http://<hidden>@host: a user name") && !error.contains("secret"), "{error}");
        let error = target("--url", "http://x/p?key=secret").unwrap_err().to_string();
        assert!(error.starts_with("--url http://x/p?key=<hidden>: a query") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_base_path_is_followed_by_what_it_lacks() {
        const CHAT: &str = "/v1/chat/completions";
        for (base, path) in [
            ("", CHAT),
            ("/", CHAT),
            ("/v1", CHAT),
            ("/v1/", CHAT),
            ("/openai/v1", "/openai/v1/chat/completions"),
            ("/proxy", "/proxy/v1/chat/completions"),
            ("/api/v3/", "/api/v3/chat/completions"),
            ("/v1beta/openai", "/v1beta/openai/chat/completions"),
            ("/vllm", "/vllm/v1/chat/completions"),
        ] {
            assert_eq!(behind(base, CHAT).as_deref(), Some(path), "{base}");
        }
        assert_eq!(behind("/v1/chat/completions/", CHAT), None);
        assert_eq!(behind("/custom/chat/completions", CHAT), None);
        assert_eq!(behind("/x", "/generate").as_deref(), Some("/x/generate"));
    }
}
