//! A TCP stream whose reads carry the time at which the kernel received the bytes.
//!
//! On Linux every segment that arrives on a socket with `SO_TIMESTAMPING` (`RX_SOFTWARE | SOFTWARE`) is stamped on its way up the stack.
//! `recvmsg` returns the stamp of the newest byte in a control message, as a time of the wall clock
//! (Documentation/networking/timestamping.rst). A late reader therefore still knows when the bytes arrived. It loses only the differences
//! between bytes that accumulated meanwhile, which share one stamp.

use std::io;
use std::task::{Context, Poll, ready};
use streamgauge_core::clock::{Clock, Nanos, Reading, SystemClock};
use streamgauge_core::plan::Stamps;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Bytes read; 0 is the end of the stream.
    pub len: usize,
    /// When they came, on the run's clock: by the kernel's stamp where there is one, else the time of the read.
    pub at: Nanos,
    /// How much later than the kernel we read them; absent without a kernel stamp, and with one that steps of the wall clock
    /// have left without a place on the run's.
    pub lag: Option<Nanos>,
}

/// A TCP stream with stamped reads, Nagle's algorithm off.
#[derive(Debug)]
pub struct StampedStream {
    tcp: TcpStream,
    clock: SystemClock,
    kernel: bool,
    /// Both clocks at a moment before whatever is unread came: what stamps are placed by when the wall clock is stepped.
    before: Reading,
    /// The next read asks the kernel at once, whatever the runtime knows; see [`StampedStream::idle`].
    eager: bool,
}

/// The state of a connection on which nothing is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The peer closed it.
    Closed,
    /// Bytes wait unread.
    Pending,
    /// Nothing arrived.
    Quiet,
}

impl StampedStream {
    /// Takes over `tcp`. Kernel stamps are on when `stamps` asks for them and the system has them; see
    /// [`StampedStream::kernel_stamps`].
    ///
    /// # Errors
    /// When the socket refuses `TCP_NODELAY`.
    pub fn new(tcp: TcpStream, clock: SystemClock, stamps: Stamps) -> io::Result<StampedStream> {
        tcp.set_nodelay(true)?;
        let kernel = stamps == Stamps::Kernel && system::enable(&tcp);
        Ok(StampedStream { tcp, clock, kernel, before: clock.read(), eager: false })
    }

    /// Whether reads carry the kernel's stamps.
    pub fn kernel_stamps(&self) -> bool {
        self.kernel
    }

    /// Reads into `buf` as soon as there is something.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<Receipt>> {
        if std::mem::take(&mut self.eager) {
            match system::receive(&self.tcp, buf) {
                Ok((len, stamp)) => return Poll::Ready(Ok(self.receipt(len, stamp))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            let tcp = &self.tcp;
            let mut got = None;
            let tried = tcp.try_io(Interest::READABLE, || {
                let (len, stamp) = system::receive(tcp, buf)?;
                got = Some((len, stamp));
                // A read that left room has emptied the socket. Saying so here clears exactly the readiness that led to this
                // read; bytes that come later make an edge of their own, whenever it is noticed.
                if len > 0 && len < buf.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (got, tried) {
                (Some((len, stamp)), _) => return Poll::Ready(Ok(self.receipt(len, stamp))),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                (None, _) => {}
            }
        }
    }

    /// [`StampedStream::poll_receive`] as a future.
    ///
    /// # Errors
    /// The socket's.
    pub async fn receive(&mut self, buf: &mut [u8]) -> io::Result<Receipt> {
        std::future::poll_fn(|cx| self.poll_receive(cx, buf)).await
    }

    /// Hands bytes to the kernel; how many it took.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes)
    }

    /// Hands all of `bytes` to the kernel.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = std::future::poll_fn(|cx| self.poll_send(cx, &[io::IoSlice::new(bytes)])).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Whether the kernel acknowledges at once what comes from now on (`TCP_QUICKACK`), or waits up to 40 ms for a write that
    /// could carry the acknowledgement. The kernel falls back to waiting with later writes, so that this has to be said again
    /// after each request. Does nothing on systems without the option.
    ///
    /// # Errors
    /// The socket's.
    pub fn acknowledge_at_once(&self, at_once: bool) -> io::Result<()> {
        system::acknowledge_at_once(&self.tcp, at_once)
    }

    /// Closes our side for writing.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// The state of a connection on which nothing is expected. It asks the kernel, because the runtime learns of a close only at its next
    /// turn. If bytes wait, the next read finds them without that turn.
    pub fn idle(&mut self) -> Idle {
        let reading = self.clock.read();
        let idle = system::idle(&self.tcp);
        if idle == Idle::Quiet {
            self.before = reading;
        }
        self.eager = idle == Idle::Pending;
        idle
    }

    /// Drops the connection with a reset instead of an orderly end.
    ///
    /// # Errors
    /// The socket's.
    pub fn reset(self) -> io::Result<()> {
        self.tcp.set_zero_linger()
    }

    fn receipt(&mut self, len: usize, stamp: Option<i64>) -> Receipt {
        let now = self.clock.read();
        let stamp = stamp.filter(|_| self.kernel).map(|stamp| self.clock.kernel_stamp(stamp));
        let placed = stamp.and_then(|stamp| now.place_after(self.before, stamp));
        // Bytes of the next read arrived after these bytes, but perhaps before the clocks were read.
        self.before = placed.unwrap_or_else(|| now.moved_to(self.before.run));
        let at = placed.map(|placed| placed.run);
        Receipt { len, at: at.unwrap_or(now.run), lag: at.map(|at| now.run - at) }
    }

    /// The run's clock.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::Idle;
    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, TimestampingFlag, recv, recvmsg, setsockopt, sockopt::Timestamping,
    };
    use std::cell::RefCell;
    use std::io::{self, IoSliceMut};
    use std::os::fd::AsRawFd;
    use tokio::net::TcpStream;

    pub fn enable(tcp: &TcpStream) -> bool {
        let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(tcp, Timestamping, &flags).is_ok()
    }

    thread_local! {
        /// The buffer in which the kernel returns stamps: three timespecs, one for software and two for hardware stamps, which are never
        /// requested. There is one per thread instead of one per stream, so that it stays in the cache.
        static CONTROL: RefCell<Vec<u8>> = RefCell::new(nix::cmsg_space!([nix::sys::time::TimeSpec; 3]));
    }

    /// Bytes read and the kernel's wall-clock stamp, if it gave one.
    pub fn receive(tcp: &TcpStream, buf: &mut [u8]) -> io::Result<(usize, Option<i64>)> {
        CONTROL.with_borrow_mut(|control| {
            let mut parts = [IoSliceMut::new(buf)];
            let message = recvmsg::<()>(tcp.as_raw_fd(), &mut parts, Some(control), MsgFlags::empty())?;
            let stamp = message.cmsgs()?.find_map(|item| match item {
                ControlMessageOwned::ScmTimestampsns(stamps) => {
                    Some(stamps.system.tv_sec() * 1_000_000_000 + stamps.system.tv_nsec()).filter(|ns| *ns > 0)
                }
                _ => None,
            });
            Ok((message.bytes, stamp))
        })
    }

    pub fn acknowledge_at_once(tcp: &TcpStream, at_once: bool) -> io::Result<()> {
        tcp.set_quickack(at_once)
    }

    pub fn idle(tcp: &TcpStream) -> Idle {
        match recv(tcp.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Err(nix::errno::Errno::EAGAIN) => Idle::Quiet,
            Ok(0) | Err(_) => Idle::Closed,
            Ok(_) => Idle::Pending,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Idle;
    use std::io;
    use tokio::net::TcpStream;

    pub fn enable(_: &TcpStream) -> bool {
        false
    }

    pub fn receive(tcp: &TcpStream, buf: &mut [u8]) -> io::Result<(usize, Option<i64>)> {
        tcp.try_read(buf).map(|len| (len, None))
    }

    pub fn acknowledge_at_once(_: &TcpStream, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub fn idle(tcp: &TcpStream) -> Idle {
        // Only the state that the runtime has seen: there is no portable peek that does not wait. A close that it has not seen yet costs a
        // retry.
        match tcp.try_read(&mut []) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Idle::Closed,
            _ => Idle::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn on_runtime<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    }

    async fn pair(stamps: Stamps) -> (StampedStream, std::net::TcpStream) {
        pair_on(SystemClock::start(), stamps).await
    }

    async fn pair_on(clock: SystemClock, stamps: Stamps) -> (StampedStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (StampedStream::new(ours, clock, stamps).unwrap(), theirs)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_late_reader_still_learns_when_the_bytes_came() {
        on_runtime(async {
            let (mut ours, mut theirs) = pair(Stamps::Kernel).await;
            assert!(ours.kernel_stamps());
            let mut buf = [0; 64];
            // The kernel starts to stamp a moment after the machine's first socket asks for it.
            for _ in 0..100 {
                let before = ours.clock().now();
                theirs.write_all(b"token").unwrap();
                let after = ours.clock().now();
                std::thread::sleep(std::time::Duration::from_millis(30));
                let receipt = ours.receive(&mut buf).await.unwrap();
                assert_eq!(&buf[..receipt.len], b"token");
                let Some(lag) = receipt.lag else { continue };
                assert!(lag >= Nanos::from_millis(29), "{lag}");
                // The two clocks are read a moment apart, so the stamp may seem that moment early or late.
                let moment = Nanos::from_millis(20);
                assert!(receipt.at + moment >= before && receipt.at <= after + moment, "{} {before}", receipt.at);
                return;
            }
            panic!("no read was stamped");
        });
    }

    /// When a step of the wall clock comes.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[cfg(target_os = "linux")]
    enum Moment {
        /// Before the bytes, after the read of those before them.
        Between,
        /// While the bytes wait to be read.
        Waiting,
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_step_of_the_wall_clock_moves_no_stamp() {
        use std::time::Duration;
        on_runtime(async {
            let hour = Nanos::from_millis(3_600_000);
            for (step, moment) in
                [(hour, Moment::Between), (-hour, Moment::Between), (hour, Moment::Waiting), (-hour, Moment::Waiting)]
            {
                let (clock, steps) = SystemClock::with_steps();
                let (mut ours, mut theirs) = pair_on(clock, Stamps::Kernel).await;
                let mut buf = [0; 64];
                let mut stamped = 0;
                for number in 0..30 {
                    let steps_now = |at: Moment| (at == moment && number % 3 == 2).then(|| steps.step(step));
                    std::thread::sleep(Duration::from_millis(2));
                    steps_now(Moment::Between);
                    let before = clock.now();
                    theirs.write_all(b"token").unwrap();
                    let after = clock.now();
                    std::thread::sleep(Duration::from_millis(6));
                    steps_now(Moment::Waiting);
                    std::thread::sleep(Duration::from_millis(6));
                    let receipt = ours.receive(&mut buf).await.unwrap();
                    let Some(lag) = receipt.lag else { continue };
                    stamped += 1;
                    // The stamp is neither an hour off nor the time of the read itself.
                    let moment = Nanos::from_millis(3);
                    assert!(
                        receipt.at + moment >= before && receipt.at <= after + moment,
                        "{step} {number} {receipt:?} {before}"
                    );
                    assert!(lag >= Nanos::from_millis(9), "{step} {number} {lag}");
                }
                assert!(stamped >= 20, "{stamped} of 30 reads were stamped");
            }
        });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn bytes_of_several_reads_from_before_a_step_keep_their_time() {
        on_runtime(async {
            let (clock, steps) = SystemClock::with_steps();
            let (mut ours, mut theirs) = pair_on(clock, Stamps::Kernel).await;
            for step in [Nanos::from_millis(90_000), Nanos::from_millis(-90_000)] {
                // The kernel starts to stamp a moment after the machine's first socket asks for it.
                while ours.idle() != Idle::Quiet {}
                for _ in 0..4 {
                    theirs.write_all(b"four").unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                let written = clock.now();
                steps.step(step);
                let mut receipts = Vec::new();
                for _ in 0..4 {
                    receipts.push(ours.receive(&mut [0; 4]).await.unwrap());
                }
                let stamped: Vec<Nanos> =
                    receipts.iter().filter(|read| read.lag.is_some()).map(|read| read.at).collect();
                assert!(
                    stamped.is_sorted() && stamped.iter().all(|at| *at <= written),
                    "{step} {receipts:?} {written}"
                );
                assert!(stamped.iter().all(|at| *at >= written - Nanos::from_millis(5_000)), "{step} {receipts:?}");
            }
        });
    }

    #[test]
    fn without_kernel_stamps_the_lag_is_unknown() {
        on_runtime(async {
            let (mut ours, mut theirs) = pair(Stamps::User).await;
            theirs.write_all(b"x").unwrap();
            let receipt = ours.receive(&mut [0; 8]).await.unwrap();
            assert_eq!((receipt.len, receipt.lag), (1, None));
        });
    }

    #[test]
    fn bytes_after_a_short_read_are_not_missed() {
        on_runtime(async {
            let (mut ours, mut theirs) = pair(Stamps::Kernel).await;
            let echo = std::thread::spawn(move || {
                let mut one = [0];
                for _ in 0..200 {
                    theirs.write_all(b"ping").unwrap();
                    theirs.read_exact(&mut one).unwrap();
                }
            });
            let mut buf = [0; 64];
            for _ in 0..200 {
                assert_eq!(ours.receive(&mut buf).await.unwrap().len, 4);
                ours.send_all(b"!").await.unwrap();
            }
            assert_eq!(ours.receive(&mut buf).await.unwrap().len, 0);
            echo.join().unwrap();
        });
    }

    #[test]
    fn what_happens_to_an_idle_connection_is_seen() {
        on_runtime(async {
            let (mut ours, mut theirs) = pair(Stamps::Kernel).await;
            assert_eq!(ours.idle(), Idle::Quiet);
            theirs.write_all(b"late").unwrap();
            while ours.idle() == Idle::Quiet {}
            assert_eq!(ours.idle(), Idle::Pending);
            assert_eq!(ours.receive(&mut [0; 8]).await.unwrap().len, 4);
            drop(theirs);
            while ours.idle() == Idle::Quiet {}
            assert_eq!(ours.idle(), Idle::Closed);
        });
    }
}
