//! Where requests go and in what form: the endpoint of a plan and its servers.

use super::header::Header;
use crate::hidden::shown_url;
use crate::kserve::Kserve;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Where requests go and in what form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which endpoint it is.
    pub kind: EndpointKind,
    /// The server. Where there are several, this is the first one, which is asked before the load and named in reports.
    pub target: Target,
    /// The other servers, with the same path.
    #[serde(default)]
    pub others: Vec<Target>,
    /// How the server of a request is chosen when there are several.
    #[serde(default)]
    pub balance: Balance,
    /// The path of the endpoint, which begins with a slash. A query in it may be a key: what is shown is [`Endpoint::shown_path`], also in
    /// files.
    #[serde(serialize_with = "hide_query")]
    pub path: String,
    /// The names of the models: one or several.
    pub models: Vec<String>,
    /// How the model of a prompt is chosen when there are several.
    pub model_selection: ModelSelection,
    /// Whether answers are requested as a stream.
    pub streaming: bool,
    /// Whether the server is asked for its token counts at the end of a stream (`stream_options`).
    pub ask_usage: bool,
    /// Whether the server is asked for running counts in every chunk too (`continuous_usage_stats`).
    #[serde(default)]
    pub continuous_usage: bool,
    /// The member of the body that asks for an output length. Only OpenAI endpoints have it.
    #[serde(default)]
    pub length_field: LengthField,
    /// Headers of every request, the API key's included.
    pub headers: Vec<Header>,
    /// Members added to every body, replacing ours of the same name.
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// How the certificate of a TLS server is checked.
    pub trust: Trust,
    /// The certificate that the client presents to a TLS server that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How a model of a KServe v2 server is asked. Other endpoints keep the default, which nothing reads.
    #[serde(skip)]
    pub kserve: Kserve,
}

/// A client's certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The chain of certificates, the client's first: PEM, or one in DER.
    pub certificates: PathBuf,
    /// The private key, PEM or DER.
    pub key: PathBuf,
}

/// How the server of a request is chosen when there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The server with the fewest requests in flight; of several such, the next in turn. A server that cannot be connected to is
    /// not chosen while another one can.
    LeastInFlight,
    /// The servers in turn, by the number of the request.
    #[default]
    RoundRobin,
}

/// Writes a path as files show it, without the values of its query.
fn hide_query<S: Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_url(path))
}

impl Endpoint {
    /// The path for people and files: the values of its query are hidden.
    pub fn shown_path(&self) -> Cow<'_, str> {
        shown_url(&self.path)
    }

    /// All servers; a record's `target` is an index here.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.others)
    }
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The host name or address; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// `host:port`, as a Host header and as people write it: IPv6 in brackets, a default port left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// How the certificate of a TLS server is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Against the certificates in this PEM file and no others.
    File(PathBuf),
    /// Against the certificates in this file, or else the system's; the name in the certificate may be any.
    AnyName(Option<PathBuf>),
    /// Not at all.
    Insecure,
    /// Against the certificates of the system.
    System,
}

/// The name of an endpoint in a plan. What it can do and how it is spoken to is known to the crate of codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI completions.
    Completions,
    /// OpenAI embeddings.
    Embeddings,
    /// Triton's generate extension over HTTP.
    Generate,
    /// KServe v2 inference over gRPC: a stream of requests and responses where the endpoint streams, else a call each.
    KserveGrpc,
    /// KServe v2 inference over HTTP.
    KserveHttp,
}

impl EndpointKind {
    /// All kinds, in the order in which they are listed for people.
    pub const ALL: [EndpointKind; 6] = [
        EndpointKind::Chat,
        EndpointKind::Completions,
        EndpointKind::Embeddings,
        EndpointKind::KserveGrpc,
        EndpointKind::KserveHttp,
        EndpointKind::Generate,
    ];

    /// Whether it is an endpoint of a KServe v2 server, whose requests have settings of their own ([`Kserve`]).
    pub fn is_kserve(self) -> bool {
        match self {
            EndpointKind::Chat | EndpointKind::Completions | EndpointKind::Embeddings => false,
            EndpointKind::Generate | EndpointKind::KserveGrpc | EndpointKind::KserveHttp => true,
        }
    }

    /// Its name on the command line and in directory names.
    pub fn name(self) -> &'static str {
        match self {
            EndpointKind::Chat => "chat",
            EndpointKind::Completions => "completions",
            EndpointKind::Embeddings => "embeddings",
            EndpointKind::Generate => "generate",
            EndpointKind::KserveGrpc => "kserve",
            EndpointKind::KserveHttp => "kserve_http",
        }
    }
}

/// The member of an OpenAI body that asks for an output length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthField {
    /// `max_tokens`, which nearly every server knows.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which replaces it in OpenAI's API for reasoning models.
    MaxCompletionTokens,
}

impl LengthField {
    /// Its name in the body and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            LengthField::MaxTokens => "max_tokens",
            LengthField::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// How the model of a prompt is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSelection {
    /// At random, each with the same chance.
    Random,
    /// One after another.
    RoundRobin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_brackets_ipv6_and_drops_default_ports() {
        let target = |tls, host: &str, port| Target { tls, host: host.into(), port };
        assert_eq!(target(false, "::1", 8000).to_string(), "http://[::1]:8000");
        assert_eq!(target(true, "api.example", 443).to_string(), "https://api.example");
        assert_eq!(target(false, "localhost", 443).authority(), "localhost:443");
    }
}
