//! All answers of a client, on whichever node they are.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Answer, Answers};
use crate::{relay::access::Client, store::StreamInfo};

/// The answers of a client.
pub(in crate::relay) struct Listed {
    /// The newest first.
    pub(in crate::relay) answers: Vec<Arc<Answer>>,
    /// Whether those of other nodes are among them; not where the store does not answer.
    pub(in crate::relay) is_whole: bool,
}

impl Answers {
    /// All answers of this client. What the store says of those of other nodes may be so old.
    pub(in crate::relay) async fn list(&self, client: &Client, may_be_old: Duration) -> Listed {
        let mut answers = self.list_here(client);
        let inner = &self.inner;
        if !inner.storage.is_shared {
            return Listed {
                answers,
                is_whole: true,
            };
        }
        let there = self.list_there(client, may_be_old).await;
        let here: HashSet<_> = answers.iter().map(|answer| answer.id_shared()).collect();
        let others = there.iter().flat_map(|infos| infos.iter());
        let others = others.filter(|info| !here.contains(&*info.stream.id));
        answers.extend(others.map(|info| self.elsewhere(client, info.clone())));
        // Of clocks that differ it is as good an order as any.
        answers.sort_by_key(|answer| std::cmp::Reverse(answer.began_at()));
        Listed {
            answers,
            is_whole: there.is_some(),
        }
    }

    async fn list_there(
        &self,
        client: &Client,
        may_be_old: Duration,
    ) -> Option<Arc<Vec<StreamInfo>>> {
        let storage = &self.inner.storage;
        let said = self.inner.lists.of(client);
        let mut said = said.lock().await;
        if let Some((at, said)) = &*said
            && at.elapsed() < may_be_old
        {
            return said.clone();
        }
        let name = client.in_store();
        let now = storage.asked(storage.store.list(&name)).await;
        let now = now.ok().map(Arc::new);
        *said = Some((Instant::now(), now.clone()));
        now
    }
}
