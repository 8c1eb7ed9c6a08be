//! The files that the tests read: answers as they were captured, and the table of what they say.

use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every made stream and every capture, as `folder/name`.
pub fn files() -> Vec<String> {
    let mut files = Vec::new();
    for sub in ["made", "wire"] {
        for entry in fs::read_dir(folder().join(sub)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".md") {
                files.push(format!("{sub}/{name}"));
            }
        }
    }
    files.sort();
    files
}

/// One answer of a server.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header lines as they came.
    pub headers: Vec<String>,
    /// Body without transfer encoding.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads `folder/name`: a made stream is a body alone; a capture has status line and headers before it.
    pub fn load(file: &str) -> Answer {
        let bytes = fs::read(folder().join(file)).unwrap();
        if file.starts_with("made/") {
            return Answer { status: 200, headers: vec!["Content-Type: text/event-stream".into()], body: bytes };
        }
        let end = bytes.windows(4).position(|at| at == b"\r\n\r\n").expect("a blank line ends the headers");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n").map(String::from);
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
        let body = &bytes[end + 4..];
        let body = if file.ends_with(".wire.txt") { without_chunks(body) } else { body.to_vec() };
        Answer { status, headers: lines.collect(), body }
    }

    /// What a codec must know of the head: content type, and length of the JSON where tensors follow it.
    pub fn head(&self) -> (Option<&str>, Option<usize>) {
        let length = self.header("inference-header-content-length");
        (self.header("content-type"), length.map(|length| length.parse().unwrap()))
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then_some(value.trim())
        })
    }
}

/// The body inside HTTP's chunked framing.
fn without_chunks(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = framed.windows(2).position(|at| at == b"\r\n").expect("a chunk's size ends with CRLF");
        let size = usize::from_str_radix(std::str::from_utf8(&framed[..end]).unwrap(), 16).expect("a chunk's size");
        let chunk = &framed[end + 2..];
        assert_eq!(&chunk[size..size + 2], b"\r\n", "a chunk ends with CRLF");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
        framed = &chunk[size + 2..];
    }
}

/// What one file is expected to say.
pub struct Section {
    pub file: String,
    pub kind: String,
    pub lines: Vec<String>,
}

/// The table of expectations.
pub fn expectations() -> Vec<Section> {
    let table = fs::read_to_string(folder().join("expected-events.txt")).unwrap();
    let mut sections: Vec<Section> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("== ") {
            let (file, kind) = head.split_once(' ').expect("a section names file and kind");
            sections.push(Section { file: file.into(), kind: kind.into(), lines: Vec::new() });
        } else {
            sections.last_mut().expect("a line belongs to a section").lines.push(line.into());
        }
    }
    sections
}
