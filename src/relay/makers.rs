//! Who made what clients bring back: by the ids of responses and items, and by what is sealed in items.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{access::Client, routing::Maker};

/// Of how many ids and sealed texts it is remembered who made them, of all clients together; the oldest go first.
const MAX_REMEMBERED: usize = 100_000;

/// For how long it is: a conversation may rest overnight.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Something that was made, and in which answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Made {
    pub(in crate::relay) maker: Maker,
    /// Our id of the answer.
    pub(in crate::relay) answer: Arc<str>,
}

/// What is remembered of makers.
#[derive(Default)]
pub(in crate::relay) struct Makers {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the hash of the client and the text, when it was made.
    made: HashMap<u64, (Instant, Made)>,
    /// The same in the order of time; what was made again stands here twice.
    order: VecDeque<(Instant, u64)>,
}

impl Known {
    fn forget_old(&mut self, now: Instant) {
        while let Some((at, oldest)) = self.order.front().copied()
            && (self.order.len() > MAX_REMEMBERED || now >= at + REMEMBERED_FOR)
        {
            self.order.pop_front();
            if self.made.get(&oldest).is_some_and(|(made, _)| *made == at) {
                self.made.remove(&oldest);
            }
        }
    }
}

impl Makers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This client was given this text: an id, or what is sealed in an item.
    pub(in crate::relay) fn remember(&self, client: &Client, text: &str, made: Made) {
        let hash = self.hasher.hash_one((client, text));
        let now = Instant::now();
        let mut known = self.known();
        known.made.insert(hash, (now, made));
        known.order.push_back((now, hash));
        known.forget_old(now);
    }

    /// Who gave this client this text.
    pub(in crate::relay) fn find(&self, client: &Client, text: &str) -> Option<Made> {
        let mut known = self.known();
        known.forget_old(Instant::now());
        let (_, made) = known.made.get(&self.hasher.hash_one((client, text)))?;
        Some(made.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(provider: &str) -> Made {
        Made {
            maker: Maker {
                provider: provider.into(),
                key: 0,
            },
            answer: "relay_1".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_maker_is_known_to_its_client_for_a_day_and_the_newest_counts() {
        let makers = Makers::default();
        let (me, other) = (Client::Anonymous, Client::Named("ada".into()));
        makers.remember(&me, "resp_1", made("a"));
        tokio::time::advance(Duration::from_secs(1)).await;
        makers.remember(&me, "resp_1", made("b"));
        assert_eq!(makers.find(&me, "resp_1"), Some(made("b")));
        assert_eq!(makers.find(&other, "resp_1"), None);
        assert_eq!(makers.find(&me, "resp_2"), None);
        tokio::time::advance(REMEMBERED_FOR - Duration::from_millis(1)).await;
        assert_eq!(makers.find(&me, "resp_1"), Some(made("b")));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(makers.find(&me, "resp_1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_oldest_go() {
        let makers = Makers::default();
        let me = Client::Anonymous;
        for number in 0..MAX_REMEMBERED + 10 {
            makers.remember(&me, &number.to_string(), made("a"));
        }
        assert_eq!(makers.known().made.len(), MAX_REMEMBERED);
        assert_eq!(makers.find(&me, "9"), None);
        assert_eq!(makers.find(&me, "10"), Some(made("a")));
    }
}
