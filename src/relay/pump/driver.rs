//! Who polls a pump: the connection that reads its answer, as long as that waits for it and nobody else reads; else a task of its own.
//!
//! So a block goes from the server's stream to the client's socket in one turn of the connection, and a client that does not read, or
//! has left, holds nobody up: not those who read beside it, nor a cancel, nor the times that run.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use futures_core::future::LocalBoxFuture;

/// A pump that the reader of an answer may poll. One that is dropped leaves it to the task.
pub(in crate::relay) struct Driver {
    pumping: Rc<Pumping>,
}

struct Pumping {
    /// Until it has ended.
    pump: RefCell<Option<LocalBoxFuture<'static, ()>>>,
    switch: Arc<Switch>,
    /// That of the switch.
    waker: Waker,
}

/// Wakes whoever is to poll the pump.
#[derive(Default)]
struct Switch(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    /// The pump was woken, and has not been polled since.
    is_due: bool,
    connection: Option<Waker>,
    /// Whether that polls when it is woken.
    waits: bool,
    /// Others read, too.
    is_shared: bool,
    task: Option<Waker>,
}

impl Switch {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Switch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut turn = self.turn();
        if turn.is_due {
            return;
        }
        turn.is_due = true;
        let who = match turn.waits {
            true => &turn.connection,
            false => &turn.task,
        };
        if let Some(waker) = who {
            waker.wake_by_ref();
        }
    }
}

impl Pumping {
    fn poll(&self) {
        let mut slot = self.pump.borrow_mut();
        let Some(pump) = &mut *slot else {
            return;
        };
        let cx = &mut Context::from_waker(&self.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| pump.as_mut().poll(cx)));
        // One that panicked says an end when it is dropped.
        if !matches!(polled, Ok(Poll::Pending)) {
            *slot = None;
            drop(slot);
            let task = self.switch.turn().task.take();
            task.iter().for_each(Waker::wake_by_ref);
        }
    }

    fn has_ended(&self) -> bool {
        self.pump.borrow().is_none()
    }
}

/// Starts a pump, in a task until somebody else polls it. When `leaving` is ready, what it says lies in `left`, and the pump is polled
/// at once. `readers` says how many there are; whoever changes that wakes `leaving`.
pub(super) fn start<T: 'static>(
    pump: impl Future<Output = ()> + 'static,
    leaving: impl Future<Output = T> + 'static,
    left: Rc<Cell<Option<T>>>,
    readers: impl Fn() -> usize + 'static,
) -> Driver {
    let switch = Arc::<Switch>::default();
    switch.turn().is_due = true;
    let pumping = Rc::new(Pumping {
        pump: RefCell::new(Some(Box::pin(pump))),
        waker: Waker::from(switch.clone()),
        switch,
    });
    let driver = Driver {
        pumping: pumping.clone(),
    };
    actix_rt::spawn(async move {
        let mut leaving = pin!(leaving);
        let mut has_left = false;
        poll_fn(|cx| {
            if pumping.has_ended() {
                return Poll::Ready(());
            }
            let mut leaves_now = false;
            if !has_left && let Poll::Ready(why) = leaving.as_mut().poll(cx) {
                (has_left, leaves_now) = (true, true);
                left.set(Some(why));
            }
            let is_shared = readers() > 1;
            let mut turn = pumping.switch.turn();
            match &mut turn.task {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            turn.is_shared = is_shared;
            turn.waits &= !turn.is_shared && !has_left;
            let is_mine = leaves_now || (turn.is_due && !turn.waits);
            turn.is_due &= !is_mine;
            drop(turn);
            if is_mine {
                pumping.poll();
            }
            match pumping.has_ended() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    });
    driver
}

impl Driver {
    /// Whether the pump is to be polled. From now on until the connection [waits](Self::wait) again, the task does.
    pub(in crate::relay) fn is_due(&self) -> bool {
        let mut turn = self.pumping.switch.turn();
        turn.waits = false;
        std::mem::take(&mut turn.is_due)
    }

    /// Polls the pump, which is due.
    pub(in crate::relay) fn poll(&self) {
        self.pumping.poll();
    }

    /// There is nothing to read: the connection is woken in place of the task when the pump is, and polls it.
    pub(in crate::relay) fn wait(&self, cx: &Context<'_>) {
        let mut turn = self.pumping.switch.turn();
        if turn.is_shared {
            return;
        }
        turn.waits = true;
        match &mut turn.connection {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if turn.is_due {
            // It may have to wait for its turn, as all that takes very much at once.
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut turn = self.pumping.switch.turn();
        turn.waits = false;
        let connection = turn.connection.take();
        if turn.is_due
            && let Some(task) = &turn.task
        {
            task.wake_by_ref();
        }
        drop(turn);
        drop(connection);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Flag {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    #[actix_rt::test]
    async fn a_pump_is_polled_by_the_connection_that_waits_for_it_and_else_by_its_task() {
        let (news, moved, readers) = (
            Rc::new(Notify::new()),
            Rc::new(Notify::new()),
            Rc::new(Cell::new(1)),
        );
        let taken = Rc::new(Cell::new(0));
        let pump = {
            let (news, taken) = (news.clone(), taken.clone());
            async move {
                while taken.get() < 6 {
                    news.notified().await;
                    taken.set(taken.get() + 1);
                }
            }
        };
        let leaving = {
            let moved = moved.clone();
            async move {
                loop {
                    moved.notified().await;
                }
            }
        };
        let count = readers.clone();
        let driver = start::<()>(pump, leaving, Rc::default(), move || count.get());
        let flag = Arc::<Flag>::default();
        let waker = Waker::from(flag.clone());
        let cx = Context::from_waker(&waker);
        let bring = async || {
            news.notify_one();
            yield_now().await;
            taken.get()
        };
        yield_now().await;
        // Nobody waits.
        assert_eq!(
            (bring().await, flag.take(), driver.is_due()),
            (1, false, false)
        );
        // The connection does.
        driver.wait(&cx);
        assert_eq!(
            (bring().await, flag.take(), driver.is_due()),
            (1, true, true)
        );
        driver.poll();
        assert_eq!(taken.get(), 2);
        // It has something to write.
        assert_eq!((bring().await, flag.take()), (3, false));
        // It was woken, and does not come: another reader has it polled.
        driver.wait(&cx);
        assert_eq!((bring().await, flag.take()), (3, true));
        readers.set(2);
        moved.notify_one();
        yield_now().await;
        assert_eq!(taken.get(), 4);
        driver.wait(&cx);
        assert_eq!((bring().await, flag.take()), (5, false));
        // It leaves when it has been woken.
        readers.set(1);
        moved.notify_one();
        yield_now().await;
        driver.wait(&cx);
        assert_eq!((bring().await, flag.take()), (5, true));
        drop(driver);
        yield_now().await;
        assert_eq!(taken.get(), 6);
    }

    #[actix_rt::test]
    async fn why_a_pump_is_left_reaches_it_though_its_connection_does_not_come() {
        let (left, seen) = (Rc::<Cell<Option<u8>>>::default(), Rc::new(Cell::new(0)));
        let told = Rc::new(Notify::new());
        let pump = {
            let (left, seen) = (left.clone(), seen.clone());
            poll_fn(move |_| match left.take() {
                Some(why) => {
                    seen.set(why);
                    Poll::Ready(())
                }
                None => Poll::Pending,
            })
        };
        let leaving = {
            let told = told.clone();
            async move {
                told.notified().await;
                7
            }
        };
        let driver = start(pump, leaving, left, || 1);
        yield_now().await;
        driver.wait(&Context::from_waker(Waker::noop()));
        told.notify_one();
        yield_now().await;
        assert_eq!(seen.get(), 7);
    }
}
