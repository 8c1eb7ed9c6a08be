//! Downloads from the hub into the cache, by the requests that its own clients make: the file's address answers with the commit and with an
//! `ETag`, by which the cache names what it stores, and often sends the client on to another host for the bytes.

use super::cache::Cache;
use super::{Kind, Repository, stays_below};
use serde::Deserialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// How long the hub may take to be found, to accept a connection and to begin an answer, each. Without a network, a run waits no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the connection may be silent in the middle of a file.
const SILENCE: Duration = Duration::from_secs(30);
/// How often one file may send the client on.
const REDIRECTS: usize = 8;
/// More bytes than any list of files has.
const LONGEST_LIST: u64 = 64 << 20;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("{file}: {source}")]
    Store { file: PathBuf, source: io::Error },
    #[error("{0}")]
    Transport(ureq::Error),
    #[error(
        "the hub refuses access (HTTP {0}): the name does not exist, or it is gated and HF_TOKEN has no right to it"
    )]
    Access(u16),
    #[error("the hub has no such file (HTTP 404{0})")]
    NotFound(String),
    #[error("the hub answers with HTTP {0}")]
    Status(u16),
    #[error("the answer {0}, so this is no hub")]
    NoHub(&'static str),
    #[error("the file ended after {got} of {expected} bytes")]
    Short { got: u64, expected: u64 },
    #[error("`{0}` is no name of a file in a repository")]
    Name(String),
}

/// Downloads `file` into the cache and returns its path there.
pub(super) fn file(
    endpoint: &str,
    token: Option<&str>,
    repository: &Repository,
    file: &str,
    cache: &Cache,
) -> Result<PathBuf, DownloadError> {
    if !stays_below(file) || !stays_below(&repository.revision) {
        return Err(DownloadError::Name(file.to_owned()));
    }
    let kind = match repository.kind {
        Kind::Model => "",
        Kind::Dataset => "datasets/",
    };
    let revision = repository.revision.replace('/', "%2F");
    let address = format!("{endpoint}/{kind}{}/resolve/{revision}/{}", repository.name, escaped(file));
    let Found { commit, etag, size, body } = find(&agent()?, &address, token)?;
    let directory = cache.repository(repository);
    let blob = directory.join("blobs").join(&etag);
    if !blob.is_file() {
        store(body, &blob, size)?;
    }
    let path = directory.join("snapshots").join(&commit).join(file);
    link(&blob, &path, file)?;
    if repository.revision != commit {
        write_whole(&directory.join("refs").join(&repository.revision), commit.as_bytes())?;
    }
    Ok(path)
}

/// The names of the repository's files, in alphabetical order.
pub(super) fn list(endpoint: &str, token: Option<&str>, repository: &Repository) -> Result<Vec<String>, DownloadError> {
    #[derive(Deserialize)]
    struct Listing {
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    let kind = match repository.kind {
        Kind::Model => "models",
        Kind::Dataset => "datasets",
    };
    let revision = repository.revision.replace('/', "%2F");
    let mut address = format!("{endpoint}/api/{kind}/{}/revision/{revision}", repository.name);
    let agent = agent()?;
    let mut token = token;
    for _ in 0..REDIRECTS {
        let response = get(&agent, &address, token)?;
        if let Some(next) = next_address(&address, &response) {
            token = token.filter(|_| is_same_origin(&address, &next));
            address = next;
            continue;
        }
        let body = accepted(response)?.into_body();
        let text = body.into_with_config().limit(LONGEST_LIST).read_to_string().map_err(DownloadError::Transport)?;
        let listing: Listing = serde_json::from_str(&text).map_err(|_| DownloadError::NoHub("is no list of files"))?;
        let mut files: Vec<String> = listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        files.sort();
        return Ok(files);
    }
    Err(DownloadError::Status(StatusCode::FOUND.as_u16()))
}

/// A file as the hub offers it.
struct Found {
    commit: String,
    etag: String,
    size: Option<u64>,
    body: Body,
}

/// Follows a file's address to its bytes. Only the hub itself gets the token, and only it is asked for the commit and the tag.
fn find(agent: &Agent, address: &str, token: Option<&str>) -> Result<Found, DownloadError> {
    let mut address = address.to_owned();
    let mut token = token;
    let (mut commit, mut etag, mut size) = (None, None, None);
    for _ in 0..REDIRECTS {
        let response = get(agent, &address, token)?;
        let headers = response.headers();
        commit = commit.or_else(|| header(headers, "x-repo-commit"));
        etag = etag.or_else(|| header(headers, "x-linked-etag").map(|tag| bare(&tag)));
        size = size.or_else(|| header(headers, "x-linked-size")?.parse().ok());
        if let Some(next) = next_address(&address, &response) {
            token = token.filter(|_| is_same_origin(&address, &next));
            address = next;
            continue;
        }
        let response = accepted(response)?;
        let etag = etag.or_else(|| header(response.headers(), "etag").map(|tag| bare(&tag)));
        let size = size.or_else(|| header(response.headers(), "content-length")?.parse().ok());
        let commit = commit.filter(|commit| is_plain(commit)).ok_or(DownloadError::NoHub("names no commit"))?;
        let etag = etag.filter(|etag| is_plain(etag)).ok_or(DownloadError::NoHub("has no usable ETag"))?;
        return Ok(Found { commit, etag, size, body: response.into_body() });
    }
    Err(DownloadError::Status(StatusCode::FOUND.as_u16()))
}

fn get(agent: &Agent, address: &str, token: Option<&str>) -> Result<Response<Body>, DownloadError> {
    let mut request = agent.get(address);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.call().map_err(DownloadError::Transport)
}

/// Where an answer sends the client on, if it does.
fn next_address(address: &str, response: &Response<Body>) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = header(response.headers(), "location")?;
    if location.contains("://") {
        return Some(location);
    }
    let uri: Uri = address.parse().ok()?;
    let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    match location.strip_prefix("//") {
        Some(rest) => Some(format!("{}://{rest}", uri.scheme_str()?)),
        None => Some(format!("{origin}/{}", location.trim_start_matches('/'))),
    }
}

fn accepted(response: Response<Body>) -> Result<Response<Body>, DownloadError> {
    match response.status().as_u16() {
        200 => Ok(response),
        status @ (401 | 403) => Err(DownloadError::Access(status)),
        404 => {
            let code = header(response.headers(), "x-error-code").map(|code| format!(", {code}"));
            Err(DownloadError::NotFound(code.unwrap_or_default()))
        }
        status => Err(DownloadError::Status(status)),
    }
}

fn agent() -> Result<Agent, DownloadError> {
    let roots = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> =
        roots.certs.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(SILENCE))
        .user_agent(concat!("streamgauge/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.new_agent())
}

/// Writes the bytes beside their place and moves them there, so that nobody ever sees a part of a file.
fn store(body: Body, place: &Path, size: Option<u64>) -> Result<(), DownloadError> {
    let failed = |source| DownloadError::Store { file: place.to_path_buf(), source };
    let directory = place.parent().unwrap_or(place);
    fs::create_dir_all(directory).map_err(failed)?;
    let mut part = tempfile::Builder::new().suffix(".incomplete").tempfile_in(directory).map_err(failed)?;
    let got = io::copy(&mut body.into_reader(), part.as_file_mut()).map_err(failed)?;
    if let Some(expected) = size.filter(|size| *size != got) {
        return Err(DownloadError::Short { got, expected });
    }
    keep(part, place).map_err(failed)
}

fn write_whole(place: &Path, bytes: &[u8]) -> Result<(), DownloadError> {
    let failed = |source| DownloadError::Store { file: place.to_path_buf(), source };
    let directory = place.parent().unwrap_or(place);
    fs::create_dir_all(directory).map_err(failed)?;
    let part = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    fs::write(part.path(), bytes).map_err(failed)?;
    keep(part, place).map_err(failed)
}

/// Moves a temporary file to its place, readable for the groups that may read the cache.
fn keep(part: tempfile::NamedTempFile, place: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let file: File = part.persist(place).map_err(|error| error.error)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Makes `path`, which is `file` below a snapshot, a link to the stored bytes. Where links cannot be made it becomes a copy.
fn link(blob: &Path, path: &Path, file: &str) -> Result<(), DownloadError> {
    let failed = |source| DownloadError::Store { file: path.to_path_buf(), source };
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    if path.is_file() {
        return Ok(());
    }
    // From `snapshots/COMMIT/` up to the repository, and once more for each directory in the file's own name.
    let up = "../".repeat(2 + file.matches('/').count());
    let name = blob.file_name().unwrap_or_default();
    let made = std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(name), path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::copy(blob, path).map(|_| ()).map_err(failed),
        _ => Ok(()),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A tag without its quotes and without the mark of weak ones.
fn bare(tag: &str) -> String {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
}

/// Whether a text from the network can be the name of a file.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether both addresses are of one server over one scheme, so that the second may get the token too.
fn is_same_origin(one: &str, other: &str) -> bool {
    let origin = |address: &str| {
        let uri: Uri = address.parse().ok()?;
        Some((uri.scheme()?.clone(), uri.authority()?.clone()))
    };
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

/// A path in a repository as a part of a URL.
fn escaped(file: &str) -> String {
    let mut escaped = String::with_capacity(file.len());
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
