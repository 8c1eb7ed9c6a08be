//! Downloads from a scripted hub: the requests that it gets, and what is in the cache afterwards.
#![cfg(feature = "download")]
// Helpers of tests may unwrap too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use streamgauge_prompt::hub::{Hub, Repository};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TAG: &str = "9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347";
const BYTES: &str = "{\"model\": \"bytes of a file\"}";

/// A server that answers each path with fixed bytes, for as long as the test runs.
struct Server {
    address: SocketAddr,
    /// The request lines, each with its `authorization`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &answer, &log);
            }
        });
        Server { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> String, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let mut authorization = String::from("-");
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("authorization: ") {
            authorization = value.to_owned();
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(format!("{path} {authorization}"));
    stream.write_all(answer(&path).as_bytes())
}

fn reply(status: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// A hub whose large files are on another host, as those of the real one.
fn hub_and_store() -> (Server, Server) {
    let store = Server::start(|_| reply("200 OK", &[("etag", "\"of-the-store\"")], BYTES));
    let elsewhere = format!("http://{}/blob", store.address);
    let listing = format!("http://{}/listing", store.address);
    let hub = Server::start(move |path| match path {
        "/acme/bird/resolve/main/tokenizer.json" | "/acme/bird/resolve/refs%2Fpr%2F7/tokenizer.json" => reply(
            "302 Found",
            &[
                ("location", &elsewhere),
                ("x-repo-commit", COMMIT),
                ("x-linked-etag", &format!("\"{TAG}\"")),
                ("x-linked-size", &BYTES.len().to_string()),
            ],
            "",
        ),
        "/acme/old/resolve/main/small.json" => {
            reply("307 Temporary Redirect", &[("location", "/acme/new/resolve/main/small.json")], "")
        }
        "/acme/new/resolve/main/small.json" => {
            reply("200 OK", &[("x-repo-commit", COMMIT), ("etag", "W/\"small\"")], "[]")
        }
        "/datasets/acme/rows/resolve/main/data/a%20b.jsonl" => {
            reply("200 OK", &[("x-repo-commit", COMMIT), ("etag", "\"rows\"")], "{}\n")
        }
        "/api/datasets/acme/rows/revision/main" => reply(
            "200 OK",
            &[],
            "{\"siblings\": [{\"rfilename\": \"data/b.jsonl\"}, {\"rfilename\": \"data/a b.jsonl\"}]}",
        ),
        "/api/datasets/acme/moved/revision/main" => reply("307 Temporary Redirect", &[("location", &listing)], ""),
        "/acme/short/resolve/main/tokenizer.json" => {
            let headers = [("x-repo-commit", COMMIT), ("etag", "\"short\""), ("x-linked-size", "1000")];
            reply("200 OK", &headers, BYTES)
        }
        "/acme/evil/resolve/main/tokenizer.json" => {
            reply("200 OK", &[("x-repo-commit", "../../.."), ("etag", "\"x\"")], BYTES)
        }
        "/acme/plain/resolve/main/tokenizer.json" => reply("200 OK", &[], BYTES),
        "/acme/gated/resolve/main/tokenizer.json" => reply("401 Unauthorized", &[], ""),
        "/acme/round/resolve/main/tokenizer.json" => {
            reply("302 Found", &[("location", "/acme/round/resolve/main/tokenizer.json")], "")
        }
        _ => reply("404 Not Found", &[("x-error-code", "EntryNotFound")], ""),
    });
    (hub, store)
}

fn hub(home: &Path, server: &Server, more: &[(&'static str, &str)]) -> Hub {
    let mut env = HashMap::from([
        ("HOME", home.display().to_string()),
        ("HF_ENDPOINT", format!("http://{}/", server.address)),
        ("HF_TOKEN", "hf_secret".to_owned()),
    ]);
    env.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Hub::new(&move |name: &str| env.get(name).cloned(), true)
}

#[test]
fn a_file_is_downloaded_once_into_the_layout_of_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let (server, store) = hub_and_store();
    let hub = hub(home.path(), &server, &[]);
    assert!(!format!("{hub:?}").contains("secret"), "{hub:?}");
    let notes = Mutex::new(Vec::new());
    let note = |text: &str| notes.lock().unwrap().push(text.to_owned());
    let bird = Repository::model("acme/bird", "main");
    let path = hub.file(&bird, "tokenizer.json", &note).unwrap();
    let directory = home.path().join(".cache/huggingface/hub/models--acme--bird");
    assert_eq!(path, directory.join("snapshots").join(COMMIT).join("tokenizer.json"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), BYTES);
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(TAG));
    assert_eq!(std::fs::read_to_string(directory.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(*notes.lock().unwrap(), [format!("downloading tokenizer.json of acme/bird from {}", server.address)]);
    assert_eq!(server.asked(), ["/acme/bird/resolve/main/tokenizer.json bearer hf_secret"]);
    assert_eq!(store.asked(), ["/blob -"], "the token is for the hub only");

    assert_eq!(hub.file(&bird, "tokenizer.json", &note).unwrap(), path);
    assert_eq!(server.asked(), [""; 0], "it is in the cache now");
    let left: Vec<_> =
        std::fs::read_dir(directory.join("blobs")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [TAG], "no part of a file is left");

    // Another revision that is the same commit has the same bytes.
    let other = hub.file(&Repository::model("acme/bird", "refs/pr/7"), "tokenizer.json", &note).unwrap();
    assert_eq!(other, path);
    assert_eq!(std::fs::read_to_string(directory.join("refs/refs/pr/7")).unwrap(), COMMIT);
    assert_eq!(store.asked(), ["/blob -"]);
}

#[test]
fn files_of_data_sets_and_of_renamed_repositories() {
    let home = tempfile::tempdir().unwrap();
    let (server, _store) = hub_and_store();
    let hub = hub(home.path(), &server, &[]);
    let rows = Repository::dataset("acme/rows", "main");
    assert_eq!(hub.list(&rows).unwrap(), ["data/a b.jsonl", "data/b.jsonl"]);
    let path = hub.file(&rows, "data/a b.jsonl", &|_| {}).unwrap();
    assert!(
        path.ends_with(format!("hub/datasets--acme--rows/snapshots/{COMMIT}/data/a b.jsonl")),
        "{}",
        path.display()
    );
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../../blobs/rows"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
    let offline = self::hub(home.path(), &server, &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.list(&rows).unwrap(), ["data/a b.jsonl"], "what the cache has");

    let small = hub.file(&Repository::model("acme/old", "main"), "small.json", &|_| {}).unwrap();
    assert_eq!(std::fs::read_to_string(small).unwrap(), "[]");
}

#[test]
fn what_cannot_be_downloaded_says_why_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (server, _store) = hub_and_store();
    let hub = hub(home.path(), &server, &[]);
    for (name, why) in [
        ("acme/short", "the file ended after 28 of 1000 bytes"),
        ("acme/evil", "names no commit"),
        ("acme/plain", "so this is no hub"),
        ("acme/gated", "the hub refuses access (HTTP 401)"),
        ("acme/round", "the hub answers with HTTP 302"),
        ("acme/absent", "the hub has no such file (HTTP 404, EntryNotFound)"),
    ] {
        let error = hub.file(&Repository::model(name, "main"), "tokenizer.json", &|_| {}).unwrap_err().to_string();
        assert!(error.contains("and it could not be downloaded: ") && error.contains(why), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(hub.cached(&Repository::model(name, "main"), "tokenizer.json").is_err(), "{name}");
    }
    for file in ["../up", "/etc/passwd", ""] {
        let error = hub.file(&Repository::model("acme/bird", "main"), file, &|_| {}).unwrap_err().to_string();
        assert!(error.contains("is no name of a file"), "{error}");
    }
}

#[test]
fn nothing_is_asked_where_downloads_are_switched_off() {
    let home = tempfile::tempdir().unwrap();
    let (server, _store) = hub_and_store();
    let bird = Repository::model("acme/bird", "main");
    for (variable, value) in [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "True"), ("TRANSFORMERS_OFFLINE", "yes")] {
        let hub = hub(home.path(), &server, &[(variable, value)]);
        let error = hub.file(&bird, "tokenizer.json", &|_| {}).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("models--acme--bird, and downloads are switched off by {variable}")),
            "{error}"
        );
    }
    let env = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
    let error = Hub::new(&env, false).file(&bird, "tokenizer.json", &|_| {}).unwrap_err().to_string();
    assert!(error.ends_with("and downloads are switched off"), "{error}");
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn a_hub_that_is_not_there_is_given_up_soon() {
    let home = tempfile::tempdir().unwrap();
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let server = Server { address: gone, asked: Arc::default() };
    let error = hub(home.path(), &server, &[])
        .file(&Repository::model("acme/bird", "main"), "tokenizer.json", &|_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("could not be downloaded"), "{error}");
}

#[test]
fn the_stored_token_is_sent_where_no_variable_has_one() {
    let home = tempfile::tempdir().unwrap();
    let (server, _store) = hub_and_store();
    std::fs::create_dir_all(home.path().join("hf")).unwrap();
    std::fs::write(home.path().join("hf/token"), "hf_stored\n").unwrap();
    let hf = home.path().join("hf").display().to_string();
    let hub = hub(home.path(), &server, &[("HF_TOKEN", ""), ("HF_HOME", &hf)]);
    let path = hub.file(&Repository::model("acme/new", "main"), "small.json", &|_| {}).unwrap();
    assert!(path.starts_with(home.path().join("hf/hub")), "{}", path.display());
    assert_eq!(server.asked(), ["/acme/new/resolve/main/small.json bearer hf_stored"]);
}

#[test]
fn a_list_that_another_host_has_is_asked_for_without_the_token() {
    let home = tempfile::tempdir().unwrap();
    let (server, store) = hub_and_store();
    let hub = hub(home.path(), &server, &[("HF_TOKEN", "hf_secret")]);
    assert!(hub.list(&Repository::dataset("acme/moved", "main")).is_err(), "the other host has no list");
    assert_eq!(server.asked(), ["/api/datasets/acme/moved/revision/main bearer hf_secret"]);
    assert_eq!(store.asked(), ["/listing -"]);
}
