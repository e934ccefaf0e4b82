//! The table of requests, and what each of them may be doing.

use std::sync::Arc;

use actix::{Addr, SpawnHandle};

use super::{StreamSupervisor, attempts::Attempts};
use crate::{
    actors::{
        RequestId,
        attempt::{spec::RequestSpec, stream::StreamActor},
        audience::Audience,
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind},
    },
};

pub(super) struct Request {
    pub(super) spec: Arc<RequestSpec>,
    pub(super) state: State,
    pub(super) attempts: Attempts,
    /// Why the attempt that runs was told to stop. It may have ended just before.
    pub(super) stopping: Option<StopReason>,
}

/// Small, because nearly all requests run, and the table of them doubles when it is full.
pub(super) enum State {
    /// Between two of the others, within one call.
    Changing,
    /// An attempt runs and holds the audience.
    Running { stream: Addr<StreamActor> },
    /// The next attempt is due later.
    Waiting {
        audience: Box<Audience>,
        timer: SpawnHandle,
        /// Why the last one failed.
        error: Arc<ApiError>,
    },
    /// The end is published; the audience is kept for those who come late or lag behind.
    Ended { audience: Box<Audience> },
}

/// Why a request is ended before its time. The first one counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    Cancelled,
    ShutDown,
}

impl StopReason {
    pub(super) fn end(self) -> ResponseEvent {
        match self {
            Self::Cancelled => ResponseEvent::Cancelled,
            Self::ShutDown => ResponseEvent::Failed(Arc::new(self.error())),
        }
    }

    /// The same for those who can be given nothing but an error.
    pub(crate) fn error(self) -> ApiError {
        let message = match self {
            Self::Cancelled => "the request was cancelled",
            Self::ShutDown => "the runtime was shut down",
        };
        ApiError::new(ErrorKind::ShutDown, message)
    }
}

impl Request {
    /// The state, for a transition that puts another in its place at once.
    pub(super) fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Changing)
    }
}

impl StreamSupervisor {
    /// The requests in the order in which they came: the same each time, so that a run can be repeated.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        let mut ids: Vec<_> = self.requests.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}
