//! Who hears of a request's end, and what only whoever holds it can answer.

use std::{sync::Arc, time::Duration};

use actix::Message;
use http::{HeaderMap, StatusCode};
use tokio::{sync::oneshot, time::Instant};

use super::{Audience, subscription::Subscriber};
use crate::{
    actors::{
        SubscribeError, SubscriptionId, WhenDeserted,
        messages::Answer,
        observing::{RequestOutcome, Watch},
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    wire::Wire,
};

/// Who hears of a request's end: lent to the attempt that runs.
pub(crate) enum Listener {
    /// Of a stream; it hears of everything before the end as well.
    Audience(Box<Audience>),
    /// Of a question.
    Asker(Box<Asker>),
}

/// Whoever waits for the one answer to a question. Its drop says that there will be none.
pub(crate) struct Asker {
    pub(crate) question: Question,
    pub(crate) answer: oneshot::Sender<Result<Answer, ApiError>>,
    /// Who observes the question, until its end.
    pub(crate) watch: Option<Box<Watch>>,
}

/// What a question asks, and how its answer is read.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    /// What spans call it.
    pub(crate) operation: &'static str,
    /// What errors call its answer.
    pub(crate) answer: &'static str,
    /// How long the head of the response may take.
    pub(crate) head_limit: Duration,
    /// What the limit on its bytes is called, and how many they may be.
    pub(crate) limit: (&'static str, usize),
    /// How long all of it may take.
    pub(crate) whole_limit: Option<Duration>,
    /// What some servers answer with in place of an object.
    pub(crate) may_stream: MayStream,
    /// Reads the body.
    pub(crate) read: fn(StatusCode, &HeaderMap, &str) -> Result<Answer, ApiError>,
}

/// Whether the answer to a question may be an event stream, and of what.
#[derive(Clone, Copy)]
pub(crate) enum MayStream {
    No,
    /// Of a response in which a compaction stands.
    Compaction,
    /// Of the answer itself.
    Answer(Wire),
}

/// Each way to end gives back the audience, which is kept for those who come late.
impl Listener {
    /// Has heard of the end.
    pub(crate) fn ended(self) -> Option<Box<Audience>> {
        match self {
            Self::Audience(audience) => Some(audience),
            Self::Asker(_) => None,
        }
    }

    /// Gets what it asked for.
    pub(crate) fn answer(self, answer: Result<Answer, ApiError>) -> Option<Box<Audience>> {
        match self {
            Self::Audience(audience) => Some(audience),
            Self::Asker(mut asker) => {
                if let Some(watch) = asker.watch.take() {
                    match &answer {
                        Ok(Answer::Whole(whole)) => {
                            watch.end(&whole.end, whole.model.clone(), None)
                        }
                        Ok(answer) => {
                            let (usage, model) = answer.told();
                            watch.end_with(RequestOutcome::Completed, usage, model);
                        }
                        Err(error) => {
                            let error = Arc::new(error.clone());
                            watch.end(&ResponseEvent::Failed(error), None, None);
                        }
                    }
                }
                // An error means that nobody waits for the answer any more, as when its future was dropped.
                let _ = asker.answer.send(answer);
                None
            }
        }
    }

    /// Who observes the request.
    pub(crate) fn watch(&mut self) -> &mut Option<Box<Watch>> {
        match self {
            Self::Audience(audience) => &mut audience.watch,
            Self::Asker(asker) => &mut asker.watch,
        }
    }

    /// What spans call the request.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Audience(_) => "chat",
            Self::Asker(asker) => asker.question.operation,
        }
    }

    /// Hears of the error after everything before it.
    pub(crate) fn fail(mut self, error: Arc<ApiError>, now: Instant) -> Option<Box<Audience>> {
        match &mut self {
            Self::Audience(audience) => {
                let mut owed = Vec::new();
                if let Some(mut resumption) = audience.resumption.take() {
                    // What went wrong is known.
                    let _ = resumption.decoder.finish(&mut owed);
                }
                audience.end(&mut owed, ResponseEvent::Failed(error), now);
                self.ended()
            }
            Self::Asker(_) => self.answer(Err(Arc::unwrap_or_clone(error))),
        }
    }

    /// Hears of the end at once.
    pub(crate) fn cut_short(mut self, end: ResponseEvent) -> Option<Box<Audience>> {
        if let Self::Audience(audience) = &mut self {
            audience.cut_short(end);
            return self.ended();
        }
        if matches!(end, ResponseEvent::Cancelled)
            && let Some(watch) = self.watch().take()
        {
            watch.end(&end, None, None);
        }
        self.answer(Err(match end {
            ResponseEvent::Failed(error) => Arc::unwrap_or_clone(error),
            _ => ApiError::new(ErrorKind::Cancelled, "the request was cancelled"),
        }))
    }

    /// Whether nobody is left for whom another attempt would be made.
    pub(crate) fn is_gone(&mut self, when_deserted: WhenDeserted, now: Instant) -> bool {
        match self {
            Self::Audience(audience) => {
                // Nothing was delivered meanwhile that would have shown who is gone.
                audience.sweep();
                let abandoned_at = audience.abandoned_at(when_deserted, now);
                abandoned_at.is_some_and(|at| now >= at)
            }
            Self::Asker(asker) => asker.answer.is_closed(),
        }
    }
}

/// A message for whoever holds an audience at the time.
pub(crate) trait ForAudience:
    Message<Result: Send> + Clone + Send + Unpin + 'static
{
    fn put_to(self, audience: &mut Audience) -> Self::Result;
}

/// A subscriber joins.
#[derive(Clone, Message)]
#[rtype(result = "Result<SubscriptionId, SubscribeError>")]
pub(crate) struct Join(pub(crate) Subscriber);

impl ForAudience for Join {
    fn put_to(self, audience: &mut Audience) -> Self::Result {
        audience.subscribe(self.0, Instant::now())
    }
}

/// A subscriber leaves.
#[derive(Clone, Message)]
#[rtype(result = "bool")]
pub(crate) struct Leave(pub(crate) SubscriptionId);

impl ForAudience for Leave {
    fn put_to(self, audience: &mut Audience) -> bool {
        audience.unsubscribe(self.0)
    }
}

/// Somebody wants to know how the request is doing: whoever holds its audience notes what has been counted.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Inspect;

impl ForAudience for Inspect {
    fn put_to(self, _: &mut Audience) {}
}
