//! What is delivered, written to a store beside.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::task::AbortHandle;

use super::note::Note;
use crate::{
    actors::{
        RequestId,
        attempt::spec::{StopAsked, StoredStream},
    },
    protocol::ResponseEvent,
    store::{
        StoreError, StreamEnd,
        recorder::{Begin, Recorder, RecorderState},
    },
    wire::blocks::Blocks,
};

/// The writer of a request's stream. It lies with the audience, so that what is written is what is delivered, and in that order.
pub(crate) struct Recording {
    recorder: Recorder,
    /// Stops the request when somebody asks for that in the store.
    watcher: AbortHandle,
    /// Whether another node began it.
    pub(super) is_taken_over: bool,
    /// Whether subscribers get blocks, too.
    pub(super) delivers_blocks: bool,
    /// Whether the events that come next were read from no block.
    pub(super) is_unread: bool,
    /// Whether the store knows it by the server's id.
    is_named: bool,
    /// Whether another process is to go on, and the end is only that of this one.
    pub(super) hands_over: bool,
    /// Whether it was told that the store is behind.
    is_behind: bool,
    is_over: bool,
}

/// The events that are delivered last, the end behind them.
pub(super) struct Last {
    pub(super) events: SmallVec<[ResponseEvent; 1]>,
    pub(super) blocks: Option<Box<Blocks>>,
    /// Whether what subscribers have not taken yet is skipped.
    pub(super) overtakes: bool,
}

impl Last {
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.blocks.as_ref().map_or(0, |blocks| blocks.weight());
        blocks + self.events.iter().map(ResponseEvent::weight).sum::<usize>()
    }
}

/// An end that the store is to have before subscribers do.
pub(crate) struct Held {
    stored: Pin<Box<dyn Future<Output = RecorderState> + Send>>,
    pub(super) last: Last,
}

impl Held {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stored.as_mut().poll(cx).map(drop)
    }
}

impl Recording {
    /// Begins, within a runtime of tokio. `node` is who has the claim.
    pub(crate) fn start(
        stored: &StoredStream,
        request: RequestId,
        node: &str,
        begin: Begin,
    ) -> Box<Self> {
        let is_taken_over = stored.is_read_again;
        let recorder = Recorder::start(
            stored.store.clone(),
            stored.key.clone(),
            node,
            begin,
            stored.settings.clone(),
        );
        let (asked, cancel) = (recorder.clone(), stored.cancel.clone());
        let watcher = tokio::spawn(async move {
            asked.cancelled().await;
            // Where the supervisor has ended, so has the request.
            let _ = cancel.send(StopAsked(request)).await;
        });
        Box::new(Self {
            recorder,
            watcher: watcher.abort_handle(),
            is_taken_over,
            delivers_blocks: stored.delivers_blocks,
            is_unread: false,
            is_named: false,
            hands_over: false,
            is_behind: false,
            is_over: false,
        })
    }

    pub(super) fn note(&self, note: &Note) {
        self.recorder.push(block_of(note));
    }

    /// Writes events, and the blocks that go with them; of an event that is the end, that too.
    pub(super) fn add(&mut self, events: &[ResponseEvent], blocks: Option<&Blocks>) {
        let is_own = events.iter().any(|event| {
            matches!(
                event,
                ResponseEvent::Restarted(_) | ResponseEvent::Failed(_) | ResponseEvent::Cancelled
            )
        });
        // What stands in the blocks of a failure is in its error; whoever read them would ask again what to do of it.
        let blocks = blocks.filter(|_| !is_own);
        let runs = blocks.into_iter().flat_map(|blocks| &blocks.runs);
        let mut runs = runs.filter(|run| !run.is_stored).peekable();
        let is_noted = self.is_unread || runs.peek().is_none();
        let note = is_noted.then(|| block_of(&Note::Events(events.to_vec())));
        let blocks = runs.flat_map(|run| run.parts().map(|(range, _)| run.bytes.slice(range)));
        let blocks = note.flatten().into_iter().chain(blocks);
        if !self.is_named {
            let id = events.iter().find_map(|event| match event {
                ResponseEvent::Created(created) => created.response_id.as_deref(),
                _ => None,
            });
            if let Some(id) = id {
                self.is_named = true;
                self.recorder.add_alias(id.to_owned());
            }
        }
        match events.last().and_then(stream_end) {
            Some(end) => self.recorder.end_with(blocks, end),
            None => self.recorder.push(blocks),
        }
    }

    /// Hands the stream over to another process.
    pub(super) fn release(&self) {
        self.recorder.release();
    }

    /// What was written last is to be in the store before it is delivered.
    pub(super) fn hold(&self, last: Last) -> Box<Held> {
        let recorder = self.recorder.clone();
        let stored = Box::pin(async move { recorder.ended().await });
        Box::new(Held { stored, last })
    }

    /// What is to be told of how the store fares, once: whether it is over, and why.
    pub(super) fn news(&mut self) -> Option<(bool, Option<StoreError>)> {
        if self.is_over {
            return None;
        }
        let was_behind = mem::take(&mut self.is_behind);
        let error = match self.recorder.state() {
            RecorderState::Behind(_) => {
                self.is_behind = true;
                return (!was_behind).then_some((false, None));
            }
            RecorderState::Lost => None,
            RecorderState::GivenUp(error) => Some(error),
            _ => return None,
        };
        self.is_over = true;
        Some((true, error))
    }

    /// The same, where the end is not held any longer: it may have come before the store was found to be behind.
    pub(super) fn last_news(&mut self) -> Option<(bool, Option<StoreError>)> {
        let news = self.news();
        let is_told = news.is_some() || self.is_behind || self.is_over;
        let is_missing = !is_told && !self.recorder.state().is_over();
        news.or_else(|| is_missing.then_some((false, None)))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.watcher.abort();
        // Nothing, where there was an end. Else another node may go on with it.
        self.recorder.release();
    }
}

fn block_of(note: &Note) -> Option<Bytes> {
    let block = note.to_block();
    // No event is made that is no JSON.
    block
        .inspect_err(|error| tracing::error!(%error, "a note of a stored stream can't be written"))
        .ok()
}

fn stream_end(event: &ResponseEvent) -> Option<StreamEnd> {
    match event {
        ResponseEvent::Completed(_) => Some(StreamEnd::Completed),
        ResponseEvent::Incomplete(_) => Some(StreamEnd::Incomplete),
        ResponseEvent::Failed(_) => Some(StreamEnd::Failed),
        ResponseEvent::Cancelled => Some(StreamEnd::Cancelled),
        _ => None,
    }
}
