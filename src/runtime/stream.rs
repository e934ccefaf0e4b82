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
    actors::{Delivery, RequestId, Subscriber, SubscriptionId, Unsubscribe},
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
        while let Some(event) = poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            let event = event.unwrap_or_else(|error| ResponseEvent::Failed(Arc::new(error)));
            if let Err(error) = gathered.push(&event) {
                return Err(error.with_partial_response(gathered));
            }
        }
        Response::try_from(gathered)
    }

    /// Waits for the end, and gives the text of an answer that is whole.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate), and [`ErrorKind::Incomplete`](crate::ErrorKind) for one that is not.
    pub async fn text(self) -> Result<String, ApiError> {
        Ok(self.accumulate().await?.completed()?.text())
    }

    fn end(&mut self, event: ResponseEvent) -> Result<ResponseEvent, ApiError> {
        self.ended = true;
        self.current = None;
        match event {
            ResponseEvent::Failed(error) => Err((*error).clone()),
            other => Ok(other),
        }
    }
}

impl Stream for ResponseStream {
    type Item = Result<ResponseEvent, ApiError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        // An end that overtakes what waits in the queue; an error does not.
        if let Poll::Ready(Some(delivery)) = this.hurried.poll_recv(cx)
            && let Some(event) = delivery.events().last()
        {
            if matches!(event, ResponseEvent::Failed(_)) {
                this.failure = Some(delivery);
            } else {
                this.next_sequence = delivery.next_sequence();
                return Poll::Ready(Some(this.end(event.clone())));
            }
        }
        loop {
            if let Some((delivery, index)) = &mut this.current
                && let Some(event) = delivery.events().get(*index)
            {
                *index += 1;
                this.next_sequence = delivery.first_sequence() + *index as u64;
                let event = event.clone();
                return Poll::Ready(Some(match event.is_final() {
                    true => this.end(event),
                    false => Ok(event),
                }));
            }
            let queued = match &this.failure {
                None => ready!(this.queued.poll_recv(cx)),
                Some(_) => this.queued.try_recv().ok(),
            };
            this.current = queued.map(|delivery| (delivery, 0));
            if this.current.is_none() {
                // All senders are gone, so whatever was hurried has arrived.
                let last = this.failure.take().or_else(|| this.hurried.try_recv().ok());
                let event = last.and_then(|delivery| {
                    this.next_sequence = delivery.next_sequence();
                    delivery.events().last().cloned()
                });
                return Poll::Ready(Some(match event {
                    Some(event) => this.end(event),
                    None => {
                        this.ended = true;
                        Err(ApiError::stopped())
                    }
                }));
            }
        }
    }
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
