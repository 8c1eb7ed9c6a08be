//! The addresses of one server: connections go to them in turn, and one that did not answer stands back for a while.

use crate::tasks;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use tokio::net::TcpStream;

/// How long an address that did not answer stands back: long enough that a dead one is no traffic, short enough that one
/// that is back has its share of a run again.
const REST: Nanos = Nanos::from_millis(5_000);
/// An address that has said nothing for so long is no longer waited for alone (RFC 8305, section 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// The value instead of a time for an address that works.
const WELL: i64 = i64::MIN;

/// All addresses of a server. Copies share their state.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Shared>);

struct Shared {
    all: Vec<Address>,
    /// Connections so far.
    turn: AtomicUsize,
}

struct Address {
    at: SocketAddr,
    /// Until when on the run's clock it stands back, or [`WELL`].
    rests: AtomicI64,
}

/// A connection that is being opened to the address with this index.
type Try<F> = (usize, Pin<Box<F>>);

impl Addresses {
    /// The addresses in `found`, each once, in their order.
    pub fn new(found: impl IntoIterator<Item = SocketAddr>) -> Addresses {
        let mut all: Vec<Address> = Vec::new();
        for at in found {
            if all.iter().all(|address| address.at != at) {
                all.push(Address { at, rests: AtomicI64::new(WELL) });
            }
        }
        Addresses(Arc::new(Shared { all, turn: AtomicUsize::new(0) }))
    }

    /// Every address.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.all.iter().map(|address| address.at)
    }

    /// Whether all of them stand back: none answered lately.
    pub fn all_rest(&self, now: Nanos) -> bool {
        self.0.all.iter().all(|address| address.rests.load(Ordering::Relaxed) > now.0)
    }

    /// The address with this index took a connection and could do nothing with it: it stands back.
    pub fn stand_back(&self, index: usize, now: Nanos) {
        self.0.all[index].rest(now);
    }

    /// Connects to the next address in turn, and returns the connection with the address's index. If an address refuses, the next is tried
    /// at once; if it does not respond, the next races it. Addresses that failed recently are tried last, and whether they work again is
    /// found out in the background, so that no request pays for it. There is no total time limit; the caller sets one.
    ///
    /// # Errors
    /// The system's, for the address that failed last.
    pub async fn connect(&self, clock: SystemClock) -> io::Result<(usize, TcpStream)> {
        let mut waiting = self.order(clock).into_iter();
        let (mut tries, mut newest) = (Vec::new(), 0);
        let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address");
        loop {
            match waiting.next() {
                Some(index) => {
                    newest = index;
                    tries.push((index, Box::pin(TcpStream::connect(self.0.all[index].at))));
                }
                None if tries.is_empty() => return Err(failed),
                None => {}
            }
            let patience = (waiting.len() > 0).then_some(HEAD_START);
            match first_to_end(&mut tries, patience).await {
                Some((index, Ok(tcp))) => {
                    self.0.all[index].answers();
                    return Ok((index, tcp));
                }
                Some((index, Err(error))) => {
                    if !is_ours(&error) {
                        self.0.all[index].rest(clock.now());
                    }
                    failed = error;
                }
                None => self.0.all[newest].rest(clock.now()),
            }
        }
    }

    /// All addresses: those that are well in turn, then the others in turn.
    fn order(&self, clock: SystemClock) -> Vec<usize> {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let (mut order, mut resting): (Vec<usize>, Vec<usize>) =
            (0..self.0.all.len()).partition(|index| self.0.all[*index].is_well());
        for list in [&mut order, &mut resting] {
            // Modulo the length of the list, which may be 0.
            let first = turn.checked_rem(list.len()).unwrap_or(0);
            list.rotate_left(first);
        }
        if !order.is_empty() {
            resting.iter().for_each(|index| self.ask_beside(*index, clock));
        }
        order.extend(resting);
        order
    }

    /// Finds out whether a resting address is back, if its time is over and nobody else does.
    fn ask_beside(&self, index: usize, clock: SystemClock) {
        let now = clock.now();
        if !self.0.all[index].begin_next_rest(now) {
            return;
        }
        let shared = self.0.clone();
        tasks::spawn(async move {
            let address = &shared.all[index];
            if let Ok(Ok(_)) = tokio::time::timeout(REST.to_duration(), TcpStream::connect(address.at)).await {
                address.answers();
            }
        });
    }
}

impl Address {
    fn is_well(&self) -> bool {
        self.rests.load(Ordering::Relaxed) == WELL
    }

    fn answers(&self) {
        self.rests.store(WELL, Ordering::Relaxed);
    }

    fn rest(&self, now: Nanos) {
        self.rests.store((now + REST).0, Ordering::Relaxed);
    }

    /// Starts another rest if one is over; false when it is not, or when somebody else did.
    fn begin_next_rest(&self, now: Nanos) -> bool {
        let until = self.rests.load(Ordering::Relaxed);
        until != WELL
            && until <= now.0
            && self.rests.compare_exchange(until, (now + REST).0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Waits for the first of `tries` to end and removes it, or returns `None` when `patience` is over.
async fn first_to_end<F: Future>(tries: &mut Vec<Try<F>>, patience: Option<Duration>) -> Option<(usize, F::Output)> {
    let mut silence = pin!(tokio::time::sleep(patience.unwrap_or_default()));
    poll_fn(|cx| {
        for place in 0..tries.len() {
            if let Poll::Ready(done) = tries[place].1.as_mut().poll(cx) {
                return Poll::Ready(Some((tries.swap_remove(place).0, done)));
            }
        }
        if patience.is_some() { silence.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
    })
    .await
}

/// Whether a failure to connect says nothing of the other side: this machine had no descriptor or port left.
fn is_ours(error: &io::Error) -> bool {
    crate::failure::class_of(error) == streamgauge_core::record::FailureClass::Exhausted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tokio::net::TcpSocket;
    use tokio::task::LocalSet;

    fn block_on(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, work);
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    /// Bound and not listening: it refuses, and nobody else can take it meanwhile.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let at = socket.local_addr().unwrap();
        (socket, at)
    }

    /// The addresses of the next connections, as indices.
    async fn next<const N: usize>(addresses: &Addresses, clock: SystemClock) -> [usize; N] {
        let mut went = [0; N];
        for place in &mut went {
            let (index, tcp) = addresses.connect(clock).await.unwrap();
            assert_eq!(addresses.iter().nth(index), tcp.peer_addr().ok());
            *place = index;
        }
        went
    }

    #[test]
    fn connections_go_to_each_address_in_turn() {
        let listeners = [listener(), listener(), listener()];
        let found: Vec<SocketAddr> = listeners.iter().map(|(_, at)| *at).collect();
        // A resolver may name an address twice.
        let addresses = Addresses::new(found.iter().chain(&found).copied());
        block_on(async {
            assert_eq!(next(&addresses, SystemClock::start()).await, [0, 1, 2, 0, 1, 2]);
        });
    }

    #[test]
    fn one_that_refuses_stands_back_and_the_others_share_its_part() {
        let ((_kept, refusing), first, second) = (closed(), listener(), listener());
        let addresses = Addresses::new([refusing, first.1, second.1]);
        let clock = SystemClock::start();
        block_on(async {
            assert_eq!(next(&addresses, clock).await, [1, 2, 1, 2, 1]);
            let well: Vec<bool> = addresses.0.all.iter().map(Address::is_well).collect();
            assert_eq!(well, [false, true, true]);
            assert!(!addresses.all_rest(clock.now()));
        });
    }

    #[test]
    fn the_last_failure_is_told_when_all_fail_and_all_are_asked_again() {
        let ((_kept, first), (_too, second)) = (closed(), closed());
        let addresses = Addresses::new([first, second]);
        let clock = SystemClock::start();
        block_on(async {
            for _ in 0..2 {
                let error = addresses.connect(clock).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            let rests: Vec<i64> = addresses.0.all.iter().map(|address| address.rests.load(Ordering::Relaxed)).collect();
            let last = rests.iter().copied().max().map(Nanos).unwrap();
            assert!(addresses.all_rest(rests.iter().copied().min().map(|until| Nanos(until - 1)).unwrap()));
            assert!(!addresses.all_rest(last));
        });
    }

    #[test]
    fn one_that_is_back_is_found_out_beside_the_load() {
        let (first, second) = (listener(), listener());
        let addresses = Addresses::new([first.1, second.1]);
        let clock = SystemClock::start();
        block_on(async {
            addresses.0.all[0].rest(clock.now());
            assert_eq!(next(&addresses, clock).await, [1, 1, 1]);
            // Its time is over: the connection that notices goes elsewhere all the same.
            addresses.0.all[0].rests.store(clock.now().0, Ordering::Relaxed);
            assert_eq!(next(&addresses, clock).await, [1]);
            while !addresses.0.all[0].is_well() {
                tokio::task::yield_now().await;
            }
            let went: [usize; 4] = next(&addresses, clock).await;
            assert_eq!(went.iter().sum::<usize>(), 2, "{went:?}");
        });
    }

    #[test]
    fn one_asker_a_rest() {
        let address = Address { at: ([127, 0, 0, 1], 1).into(), rests: AtomicI64::new(WELL) };
        let at = Nanos::from_millis;
        assert!(!address.begin_next_rest(at(0)));
        address.rest(at(0));
        assert_eq!([4_999, 5_000, 5_000].map(|now| address.begin_next_rest(at(now))), [false, true, false]);
        assert!(address.begin_next_rest(at(10_000)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_that_says_nothing_is_raced_and_stands_back() {
        let good = listener();
        let clock = SystemClock::start();
        block_on(async {
            // A queue of none: Linux lets one connection wait and answers no further.
            let (socket, at) = closed();
            let _silent = socket.listen(0).unwrap();
            let mut waiting = Vec::new();
            while let Ok(Ok(tcp)) = tokio::time::timeout(HEAD_START, TcpStream::connect(at)).await {
                waiting.push(tcp);
                assert!(waiting.len() < 64, "no system takes so many beyond a queue of none");
            }
            let addresses = Addresses::new([at, good.1]);
            assert_eq!(next(&addresses, clock).await, [1]);
            assert!(!addresses.0.all[0].is_well());
            // With nothing else to try it is waited for, and no longer than the caller likes.
            let alone = Addresses::new([at]);
            assert!(tokio::time::timeout(2 * HEAD_START, alone.connect(clock)).await.is_err());
        });
    }

    #[test]
    fn a_lack_on_this_side_says_nothing_of_the_other() {
        assert!(is_ours(&io::Error::from_raw_os_error(24)) && is_ours(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!is_ours(&io::ErrorKind::ConnectionRefused.into()) && !is_ours(&io::ErrorKind::TimedOut.into()));
    }
}
