//! How a request is doing, as its audience knows.

use super::Audience;
use crate::{
    actors::attempt::counts::AudienceCounts,
    protocol::{ResponseEvent, TokenUsage},
};

impl Audience {
    pub(crate) fn counts(&self) -> AudienceCounts {
        let subscriptions = self.subscriptions.iter();
        let lag = subscriptions.map(|subscription| subscription.lag_in(&self.log));
        AudienceCounts {
            subscribers: self.subscriptions.len(),
            events: self.log.next(),
            lag: lag.max().unwrap_or_default(),
        }
    }

    /// What the answer cost, if it has ended and the server said so; of one that was cancelled, as far as the server had said it.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        let end = self.log.last().filter(|_| self.ended)?;
        match end.events().last()? {
            ResponseEvent::Completed(end) => end.token_usage,
            ResponseEvent::Incomplete(end) => end.token_usage,
            ResponseEvent::Failed(error) => error.details().token_usage,
            _ => self.usage.as_deref().copied(),
        }
    }
}
