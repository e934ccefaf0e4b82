//! The events of a request, as a stream.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::{FusedStream, Stream};
use tokio::sync::mpsc;

use super::handle::Handle;
use crate::{
    actors::{Delivery, GetStatus, RequestId, Subscriber, SubscriptionId, Unsubscribe},
    protocol::{Response, ResponseAccumulator, ResponseEvent, error::ApiError},
};

/// Deliveries that wait in a [`ResponseStream`] before the response is not read any further: as many as a mailbox holds.
const QUEUE_DELIVERIES: usize = 16;

pub(super) type Receivers = (mpsc::Receiver<Delivery>, mpsc::UnboundedReceiver<Delivery>);

pub(super) fn channel() -> (Subscriber, Receivers) {
    let (queue, queued) = mpsc::channel(QUEUE_DELIVERIES);
    // It carries one message at most: an end that overtakes.
    let (urgent, hurried) = mpsc::unbounded_channel();
    (Subscriber::channel(queue, urgent), (queued, hurried))
}

/// The events of one request, in order.
///
/// Its items are events; a failure is an `Err` in place of [`ResponseEvent::Failed`]. Exactly one end comes, as an event that
/// [`is_final`](ResponseEvent::is_final) or as an `Err`, and after it `None`. What had been delivered comes before an `Err`; a cancel
/// overtakes it.
///
/// While the stream is not polled the response is not read, after what fits its queue and the log. It may rest for an hour while nobody
/// else listens, and beside others for 30 s, or for as long as a policy of its own says; then it ends with
/// [`ErrorKind::Lagged`](crate::ErrorKind).
///
/// Dropping it leaves the request, which cancels it unless others listen or
/// [`WhenDeserted`](crate::actors::WhenDeserted) says otherwise.
pub struct ResponseStream {
    handle: Arc<Handle>,
    request: RequestId,
    subscription: Option<SubscriptionId>,
    queued: mpsc::Receiver<Delivery>,
    hurried: mpsc::UnboundedReceiver<Delivery>,
    /// An error that comes after what is queued.
    failure: Option<Delivery>,
    current: Option<(Delivery, usize)>,
    next_sequence: u64,
    ended: bool,
}

impl ResponseStream {
    pub(super) fn new(
        handle: Arc<Handle>,
        request: RequestId,
        subscription: Option<SubscriptionId>,
        (queued, hurried): Receivers,
    ) -> Self {
        Self {
            handle,
            request,
            subscription,
            queued,
            hurried,
            failure: None,
            current: None,
            next_sequence: 0,
            ended: false,
        }
    }

    /// The request, for cancelling it or for others to join.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The sequence number of the event that comes next: a [`Cursor::From`](crate::actors::Cursor) for somebody who goes on here.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Waits for the end, and gives the whole answer. One that is incomplete is one, too: see [`Response::is_complete`].
    ///
    /// # Errors
    /// As those of the stream; [`ErrorKind::Cancelled`](crate::ErrorKind) for a request that was cancelled;
    /// [`ErrorKind::TooLarge`](crate::ErrorKind) for an answer of more than 64 MiB. What had come is the error's
    /// [`partial_response`](crate::ApiError::partial_response).
    pub async fn accumulate(mut self) -> Result<Response, ApiError> {
        let mut gathered = ResponseAccumulator::default();
        match self.gather(&mut gathered).await {
            Ok(()) => Response::try_from(gathered),
            Err(error) => Err(error.with_partial_response(gathered)),
        }
    }

    /// Waits for the end, and gathers what comes until then, the end included: [`Response::try_from`] makes an answer or an error of it.
    /// Dropping the future loses nothing, for what had come is in `gathered`; another call goes on. For who may lose patience.
    ///
    /// A cancel does not overtake what had reached this stream, as it does in a loop over its events.
    ///
    /// ```
    /// # #[cfg(not(feature = "loopback"))] fn main() {}
    /// # #[cfg(feature = "loopback")]
    /// # #[actix_rt::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use actix_responses::{Runtime, loopback::Loopback, protocol::{Prompt, ResponseAccumulator}, provider::Provider};
    /// # use std::time::Duration;
    /// # let loopback = Loopback::start(Default::default())?;
    /// # let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    /// let mut stream = runtime.stream(Prompt::user("hello").with_model("demo")).await?;
    /// let mut gathered = ResponseAccumulator::default();
    /// let is_late = tokio::time::timeout(Duration::from_secs(30), stream.gather(&mut gathered)).await.is_err();
    /// drop(stream); // One that has not ended is cancelled by that.
    /// println!("{}{}", gathered.text(), if is_late { " ..." } else { "" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`](crate::ErrorKind) when `gathered` holds no more. How the request ended, also badly, is no error here.
    pub async fn gather(&mut self, gathered: &mut ResponseAccumulator) -> Result<(), ApiError> {
        while let Some(event) = poll_fn(|cx| self.poll_in_order(cx)).await {
            gathered.push(&event)?;
        }
        if matches!(gathered.end(), Some(ResponseEvent::Cancelled)) {
            let request = self.request;
            let status = self.handle.supervisor().send(GetStatus { request }).await;
            gathered.note_usage(status.ok().flatten().and_then(|status| status.usage));
        }
        Ok(())
    }

    /// The next event, and the end behind all that is queued, whatever it is.
    fn poll_in_order(&mut self, cx: &mut Context<'_>) -> Poll<Option<ResponseEvent>> {
        while !self.ended {
            if let Some((delivery, index)) = &mut self.current
                && let Some(event) = delivery.events().get(*index)
            {
                *index += 1;
                self.next_sequence = delivery.first_sequence() + *index as u64;
                let event = event.clone();
                if event.is_final() {
                    self.ended = true;
                    self.current = None;
                }
                return Poll::Ready(Some(event));
            }
            self.current = Some((ready!(self.poll_queued(cx)), 0));
        }
        Poll::Ready(None)
    }

    /// Waits for the end, and gives the text of an answer that is whole.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate), and [`ErrorKind::Incomplete`](crate::ErrorKind) for one that is not.
    pub async fn text(self) -> Result<String, ApiError> {
        Ok(self.accumulate().await?.completed()?.text())
    }

    /// Waits for what comes next, as it was delivered: the events that were ready together, or what the stream has not given of them
    /// yet, and their [`blocks`](Delivery::blocks). The end is the last event of the last one, also a failure; then `None`.
    ///
    /// Nothing is lost when its future is dropped.
    pub async fn next_delivery(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let delivery = match self.hurried() {
            Some(end) => end,
            None => match self.current.take() {
                Some((delivery, index)) if index < delivery.events().len() => {
                    delivery.without_first(index)
                }
                _ => ready!(self.poll_queued(cx)),
            },
        };
        self.next_sequence = delivery.next_sequence();
        self.ended = delivery.is_final();
        if self.ended {
            self.current = None;
        }
        Poll::Ready(Some(delivery))
    }

    /// An end that overtakes what waits in the queue. An error does not. Whoever sends one lets go of the queue, which wakes who waits
    /// for that.
    fn hurried(&mut self) -> Option<Delivery> {
        let end = last_of(self.hurried.try_recv().ok()?);
        if let Some(ResponseEvent::Failed(_)) = end.events().last() {
            self.failure = Some(end);
            return None;
        }
        Some(end)
    }

    /// What is queued; behind it the end that was hurried, or one that says that there is none.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let queued = match &self.failure {
            None => ready!(self.queued.poll_recv(cx)),
            Some(_) => self.queued.try_recv().ok(),
        };
        if let Some(delivery) = queued {
            return Poll::Ready(delivery);
        }
        // All senders are gone, so whatever was hurried has arrived.
        let last = self.failure.take().or_else(|| self.hurried.try_recv().ok());
        Poll::Ready(last.map_or_else(
            || {
                let end = vec![ResponseEvent::Failed(Arc::new(ApiError::stopped()))];
                Delivery::of(self.request, self.next_sequence, end)
            },
            last_of,
        ))
    }
}

impl Stream for ResponseStream {
    type Item = Result<ResponseEvent, ApiError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(end) = this.hurried() {
            this.current = Some((end, 0));
        }
        let event = ready!(this.poll_in_order(cx));
        Poll::Ready(event.map(|event| match event {
            ResponseEvent::Failed(error) => Err((*error).clone()),
            other => Ok(other),
        }))
    }
}

/// The last event alone.
fn last_of(delivery: Delivery) -> Delivery {
    let before = delivery.events().len().saturating_sub(1);
    delivery.without_first(before)
}

impl FusedStream for ResponseStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field("request", &self.request)
            .field("next_sequence", &self.next_sequence)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Drop for ResponseStream {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each stream, and it must arrive"
    )]
    fn drop(&mut self) {
        if let (false, Some(subscription)) = (self.ended, self.subscription) {
            self.handle.supervisor().do_send(Unsubscribe {
                request: self.request,
                subscription,
            });
        }
    }
}
