//! One HTTP/2 connection. It is driven by the slot that owns it, or by its own task if several slots share it.
//!
//! The driver reads once per turn (see [`StampedSocket::begin_turn`]). A slot that owns the connection consumes everything from a read
//! before it reads again. On a shared channel, the tasks of the streams that a read woke are queued before the driver's task, so they too
//! run before the next read. Output of HTTP/2 therefore always belongs to the newest read.

use super::socket::{StampedSocket, Transport};
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
use streamgauge_core::kserve::{self, KeepAlive};
use streamgauge_core::plan::Endpoint;
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_wire::endpoints::{calls_stream, spec};
use tokio::sync::Mutex;
use tokio::time::Sleep;

/// The flow-control window of a stream and of the connection, in bytes. It is larger than what a server ever has in flight, so that no stream
/// has to wait for a window update.
const WINDOW: u32 = 32 << 20;

/// How an endpoint's channels are used.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Whether the requests of a slot share one stream.
    pub streaming: bool,
    /// Slots that share a channel.
    pub slots: u32,
    /// When a keep-alive ping is sent.
    pub keep_alive: Option<KeepAlive>,
}

impl Rule {
    /// The rule of `endpoint`; `None` if it does not use gRPC.
    pub fn of(endpoint: &Endpoint, channels: kserve::Channels) -> Option<Rule> {
        spec(endpoint.kind).is_grpc().then(|| Rule {
            streaming: calls_stream(endpoint),
            slots: channels.streams_per_channel.max(1),
            keep_alive: channels.keep_alive,
        })
    }
}

/// A slot's hold on a connection.
pub struct Channel {
    core: Rc<Core>,
    /// Remembers whether the newest stream still waits to be opened.
    pub sender: SendRequest<Bytes>,
    /// `None` if a task drives the connection, or if it has ended.
    driver: Option<Box<Driver>>,
}

/// The state that all slots of a shared connection see.
struct Core {
    sender: SendRequest<Bytes>,
    socket: Rc<StampedSocket>,
    shared: Cell<bool>,
    ended: Cell<bool>,
    /// Why it ended, where more is known than HTTP/2 reports.
    why: RefCell<Option<Failure>>,
    /// A slot has noticed the loss.
    loss_noticed: Cell<bool>,
}

impl Channel {
    /// Speaks HTTP/2 over an open transport, and waits until the server does.
    ///
    /// # Errors
    /// When it does not.
    pub async fn open(transport: Transport, rule: Rule) -> Result<Channel, Failure> {
        let socket = transport.socket().clone();
        let fail = |error: &h2::Error| failure::from_h2(Stage::Connect, error);
        let handshake = client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            // No stream is opened until the server has sent how many it allows.
            .initial_max_send_streams(0)
            .handshake(transport);
        let (sender, mut connection) = handshake.await.map_err(|error| fail(&error))?;
        let pinger = rule.keep_alive.zip(connection.ping_pong()).map(|(rule, pings)| Pinger::new(rule, pings, &socket));
        let mut driver = Driver { connection, socket: socket.clone(), pinger };
        poll_fn(|cx| match driver.turn(cx) {
            Poll::Ready(why) => Poll::Ready(Err(why.unwrap_or_else(gone))),
            Poll::Pending if driver.connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
        .map_err(|why| Failure { stage: Stage::Connect, ..why })?;
        let core = Core {
            sender: sender.clone(),
            socket,
            shared: Cell::new(false),
            ended: Cell::new(false),
            why: RefCell::default(),
            loss_noticed: Cell::new(false),
        };
        Ok(Channel { core: Rc::new(core), sender, driver: Some(Box::new(driver)) })
    }

    /// Lets a task of this thread drive the connection.
    fn share(mut self) -> Channel {
        if let Some(mut driver) = self.driver.take() {
            self.core.shared.set(true);
            // The task must not keep itself alive: the connection ends when nobody has it any more.
            let core = Rc::downgrade(&self.core);
            crate::tasks::spawn(async move {
                let why = poll_fn(|cx| driver.turn(cx)).await;
                if let Some(core) = core.upgrade() {
                    core.end(why);
                }
            });
        }
        self
    }

    /// Another hold on a shared one.
    fn of(core: Rc<Core>) -> Channel {
        Channel { sender: core.sender.clone(), core, driver: None }
    }

    /// What is noted of it.
    pub fn socket(&self) -> &Rc<StampedSocket> {
        &self.core.socket
    }

    /// Whether other slots may share it.
    pub fn is_shared(&self) -> bool {
        self.core.shared.get()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.core.ended.get()
    }

    /// Why it ended, where more is known than HTTP/2 reports.
    pub fn why(&self) -> Option<Failure> {
        self.core.why.borrow().clone()
    }

    /// Records that the connection is lost. Returns whether no slot had noticed that before.
    pub fn mark_lost(&self) -> bool {
        self.core.end(None);
        !self.core.loss_noticed.replace(true)
    }

    /// Drives the connection as far as possible without waiting, unless a task does so.
    pub fn turn(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        if let Poll::Ready(why) = driver.turn(cx) {
            self.core.end(why);
            // Dropping the driver ends the streams.
            self.driver = None;
        }
    }

    /// Closes the connection in order, as far as that needs no waiting. A shared connection stays open for the other slots.
    pub async fn close(self) {
        let Channel { core, sender, driver } = self;
        drop((core, sender));
        if let Some(mut driver) = driver {
            poll_fn(|cx| {
                let _ = driver.turn(cx);
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

/// Drives a connection.
struct Driver {
    connection: client::Connection<super::Transport, Bytes>,
    socket: Rc<StampedSocket>,
    pinger: Option<Pinger>,
}

impl Driver {
    /// Writes as much as possible and reads once. Ready when the connection has ended, with the failure if it did not end in order.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Failure>> {
        self.socket.begin_turn();
        let moved = Pin::new(&mut self.connection).poll(cx);
        self.socket.end_turn();
        match moved {
            Poll::Ready(ended) => Poll::Ready(ended.err().map(|error| failure::from_h2(Stage::Body, &error))),
            Poll::Pending => match &mut self.pinger {
                Some(pinger) => pinger.poll(cx, &self.socket).map(Some),
                None => Poll::Pending,
            },
        }
    }
}

/// Sends keep-alive pings while nothing arrives on the connection.
struct Pinger {
    rule: KeepAlive,
    pings: h2::PingPong,
    timer: Pin<Box<Sleep>>,
    /// Reads when the timer was set.
    reads: u64,
    asked: bool,
}

impl Pinger {
    fn new(rule: KeepAlive, pings: h2::PingPong, socket: &StampedSocket) -> Pinger {
        let at = socket.clock().instant(socket.clock().now() + rule.every);
        Pinger { rule, pings, timer: Box::pin(tokio::time::sleep_until(at.into())), reads: 0, asked: false }
    }

    /// Ready when the server has not answered a ping in time.
    fn poll(&mut self, cx: &mut Context<'_>, socket: &StampedSocket) -> Poll<Failure> {
        let reads = socket.stamps().newest().read;
        if self.asked && self.pings.poll_pong(cx).is_ready() {
            self.set(socket, self.rule.every);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.asked && self.reads == reads {
                let message = format!("no answer to a keep-alive ping within {} s", self.rule.timeout.as_secs_f64());
                return Poll::Ready(Failure { stage: Stage::Body, class: FailureClass::Timeout, message });
            }
            if self.reads != reads {
                self.set(socket, self.rule.every);
            } else if self.pings.send_ping(h2::Ping::opaque()).is_ok() {
                self.set(socket, self.rule.timeout);
                self.asked = true;
                // The ping is written in the next turn.
                cx.waker().wake_by_ref();
            } else {
                // An earlier ping is still in flight, and something has arrived since.
                self.set(socket, self.rule.timeout);
            }
        }
        Poll::Pending
    }

    fn set(&mut self, socket: &StampedSocket, after: Nanos) {
        self.asked = false;
        self.reads = socket.stamps().newest().read;
        // Never immediately, so that the loop in `poll` ends.
        let at = socket.clock().now() + after.max(Nanos::from_millis(1));
        self.timer.as_mut().reset(socket.clock().instant(at).into());
    }
}

/// The shared channels of one load thread.
#[derive(Default)]
pub struct Channels {
    seats: Cell<u32>,
    /// The channels, by server and number.
    places: RefCell<HashMap<(usize, u32), Rc<Place>>>,
}

/// Holds a shared channel. It is locked while the channel is being opened.
type Place = Mutex<Weak<Core>>;

impl Channels {
    /// The number of a further slot of the thread, counted from 0.
    pub fn take_seat(&self) -> u32 {
        self.seats.replace(self.seats.get() + 1)
    }

    /// Returns the channel of the slot at `seat` to server number `target`, and whether this slot opened it. Neighbouring slots share a
    /// channel, and the first of them opens it.
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
