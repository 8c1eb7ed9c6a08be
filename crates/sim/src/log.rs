//! The true log: when each request came and when each piece of its answer left. It is what a client's figures are held
//! against, so it must not bend them: stamps go into plain vectors on the server's thread, and files are written by
//! another.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::plan::EndpointKind;

/// What is kept of the requests for output. Other requests (models, health, metrics) leave nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPlan {
    /// How many requests are kept in memory, the newest; `None` is all of them.
    pub keep: Option<usize>,
    /// Also a line of JSON for each, in this file.
    pub file: Option<PathBuf>,
}

/// The log of one request for output. Times are on the server's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLog {
    /// Number of the request, from 0, in the order in which they came.
    pub number: u64,
    /// Number of its connection, from 0, in the order in which they were accepted.
    pub connection: u64,
    /// The endpoint that it was sent to.
    pub kind: EndpointKind,
    /// What the identifiers of that endpoint's answers begin with.
    pub id_prefix: &'static str,
    /// When its last byte came.
    pub received: Nanos,
    /// Whether `received` is the kernel's stamp, not the time of the read.
    pub kernel_stamp: bool,
    /// Tokens of its prompt, template included; 0 if it was not understood.
    pub prompt_tokens: u32,
    /// Tokens of the reply, of all choices, as planned when its service began.
    pub output_tokens: u32,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
    /// Names of the faults that hit it.
    pub faults: Vec<&'static str>,
    /// Each write of the answer.
    pub writes: Vec<Write>,
    /// Whether everything that was meant to be written was: false when the client or the server went away first.
    pub complete: bool,
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The instant before the bytes were handed to the kernel.
    pub at: Nanos,
    /// Output events whose last byte it carried; an answer that is not a stream is one for each choice.
    pub events: u32,
}

impl RequestLog {
    /// The identifier that the answer carried.
    pub fn id(&self) -> String {
        answer_id(self.id_prefix, self.number)
    }
}

/// The identifier of the answer to request `number` of an endpoint with that prefix.
pub(crate) fn answer_id(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:016x}")
}

/// The queue into which the server's thread puts log entries.
#[derive(Debug)]
pub(crate) struct Log {
    keep: usize,
    kept: RefCell<VecDeque<RequestLog>>,
    batch: RefCell<Vec<RequestLog>>,
    file: Option<Sender<Vec<RequestLog>>>,
}

/// Requests that go to the file's thread together: handing over wakes that thread, which costs the server's microseconds.
const BATCH: usize = 256;

impl Log {
    /// A log, and the thread that writes its file if there is one.
    pub(crate) fn open(plan: &LogPlan, clock: SystemClock) -> io::Result<(Log, Option<JoinHandle<io::Result<()>>>)> {
        let (file, thread) = match &plan.file {
            None => (None, None),
            Some(path) => {
                let out = BufWriter::new(File::create(path)?);
                let (sender, batches) = channel();
                let thread = std::thread::Builder::new().name("sim-log".to_owned());
                (Some(sender), Some(thread.spawn(move || write_lines(&batches, out, clock))?))
            }
        };
        let log =
            Log { keep: plan.keep.unwrap_or(usize::MAX), kept: RefCell::default(), batch: RefCell::default(), file };
        Ok((log, thread))
    }

    pub(crate) fn push(&self, request: RequestLog) {
        if self.file.is_some() {
            self.batch.borrow_mut().push(request.clone());
            if self.batch.borrow().len() >= BATCH {
                self.hand_over();
            }
        }
        if self.keep == 0 {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= self.keep {
            kept.pop_front();
        }
        kept.push_back(request);
    }

    /// Gives the file's thread what has gathered.
    pub(crate) fn hand_over(&self) {
        let batch = self.batch.take();
        if let Some(file) = self.file.as_ref().filter(|_| !batch.is_empty()) {
            // A writer that is gone has failed; its error comes out when the server stops.
            let _ = file.send(batch);
        }
    }

    /// The entries, in the order in which the answers ended.
    pub(crate) fn copy(&self) -> Vec<RequestLog> {
        self.kept.borrow().iter().cloned().collect()
    }

    /// Ends the log and drops its entries.
    pub(crate) fn close(self) -> Vec<RequestLog> {
        self.hand_over();
        self.kept.into_inner().into()
    }
}

/// One line of the file. Times are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The identifier that the answer carried.
    pub id: String,
    /// Number of its connection, from 0, in the order in which they were accepted.
    pub connection: u64,
    /// When the request's last byte came.
    pub recv_ns: i64,
    /// Whether that is the kernel's stamp, not the time of the read.
    pub kernel_stamp: bool,
    /// Tokens of its prompt, template included.
    pub prompt_tokens: u32,
    /// Tokens of the reply, as planned when its service began.
    pub output_tokens: u32,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
    /// Names of the faults that hit it.
    pub faults: Vec<Cow<'static, str>>,
    /// Whether everything that was meant to be written was.
    pub complete: bool,
    /// Each write: the instant before it, and the output events whose last byte it carried.
    pub writes: Vec<(i64, u32)>,
}

/// Reads a log file, in the order in which the requests arrived.
///
/// # Errors
/// When it cannot be read, or a line (named by its number) is not a log entry.
pub fn read(file: &Path) -> io::Result<Vec<LogLine>> {
    let parse = |(index, line): (usize, io::Result<String>)| {
        serde_json::from_str::<LogLine>(&line?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", index + 1)))
    };
    let mut lines = BufReader::new(File::open(file)?).lines().enumerate().map(parse).collect::<io::Result<Vec<_>>>()?;
    lines.sort_by_key(|line| line.recv_ns);
    Ok(lines)
}

fn write_lines(batches: &Receiver<Vec<RequestLog>>, mut out: BufWriter<File>, clock: SystemClock) -> io::Result<()> {
    while let Ok(batch) = batches.recv() {
        for request in &batch {
            serde_json::to_writer(&mut out, &line(request, clock))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
    Ok(())
}

fn line(request: &RequestLog, clock: SystemClock) -> LogLine {
    LogLine {
        id: request.id(),
        connection: request.connection,
        recv_ns: clock.wall(request.received),
        kernel_stamp: request.kernel_stamp,
        prompt_tokens: request.prompt_tokens,
        output_tokens: request.output_tokens,
        status: request.status,
        faults: request.faults.iter().map(|&name| name.into()).collect(),
        complete: request.complete,
        writes: request.writes.iter().map(|write| (clock.wall(write.at), write.events)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u64) -> RequestLog {
        RequestLog {
            number,
            connection: 0,
            kind: EndpointKind::Chat,
            id_prefix: "chatcmpl",
            received: Nanos(5),
            kernel_stamp: true,
            prompt_tokens: 12,
            output_tokens: 2,
            status: 200,
            faults: vec!["split-writes"],
            writes: vec![Write { at: Nanos(7), events: 1 }, Write { at: Nanos(9), events: 1 }],
            complete: true,
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let (log, thread) = Log::open(&LogPlan { keep: Some(2), file: None }, SystemClock::start()).unwrap();
        assert!(thread.is_none());
        (0..5).for_each(|number| log.push(request(number)));
        assert_eq!(log.close().iter().map(|request| request.number).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_line_has_wall_clock_times() {
        let clock = SystemClock::start();
        let json = serde_json::to_value(line(&request(16), clock)).unwrap();
        let anchor = clock.anchor_wall();
        assert_eq!(
            json,
            serde_json::json!({
                "id": "chatcmpl-0000000000000010", "connection": 0, "recv_ns": anchor + 5, "kernel_stamp": true,
                "prompt_tokens": 12, "output_tokens": 2, "status": 200, "faults": ["split-writes"], "complete": true,
                "writes": [[anchor + 7, 1], [anchor + 9, 1]],
            })
        );
    }

    #[test]
    fn a_file_is_read_in_the_order_of_arrivals_and_a_bad_line_is_named() {
        let clock = SystemClock::start();
        let late = line(&request(1), clock);
        let early = LogLine { recv_ns: late.recv_ns - 1, ..line(&request(0), clock) };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text = [&late, &early].map(|line| serde_json::to_string(line).unwrap()).join("\n");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap(), [early, late]);
        std::fs::write(&path, format!("{text}\n{{}}\n")).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 3: "));
    }
}
