//! A client that is no HTTP library: it shows what is on the wire, broken or not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_prompt::Tokenizer;
use streamgauge_sim::{Fault, Service, Sim, SimConfig};

pub fn tokenizer() -> Tokenizer {
    static EMBEDDED: OnceLock<Tokenizer> = OnceLock::new();
    EMBEDDED.get_or_init(Tokenizer::embedded).clone()
}

/// A server that takes no time.
pub fn instant() -> SimConfig {
    SimConfig { service: Service::instant(), ..SimConfig::new(tokenizer()) }
}

/// A server with one token each `itl` and nothing left to chance.
pub fn paced(ttft: Nanos, itl: Nanos) -> SimConfig {
    SimConfig { service: Service { ttft, itl, ..Service::instant() }, ..instant() }
}

pub fn start(config: SimConfig) -> Sim {
    Sim::start(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// [`instant`] with these faults, as written on the command line.
pub fn faulty(faults: &[&str]) -> Sim {
    let faults = faults.iter().map(|text| text.parse::<Fault>().unwrap()).collect();
    start(SimConfig { faults, ..instant() })
}

/// A chat request for so many tokens, with more members (each with a comma before it).
pub fn chat(tokens: u32, stream: bool, more: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"the cat"}}],"max_tokens":{tokens},"stream":{stream}{more}}}"#)
}

pub const CHAT: &str = "/v1/chat/completions";
pub const COMPLETIONS: &str = "/v1/completions";

pub struct Client {
    pub tcp: TcpStream,
    /// Each read of the latest answer.
    pub reads: Vec<Vec<u8>>,
}

/// An answer, or as much of it as came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    /// Without the framing.
    pub body: String,
}

impl Client {
    pub fn connect(sim: &Sim) -> Client {
        let tcp = TcpStream::connect(sim.addr()).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { tcp, reads: Vec::new() }
    }

    pub fn send(&mut self, method: &str, path: &str, body: &str) {
        let len = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n{body}");
        self.tcp.write_all(request.as_bytes()).unwrap();
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, body);
        self.receive().unwrap()
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body)
    }

    /// Reads one answer. The errors are the socket's, and `UnexpectedEof` with what came before the end.
    pub fn receive(&mut self) -> io::Result<Answer> {
        self.reads.clear();
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = whole(&bytes) {
                return Ok(answer);
            }
            let mut piece = vec![0; 64 * 1024];
            let len = self.tcp.read(&mut piece)?;
            if len == 0 {
                let text = String::from_utf8(bytes).unwrap();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            piece.truncate(len);
            bytes.extend_from_slice(&piece);
            self.reads.push(piece);
        }
    }

    /// What comes until it is enough.
    pub fn until(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while !str::from_utf8(&bytes).is_ok_and(&enough) {
            let len = self.tcp.read(&mut piece).unwrap();
            assert!(len > 0, "the server closed the connection");
            bytes.extend_from_slice(&piece[..len]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// What comes until the server closes the connection; the error, if it does not do so in order.
    pub fn rest(&mut self) -> (String, io::Result<()>) {
        let mut bytes = Vec::new();
        let ended = self.tcp.read_to_end(&mut bytes).map(drop);
        (String::from_utf8(bytes).unwrap(), ended)
    }
}

fn whole(bytes: &[u8]) -> Option<Answer> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    let rest = &bytes[head_len..];
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = match field("content-length:") {
        Some(len) => rest.get(..len.parse().unwrap())?.to_vec(),
        None => {
            assert_eq!(field("transfer-encoding:"), Some("chunked"), "{head}");
            unchunked(rest)?
        }
    };
    Some(Answer { status, head, body: String::from_utf8(body).unwrap() })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let len = usize::from_str_radix(str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = rest.get(line + 2..)?;
        body.extend_from_slice(rest.get(..len)?);
        assert_eq!(rest.get(len..len + 2)?, b"\r\n");
        rest = &rest[len + 2..];
        if len == 0 {
            assert!(rest.is_empty(), "bytes after the last chunk");
            return Some(body);
        }
    }
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The data of each event.
    pub fn data(&self) -> Vec<String> {
        events(&self.body)
    }

    /// The events as JSON, without the mark of the end.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let data = self.data();
        let json = data.iter().filter(|data| *data != "[DONE]");
        json.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// The text of a stream's reply `index`.
    pub fn text(&self, index: usize) -> String {
        let events = self.events();
        let choices =
            events.iter().filter_map(|event| event["choices"].get(0)).filter(|choice| choice["index"] == index);
        choices.filter_map(|choice| choice["delta"]["content"].as_str().or(choice["text"].as_str())).collect()
    }
}

pub fn events(body: &str) -> Vec<String> {
    body.split_terminator("\n\n").map(|event| event.trim().strip_prefix("data: ").unwrap().to_owned()).collect()
}
