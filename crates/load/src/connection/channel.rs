//! One HTTP/2 connection: moved by the one slot that has it, or by a task of its own where several share it.
//!
//! Whoever moves it reads once a turn (see [`Line::begin_turn`]). In place, a slot takes all that a read brought before it reads
//! again. On a shared channel the streams that a read woke stand in the thread's queue before the motor, which queues itself
//! behind them, so they too are done before the next read; what comes out of HTTP/2 is always of the newest one.

use super::line::{Line, Transport};
use crate::failure;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::kserve::{KeepAlive, Kserve};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_wire::endpoints::{calls_stream, spec};
use tokio::sync::Mutex;
use tokio::time::Sleep;

/// How much a server may send ahead of what was taken, of a stream and of the connection: more than it would ever have under way,
/// so that no stream waits for leave to go on.
const WINDOW: u32 = 32 << 20;

/// How an endpoint's channels are used.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Requests of a slot go over one stream.
    pub streaming: bool,
    /// Slots that share a channel.
    pub slots: u32,
    /// When it is asked whether it lives.
    pub keep_alive: Option<KeepAlive>,
}

impl Rule {
    /// That of `endpoint`, where it speaks gRPC.
    pub fn of(endpoint: &Endpoint) -> Option<Rule> {
        let kserve = endpoint.kserve.as_deref();
        spec(endpoint.kind).is_grpc().then(|| Rule {
            streaming: calls_stream(endpoint),
            slots: kserve.map_or(1, |kserve: &Kserve| kserve.streams_per_channel.max(1)),
            keep_alive: kserve.and_then(|kserve| kserve.keep_alive),
        })
    }
}

/// A slot's hold on a connection.
pub struct Channel {
    core: Rc<Core>,
    /// Remembers whether the stream that was opened last waits for leave.
    pub sender: SendRequest<Bytes>,
    /// None where a task moves it, or when it has ended.
    motor: Option<Box<Motor>>,
}

/// What all who share a connection know of it.
struct Core {
    sender: SendRequest<Bytes>,
    line: Rc<Line>,
    shared: Cell<bool>,
    ended: Cell<bool>,
    /// Why, where we know more than HTTP/2 does.
    why: RefCell<Option<Failure>>,
    /// Somebody has noticed.
    mourned: Cell<bool>,
}

impl Channel {
    /// Speaks HTTP/2 over an open transport, and waits until the server does.
    ///
    /// # Errors
    /// When it does not.
    pub async fn open(transport: Transport, rule: Rule) -> Result<Channel, Failure> {
        let line = transport.line().clone();
        let fail = |error: &h2::Error| failure::from_h2(Stage::Connect, error);
        let handshake = client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            // None until the server has said how many it takes.
            .initial_max_send_streams(0)
            .handshake(transport);
        let (sender, mut connection) = handshake.await.map_err(|error| fail(&error))?;
        let pinger = rule.keep_alive.zip(connection.ping_pong()).map(|(rule, pings)| Pinger::new(rule, pings, &line));
        let mut motor = Motor { connection, line: line.clone(), pinger };
        poll_fn(|cx| match motor.turn(cx) {
            Poll::Ready(why) => Poll::Ready(Err(why.unwrap_or_else(gone))),
            Poll::Pending if motor.connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
        .map_err(|why| Failure { stage: Stage::Connect, ..why })?;
        let core = Core {
            sender: sender.clone(),
            line,
            shared: Cell::new(false),
            ended: Cell::new(false),
            why: RefCell::default(),
            mourned: Cell::new(false),
        };
        Ok(Channel { core: Rc::new(core), sender, motor: Some(Box::new(motor)) })
    }

    /// Lets a task of this thread move it.
    fn share(mut self) -> Channel {
        if let Some(mut motor) = self.motor.take() {
            self.core.shared.set(true);
            // The task must not keep itself alive: the connection ends when nobody has it any more.
            let core = Rc::downgrade(&self.core);
            crate::tasks::spawn(async move {
                let why = poll_fn(|cx| motor.turn(cx)).await;
                if let Some(core) = core.upgrade() {
                    core.end(why);
                }
            });
        }
        self
    }

    /// Another hold on a shared one.
    fn of(core: Rc<Core>) -> Channel {
        Channel { sender: core.sender.clone(), core, motor: None }
    }

    /// What is noted of it.
    pub fn line(&self) -> &Rc<Line> {
        &self.core.line
    }

    /// Whether others may have it too.
    pub fn is_shared(&self) -> bool {
        self.core.shared.get()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.core.ended.get()
    }

    /// Why it ended, where HTTP/2 does not know.
    pub fn why(&self) -> Option<Failure> {
        self.core.why.borrow().clone()
    }

    /// It is of no use any more. Whether that is news.
    pub fn mourn(&self) -> bool {
        self.core.end(None);
        !self.core.mourned.replace(true)
    }

    /// Lets it do what it can, unless that is a task's work.
    pub fn turn(&mut self, cx: &mut Context<'_>) {
        let Some(motor) = &mut self.motor else { return };
        if let Poll::Ready(why) = motor.turn(cx) {
            self.core.end(why);
            // Tells the streams.
            self.motor = None;
        }
    }

    /// Ends it in order, as far as that needs no waiting; of a shared one only this hold.
    pub async fn close(self) {
        let Channel { core, sender, motor } = self;
        drop((core, sender));
        if let Some(mut motor) = motor {
            poll_fn(|cx| {
                let _ = motor.turn(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
}

impl Core {
    fn end(&self, why: Option<Failure>) {
        self.ended.set(true);
        if why.is_some() {
            *self.why.borrow_mut() = why;
        }
    }
}

fn gone() -> Failure {
    let message = "the server closed the connection".to_owned();
    Failure { stage: Stage::Body, class: FailureClass::Truncated, message }
}

/// What moves a connection.
struct Motor {
    connection: client::Connection<super::Transport, Bytes>,
    line: Rc<Line>,
    pinger: Option<Pinger>,
}

impl Motor {
    /// Writes what it can and reads once. Ready when the connection has ended, with why if it did not do so in order.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Failure>> {
        self.line.begin_turn();
        let moved = Pin::new(&mut self.connection).poll(cx);
        self.line.end_turn();
        match moved {
            Poll::Ready(ended) => Poll::Ready(ended.err().map(|error| failure::from_h2(Stage::Body, &error))),
            Poll::Pending => match &mut self.pinger {
                Some(pinger) => pinger.poll(cx, &self.line).map(Some),
                None => Poll::Pending,
            },
        }
    }
}

/// Asks a connection on which nothing comes whether it lives, while a request is on it.
struct Pinger {
    rule: KeepAlive,
    pings: h2::PingPong,
    timer: Pin<Box<Sleep>>,
    /// Reads when the timer was set.
    reads: u64,
    asked: bool,
}

impl Pinger {
    fn new(rule: KeepAlive, pings: h2::PingPong, line: &Line) -> Pinger {
        let at = line.clock().instant(line.clock().now() + rule.every);
        Pinger { rule, pings, timer: Box::pin(tokio::time::sleep_until(at.into())), reads: 0, asked: false }
    }

    /// Ready when the server did not answer in time.
    fn poll(&mut self, cx: &mut Context<'_>, line: &Line) -> Poll<Failure> {
        let reads = line.marks().newest().read;
        if self.asked && self.pings.poll_pong(cx).is_ready() {
            self.set(line, self.rule.every);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.asked && self.reads == reads {
                let message = format!("no answer to a keep-alive ping within {} s", self.rule.timeout.as_secs_f64());
                return Poll::Ready(Failure { stage: Stage::Body, class: FailureClass::Timeout, message });
            }
            if self.reads != reads {
                self.set(line, self.rule.every);
            } else if self.pings.send_ping(h2::Ping::opaque()).is_ok() {
                self.set(line, self.rule.timeout);
                self.asked = true;
                // It is sent in the next turn.
                cx.waker().wake_by_ref();
            } else {
                // One is under way still, and something came since.
                self.set(line, self.rule.timeout);
            }
        }
        Poll::Pending
    }

    fn set(&mut self, line: &Line, after: Nanos) {
        self.asked = false;
        self.reads = line.marks().newest().read;
        // Never at once, so that the loop above ends.
        let at = line.clock().now() + after.max(Nanos::from_millis(1));
        self.timer.as_mut().reset(line.clock().instant(at).into());
    }
}

/// The shared channels of one load thread.
#[derive(Default)]
pub struct Channels {
    seats: Cell<u32>,
    /// By server and number.
    places: RefCell<HashMap<(usize, u32), Rc<Place>>>,
}

/// Where a shared channel is, held while one is being opened.
type Place = Mutex<Weak<Core>>;

impl Channels {
    /// Another slot of the thread: its number there.
    pub fn take_seat(&self) -> u32 {
        self.seats.replace(self.seats.get() + 1)
    }

    /// The channel to server number `target` of the slot at `seat`, which shares it with its neighbours; one of them opens it. Whether
    /// it was this one.
    ///
    /// # Errors
    /// Those of `open`.
    pub async fn join(
        &self,
        target: usize,
        seat: u32,
        rule: Rule,
        open: impl Future<Output = Result<Channel, Failure>>,
    ) -> Result<(Channel, bool), Failure> {
        let place = self.places.borrow_mut().entry((target, seat / rule.slots)).or_default().clone();
        let mut place = place.lock().await;
        if let Some(core) = place.upgrade().filter(|core| !core.ended.get()) {
            return Ok((Channel::of(core), false));
        }
        let channel = open.await?.share();
        *place = Rc::downgrade(&channel.core);
        Ok((channel, true))
    }
}
