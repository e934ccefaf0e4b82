//! What is delivered is written to a store, too.

use tokio::time::Instant;

use super::{
    Audience,
    note::{AttemptNote, Note},
    recording::{Last, Recording},
};
use crate::{protocol::ResponseEvent, store::StoreError, wire::blocks::Blocks};

impl Audience {
    /// What is delivered from now on is written, too.
    pub(crate) fn record(&mut self, recording: Box<Recording>) {
        self.recording = Some(recording);
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// The response of an attempt has begun.
    pub(crate) fn note_attempt(&mut self, note: impl FnOnce() -> AttemptNote) {
        if let Some(recording) = &self.recording {
            recording.note(&Note::Attempt(Box::new(note())));
        }
    }

    /// What ends now, ends in this process alone: another may go on with it.
    pub(crate) fn hand_over(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.hands_over = true;
        }
    }

    /// Publishes events that were read from no block, whatever blocks wait.
    pub(crate) fn publish_unread(&mut self, events: &mut Vec<ResponseEvent>, now: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.is_unread = true;
            self.publish(events, now);
        }
        if let Some(recording) = &mut self.recording {
            recording.is_unread = false;
        }
    }

    /// Writes what is delivered next, if it is recorded. The blocks come back where subscribers get them.
    pub(super) fn write(
        &mut self,
        events: &[ResponseEvent],
        blocks: Option<Box<Blocks>>,
    ) -> Option<Box<Blocks>> {
        let Some(recording) = &mut self.recording else {
            return blocks;
        };
        recording.add(events, blocks.as_deref());
        let delivers_blocks = recording.delivers_blocks;
        self.tell_of_store();
        blocks.filter(|_| delivers_blocks)
    }

    /// Whether the end waits for the store.
    pub(crate) fn holds_end(&self) -> bool {
        self.held.is_some()
    }

    /// Tells observers that the store does not have what it should.
    pub(super) fn tell_of_store(&mut self) {
        let news = self.recording.as_mut().and_then(|it| it.news());
        self.tell_news(news);
    }

    /// The same, before the end is published that waited for the store.
    pub(super) fn tell_of_store_at_the_end(&mut self) {
        let news = self.recording.as_mut().and_then(|it| it.last_news());
        self.tell_news(news);
    }

    fn tell_news(&self, news: Option<(bool, Option<StoreError>)>) {
        if let Some((is_over, error)) = news {
            let (request, why) = (self.request, error.as_ref());
            tracing::warn!(%request, is_over, error = ?why, "a stream is not written to its store");
            if let Some(watch) = &self.watch {
                watch.on_not_stored(is_over, error);
            }
        }
    }

    /// Keeps the end until the store has it, if it is recorded. Else it comes back.
    pub(super) fn hold(&mut self, mut last: Last) -> Option<Last> {
        let Some(recording) = &self.recording else {
            return Some(last);
        };
        match recording.hands_over {
            true => recording.release(),
            false => last.blocks = self.write(&last.events, last.blocks.take()),
        }
        self.held = Some(self.recording.as_ref()?.hold(last));
        None
    }
}
