//! Questions about responses that a server keeps.

use actix::{Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture};

use super::state::StreamSupervisor;
use crate::{
    actors::{
        AboutResponse, CancelResponse, DeleteResponse, ListInputItems, Retrieve,
        audience::listener::{AnswerLimit, MayStream, Question},
        messages::{Asked, AsksAbout, Submit},
    },
    protocol::error::ApiError,
};

/// How many bytes a response may have that is retrieved, or a page of its input: a hundred items with their pictures in base64, of some
/// hundred kilobytes each.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

impl StreamSupervisor {
    fn submit_about<Q: AsksAbout>(
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
            limit: AnswerLimit {
                name: "MAX_KEPT_BYTES",
                bytes: MAX_KEPT_BYTES,
            },
            whole_limit: None,
            may_stream: MayStream::No,
            read: |_, _, body| Q::read(body),
        };
        Ok(self.ask(question, spec, span, (label, observer), ctx))
    }
}

macro_rules! answers {
    ($($question:ty),+) => {$(
        impl Handler<Submit<AboutResponse<$question>>> for StreamSupervisor {
            type Result = MessageResult<Submit<AboutResponse<$question>>>;

            fn handle(
                &mut self,
                Submit(about): Submit<AboutResponse<$question>>,
                ctx: &mut Self::Context,
            ) -> Self::Result {
                MessageResult(self.submit_about(about, ctx))
            }
        }

        impl Handler<AboutResponse<$question>> for StreamSupervisor {
            type Result =
                ResponseActFuture<Self, <AboutResponse<$question> as Message>::Result>;

            fn handle(
                &mut self,
                about: AboutResponse<$question>,
                ctx: &mut Self::Context,
            ) -> Self::Result {
                let submitted = self.submit_about(about, ctx);
                Box::pin(async { submitted?.await }.into_actor(self))
            }
        }
    )+};
}

answers!(Retrieve, CancelResponse, DeleteResponse, ListInputItems);
