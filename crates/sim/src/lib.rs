//! A simulated inference server: an OpenAI front, and KServe v2 as Triton speaks it, over one service model, with a true log of its
//! own writes.
//!
//! It is what `profile --sim` measures, what tests run against (it can do wrong on purpose), and the reference that the
//! accuracy of our own figures is held against: it knows from the kernel when each request came, and from its own clock
//! when each event left.
//!
//! One thread serves everything. [`model`] says how long things take, `engine` makes them take that long, and [`log`] keeps what truly
//! happened. `triton` has the models that KServe v2 describes, and `state` is what all connections share. `http` reads and writes the protocols,
//! `openai` and `kserve` answer requests, and `front` accepts connections and sends each request to the one that answers it.

mod engine;
pub mod faults;
mod front;
mod http;
mod kserve;
pub mod log;
pub mod model;
mod openai;
pub mod process;
mod refusal;
mod state;
mod tokens;
mod triton;
mod words;
mod writes;

pub use faults::{Fault, FaultError, FaultKind, Place, When};
pub use log::{LogLine, LogPlan, RequestLog, Write};
pub use model::{ConfigError, Lengths, Service, SimConfig};
pub use openai::TEMPLATE_TOKENS;
pub use process::SimProcess;

use state::Server;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::clock::SystemClock;
use streamgauge_net::Timer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    clock: SystemClock,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<io::Result<Vec<RequestLog>>>>,
}

enum Command {
    Log(mpsc::Sender<Vec<RequestLog>>),
    Stop,
}

impl Sim {
    /// Starts a server on `bind` (port 0 takes a free one), with a clock of its own. It listens when this returns.
    ///
    /// # Errors
    /// A configuration that no server can have, an address that is not to be had, a log file that cannot be made.
    pub fn start(config: SimConfig, bind: SocketAddr) -> io::Result<Sim> {
        Sim::start_with_clock(config, bind, SystemClock::start())
    }

    /// [`Sim::start`] on the given clock, so that its log can be read beside other times of that clock.
    ///
    /// # Errors
    /// As for [`Sim::start`].
    pub fn start_with_clock(config: SimConfig, bind: SocketAddr, clock: SystemClock) -> io::Result<Sim> {
        config.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let (commands, orders) = unbounded_channel();
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sim".to_owned());
        let thread = thread.spawn(move || run(config, bind, clock, &ready, orders))?;
        match started.recv() {
            Ok(addr) => Ok(Sim { addr, clock, commands, thread: Some(thread) }),
            Err(_) => Err(joined(thread).err().unwrap_or_else(died)),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The clock of its log.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    /// The requests for output that have ended, in the order in which they did. A client that has read an answer whole
    /// finds its request here. The server stands still while it copies them: not for the middle of a measurement.
    pub fn log(&self) -> Vec<RequestLog> {
        let (reply, copy) = mpsc::channel();
        match self.commands.send(Command::Log(reply)) {
            Ok(()) => copy.recv().unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Stops it: connections are dropped, requests in flight are logged as incomplete, and the log file is finished.
    ///
    /// # Errors
    /// When the log file could not be written, or the server had died.
    pub fn stop(mut self) -> io::Result<Vec<RequestLog>> {
        self.end()
    }

    fn end(&mut self) -> io::Result<Vec<RequestLog>> {
        // A server that has died does not listen; joining it says why.
        let _ = self.commands.send(Command::Stop);
        self.thread.take().map_or_else(|| Ok(Vec::new()), joined)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.end();
    }
}

/// The system's reason, behind what it was the reason of.
fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The server's thread, from its first socket to its last log entry.
fn run(
    config: SimConfig,
    bind: SocketAddr,
    clock: SystemClock,
    ready: &mpsc::Sender<SocketAddr>,
    orders: UnboundedReceiver<Command>,
) -> io::Result<Vec<RequestLog>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Sockets and the timer are looked at after this many tasks: with the default of 61, each a write of some
        // microseconds, tokens would be late by half a millisecond whenever many are due at once.
        .event_interval(8)
        .build_local(tokio::runtime::LocalOptions::default())?;
    let (log, writer) =
        log::Log::open(&config.log, clock).map_err(|error| named("the log file cannot be made", &error))?;
    let server = runtime.block_on(async {
        let timer = Timer::new(clock)?;
        let listener = front::listen(bind).map_err(|error| named(&format!("cannot listen on {bind}"), &error))?;
        let addr = listener.local_addr()?;
        let server = Rc::new(Server::new(config, clock, timer.clone(), log));
        let ticking = tokio::task::spawn_local(timer.run());
        tokio::task::spawn_local(front::accept(server.clone(), listener));
        if ready.send(addr).is_ok() {
            tokio::select! {
                () = obey(&server, orders) => {}
                ended = ticking => ended.map_err(io::Error::other)??,
            }
        }
        Ok::<_, io::Error>(server)
    })?;
    // Ends all connections, and with them the other owners of the server.
    drop(runtime);
    let log = Rc::try_unwrap(server).map_err(|_| died())?.log.close();
    writer.map_or(Ok(()), joined)?;
    Ok(log)
}

async fn obey(server: &Server, mut orders: UnboundedReceiver<Command>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Command::Log(reply)) => drop(reply.send(server.log.copy())),
                Some(Command::Stop) | None => return,
            },
            // So that the file is never more than a second behind.
            _ = second.tick() => server.log.hand_over(),
        }
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(died()))
}

fn died() -> io::Error {
    io::Error::other("the simulated server's thread died")
}
