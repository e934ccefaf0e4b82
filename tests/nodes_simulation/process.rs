//! What runs on a node: it can be held, as a machine that swaps, and killed.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix_responses::store::{StreamEnd, StreamStore};
use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_local},
};

/// One life of a node.
pub(crate) struct Process {
    pub(crate) node: usize,
    pub(crate) name: String,
    pub(crate) store: Arc<dyn StreamStore>,
    gate: Rc<Gate>,
    /// The answers that it relays itself.
    pub(crate) answers: RefCell<HashMap<usize, Rc<Answer>>>,
    /// Told to leave.
    pub(crate) leave: Rc<Leave>,
}

#[derive(Default)]
pub(crate) struct Leave {
    is_said: Cell<bool>,
    said: Notify,
}

impl Leave {
    pub(crate) fn say(&self) {
        self.is_said.set(true);
        self.said.notify_waiters();
    }

    pub(crate) async fn said(&self) {
        while !self.is_said.get() {
            self.said.notified().await;
        }
    }
}

#[derive(Default)]
struct Gate {
    is_held: Cell<bool>,
    is_dead: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

struct Gated<F> {
    gate: Rc<Gate>,
    inner: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Future for Gated<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.gate.is_dead.get() {
            self.inner = None;
            return Poll::Ready(());
        }
        if self.gate.is_held.get() {
            self.gate.wakers.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        let inner = self.inner.as_mut().expect("not ended yet");
        inner.as_mut().poll(cx)
    }
}

impl Process {
    pub(crate) fn new(node: usize, name: String, store: Arc<dyn StreamStore>) -> Rc<Self> {
        Rc::new(Self {
            node,
            name,
            store,
            gate: Rc::default(),
            answers: RefCell::default(),
            leave: Rc::default(),
        })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        spawn_local(Gated {
            gate: self.gate.clone(),
            inner: Some(Box::pin(task)),
        })
    }

    pub(crate) fn hold(&self, is_held: bool) {
        self.gate.is_held.set(is_held);
        self.wake();
    }

    /// Nothing of it is polled any more.
    pub(crate) fn kill(&self) {
        self.gate.is_dead.set(true);
        self.wake();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.gate.is_dead.get()
    }

    fn wake(&self) {
        for waker in self.gate.wakers.take() {
            waker.wake();
        }
    }
}

/// What a node keeps of an answer that it relays: its readers read here, and not in the store.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) blocks: RefCell<Vec<String>>,
    pub(crate) end: Cell<Option<StreamEnd>>,
    /// Its writer lost the claim: its readers go on in the store.
    pub(crate) is_lost: Cell<bool>,
    /// Its readers are sent away, to come back elsewhere.
    pub(crate) is_cut: Cell<bool>,
    pub(crate) changed: Notify,
}

impl Answer {
    pub(crate) fn push(&self, block: String) {
        self.blocks.borrow_mut().push(block);
        self.changed.notify_waiters();
    }

    pub(crate) fn tell(&self, block: String, end: StreamEnd) {
        self.end.set(Some(end));
        self.push(block);
    }

    pub(crate) fn lose(&self) {
        self.is_lost.set(true);
        self.changed.notify_waiters();
    }

    pub(crate) fn cut(&self) {
        self.is_cut.set(true);
        self.changed.notify_waiters();
    }
}
