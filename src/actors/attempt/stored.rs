//! A stored stream, as an attempt reads it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use super::spec::StoredStream;
use crate::{
    actors::audience::note::AttemptNote,
    protocol::error::{ApiError, ErrorKind},
    store::{
        Claim, StoreError, StreamEnd,
        follow::{Followed, follow},
    },
};

/// A stream as it comes out of a store.
pub(crate) type Following = Pin<Box<dyn Stream<Item = Result<Followed, StoreError>> + Send>>;

impl StoredStream {
    /// What there is of it, and what comes, for a request of this name.
    pub(crate) fn follow(&self, request: &str) -> Following {
        let (store, key) = (self.store.clone(), self.key.clone());
        Box::pin(follow(store, key, 1, request, self.settings.clone()))
    }

    /// Asks whoever writes it to stop.
    pub(crate) fn ask_to_stop(&self) {
        let (store, key) = (self.store.clone(), self.key.clone());
        tokio::spawn(async move {
            if let Err(error) = store.cancel(&key).await {
                tracing::warn!(%error, "the writer of a stored stream can't be asked to stop");
            }
        });
    }
}

/// Why a stored stream can't be read, or not any further.
pub(crate) fn unreadable(error: StoreError) -> ApiError {
    let kind = match &error {
        StoreError::Unknown | StoreError::Expired => ErrorKind::NotFound,
        StoreError::TooLarge => ErrorKind::TooLarge,
        _ => ErrorKind::StoreUnavailable,
    };
    let message = error.to_string();
    ApiError::new(kind, message).with_source(error)
}

/// What comes next of a stored stream.
pub(crate) enum Next {
    Block(Bytes),
    End(StreamEnd),
    /// Whoever wrote it is gone, and this process has its place.
    Orphan(Claim, u64),
    Broken(StoreError),
}

/// What is read of a stored stream.
pub(crate) struct Replay {
    following: Following,
    /// What has come and is not read yet.
    blocks: VecDeque<Bytes>,
    /// How many were.
    read: u64,
    end: Option<StreamEnd>,
    /// That its writer is gone and this process has its place, and how many blocks it left.
    orphan: Option<(Claim, u64)>,
    /// The attempt that is read.
    pub(crate) attempt: Option<Box<AttemptNote>>,
}

impl Replay {
    pub(crate) fn new(following: Following) -> Box<Self> {
        Box::new(Self {
            following,
            blocks: VecDeque::new(),
            read: 0,
            end: None,
            orphan: None,
            attempt: None,
        })
    }

    pub(crate) fn next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                self.read += 1;
                return Poll::Ready(Next::Block(block));
            }
            if let Some((claim, blocks)) = self.orphan.take_if(|(_, blocks)| *blocks <= self.read) {
                return Poll::Ready(Next::Orphan(claim, blocks));
            }
            if let Some(end) = self.end {
                return Poll::Ready(Next::End(end));
            }
            let followed = ready!(self.following.as_mut().poll_next(cx));
            match followed.unwrap_or(Err(StoreError::Expired)) {
                Ok(Followed::Entries(entries)) => {
                    self.blocks.extend(entries.blocks);
                    self.end = entries.end;
                }
                Ok(Followed::Orphan { claim, info }) => self.orphan = Some((claim, info.blocks)),
                Err(error) => return Poll::Ready(Next::Broken(error)),
            }
        }
    }
}
