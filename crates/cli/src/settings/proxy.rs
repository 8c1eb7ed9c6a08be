//! Proxies that the environment names. Requests never go through one, since its time would be in every figure. A note says so.

use streamgauge_core::plan::Endpoint;

/// A note where a variable names a proxy that other clients would use for the endpoint's first server. Its value is not shown: it
/// may hold a password.
pub fn note(endpoint: &Endpoint, env: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let target = &endpoint.target;
    let is_set = |name: &str| env(name).is_some_and(|value| !value.trim().is_empty());
    // In the order in which curl looks at them; HTTP_PROXY in capitals is what Python's clients read too.
    let own = if target.tls { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    let name = own.into_iter().chain(["all_proxy", "ALL_PROXY"]).find(|name| is_set(name))?;
    let excluded = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| env(name).filter(|value| !value.is_empty()));
    if is_local(&target.host) || excluded.is_some_and(|list| is_excluded(&target.host, &list)) {
        return None;
    }
    Some(format!(
        "{name} is set and not followed: requests go straight to {}, since a proxy's time would be in every figure",
        target.host
    ))
}

/// Whether the server is on this machine, for which no client uses a proxy.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Whether a list of names, such as `localhost,.example.com`, holds the host or a domain that it is in.
fn is_excluded(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        let domain = entry.trim_start_matches('.');
        entry == "*" || host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let usual = crate::args::profile_defaults().unwrap();
        let args = crate::args::ProfileArgs { url: vec![url.to_owned()], model: vec!["m".to_owned()], ..usual };
        let endpoint =
            crate::settings::Settings::resolve(args, Default::default(), &|_| None).unwrap().spec.plan.endpoint;
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        note(&endpoint, &env)
    }

    #[test]
    fn a_proxy_that_others_would_use_is_noted_without_its_value() {
        let proxy = "http://me:secret@proxy:3128";
        let note = noted("https://api.example", &[("HTTPS_PROXY", proxy)]).unwrap();
        assert!(note.starts_with("HTTPS_PROXY is set and not followed") && !note.contains("secret"), "{note}");
        assert!(noted("http://api.example", &[("ALL_PROXY", proxy)]).unwrap().starts_with("ALL_PROXY"));
        assert_eq!(noted("http://api.example", &[("HTTPS_PROXY", proxy)]), None);
        assert_eq!(noted("http://api.example", &[("http_proxy", "")]), None);
        assert_eq!(noted("http://127.0.0.1:8000", &[("http_proxy", proxy)]), None);
        for list in ["api.example", ".example", "x, example", "*"] {
            assert_eq!(noted("http://api.example", &[("http_proxy", proxy), ("NO_PROXY", list)]), None, "{list}");
        }
        assert!(noted("http://myexample", &[("http_proxy", proxy), ("NO_PROXY", "example")]).is_some());
    }
}
