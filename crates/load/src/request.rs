//! The content of requests: the head that all requests to a server share, and one request that is ready to be sent.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Version};
use http_body_util::Full;
use streamgauge_core::plan::{Endpoint, Target};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::grpc::encoding_name;
use thiserror::Error;

/// A header that HTTP does not allow.
#[derive(Debug, Error)]
#[error("header `{name}` cannot be sent: {reason}")]
pub struct HeaderError {
    /// The name of the header.
    pub name: String,
    /// What is wrong with the header.
    pub reason: String,
}

/// A request on its way out.
pub(crate) struct Outgoing<'a> {
    /// Its head, but for what only this request says.
    pub head: &'a Head,
    /// GET, POST, ..
    pub method: Method,
    /// The target.
    pub uri: &'a Uri,
    /// Its body; of gRPC a message with its prefix.
    pub body: Bytes,
    /// `Inference-Header-Content-Length`, if the body contains more than its JSON.
    pub json: Option<usize>,
    /// The header that names its conversation, where it has one.
    pub named: Option<(&'a HeaderName, HeaderValue)>,
}

impl Outgoing<'_> {
    /// The request with its body, for HTTP/1.1.
    pub fn whole(self) -> http::Request<Full<Bytes>> {
        let mut request = self.head.request(self.method, self.uri.clone()).map(|()| Full::new(self.body));
        if let Some(json) = self.json {
            request.headers_mut().insert("inference-header-content-length", json.into());
        }
        if let Some((header, name)) = self.named {
            request.headers_mut().insert(header.clone(), name);
        }
        request
    }
}

/// The head that all requests to a server share.
pub(crate) struct Head {
    headers: HeaderMap,
    version: Version,
    scheme: Scheme,
    authority: Option<Authority>,
}

/// Headers that HTTP/2 does not have, because they belong to its connections (RFC 9113, section 8.2.2).
const NOT_IN_HTTP2: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

impl Head {
    /// `content_type` is that of the requests' bodies.
    pub(crate) fn new(endpoint: &Endpoint, target: &Target, content_type: &'static str) -> Result<Head, HeaderError> {
        let grpc = spec(endpoint.kind).is_grpc();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value("Host", &target.authority())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("streamgauge/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            if let Some(encoding) = encoding_name(endpoint.kserve.compression) {
                headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
            }
            headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,deflate,gzip"));
        } else {
            let accept = if endpoint.streaming { "text/event-stream" } else { "application/json" };
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let mut given = HeaderMap::new();
        for header in &endpoint.headers {
            let refuse = |reason: String| HeaderError { name: header.name.clone(), reason };
            let name = header_name(&header.name)?;
            if grpc && NOT_IN_HTTP2.contains(&name.as_str()) {
                return Err(refuse("HTTP/2 has no such header".to_owned()));
            }
            given.append(name, value(&header.name, header.value.expose())?);
        }
        // A given header replaces the default one; a name that is given twice is sent twice.
        headers.extend(given);
        let (mut version, mut authority) = (Version::HTTP_11, None);
        if grpc {
            version = Version::HTTP_2;
            let host = headers.remove(HOST);
            let named = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
            let named = named.parse().map_err(|_| HeaderError {
                name: "Host".to_owned(),
                reason: format!("`{named}` is not a host and a port"),
            })?;
            authority = Some(named);
        }
        let scheme = if target.tls { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Head { headers, version, scheme, authority })
    }

    /// The target of a request for `path` in the form of its protocol. In HTTP/2 it includes the server.
    pub(crate) fn uri(&self, path: &str) -> Uri {
        // The path was checked when the plan was made; a request that still has none goes to the root and is refused there.
        let path: PathAndQuery = path.parse().unwrap_or(PathAndQuery::from_static("/"));
        let Some(authority) = &self.authority else { return path.into() };
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(authority.clone()).path_and_query(path);
        // It has all of its parts.
        uri.build().unwrap_or_default()
    }

    /// A request for `uri` without a body.
    pub(crate) fn request(&self, method: Method, uri: Uri) -> http::Request<()> {
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The header of that name.
///
/// # Errors
/// When HTTP does not allow the name.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, HeaderError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|error| HeaderError { name: name.to_owned(), reason: error.to_string() })
}

fn value(name: &str, text: &str) -> Result<HeaderValue, HeaderError> {
    HeaderValue::from_str(text).map_err(|error| HeaderError { name: name.to_owned(), reason: error.to_string() })
}
