//! Says what the likely cause of a failure before load is, and which setting corrects it.

use streamgauge_core::message;
use streamgauge_core::plan::{Endpoint, Target};
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_core::setting::{Message, Part, Setting};
use streamgauge_load::Spoken;
use streamgauge_wire::endpoints::spec;

/// A failure before load, with what is known of its circumstances.
pub struct Mishap<'a> {
    /// What went wrong.
    pub failure: &'a Failure,
    /// HTTP's status, if there was an answer.
    pub status: Option<u16>,
    /// What was asked.
    pub endpoint: &'a Endpoint,
    /// What the server speaks on that port, if it was found out.
    pub spoken: Option<Spoken>,
}

/// Words of servers that refuse a request because of its length.
const TOO_LONG: [&str; 5] = ["context length", "context size", "context window", "maximum context", "too long"];

/// Whether it may help to find out what the server speaks on its port: no answer came that makes sense in the run's protocol.
pub fn may_be_another_protocol(failure: &Failure) -> bool {
    use FailureClass::{Io, Malformed, Reset, Timeout, Tls, Truncated};
    matches!(failure.class, Io | Malformed | Reset | Timeout | Tls | Truncated) && failure.stage != Stage::Dns
}

/// A server with its port, by the scheme of the endpoint's protocol.
pub fn server(endpoint: &Endpoint) -> String {
    let Target { tls, host, port } = &endpoint.target;
    let scheme = match (spec(endpoint.kind).is_grpc(), tls) {
        (true, false) => "grpc",
        (true, true) => "grpcs",
        (false, false) => "http",
        (false, true) => "https",
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    format!("{scheme}://{host}:{port}")
}

/// A failure in words that do not repeat themselves.
pub fn words(failure: &Failure) -> String {
    match failure.class {
        FailureClass::Refused => failure.class.to_string(),
        FailureClass::Status | FailureClass::Timeout => failure.message.clone(),
        _ => failure.to_string(),
    }
}

/// What likely went wrong and what to do about it. Returns `None` if the failure itself says that.
pub fn hint(mishap: &Mishap<'_>) -> Option<Message> {
    let Mishap { failure, status, endpoint, .. } = mishap;
    another_protocol(mishap).or_else(|| match (failure.class, status) {
        (FailureClass::Refused, _) => Some(refused(&endpoint.target)),
        (FailureClass::Timeout, _) if failure.stage == Stage::Connect => Some(message![
            "nothing answers at that address; a firewall may be in the way, or ",
            Setting::Url,
            " may have the wrong host or port",
        ]),
        (FailureClass::Timeout, None) => Some(message![
            "the server takes connections and says nothing; it may still load its model, or be busy",
            Part::only_where(
                Setting::FirstByteTimeout,
                message!["; ", Setting::FirstByteTimeout, " sets how long is waited"],
            ),
        ]),
        (FailureClass::Tls, _) => certificate(&failure.message),
        (FailureClass::Status, Some(401 | 403)) => Some(unauthorized(endpoint)),
        (FailureClass::Status, Some(404)) if !failure.message.to_ascii_lowercase().contains("model") => Some(message![
            "nothing is at this path",
            another_path(),
            Part::only_where(
                Setting::EndpointType,
                message![", and ", Setting::EndpointType, " another kind of request"],
            ),
        ]),
        (FailureClass::Status, Some(300..=399)) => Some(message![
            "redirects are followed by the test request before the load alone, and where the server says where to; give the final URL with ",
            Setting::Url,
        ]),
        (FailureClass::Status, Some(405)) => Some(message!["the server takes no POST at this path", another_path()]),
        (FailureClass::Status, Some(429)) => Some(message![
            "the server limits requests; try again later",
            Part::only_where(Setting::ApiKey, message![", or with another ", Setting::ApiKey]),
        ]),
        (FailureClass::Status | FailureClass::InBand, _) => refused_request(&failure.message),
        _ => None,
    })
}

/// How to name another path, where a path can be named.
fn another_path() -> Part {
    Part::only_where(Setting::Endpoint, message!["; ", Setting::Endpoint, " PATH names another"])
}

fn another_protocol(mishap: &Mishap<'_>) -> Option<Message> {
    let Target { tls, host, port } = &mishap.endpoint.target;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let grpc = spec(mishap.endpoint.kind).is_grpc();
    // What servers of HTTP with TLS say to HTTP without (nginx, Apache, Go).
    let message = mishap.failure.message.to_ascii_lowercase();
    let says_tls =
        ["plain http request was sent to https port", "http request to an https server", "speaking plain http"]
            .iter()
            .any(|words| message.contains(words));
    match (tls, grpc, mishap.spoken) {
        (true, false, Some(Spoken::Http1)) => Some(give_url("HTTP without TLS", &format!("http://{host}:{port}"))),
        (true, true, Some(Spoken::Http2)) => Some(give_url("gRPC without TLS", &format!("grpc://{host}:{port}"))),
        (false, false, Some(Spoken::Tls)) => Some(give_url("TLS", &format!("https://{host}:{port}"))),
        (false, false, _) if says_tls => Some(give_url("TLS", &format!("https://{host}:{port}"))),
        (false, true, Some(Spoken::Tls)) => Some(give_url("TLS", &format!("grpcs://{host}:{port}"))),
        (_, true, Some(Spoken::Http1)) => Some(message![
            format!(
                "the server speaks HTTP/1.1 on port {port}, and this run gRPC; Triton's gRPC port is usually 8001 ("
            ),
            Setting::Url,
            format!(" grpc://{host}:8001)"),
            Part::only_where(
                Setting::EndpointType,
                message![
                    ", and ",
                    Setting::EndpointType,
                    " generate measures its HTTP port; an OpenAI server needs neither ",
                    Setting::ServiceKind,
                    " triton nor ",
                    Setting::EndpointType,
                    " kserve",
                ],
            ),
        ]),
        (_, false, Some(Spoken::Http2)) => Some(message![
            format!(
                "the server speaks HTTP/2 on port {port}, as gRPC does, and this run HTTP/1.1; an HTTP port is usually 8000 ("
            ),
            Setting::Url,
            format!(" http://{host}:8000)"),
            Part::only_where(
                Setting::EndpointType,
                message![", and ", Setting::ServiceKind, " triton measures Triton over gRPC"],
            ),
        ]),
        _ => None,
    }
}

fn give_url(spoken: &str, url: &str) -> Message {
    message![format!("the server speaks {spoken} on this port; give "), Setting::Url, format!(" {url}")]
}

fn refused(target: &Target) -> Message {
    let named = match (target.tls, target.port) {
        (false, 80) | (true, 443) => message![
            format!(" (port {} is the scheme's own, which is tried where ", target.port),
            Setting::Url,
            " names no port; inference servers usually listen on 8000)",
        ],
        _ => Message::default(),
    };
    message![
        "nothing listens there: start the server, or give its address with ",
        Setting::Url,
        named,
        Part::only_where(Setting::Sim, message!["; ", Setting::Sim, " measures a simulated server"]),
    ]
}

fn unauthorized(endpoint: &Endpoint) -> Message {
    let sent = endpoint.headers.iter().any(|header| header.name.eq_ignore_ascii_case("authorization"));
    if sent {
        return message![
            "the server does not accept the key that was sent: look at ",
            Part::only_where(Setting::ApiKey, message![Setting::ApiKey, ", "]),
            Setting::Header,
            ", and the variables STREAMGAUGE_API_KEY and OPENAI_API_KEY",
        ];
    }
    message![
        "no key was sent: give one ",
        Part::only_where(Setting::ApiKey, message!["with ", Setting::ApiKey, ", or "]),
        "in the variable STREAMGAUGE_API_KEY or OPENAI_API_KEY; another kind of header with ",
        Setting::Header,
        " 'Name: value'",
    ]
}

fn certificate(message: &str) -> Option<Message> {
    if !message.contains("certificate") {
        return None;
    }
    let insecure =
        |lead: &str| Part::only_where(Setting::Insecure, message![lead, Setting::Insecure, " trusts any certificate"]);
    Some(if message.contains("not valid for name") {
        message![
            "the certificate is for another name; give ",
            Setting::Url,
            " with a name that it has",
            insecure(", or "),
        ]
    } else if message.contains("expired") || message.contains("not valid yet") || message.contains("NotValidYet") {
        message![
            "the certificate's time is over or has not begun: renew it, or look at this machine's clock",
            insecure("; "),
        ]
    } else if message.contains("UnknownIssuer")
        || message.contains("CaUsedAsEndEntity")
        || message.contains("BadSignature")
    {
        message![
            "this system does not know who signed the certificate; ",
            Setting::CaFile,
            " FILE names who to trust (a self-signed certificate is its own)",
            insecure(", and "),
        ]
    } else if message.contains("CertificateRequired") || message.contains("alert") {
        message!["the server wants to know who asks; give ", Setting::ClientCertificate, " and ", Setting::ClientKey]
    } else {
        message![Setting::CaFile, " FILE names who to trust", insecure(", and ")]
    })
}

/// What a server may not like of a request that it understood.
fn refused_request(message: &str) -> Option<Message> {
    let lower = message.to_ascii_lowercase();
    if TOO_LONG.iter().any(|words| lower.contains(words)) {
        return Some(message![
            "the prompt and the answer together are too long for the model, as it counts them; give a lower ",
            Setting::Isl,
            " or ",
            Setting::Osl,
            ", and the model's own ",
            Setting::Tokenizer,
            ", since another one may count far fewer tokens",
        ]);
    }
    let names = |field: &str| streamgauge_wire::names_field(message.as_bytes(), field);
    if names("min_tokens") || names("ignore_eos") {
        return Some(message![
            Setting::OutputTokensMeanDeterministic,
            " sends min_tokens and ignore_eos; leave it out for this server",
        ]);
    }
    if names("continuous_usage_stats") {
        return Some(
            message![Setting::ContinuousUsage, " sends continuous_usage_stats; leave it out for this server",],
        );
    }
    (names("max_tokens") || names("max_completion_tokens")).then(|| {
        message![Setting::Osl, " sets the output length, and ", Setting::MaxTokensField, " the member that says it",]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::testing::endpoint;
    use streamgauge_core::plan::{Header, HeaderValue};

    fn told(endpoint: &Endpoint, stage: Stage, class: FailureClass, message: &str, spoken: Option<Spoken>) -> String {
        let failure = Failure { stage, class, message: message.to_owned() };
        let status = message.get(..3).and_then(|number| number.parse().ok());
        hint(&Mishap { failure: &failure, status, endpoint, spoken }).unwrap_or_default().to_string()
    }

    fn with_key() -> Endpoint {
        let name = "Authorization".to_owned();
        let header = Header { name, value: HeaderValue::Secret("Bearer k".to_owned()) };
        Endpoint { headers: vec![header], ..endpoint("http", "localhost", 8000) }
    }

    #[test]
    fn each_mistake_is_told_its_likely_cause_and_its_flag() {
        use FailureClass::{Io, Refused, Reset, Status, Timeout, Tls, Truncated};
        let usual = || endpoint("http", "localhost", 8000);
        let grpc = || endpoint("grpc", "h", 8000);
        for (endpoint, stage, class, message, spoken, expected) in [
            (
                endpoint("https", "h", 8000),
                Stage::Tls,
                Tls,
                "corrupt message",
                Some(Spoken::Http1),
                "--url http://h:8000",
            ),
            (endpoint("http", "h", 443), Stage::FirstByte, Io, "x", Some(Spoken::Tls), "--url https://h:443"),
            (
                endpoint("http", "h", 8443),
                Stage::Body,
                Status,
                "400: The plain HTTP request was sent to HTTPS port",
                None,
                "--url https://h:8443",
            ),
            (grpc(), Stage::Connect, Truncated, "x", Some(Spoken::Http1), "usually 8001 (--url grpc://h:8001)"),
            (grpc(), Stage::Connect, Truncated, "x", Some(Spoken::Tls), "--url grpcs://h:8000"),
            (endpoint("http", "h", 8001), Stage::Send, Reset, "x", Some(Spoken::Http2), "--service-kind triton"),
            (endpoint("http", "h", 80), Stage::Connect, Refused, "x", None, "port 80 is the scheme's own"),
            (endpoint("http", "h", 81), Stage::Connect, Refused, "x", None, "start the server"),
            (endpoint("http", "h", 80), Stage::Connect, Timeout, "x", None, "firewall"),
            (usual(), Stage::Body, Status, "401: no", None, "OPENAI_API_KEY"),
            (with_key(), Stage::Body, Status, "403: no", None, "does not accept the key that was sent"),
            (usual(), Stage::Body, Status, "404: Not Found", None, "--endpoint PATH"),
            (usual(), Stage::Body, Status, "405: Method Not Allowed", None, "no POST"),
            (usual(), Stage::Body, Status, "308: no message", None, "give the final URL with --url"),
            (usual(), Stage::Tls, Tls, "invalid peer certificate: UnknownIssuer", None, "--ca-file FILE"),
            (
                usual(),
                Stage::Tls,
                Tls,
                "invalid peer certificate: certificate not valid for name \"h\"; certificate is only valid for DnsName(\"g\")",
                None,
                "another name",
            ),
            (usual(), Stage::Tls, Tls, "invalid peer certificate: certificate expired", None, "time is over"),
            (
                usual(),
                Stage::Body,
                Status,
                "400: the request exceeds the available context size",
                None,
                "the model's own --tokenizer",
            ),
            (usual(), Stage::Body, Status, "400: unknown field min_tokens", None, "--output-tokens-mean-deterministic"),
            (usual(), Stage::Body, Status, "400: max_tokens is too large", None, "--osl"),
        ] {
            let told = told(&endpoint, stage, class, message, spoken);
            assert!(told.contains(expected), "{message}: {told}");
        }
    }

    #[test]
    fn where_the_server_says_it_all_nothing_is_added() {
        let status =
            |message| told(&endpoint("http", "localhost", 8000), Stage::Body, FailureClass::Status, message, None);
        assert_eq!(status("404: The model `x` does not exist."), "");
        assert_eq!(status("500: oops"), "");
    }

    #[test]
    fn a_server_is_shown_with_its_port_and_its_protocol() {
        assert_eq!(server(&endpoint("http", "h", 80)), "http://h:80");
        assert_eq!(server(&endpoint("https", "::1", 443)), "https://[::1]:443");
        assert_eq!(server(&endpoint("grpc", "h", 8001)), "grpc://h:8001");
    }
}
