//! Redirects that a server answers with before load: followed on the same host, so that the load goes to the final URL, and
//! refused by name everywhere else.

use anyhow::{Result, anyhow, bail};
use streamgauge_core::plan::{Endpoint, Target};
use streamgauge_core::secrets::shown_url;
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_core::{Setting, message};
use url::Url;

/// Redirects that are followed one after another, as many as curl's users usually allow; more are a loop.
pub const MOST: usize = 5;

/// Where a redirect leads, as the server and the path of an endpoint.
///
/// # Errors
/// A sentence that names the `Location` and says what to give, where it is no place for the load: another host, to which
/// the API key and the headers must not go unasked; a connection without TLS in the place of one with it; or no URL.
pub fn follow(endpoint: &Endpoint, path: &str, status: u16, location: &str) -> Result<(Target, String)> {
    let from = &endpoint.target;
    let shown = clip(shown_url(location).into_owned(), LONGEST_MESSAGE);
    let lead = || format!("{from}{} answers {status} and redirects to {shown}", shown_url(path));
    let base = Url::parse(&format!("{from}{path}")).map_err(|error| anyhow!("{}: {error}", lead()))?;
    let to = base.join(location).map_err(|error| anyhow!("{}, which is not a URL ({error})", lead()))?;
    let tls = match to.scheme() {
        "http" => false,
        "https" => true,
        scheme => bail!("{}, whose scheme `{scheme}` is not known", lead()),
    };
    let (Some(host), Some(port)) = (to.host_str(), to.port_or_known_default()) else {
        bail!("{}, which names no server", lead());
    };
    if Some(host) != base.host_str() {
        bail!(message![
            lead(),
            ", another host, to which headers and keys are not sent unasked; give that URL with ",
            Setting::Url,
        ]);
    }
    if from.tls && !tls {
        bail!(message![lead(), ", which is not encrypted; give that URL with ", Setting::Url, " if this is meant"]);
    }
    let target = Target { tls, host: from.host.clone(), port };
    if target != *from && !endpoint.others.is_empty() {
        bail!(message![lead(), "; give the servers' final URLs with ", Setting::Url]);
    }
    let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok((target, format!("{}{query}", to.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn endpoint(tls: bool) -> Endpoint {
        testing::endpoint(if tls { "https" } else { "http" }, "h", 8000)
    }

    #[test]
    fn a_redirect_on_the_same_host_is_followed() {
        let follow = |location: &str| {
            let endpoint = endpoint(false);
            let (target, path) = follow(&endpoint, &endpoint.path, 307, location).unwrap();
            format!("{target}{path}")
        };
        assert_eq!(follow("/v1/chat/completions/"), "http://h:8000/v1/chat/completions/");
        assert_eq!(follow("elsewhere?a=1"), "http://h:8000/v1/chat/elsewhere?a=1");
        assert_eq!(follow("https://h/v1/chat/completions"), "https://h/v1/chat/completions");
        assert_eq!(follow("//h:8000/x"), "http://h:8000/x");
    }

    #[test]
    fn a_redirect_to_anywhere_else_is_refused_by_name() {
        for (tls, location, words) in [
            (false, "http://other:8000/v1", "redirects to http://other:8000/v1, another host"),
            (true, "http://h:8000/v1", "not encrypted"),
            (false, "ftp://h/x", "whose scheme `ftp` is not known"),
            (
                false,
                "http://me:secret@other/x?key=secret",
                "redirects to http://<hidden>@other/x?key=<hidden>, another host",
            ),
            (false, "http://[", "which is not a URL"),
        ] {
            let endpoint = endpoint(tls);
            let error = follow(&endpoint, &endpoint.path, 307, location).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{location}: {error}");
        }
    }
}
