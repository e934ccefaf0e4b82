//! Several keys for one server: a session stays with one, and one that was refused rests.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::provider::Provider;

/// The longest that a server may let a key rest: it may say any time.
const MAX_REST: Duration = Duration::from_secs(3600);

/// The same server with each of its keys, and until when each rests.
#[derive(Debug)]
pub(super) struct KeyRing {
    providers: Vec<Arc<Provider>>,
    rests: Mutex<Vec<Option<Instant>>>,
}

impl KeyRing {
    pub(super) fn new(providers: Vec<Arc<Provider>>) -> Self {
        let rests = Mutex::new(vec![None; providers.len()]);
        Self { providers, rests }
    }

    /// The key of a session: the same each time, unless it rests. Then it is the next that does not, or else the first to be ready.
    pub(super) fn choose(&self, session: Option<&str>) -> Option<Arc<Provider>> {
        let count = self.providers.len();
        let first = session.map_or(0, |session| {
            let mut hasher = DefaultHasher::new();
            session.hash(&mut hasher);
            (hasher.finish() % count.max(1) as u64) as usize
        });
        let now = Instant::now();
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |index: &usize| rests[*index].map_or(Duration::ZERO, |until| until - now);
        // Of equals the first.
        let chosen = (0..count)
            .map(|step| (first + step) % count)
            .min_by_key(wait);
        chosen.map(|index| self.providers[index].clone())
    }

    /// The key at a place, if it does not rest or is wanted all the same.
    pub(super) fn at(&self, place: usize, though_it_rests: bool) -> Option<Arc<Provider>> {
        let provider = self.providers.get(place)?;
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ready = rests[place].is_none_or(|until| until <= Instant::now());
        (is_ready || though_it_rests).then(|| provider.clone())
    }

    /// The place of a key.
    pub(super) fn place(&self, provider: &Arc<Provider>) -> Option<usize> {
        (self.providers.iter()).position(|known| Arc::ptr_eq(known, provider))
    }

    pub(super) fn rest(&self, provider: &Arc<Provider>, wait: Duration) {
        let until = Instant::now() + wait.min(MAX_REST);
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = self.place(provider) {
            rests[index] = rests[index].max(Some(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: usize) -> KeyRing {
        let provider = |key| {
            Provider::new(format!("key {key}"), "http://host")
                .unwrap()
                .into()
        };
        KeyRing::new((0..keys).map(provider).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_keeps_its_key_until_it_rests_and_comes_back_to_it() {
        let ring = ring(3);
        let sessions: Vec<_> = (0..50).map(|number| format!("session {number}")).collect();
        let chosen = |session: &String| ring.choose(Some(session)).unwrap();
        let before: Vec<_> = sessions.iter().map(chosen).collect();
        let used = |name: &str| before.iter().filter(|chosen| chosen.name() == name).count();
        assert!((0..3).all(|key| used(&format!("key {key}")) > 0));
        let tired = before[0].clone();
        ring.rest(&tired, Duration::from_secs(20));
        for (session, before) in sessions.iter().zip(&before) {
            let after = chosen(session);
            assert!(!Arc::ptr_eq(&after, &tired));
            assert!(Arc::ptr_eq(before, &tired) || Arc::ptr_eq(before, &after));
        }
        tokio::time::advance(Duration::from_secs(21)).await;
        let again: Vec<_> = sessions.iter().map(chosen).collect();
        assert!(again.iter().zip(&before).all(|(a, b)| Arc::ptr_eq(a, b)));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_keys_rest_the_first_to_be_ready_is_asked() {
        let ring = ring(2);
        let [first, second] = [0, 1].map(|index| ring.providers[index].clone());
        ring.rest(&first, Duration::MAX);
        ring.rest(&second, Duration::from_secs(5));
        assert!(Arc::ptr_eq(&ring.choose(None).unwrap(), &second));
        // A server's word keeps no key away for ever.
        tokio::time::advance(MAX_REST).await;
        assert!(Arc::ptr_eq(&ring.choose(None).unwrap(), &first));
    }
}
