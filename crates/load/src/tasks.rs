//! The tasks of one load thread, in two queues: tasks of due requests go first.
//!
//! An event that waits to be read loses nothing by waiting, because the kernel has stamped it. A request that is due does. A runtime with
//! one queue serves both in the order of their wake-ups, so that each overdue request waits for a whole round of reads. Here a task that
//! is woken because a request is due goes ahead of all others, and the clock is read after each task, so that a deadline waits at most for
//! the task that is being polled. All other tasks run in the order of their wake-ups.
//!
//! The executor runs as one future of the thread's runtime, which continues to drive sockets and timers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_net::Timer;

/// Polls between two looks at the sockets, as in the runtime's own queue.
const TURN: usize = 61;
/// The maximum number of tasks that go ahead of the others in a row; then all tasks that were ready get their turn. A send takes about 20
/// µs, so no event waits for much more than a millisecond of them, even when thousands of requests are due together.
const AHEAD: usize = 64;
/// Reads that one poll may make while nothing is due, so that a stream that always has more keeps nobody from their turn.
const READS: u32 = 64;
/// Reads that one poll makes whatever is due: what one event needs, the look included that finds nothing more.
const READS_WHILE_DUE: u32 = 4;

/// In the queue of those that are ready.
const READY: u8 = 1;
/// In the queue of those that go first.
const DUE: u8 = 2;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of this thread.
pub(crate) struct Tasks {
    clock: SystemClock,
    timer: Timer,
    shared: Arc<Shared>,
    /// The tasks by number; `None` if there is no such task or it is being polled.
    tasks: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<usize>>,
    /// The tasks that were ready when this was last filled, in order.
    ready: RefCell<VecDeque<usize>>,
    /// The task that waits for a moment so near that the clock is polled until then.
    near: RefCell<BTreeMap<(Nanos, u64), Waker>>,
    next_near: Cell<u64>,
    /// The number of tasks that went ahead in a row.
    ahead: Cell<usize>,
    /// Tasks that must get their turn before another goes ahead.
    owed: Cell<usize>,
    /// Reads of the task that is being polled.
    reads: Cell<u32>,
}

struct Entry {
    future: LocalFuture,
    task: Arc<Task>,
    waker: Waker,
}

/// The state that wakers reach, from any thread.
struct Shared {
    lists: Mutex<Lists>,
    /// Something is in the queue of those that go first.
    has_due: AtomicBool,
    /// Whether tasks that are woken now go first.
    first: AtomicBool,
}

#[derive(Default)]
struct Lists {
    due: VecDeque<usize>,
    ready: VecDeque<usize>,
    /// Wakes the thread, where it sleeps.
    sleeper: Option<Waker>,
}

/// One task as its wakers know it.
struct Task {
    number: usize,
    queued: AtomicU8,
    shared: Arc<Shared>,
}

thread_local! {
    /// The tasks that are being run on this thread.
    static CURRENT: RefCell<Option<Rc<Tasks>>> = const { RefCell::new(None) };
}

fn current() -> Option<Rc<Tasks>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Starts a task on this thread. Where none of [`Tasks`] run it is the runtime's.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    match current() {
        Some(tasks) => tasks.start(future),
        None => drop(tokio::task::spawn_local(future)),
    }
}

/// Has everyone whom `wake` wakes, and every task that it starts, go ahead of the others.
pub(crate) fn first<T>(wake: impl FnOnce() -> T) -> T {
    let tasks = current();
    let before = tasks.as_ref().map(|tasks| tasks.shared.first.swap(true, Ordering::Relaxed));
    let woken = wake();
    if let (Some(tasks), Some(before)) = (tasks, before) {
        tasks.shared.first.store(before, Ordering::Relaxed);
    }
    woken
}

/// Waits until `at` by looking at the clock again and again, between which the thread's other tasks go on. For the last moments of
/// a wait.
pub(crate) async fn look_until(clock: SystemClock, at: Nanos) {
    let Some(tasks) = current() else {
        while clock.now() < at {
            tokio::task::yield_now().await;
        }
        return;
    };
    let mut waits = false;
    poll_fn(|cx| {
        if clock.now() >= at {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut waits, true) {
            let turn = tasks.next_near.replace(tasks.next_near.get() + 1);
            tasks.near.borrow_mut().insert((at, turn), cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// Whether the task that is being polled may read once more. Otherwise it has had its turn, and must wake itself.
pub(crate) fn may_read() -> bool {
    CURRENT.with_borrow(|tasks| tasks.as_ref().is_none_or(|tasks| tasks.may_read()))
}

impl Tasks {
    /// Returns an executor without tasks. Sleepers of `timer` go first when it is time to wake them.
    pub fn new(clock: SystemClock, timer: Timer) -> Rc<Tasks> {
        Rc::new(Tasks {
            clock,
            timer,
            shared: Arc::new(Shared {
                lists: Mutex::default(),
                has_due: AtomicBool::new(false),
                first: AtomicBool::new(false),
            }),
            tasks: RefCell::default(),
            free: RefCell::default(),
            ready: RefCell::default(),
            near: RefCell::default(),
            next_near: Cell::new(0),
            ahead: Cell::new(0),
            owed: Cell::new(0),
            reads: Cell::new(0),
        })
    }

    /// Runs `main` and all tasks that it starts, until `main` has ended; the others are dropped then.
    pub async fn run<T: 'static>(self: Rc<Tasks>, main: impl Future<Output = T> + 'static) -> T {
        let result = Rc::new(Cell::new(None));
        let ended = result.clone();
        self.start(async move { ended.set(Some(main.await)) });
        let over = poll_fn(|cx| {
            let before = CURRENT.replace(Some(self.clone()));
            let turn = self.turn(cx, &result);
            CURRENT.set(before);
            turn
        });
        let value = over.await;
        // They may wake and start others as they go.
        let before = CURRENT.replace(Some(self.clone()));
        while let Some(left) = self.pop() {
            drop(left);
        }
        CURRENT.set(before);
        value
    }

    fn start(&self, future: impl Future<Output = ()> + 'static) {
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut tasks = self.tasks.borrow_mut();
            tasks.push(None);
            tasks.len() - 1
        });
        let task = Arc::new(Task { number, queued: AtomicU8::new(0), shared: self.shared.clone() });
        let waker = Waker::from(task.clone());
        // The runtime's own limit on what a task does in one poll is that of all tasks together here; `may_read` has one for each.
        let future: LocalFuture = Box::pin(tokio::task::unconstrained(future));
        if let Some(entry) = self.tasks.borrow_mut().get_mut(number) {
            *entry = Some(Entry { future, task: task.clone(), waker });
        }
        task.wake();
    }

    /// Polls ready tasks until there are none or it is time to poll the sockets.
    fn turn<T>(&self, cx: &mut Context<'_>, result: &Cell<Option<T>>) -> Poll<T> {
        self.shared.lists().sleeper = None;
        for _ in 0..TURN {
            let Some(number) = self.next() else {
                if self.near.borrow().is_empty() && self.sleep(cx) {
                    return Poll::Pending;
                }
                break;
            };
            self.poll(number);
            if let Some(value) = result.take() {
                return Poll::Ready(value);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sleeps until somebody is woken; false when somebody was meanwhile.
    fn sleep(&self, cx: &Context<'_>) -> bool {
        let mut lists = self.shared.lists();
        let nobody = lists.due.is_empty() && lists.ready.is_empty();
        if nobody {
            lists.sleeper = Some(cx.waker().clone());
        }
        nobody
    }

    /// Chooses the next task.
    fn next(&self) -> Option<usize> {
        if self.owed.get() == 0 {
            if self.is_due() {
                self.wake_due();
            }
            if let Some(number) = self.next_due() {
                self.ahead.set(self.ahead.get() + 1);
                if self.ahead.get() == AHEAD {
                    self.owed.set(self.ready.borrow().len() + self.shared.lists().ready.len());
                    self.ahead.set(0);
                }
                return Some(number);
            }
            self.ahead.set(0);
        }
        self.owed.set(self.owed.get().saturating_sub(1));
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            std::mem::swap(&mut *ready, &mut self.shared.lists().ready);
        }
        let number = ready.pop_front();
        if number.is_none() && self.owed.replace(0) > 0 {
            drop(ready);
            return self.next();
        }
        number
    }

    fn next_due(&self) -> Option<usize> {
        if !self.shared.has_due.load(Ordering::Acquire) {
            return None;
        }
        let mut lists = self.shared.lists();
        let number = lists.due.pop_front();
        self.shared.has_due.store(!lists.due.is_empty(), Ordering::Release);
        number
    }

    /// Whether the time has come for a task that waits for it.
    fn is_due(&self) -> bool {
        let near = self.near.borrow().first_key_value().map(|((at, _), _)| *at);
        let next = near.into_iter().chain(self.timer.next()).min();
        next.is_some_and(|at| at <= self.clock.now())
    }

    fn wake_due(&self) {
        let now = self.clock.now();
        first(|| {
            let mut near = self.near.borrow_mut();
            while let Some(entry) = near.first_entry().filter(|entry| entry.key().0 <= now) {
                entry.remove().wake();
            }
            // If an alarm cannot be set, the next sleeper gets the error.
            let _ = self.timer.wake_due();
        });
    }

    fn poll(&self, number: usize) {
        let Some(mut entry) = self.tasks.borrow_mut().get_mut(number).and_then(Option::take) else { return };
        // From here on a wake-up queues the task again. If it was in both queues, the later entry finds nothing to do.
        if entry.task.queued.swap(0, Ordering::AcqRel) == 0 {
            self.put_back(number, entry);
            return;
        }
        self.reads.set(0);
        let Entry { future, waker, .. } = &mut entry;
        // A task that panics ends, and its message is on the screen; the others go on.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(waker))));
        match polled {
            Ok(Poll::Pending) => self.put_back(number, entry),
            Ok(Poll::Ready(())) | Err(_) => {
                drop(entry);
                self.free.borrow_mut().push(number);
            }
        }
    }

    fn pop(&self) -> Option<Option<Entry>> {
        self.tasks.borrow_mut().pop()
    }

    fn put_back(&self, number: usize, entry: Entry) {
        if let Some(place) = self.tasks.borrow_mut().get_mut(number) {
            *place = Some(entry);
        }
    }

    fn may_read(&self) -> bool {
        let reads = self.reads.get();
        self.reads.set(reads.saturating_add(1));
        reads < READS_WHILE_DUE || (reads < READS && !self.shared.has_due.load(Ordering::Acquire) && !self.is_due())
    }
}

impl Shared {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Lists are whole between calls.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Task>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Task>) {
        let queue = if self.shared.first.load(Ordering::Relaxed) { DUE } else { READY };
        let before = self.queued.fetch_or(queue, Ordering::AcqRel);
        // A task that goes first needs no entry among the others.
        if before & (queue | DUE) != 0 {
            return;
        }
        let mut lists = self.shared.lists();
        if queue == DUE {
            lists.due.push_back(self.number);
            self.shared.has_due.store(true, Ordering::Release);
        } else {
            lists.ready.push_back(self.number);
        }
        let sleeper = lists.sleeper.take();
        drop(lists);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{Notify, oneshot};

    /// Runs `main` with tasks on a thread's runtime.
    fn run<T: 'static, F: Future<Output = T> + 'static>(main: impl FnOnce(SystemClock, Timer) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let clock = SystemClock::start();
            let timer = Timer::new(clock).unwrap();
            let alarm = timer.clone();
            let main = main(clock, timer.clone());
            let all = async move {
                spawn(async move { _ = alarm.run().await });
                main.await
            };
            Tasks::new(clock, timer).run(all).await
        })
    }

    type Order = Rc<RefCell<Vec<usize>>>;

    /// A task that notes its number and does nothing else.
    fn note(order: &Order, number: usize) {
        let order = order.clone();
        spawn(async move { order.borrow_mut().push(number) });
    }

    #[test]
    fn tasks_go_on_in_the_order_in_which_they_are_woken() {
        let order = run(|_, _| async {
            let order = Order::default();
            (0..200).for_each(|number| note(&order, number));
            let seen = order.clone();
            let (tell, told) = oneshot::channel();
            spawn(async move { _ = tell.send(seen.borrow().clone()) });
            told.await.unwrap()
        });
        assert_eq!(order, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn what_becomes_due_while_others_wait_for_their_turn_goes_first() {
        for near in [false, true] {
            let order = run(|clock, timer| async move {
                let order = Order::default();
                let (tell, told) = oneshot::channel();
                let due = clock.now() + Nanos::from_millis(5);
                let sleeper = order.clone();
                spawn(async move {
                    if near {
                        look_until(clock, due).await
                    } else {
                        timer.sleep_until(due).await.unwrap()
                    }
                    sleeper.borrow_mut().push(0);
                });
                let lain_down = Rc::new(Notify::new());
                let ready = lain_down.clone();
                spawn(async move { ready.notify_one() });
                lain_down.notified().await;
                // The first of ten holds the thread until the deadline is over.
                let busy = order.clone();
                spawn(async move {
                    while clock.now() < due {}
                    busy.borrow_mut().push(1);
                });
                (2..10).for_each(|number| note(&order, number));
                spawn(async move { _ = tell.send(()) });
                told.await.unwrap();
                order.take()
            });
            assert_eq!(order, [1, 0, 2, 3, 4, 5, 6, 7, 8, 9], "{near}");
        }
    }

    #[test]
    fn those_that_are_ready_get_their_turn_whatever_is_due() {
        let order = run(|_, _| async {
            let order = Order::default();
            let (tell, told) = oneshot::channel();
            (0..10).for_each(|number| note(&order, number));
            let last = order.clone();
            spawn(async move { _ = tell.send(last.borrow().len()) });
            first(|| (100..300).for_each(|number| note(&order, number)));
            told.await.unwrap()
        });
        assert_eq!(order, AHEAD + 10);
    }

    #[test]
    fn a_task_that_panics_ends_alone() {
        let dropped = run(|_, _| async {
            let whole = Rc::new(());
            let held = whole.clone();
            spawn(async move {
                let _held = held;
                // Without a message on the screen.
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            let (tell, told) = oneshot::channel();
            spawn(async move { _ = tell.send(()) });
            told.await.unwrap();
            Rc::strong_count(&whole)
        });
        assert_eq!(dropped, 1);
    }

    #[test]
    fn other_threads_wake_tasks_that_sleep() {
        let sum = run(|_, _| async {
            let mut sum = 0;
            for number in 0..50 {
                let (tell, told) = oneshot::channel();
                let other = std::thread::spawn(move || tell.send(number));
                sum += told.await.unwrap();
                other.join().unwrap().unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..50).sum::<i32>());
    }

    #[test]
    fn the_runtime_s_sockets_and_timers_go_on_beside_busy_tasks() {
        run(|_, _| async {
            // Two that wake each other for ever.
            for _ in 0..2 {
                spawn(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }));
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        });
    }

    #[test]
    fn a_task_may_read_so_often_and_less_when_something_is_due() {
        let reads = run(|clock, _| async move {
            let reads = || {
                let mut count = 0;
                while may_read() {
                    count += 1;
                }
                count
            };
            let idle = reads();
            let (tell, told) = oneshot::channel();
            // It waits for a moment that is over before it is polled again.
            spawn(async move { look_until(clock, clock.now() + Nanos::from_millis(2)).await });
            spawn(async move {
                let until = clock.now() + Nanos::from_millis(4);
                while clock.now() < until {}
                _ = tell.send(reads());
            });
            (idle, told.await.unwrap())
        });
        assert_eq!(reads, (READS, READS_WHILE_DUE));
    }

    #[test]
    fn tasks_that_are_left_are_dropped_at_the_end() {
        let whole = Rc::new(());
        let held = whole.clone();
        run(|_, _| async move {
            spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
        });
        assert_eq!(Rc::strong_count(&whole), 1);
    }
}
