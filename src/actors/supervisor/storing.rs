//! Streams that outlive this process.

use actix::{AsyncContext, Context, Handler};
use serde_json::json;

use super::{requests::StopReason, state::StreamSupervisor};
use crate::{
    actors::{
        RequestId,
        attempt::spec::{RequestSpec, StopAsked, StoredStream},
        audience::{Audience, listener::Listener, recording::Recording},
    },
    protocol::error::ApiError,
    store::{
        StreamKey,
        recorder::{Begin, RecorderSettings},
    },
};

impl StreamSupervisor {
    /// The stream that a request writes or reads.
    pub(super) fn stored_stream(
        &self,
        stored_as: Option<StreamKey>,
        reads: Option<StreamKey>,
        delivers_blocks: bool,
        ctx: &Context<Self>,
    ) -> Result<Option<Box<StoredStream>>, ApiError> {
        let is_read_again = reads.is_some();
        let key = match (stored_as, reads) {
            (None, None) => return Ok(None),
            (Some(key), None) | (None, Some(key)) => key,
            (Some(_), Some(_)) => {
                let message =
                    "a stream that is read again is stored already: leave `stored_as` out";
                return Err(ApiError::misconfigured(message));
            }
        };
        let Some(store) = self.config.store.clone() else {
            let message =
                "no stream can be stored or read again: `SupervisorConfig::store` is not set";
            return Err(ApiError::misconfigured(message));
        };
        Ok(Some(Box::new(StoredStream {
            store,
            key,
            settings: RecorderSettings::default(),
            is_read_again,
            delivers_blocks,
            cancel: ctx.address().recipient(),
        })))
    }

    /// Begins to write the stream of a request that is to be stored.
    pub(super) fn record(&self, spec: &RequestSpec, audience: &mut Audience) {
        let Some(stored) = spec.stored.as_deref().filter(|_| spec.is_recorded()) else {
            return;
        };
        let about = json!({
            "request": spec.id,
            "provider": spec.provider.name(),
            "wire": spec.provider.wire,
            "model": spec.model,
        });
        let begin = Begin {
            about: Some(about.to_string().into()),
            request: Some(spec.body()),
            ..Begin::default()
        };
        let node = spec.id.to_string();
        audience.record(Recording::start(stored, spec.id, &node, begin));
    }

    /// Whether the next attempt of a request reads what is stored.
    pub(super) fn is_reading(&self, id: RequestId, listener: &Listener) -> bool {
        let request = self.requests.get(&id);
        let is_read_again = request.is_some_and(|request| request.spec.is_read_again());
        is_read_again && matches!(listener, Listener::Audience(it) if it.resumption.is_none())
    }
}

impl Handler<StopAsked> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, StopAsked(request): StopAsked, ctx: &mut Self::Context) {
        self.stop(request, StopReason::Cancelled, ctx);
    }
}
