//! How many streams each client has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::http::StatusCode;

use super::{Client, Refusal};

/// How soon a client with too many streams may try again: one of them may have ended.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many each client has at a time.
#[derive(Debug)]
pub(super) struct Streams {
    limit: usize,
    running: Mutex<HashMap<Client, usize>>,
}

/// One stream of a client's.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    streams: Arc<Streams>,
    client: Client,
}

impl Streams {
    pub(super) fn new(limit: usize) -> Self {
        let running = Mutex::default();
        Self { limit, running }
    }

    pub(super) fn begin(self: &Arc<Self>, client: &Client) -> Result<StreamPermit, Refusal> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.get(client).copied().unwrap_or_default();
        if count >= self.limit {
            let message = format!(
                "{count} streams run for this client, as many as it may have (`max_streams`)"
            );
            let mut refusal =
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", message);
            refusal.retry_after = Some(RETRY_AFTER);
            return Err(refusal);
        }
        running.insert(client.clone(), count + 1);
        Ok(StreamPermit {
            streams: self.clone(),
            client: client.clone(),
        })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let running = self.streams.running.lock();
        let mut running = running.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_limit_and_an_ended_stream_makes_room() {
        let streams = Arc::new(Streams::new(2));
        let ada = Client::Named("ada".into());
        let mut held: Vec<_> = (0..2).map(|_| streams.begin(&ada).unwrap()).collect();
        let refusal = streams.begin(&ada).unwrap_err();
        assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refusal.respond().headers().get("retry-after").unwrap(), "1");
        streams.begin(&Client::Anonymous).unwrap();
        held.pop();
        held.push(streams.begin(&ada).unwrap());
        drop(held);
        assert!(streams.running.lock().unwrap().is_empty());
    }
}
