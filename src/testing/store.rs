//! A store that fails as it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{sync::watch, time::sleep};

use crate::store::{
    Append, Claim, Entries, MemoryStore, StoreError, StoreFuture, StoreLimits, StoreTail,
    StreamInfo, StreamKey, StreamStore,
};

/// A store in memory that says of itself that others share it, and that fails as it is told. A clone is the same.
///
/// ```
/// use actix_responses::{store::{StoreError, StoreLimits, StreamStore}, testing::FaultyStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let here = FaultyStore::new(StoreLimits::default());
/// let elsewhere = here.other_node();
/// here.set_down(true);
/// assert!(matches!(here.list("me").await, Err(StoreError::Unavailable(_))));
/// assert_eq!(elsewhere.list("me").await, Ok(vec![]));
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    server: Arc<Server>,
    link: Arc<Link>,
}

/// What all nodes see.
struct Server {
    memory: Mutex<MemoryStore>,
    remembered: Mutex<Option<MemoryStore>>,
    limits: StoreLimits,
    /// Changes when it loses something: as a server that was started again, it has no connection any more.
    starts: watch::Sender<u64>,
}

/// What one node sees.
struct Link {
    is_down: watch::Sender<bool>,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    delays: Vec<Duration>,
    next_delay: usize,
    lost_answers: usize,
    failing: BTreeSet<String>,
    calls: BTreeMap<&'static str, usize>,
}

impl Faults {
    fn next(&mut self, name: &'static str) -> (Duration, bool) {
        let delay = self.next_delay(name);
        let is_lost = self.lost_answers > 0;
        self.lost_answers = self.lost_answers.saturating_sub(1);
        (delay, is_lost)
    }

    fn next_delay(&mut self, name: &'static str) -> Duration {
        *self.calls.entry(name).or_default() += 1;
        let delay = self.delays.get(self.next_delay).copied();
        self.next_delay = (self.next_delay + 1) % self.delays.len().max(1);
        delay.unwrap_or_default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("as it was told".to_owned()))
}

impl Server {
    fn memory(&self) -> MemoryStore {
        locked(&self.memory).clone()
    }
}

impl Link {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            is_down: watch::Sender::new(false),
            faults: Mutex::default(),
        })
    }
}

impl FaultyStore {
    /// An empty one that does not fail yet.
    pub fn new(limits: StoreLimits) -> Self {
        let server = Server {
            memory: Mutex::new(MemoryStore::new(limits.clone())),
            remembered: Mutex::default(),
            limits,
            starts: watch::Sender::new(0),
        };
        Self {
            server: Arc::new(server),
            link: Link::new(),
        }
    }

    /// The same store as another node sees it, whose faults are its own.
    pub fn other_node(&self) -> Self {
        Self {
            server: self.server.clone(),
            link: Link::new(),
        }
    }

    /// Whether all that this node asks fails at once, and what it waits for breaks off.
    pub fn set_down(&self, is_down: bool) {
        self.link.is_down.send_replace(is_down);
    }

    /// Whether what this node asks by the method with this name fails at once: as where a server answers short questions alone.
    pub fn set_failing(&self, name: &str, is_failing: bool) {
        let failing = &mut locked(&self.link.faults).failing;
        match is_failing {
            true => failing.insert(name.to_owned()),
            false => failing.remove(name),
        };
    }

    /// How long the next commands of this node take, in turn and again from the first. One that its caller gave up is done all the same.
    pub fn set_delays(&self, delays: impl IntoIterator<Item = Duration>) {
        let mut faults = locked(&self.link.faults);
        faults.delays = delays.into_iter().collect();
        faults.next_delay = 0;
    }

    /// So many commands of this node are done, and nobody hears of it.
    pub fn lose_answers(&self, count: usize) {
        locked(&self.link.faults).lost_answers = count;
    }

    /// How often this node called the method with this name.
    pub fn calls(&self, name: &str) -> usize {
        let faults = locked(&self.link.faults);
        faults.calls.get(name).copied().unwrap_or_default()
    }

    /// What there is now is what a disk has, for [`go_back`](Self::go_back).
    pub fn remember(&self) {
        *locked(&self.server.remembered) = Some(self.server.memory().copy());
    }

    /// Loses what came since it was last told to [`remember`](Self::remember), or everything, for all nodes. Tails break off.
    pub fn go_back(&self) {
        let remembered = locked(&self.server.remembered);
        let memory = remembered.as_ref().map(MemoryStore::copy);
        drop(remembered);
        self.start_with(memory);
    }

    /// Loses everything, for all nodes. Tails break off.
    pub fn lose_all(&self) {
        *locked(&self.server.remembered) = None;
        self.start_with(None);
    }

    fn start_with(&self, memory: Option<MemoryStore>) {
        let memory = memory.unwrap_or_else(|| MemoryStore::new(self.server.limits.clone()));
        *locked(&self.server.memory) = memory;
        self.server.starts.send_modify(|starts| *starts += 1);
    }

    fn command<T: Send + 'static>(
        &self,
        name: &'static str,
        run: impl FnOnce(MemoryStore) -> StoreFuture<'static, T> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let Self { server, link } = self.clone();
        Box::pin(async move {
            let (delay, is_lost) = locked(&link.faults).next(name);
            let is_failing = locked(&link.faults).failing.contains(name);
            if is_failing || *link.is_down.borrow() {
                return unavailable();
            }
            let answer = if delay.is_zero() {
                run(server.memory()).await
            } else {
                // It is on its way, whether somebody waits for it or not.
                let done = tokio::spawn(async move {
                    sleep(delay / 2).await;
                    run(server.memory()).await
                });
                let answer = done.await.unwrap_or_else(|_| unavailable());
                sleep(delay / 2).await;
                answer
            };
            if is_lost || *link.is_down.borrow() {
                return unavailable();
            }
            answer
        })
    }

    /// Resolves when this node has no connection any more.
    fn broken(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_down = self.link.is_down.subscribe();
        let mut starts = self.server.starts.subscribe();
        async move {
            // Where a sender is gone, nothing changes any more, and the store is gone, too.
            tokio::select! {
                _ = is_down.wait_for(|is_down| *is_down) => {}
                _ = starts.changed() => {}
            }
        }
    }
}

/// Has the memory do what the store was asked, by the same name: with what is lent kept until then, and what is given.
macro_rules! command {
    ($store:ident.$name:ident($($lent:ident),*; $($given:ident),*)) => {{
        $(let $lent = $lent.to_owned();)*
        $store.command(stringify!($name), move |memory| {
            Box::pin(async move { memory.$name($(&$lent,)* $($given,)*).await })
        })
    }};
}

impl StreamStore for FaultyStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        self.command("check", |_| Box::pin(async { Ok(()) }))
    }

    fn claim<'a>(
        &'a self,
        stream: &'a StreamKey,
        node: &'a str,
        epoch: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, Claim> {
        command!(self.claim(stream, node; epoch, ttl))
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        command!(self.append(claim; append))
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        command!(self.read(stream; from))
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        let delay = locked(&self.link.faults).next_delay("tail");
        let tail = self.server.memory().tail(stream, from);
        let broken = Box::pin(self.broken());
        let is_over = false;
        let all = (tail, broken, is_over);
        Box::pin(stream::unfold(
            all,
            move |(mut tail, mut broken, is_over)| async move {
                if is_over {
                    return None;
                }
                let entries = tokio::select! {
                    biased;
                    () = &mut broken => Some(unavailable()),
                    entries = async {
                        let entries = tail.next().await;
                        sleep(delay).await;
                        entries
                    } => entries,
                }?;
                let is_over = entries.is_err();
                Some((entries, (tail, broken, is_over)))
            },
        ))
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        command!(self.cancel(stream;))
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        let broken = self.broken();
        let (claim, memory) = (claim.clone(), self.server.memory());
        *locked(&self.link.faults)
            .calls
            .entry("cancelled")
            .or_default() += 1;
        Box::pin(async move {
            tokio::select! {
                biased;
                () = broken => unavailable(),
                cancelled = memory.cancelled(&claim) => cancelled,
            }
        })
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        command!(self.find(client, id;))
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        command!(self.request(stream;))
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        command!(self.list(client;))
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        command!(self.remove(stream;))
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_down = *self.link.is_down.borrow();
        f.debug_struct("FaultyStore")
            .field("is_down", &is_down)
            .finish_non_exhaustive()
    }
}
