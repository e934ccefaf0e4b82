//! The handle that programs hold, and a stream for those who want no actor of their own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::{Actor, Addr};
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{
    actors::{
        Asked, CancelRequest, Compact, Cursor, Delivery, DeliveryPolicy, ListModels, RequestId,
        Shutdown, StreamSupervisor, Submit, SubmitRequest, Subscribe, SubscribeError, Subscriber,
        SubscriptionId, SupervisorConfig, Unsubscribe,
    },
    protocol::{CompactionOutput, ModelList, Prompt, ResponseEvent, error::ApiError},
    provider::Provider,
    transport::{AwcTransportFactory, TransportFactory},
};

/// Deliveries that wait in a [`ResponseStream`] before the response is not read any further: as many as a mailbox holds.
const QUEUE_DELIVERIES: usize = 16;

/// A running [`StreamSupervisor`] and the ways to use it.
///
/// A clone is another handle to the same one. When the last handle and the last [`ResponseStream`] are dropped, it shuts down
/// and cancels what still runs.
///
/// ```
/// # #[cfg(not(feature = "loopback"))] fn main() {}
/// # #[cfg(feature = "loopback")]
/// use actix_responses::{Runtime, loopback::Loopback, protocol::{Prompt, ResponseEvent}, provider::Provider};
/// use futures_util::StreamExt;
///
/// # #[cfg(feature = "loopback")]
/// #[actix_rt::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let loopback = Loopback::start(Default::default())?;
///     let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
///     let mut stream = runtime.stream(Prompt::user("hello").with_model("demo")).await?;
///     let mut text = String::new();
///     while let Some(event) = stream.next().await {
///         if let ResponseEvent::OutputTextDelta(delta) = event? {
///             text.push_str(&delta.delta);
///         }
///     }
///     assert!(text.contains("hello"));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    supervisor: Addr<StreamSupervisor>,
}

impl Drop for Inner {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each runtime, and it must arrive"
    )]
    fn drop(&mut self) {
        self.supervisor.do_send(Shutdown {
            grace: Duration::ZERO,
        });
    }
}

impl Runtime {
    /// Starts a supervisor with the defaults, that sends requests to `provider`.
    ///
    /// It must be called within an actix `System`, and runs as long as that does.
    ///
    /// # Errors
    /// As for [`with_config`](Self::with_config).
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn start(provider: Provider) -> Result<Self, ApiError> {
        Self::with_config(SupervisorConfig::new(provider))
    }

    /// Starts a supervisor as configured, over awc. The environment says which proxy to use
    /// ([`ProxyConfig`](crate::transport::ProxyConfig)) and which authorities to trust besides the usual ones ([`TlsConfig::from_env`](crate::transport::TlsConfig::from_env)).
    ///
    /// # Errors
    /// When the configuration makes no sense. That `SSL_CERT_FILE`, or another of [`TlsConfig::from_env`](crate::transport::TlsConfig::from_env), names a
    /// file that can't be used is an error of a request over TLS.
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn with_config(config: SupervisorConfig) -> Result<Self, ApiError> {
        Self::with_transport(config, AwcTransportFactory::from_env()?)
    }

    /// Starts a supervisor over a transport of the caller's.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn with_transport(
        config: SupervisorConfig,
        factory: impl TransportFactory,
    ) -> Result<Self, ApiError> {
        let supervisor = StreamSupervisor::new(config, factory)?.start();
        Ok(Self {
            inner: Arc::new(Inner { supervisor }),
        })
    }

    /// The supervisor's address, for actors that subscribe themselves.
    pub fn supervisor(&self) -> &Addr<StreamSupervisor> {
        &self.inner.supervisor
    }

    /// Asks for an answer and streams it.
    ///
    /// # Errors
    /// When the request can't be made as it is. What goes wrong later comes through the stream.
    pub async fn stream(&self, prompt: Prompt) -> Result<ResponseStream, ApiError> {
        self.submit(SubmitRequest::new(prompt)).await
    }

    /// Submits a request and streams it. Its other subscribers are served as well.
    ///
    /// # Errors
    /// When the request can't be made as it is. What goes wrong later comes through the stream.
    pub async fn submit(&self, request: SubmitRequest) -> Result<ResponseStream, ApiError> {
        self.submit_with_policy(request, DeliveryPolicy::default())
            .await
    }

    /// The same with another policy for when the stream is not polled for long: a reader that may rest for minutes wants
    /// [`DeliveryPolicy::Wait`] with as much patience.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_with_policy(
        &self,
        request: SubmitRequest,
        policy: DeliveryPolicy,
    ) -> Result<ResponseStream, ApiError> {
        let (subscriber, receivers) = channel();
        let subscriber = subscriber.with_policy(policy);
        let submitted = self
            .supervisor()
            .send(request.with_subscriber(subscriber))
            .await;
        let submitted = submitted.map_err(|_| ApiError::stopped())??;
        let subscription = submitted.subscriptions.last().copied();
        Ok(ResponseStream::new(
            self.clone(),
            submitted.request,
            subscription,
            receivers,
        ))
    }

    /// Joins a request that runs, or that ended a short while ago.
    ///
    /// # Errors
    /// When the request is not known or its log does not hold what the cursor asks for.
    pub async fn subscribe(
        &self,
        request: RequestId,
        cursor: Cursor,
    ) -> Result<ResponseStream, SubscribeError> {
        let (subscriber, receivers) = channel();
        let subscriber = subscriber.with_cursor(cursor);
        let joined = self
            .supervisor()
            .send(Subscribe {
                request,
                subscriber,
            })
            .await;
        let subscription = joined.unwrap_or(Err(SubscribeError::ShutDown))?;
        Ok(ResponseStream::new(
            self.clone(),
            request,
            Some(subscription),
            receivers,
        ))
    }

    /// Compacts a conversation: a [`CompactionInput`](crate::protocol::CompactionInput), or a [`Compact`] that says more.
    /// Dropping the future cancels it.
    ///
    /// # Errors
    /// When the request can't be made as it is, or after all its attempts.
    pub async fn compact(&self, compact: impl Into<Compact>) -> Result<CompactionOutput, ApiError> {
        let submitted = self.supervisor().send(Submit(compact.into())).await;
        self.answer(submitted.map_err(|_| ApiError::stopped())??)
            .await
    }

    /// Asks the provider which models it has. Dropping the future cancels it.
    ///
    /// # Errors
    /// When the request can't be made as it is, or after all its attempts.
    pub async fn models(&self) -> Result<ModelList, ApiError> {
        self.list_models(ListModels::new()).await
    }

    /// The same, for a message that says more.
    ///
    /// # Errors
    /// As for [`models`](Self::models).
    pub async fn list_models(&self, list: ListModels) -> Result<ModelList, ApiError> {
        let submitted = self.supervisor().send(Submit(list)).await;
        self.answer(submitted.map_err(|_| ApiError::stopped())??)
            .await
    }

    /// Waits for the answer to a question, which is cancelled if this is dropped.
    async fn answer<T>(&self, asked: Asked<T>) -> Result<T, ApiError> {
        let guard = CancelOnDrop {
            runtime: self,
            request: Some(asked.request()),
        };
        let answer = asked.await;
        guard.disarm();
        answer
    }

    /// Cancels a request, and waits until it has ended. Whether it was cancelled: not one that had ended, or was about to.
    pub async fn cancel(&self, request: RequestId) -> bool {
        self.supervisor()
            .send(CancelRequest { request })
            .await
            .unwrap_or(false)
    }

    /// Shuts the supervisor down: no new requests, and those that run have `grace` to end. It returns when all have.
    pub async fn shutdown(&self, grace: Duration) {
        // An error means that the supervisor ended first, which is what was waited for.
        let _ = self.supervisor().send(Shutdown { grace }).await;
    }
}

/// Cancels a request unless disarmed.
struct CancelOnDrop<'a> {
    runtime: &'a Runtime,
    request: Option<RequestId>,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.request = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each request, and it must arrive"
    )]
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.runtime.supervisor().do_send(CancelRequest { request });
        }
    }
}

type Receivers = (mpsc::Receiver<Delivery>, mpsc::UnboundedReceiver<Delivery>);

fn channel() -> (Subscriber, Receivers) {
    let (queue, queued) = mpsc::channel(QUEUE_DELIVERIES);
    // It carries one message at most: an end that overtakes.
    let (urgent, hurried) = mpsc::unbounded_channel();
    (Subscriber::channel(queue, urgent), (queued, hurried))
}

/// The events of one request, in order.
///
/// Its items are events; a failure is an `Err` in place of [`ResponseEvent::Failed`]. Exactly one end comes, as an event that
/// [`is_final`](ResponseEvent::is_final) or as an `Err`, and after it `None`. While the stream is not polled the response is
/// not read, after what fits its queue and the log; not polling for longer than the subscription's policy waits ends it with
/// [`ErrorKind::Lagged`](crate::ErrorKind).
///
/// Dropping it leaves the request, which cancels it unless others listen or
/// [`WhenDeserted`](crate::actors::WhenDeserted) says otherwise.
pub struct ResponseStream {
    runtime: Runtime,
    request: RequestId,
    subscription: Option<SubscriptionId>,
    queued: mpsc::Receiver<Delivery>,
    hurried: mpsc::UnboundedReceiver<Delivery>,
    current: Option<(Delivery, usize)>,
    next_sequence: u64,
    ended: bool,
}

impl ResponseStream {
    fn new(
        runtime: Runtime,
        request: RequestId,
        subscription: Option<SubscriptionId>,
        (queued, hurried): Receivers,
    ) -> Self {
        Self {
            runtime,
            request,
            subscription,
            queued,
            hurried,
            current: None,
            next_sequence: 0,
            ended: false,
        }
    }

    /// The request, for cancelling it or for others to join.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The sequence number of the event that comes next: a [`Cursor::From`] for somebody who goes on here.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
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
        // An end that overtakes what waits in the queue.
        if let Poll::Ready(Some(delivery)) = this.hurried.poll_recv(cx)
            && let Some(event) = delivery.events().last()
        {
            this.next_sequence = delivery.next_sequence();
            return Poll::Ready(Some(this.end(event.clone())));
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
            this.current = ready!(this.queued.poll_recv(cx)).map(|delivery| (delivery, 0));
            if this.current.is_none() {
                // All senders are gone, so whatever was hurried has arrived.
                let last = this.hurried.try_recv().ok();
                let event = last.and_then(|delivery| delivery.events().last().cloned());
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

impl Drop for ResponseStream {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each stream, and it must arrive"
    )]
    fn drop(&mut self) {
        if let (false, Some(subscription)) = (self.ended, self.subscription) {
            self.runtime.supervisor().do_send(Unsubscribe {
                request: self.request,
                subscription,
            });
        }
    }
}
