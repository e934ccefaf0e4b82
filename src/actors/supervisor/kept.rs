//! Questions about responses that a server keeps.

use actix::Context;

use super::state::StreamSupervisor;
use crate::{
    actors::{
        AboutResponse,
        audience::listener::{MayStream, Question},
        messages::{Asked, AsksAbout},
    },
    protocol::error::ApiError,
};

/// How many bytes a response may have that is retrieved, or a page of its input: a hundred items with their pictures in base64, of some
/// hundred kilobytes each.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

impl StreamSupervisor {
    pub(super) fn submit_about<Q: AsksAbout>(
        &mut self,
        message: AboutResponse<Q>,
        ctx: &mut Context<Self>,
    ) -> Result<Asked<Q::Reply>, ApiError> {
        let AboutResponse {
            response_id,
            question,
            provider,
            headers,
            retry,
            label,
            observer,
            span,
        } = message;
        let mut spec = self.prepare(provider, headers, retry, None)?;
        let (method, below) = Q::place();
        let query = question.query();
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        spec.url = spec.provider.response_url(&response_id, below, &query)?;
        spec.method = method;
        let (operation, answer) = Q::NAMES;
        let question = Question {
            operation,
            answer,
            head_limit: spec.provider.timeouts.response_head,
            limit: ("MAX_KEPT_BYTES", MAX_KEPT_BYTES),
            whole_limit: None,
            may_stream: MayStream::No,
            read: |_, _, body| Q::read(body),
        };
        Ok(self.ask(question, spec, span, (label, observer), ctx))
    }
}
