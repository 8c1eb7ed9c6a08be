//! A server that answers by a script of the test, for what the simulated server does not do.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What is sent back; without it nothing is, and the connection stays open.
type Script = dyn Fn(&Request) -> Option<String> + Send + Sync;

/// A server on a port of its own. It lives as long as the process.
pub struct Scripted {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Answers each request by `script`.
    pub fn serve(script: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (script, kept): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script, seen) = (stream.unwrap(), script.clone(), kept.clone());
                std::thread::spawn(move || converse(&stream, &*script, &seen));
            }
        });
        Scripted { addr, seen }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers one request after another; none once the client is gone.
fn converse(stream: &TcpStream, script: &Script, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head.lines().filter_map(|line| line.split_once(':'));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map(|(_, value)| value.trim().parse().unwrap()).next().unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut words = head.split_whitespace().map(str::to_owned);
        let request = Request { method: words.next()?, path: words.next()?, body };
        let answer = script(&request);
        seen.lock().unwrap().push(request);
        if let Some(answer) = answer {
            (&mut &*stream).write_all(answer.as_bytes()).ok()?;
        }
    }
}

/// An answer with a JSON body; `more` are header lines, each with its line end.
pub fn document(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
}

/// A whole answer of a chat endpoint.
pub fn chat_answer() -> String {
    document(
        "200 OK",
        "",
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"one two"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":2}}"#,
    )
}

/// A streamed answer of a chat endpoint.
pub fn chat_stream() -> String {
    let events = concat!(
        r#"data: {"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":" two"},"finish_reason":"stop"}]}"#,
        "\n\ndata: [DONE]\n\n"
    );
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{events}", events.len())
}
