//! The connections that wait for their client, and closing one of them where another needs its room.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// How long a connection may be open before it has to make room although nothing has come over it.
const GRACE_OF_NEW: Duration = Duration::from_secs(1);

/// What a connection waits for; those that come first make room first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Awaited {
    /// Another request, which may never come.
    NextRequest,
    /// The first request.
    FirstRequest,
    /// That the client reads on.
    Reader,
}

/// The connections that wait, in the order in which they make room.
#[derive(Debug)]
pub(super) struct Waiting {
    list: Mutex<List>,
    grace_of_readers: Duration,
}

#[derive(Debug, Default)]
struct List {
    count: u64,
    connections: BTreeMap<(Awaited, u64), (Instant, oneshot::Sender<()>)>,
}

impl Waiting {
    /// Nobody waits. A client may read nothing for so long before its connection has to make room.
    pub(super) fn new(grace_of_readers: Duration) -> Self {
        Self {
            list: Mutex::default(),
            grace_of_readers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Every change is whole before the lock is let go.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a connection on the list until the place is dropped.
    pub(super) fn enter(&self, awaited: Awaited) -> Place<'_> {
        let (make_room, must_leave) = oneshot::channel();
        let mut list = self.lock();
        list.count += 1;
        let key = (awaited, list.count);
        list.connections.insert(key, (Instant::now(), make_room));
        Place {
            waiting: self,
            key,
            must_leave,
        }
    }

    /// Has one connection closed, the one that waits longest of those that can be spared most. False where there is none.
    pub(super) fn make_room(&self) -> bool {
        let mut list = self.lock();
        let longest = list.connections.iter().find(|((awaited, _), (since, _))| {
            let grace = match awaited {
                Awaited::NextRequest => Duration::ZERO,
                Awaited::FirstRequest => GRACE_OF_NEW,
                Awaited::Reader => self.grace_of_readers,
            };
            since.elapsed() >= grace
        });
        let key = longest.map(|(key, _)| *key);
        let removed = key.and_then(|key| list.connections.remove(&key));
        removed.is_some_and(|(_, make_room)| make_room.send(()).is_ok())
    }
}

/// A connection's place on the list.
pub(super) struct Place<'a> {
    waiting: &'a Waiting,
    key: (Awaited, u64),
    must_leave: oneshot::Receiver<()>,
}

impl Place<'_> {
    /// Waits until the connection has to make room.
    pub(super) async fn must_leave(&mut self) {
        // The other half lives on the list until it is used.
        let _ = (&mut self.must_leave).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.lock().connections.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_can_be_spared_most_makes_room_first() {
        let waiting = Waiting::new(GRACE_OF_NEW * 2);
        let entered = [
            Awaited::Reader,
            Awaited::FirstRequest,
            Awaited::NextRequest,
            Awaited::NextRequest,
        ];
        let mut places: Vec<_> = entered.map(|awaited| waiting.enter(awaited)).into();
        for (seconds, next) in [
            (0, Some(2)),
            (0, Some(2)),
            (0, None),
            (1, Some(1)),
            (0, None),
            (1, Some(0)),
            (9, None),
        ] {
            advance(GRACE_OF_NEW * seconds).await;
            assert_eq!(waiting.make_room(), next.is_some(), "{next:?}");
            if let Some(next) = next {
                places.remove(next).must_leave().await;
            }
        }
        drop(waiting.enter(Awaited::NextRequest));
        assert!(!waiting.make_room());
    }
}
