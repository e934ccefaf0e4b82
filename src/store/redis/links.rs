//! The connections for what does not wait at the server: one for each runtime that asks, so that no answer wakes another thread, and two for
//! what is long.

use std::sync::{Arc, PoisonError, RwLock};

use ::redis::{Cmd, Value};
use tokio::{
    runtime::{Handle, Id},
    sync::{Mutex, MutexGuard},
};

use super::{
    connection::Link,
    options::{Address, RedisOptions},
};
use crate::store::{StoreError, time_to_send};

/// What is longer is sent and read over a connection of its own.
const LONG_BYTES: usize = 256 << 10;

/// How many there are at the most: more runtimes than that share the last one.
const CONNECTIONS: usize = 64;

pub(super) struct Links {
    address: Address,
    options: Arc<RedisOptions>,
    links: RwLock<Vec<(Option<Id>, Arc<Link>)>>,
    sent: Long,
    read: Long,
}

/// For what would hold up all that is asked behind it: one at a time, so that none is waited for in vain behind another.
struct Long {
    link: Arc<Link>,
    turn: Mutex<()>,
}

/// The right to use a connection, as long as this is held.
pub(super) struct Turn<'a> {
    pub(super) link: Arc<Link>,
    turn: Option<MutexGuard<'a, ()>>,
}

impl Turn<'_> {
    /// Nothing is on its way any more.
    pub(super) fn finish(mut self) {
        self.turn = None;
    }
}

/// Whoever did not wait for the end leaves a connection on which the rest is still on its way: the next one gets another.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.turn.is_some() {
            self.link.abandon();
        }
    }
}

impl Long {
    async fn turn(&self) -> Turn<'_> {
        Turn {
            link: Arc::clone(&self.link),
            turn: Some(self.turn.lock().await),
        }
    }
}

impl Links {
    pub(super) fn new(address: Address, options: Arc<RedisOptions>) -> Self {
        let [sent, read] = [(); 2].map(|()| Long {
            link: Arc::new(Link::new(address.clone(), Arc::clone(&options))),
            turn: Mutex::default(),
        });
        Self {
            address,
            options,
            links: RwLock::default(),
            sent,
            read,
        }
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// Where so many bytes are sent.
    pub(super) async fn to_send(&self, bytes: usize) -> Turn<'_> {
        match bytes > LONG_BYTES {
            true => self.sent.turn().await,
            false => Turn {
                link: self.here(),
                turn: None,
            },
        }
    }

    /// The answer to a command, which has so many bytes at the most.
    pub(super) async fn read(&self, bytes: usize, command: &Cmd) -> Result<Value, StoreError> {
        if bytes <= LONG_BYTES {
            return self.here().ask(command).await;
        }
        let turn = self.read.turn().await;
        let time = self.options.command_timeout + time_to_send(bytes);
        let answer = turn.link.ask_within(command, time).await;
        turn.finish();
        answer
    }

    /// That of the runtime we are in.
    pub(super) fn here(&self) -> Arc<Link> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let known = |links: &[(Option<Id>, Arc<Link>)]| {
            let mut links = links.iter();
            let known = links.find(|(runtime, _)| *runtime == here);
            known.map(|(_, link)| Arc::clone(link))
        };
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = known(&links) {
            return link;
        }
        drop(links);
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread of the same runtime may have been faster.
        if let Some(link) = known(&links) {
            return link;
        }
        if links.len() >= CONNECTIONS {
            // The runtimes of some may have ended.
            links.retain(|(_, link)| !link.is_left());
        }
        if links.len() >= CONNECTIONS
            && let Some((_, last)) = links.last()
        {
            return Arc::clone(last);
        }
        let link = Link::new(self.address.clone(), Arc::clone(&self.options));
        let link = Arc::new(link);
        links.push((here, Arc::clone(&link)));
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TlsConfig;

    #[test]
    fn each_runtime_has_a_connection_of_its_own_up_to_a_number() {
        let address = Address::parse("redis://127.0.0.1:1", &TlsConfig::default()).unwrap();
        let links = Links::new(address, Arc::default());
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let [one, two] = [runtime(), runtime()];
        let here = |runtime: &tokio::runtime::Runtime| runtime.block_on(async { links.here() });
        assert!(Arc::ptr_eq(&here(&one), &here(&one)));
        assert!(!Arc::ptr_eq(&here(&one), &here(&two)));
        for _ in 0..2 * CONNECTIONS {
            here(&runtime());
        }
        let count = links.links.read().unwrap().len();
        assert!(count <= CONNECTIONS, "{count} connections");
    }

    #[test]
    fn threads_of_one_runtime_have_one_connection_also_if_they_ask_at_once() {
        let address = Address::parse("redis://127.0.0.1:1", &TlsConfig::default()).unwrap();
        let links = Links::new(address, Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let threads = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _here = runtime.enter();
                    threads.wait();
                    links.here();
                });
            }
        });
        assert_eq!(links.links.read().unwrap().len(), 1);
    }
}
