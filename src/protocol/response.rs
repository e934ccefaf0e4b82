//! A whole answer.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{
    Completed, FunctionCallItem, Incomplete, RateLimitSnapshot, ResponseAccumulator, ResponseEvent,
    ResponseHead, ResponseItem, TokenUsage,
    error::{ApiError, ErrorKind, Phase},
};
use crate::json::excerpt::excerpt;

/// An answer that has ended: what [`Runtime::respond`](crate::Runtime::respond) gives, and
/// what a [`ResponseAccumulator`] becomes.
///
/// It may be incomplete, as when it ran into `max_output_tokens`: [`is_complete`](Self::is_complete) tells, and
/// [`completed`](Self::completed) makes an error of that.
///
/// ```
/// # use actix_responses::{protocol::{Response, ResponseAccumulator}, wire::{StreamDecoder, StreamLimits, Wire}};
/// # let mut events = Vec::new();
/// # let end = StreamDecoder::new(Wire::Chat, StreamLimits::default()).feed(
/// #     b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[1,2]\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", &mut events);
/// # events.push(end.expect("an end").into());
/// # let mut gathered = ResponseAccumulator::default();
/// # events.iter().try_for_each(|event| gathered.push(event))?;
/// let response = Response::try_from(gathered)?;
/// assert_eq!(response.text(), "[1,2]");
/// assert_eq!(response.parse::<Vec<u32>>()?, [1, 2]);
/// # Ok::<(), actix_responses::ApiError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Response {
    gathered: ResponseAccumulator,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Completed(Arc<Completed>),
    Incomplete(Arc<Incomplete>),
}

impl TryFrom<ResponseAccumulator> for Response {
    type Error = ApiError;

    /// # Errors
    /// Each has what had come as its [`partial_response`](ApiError::partial_response): the error of an answer that
    /// failed; [`ErrorKind::Cancelled`] for one that was cancelled; [`ErrorKind::Truncated`] when no end has come.
    fn try_from(gathered: ResponseAccumulator) -> Result<Self, ApiError> {
        let end = match gathered.end() {
            Some(ResponseEvent::Completed(end)) => Ok(End::Completed(end.clone())),
            Some(ResponseEvent::Incomplete(end)) => Ok(End::Incomplete(end.clone())),
            Some(ResponseEvent::Failed(error)) => Err((**error).clone()),
            Some(_) => {
                let error = ApiError::new(ErrorKind::Cancelled, "the request was cancelled");
                Err(error.with_details(|details| {
                    details.token_usage = gathered.token_usage();
                    details.response_id = gathered.response_id().map(Into::into);
                    details.output_delivered = gathered.has_content();
                }))
            }
            None => {
                let message = "the events stop before the end of the answer";
                Err(ApiError::new(ErrorKind::Truncated, message).with_phase(Phase::Body))
            }
        };
        match end {
            Ok(end) => Ok(Self { gathered, end }),
            Err(error) => Err(error.with_partial_response(gathered)),
        }
    }
}

impl ApiError {
    /// What had come of an answer before it failed, was cut off or was cancelled, the runtime's shutdown included. Errors have it of
    /// [`Runtime::respond`](crate::Runtime::respond) and the other ways to a whole [`Response`].
    ///
    /// | what | in it |
    /// |---|---|
    /// | [`text`](ResponseAccumulator::text), `refusal`, `reasoning` | as far as they came: the beginning of what the whole would say |
    /// | [`items`](ResponseAccumulator::items) | those that the server said are done |
    /// | [`open_items`](ResponseAccumulator::open_items) | those that were begun, as they were announced |
    /// | [`tool_calls`](ResponseAccumulator::tool_calls) | all of them. One that is open has the beginning of its input, mostly no JSON, and `is_done` is false: it is never to be carried out |
    /// | [`token_usage`](ResponseAccumulator::token_usage) | what the server had said by then. Most say it at the end alone: `None` is unknown, and nothing is estimated |
    ///
    /// Never in it: anything from before a [`Restarted`](ResponseEvent::Restarted), which voids that; and what the server had sent and
    /// nobody had read yet. It is made on the side of who waits, from the events that reached it: who waits for no whole answer pays
    /// nothing for it. The `Failed` of a stream, and its `Cancelled`, follow events that their subscriber has had; one that
    /// keeps nothing but the end gathers them later with a stream from [`Cursor::Start`](crate::actors::Cursor::Start), while the log has
    /// them. It is not in the error's JSON.
    ///
    /// ```
    /// fn explain(error: &actix_responses::ApiError) -> String {
    ///     let so_far = error.partial_response().map(|partial| partial.text());
    ///     format!("{error}, after {so_far:?}")
    /// }
    /// ```
    pub fn partial_response(&self) -> Option<&ResponseAccumulator> {
        self.details().partial_response.as_ref()?.downcast_ref()
    }

    pub(crate) fn with_partial_response(mut self, gathered: ResponseAccumulator) -> Self {
        self.details_mut().partial_response = Some(Arc::new(gathered));
        self
    }
}

impl Response {
    /// The text of all messages, in order.
    pub fn text(&self) -> String {
        self.gathered.text()
    }

    /// What the model says in place of an answer that it refuses; empty when it refuses nothing.
    pub fn refusal(&self) -> String {
        self.gathered.refusal()
    }

    /// The reasoning as far as the server shows it.
    pub fn reasoning(&self) -> String {
        self.gathered.reasoning()
    }

    /// The items, in order: with what the calls among them are answered with, the next turn sends them back.
    pub fn items(&self) -> Vec<ResponseItem> {
        let items = self.gathered.items().into_iter();
        items.map(|item| item.item().clone()).collect()
    }

    /// The calls of functions, in order, to be carried out: not one that the server cut short. Those of other tools, and what was cut, are
    /// among the [`items`](Self::items).
    pub fn function_calls(&self) -> Vec<FunctionCallItem> {
        let items = self.items().into_iter();
        items
            .filter_map(|item| match item {
                ResponseItem::FunctionCall(call) => {
                    (call.status.as_deref() != Some("incomplete")).then_some(call)
                }
                _ => None,
            })
            .collect()
    }

    /// What it cost, when the server said so.
    pub fn token_usage(&self) -> Option<TokenUsage> {
        self.gathered.token_usage()
    }

    /// The head of the response: its status and headers. Absent where nothing but a body was decoded.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.gathered.head()
    }

    /// What the server said last of its limits.
    pub fn rate_limits(&self) -> Option<&RateLimitSnapshot> {
        self.gathered.rate_limits()
    }

    /// The response's id; absent when the server sent none.
    pub fn response_id(&self) -> Option<&str> {
        self.gathered.response_id()
    }

    /// The server's id of the request.
    pub fn request_id(&self) -> Option<&str> {
        match &self.end {
            End::Completed(end) => end.request_id.as_deref(),
            End::Incomplete(end) => end.request_id.as_deref(),
        }
    }

    /// The model that answered, where the server said so.
    pub fn model(&self) -> Option<&str> {
        self.gathered.server_model()
    }

    /// Whether the answer is whole.
    pub fn is_complete(&self) -> bool {
        matches!(self.end, End::Completed(_))
    }

    /// Why it is not whole: [`Incomplete::reason`].
    pub fn incomplete_reason(&self) -> Option<&str> {
        match &self.end {
            End::Completed(_) => None,
            End::Incomplete(end) => Some(&end.reason),
        }
    }

    /// Itself, if it is whole.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`], with the reason, if it is not.
    pub fn completed(self) -> Result<Self, ApiError> {
        match self.incomplete_reason() {
            None => Ok(self),
            Some(reason) => Err(self.incomplete(reason).with_partial_response(self.gathered)),
        }
    }

    /// Reads the text as JSON: for an output format with a schema.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] for an answer that is not whole, [`ErrorKind::ContentPolicy`] for one that the model refuses, and
    /// [`ErrorKind::InvalidOutput`] for a text that is no such JSON. Each has the answer as its
    /// [`partial_response`](ApiError::partial_response).
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let refusal = self.refusal();
        let error = if let Some(reason) = self.incomplete_reason() {
            self.incomplete(reason)
        } else if !refusal.is_empty() {
            let message = format!("the model refuses: {}", excerpt(&refusal));
            self.error(ErrorKind::ContentPolicy, message)
        } else {
            match serde_json::from_str(&self.text()) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let message =
                        format!("the answer's text is not the JSON that is asked for: {error}");
                    self.error(ErrorKind::InvalidOutput, message)
                        .with_source(error)
                }
            }
        };
        Err(error.with_partial_response(self.gathered.clone()))
    }

    fn incomplete(&self, reason: &str) -> ApiError {
        self.error(
            ErrorKind::Incomplete,
            format!("the answer is incomplete: {reason}"),
        )
    }

    fn error(&self, kind: ErrorKind, message: String) -> ApiError {
        let mut error = ApiError::new(kind, message).with_phase(Phase::Body);
        let details = error.details_mut();
        details.request_id = self.request_id().map(str::to_owned);
        details.response_id = self.response_id().map(Into::into);
        details.token_usage = self.token_usage();
        details.output_delivered = true;
        error
    }
}
