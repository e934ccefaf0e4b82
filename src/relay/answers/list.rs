//! What a store said of the answers of clients, kept for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use crate::{relay::access::Client, store::StreamInfo};

/// Of how many clients it is kept what the store said; over it those go whom nobody asks for now.
const MAX_KEPT: usize = 1000;

/// What the store said last of the answers of clients, and when.
#[derive(Default)]
pub(super) struct Lists {
    said: Mutex<HashMap<Client, Said>>,
}

/// Nothing where it did not answer.
pub(super) type Said = Arc<AsyncMutex<Option<(Instant, Option<Arc<Vec<StreamInfo>>>)>>>;

impl Lists {
    /// Who asks while another one does waits for the same answer.
    pub(super) fn of(&self, client: &Client) -> Said {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= MAX_KEPT {
            said.retain(|_, said| Arc::strong_count(said) > 1);
        }
        said.entry(client.clone()).or_default().clone()
    }
}
