//! The handle that programs hold.

use std::{fmt, rc::Rc, sync::Arc, thread, time::Duration};

use actix::{Addr, Handler, Message};
use actix_rt::Arbiter;

use self::{
    handle::Handle,
    stream::{Receivers, channel},
};
use crate::{
    actors::{
        AboutResponse, Asked, CancelRequest, CancelResponse, Compact, Cursor, DeleteResponse,
        DeliveryPolicy, GetStatus, InOnePiece, LendArbiter, ListInputItems, ListModels,
        ListRequests, RequestId, RequestStatus, Retrieve, StreamSupervisor, Submit, SubmitRequest,
        Subscribe, SubscribeError, Subscriber, SupervisorConfig,
    },
    protocol::{
        CompactionOutput, DeletedResponse, Id, InputItemList, ModelList, Prompt, Response,
        StoredResponse, WholeAnswer, error::ApiError,
    },
    provider::Provider,
    store::StreamKey,
    transport::{AwcTransportFactory, Transport, TransportError, TransportFactory},
};

mod handle;
mod stream;

pub use stream::ResponseStream;

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
    handle: Arc<Handle>,
}

impl Runtime {
    /// Starts a supervisor with the defaults, that sends requests to `provider`.
    ///
    /// It is called within an actix `System`, and runs as long as that does; a program without one calls [`spawn`](Self::spawn).
    ///
    /// # Errors
    /// As for [`with_config`](Self::with_config).
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
    /// When the configuration makes no sense, and outside of an actix `System`.
    pub fn with_transport(
        config: SupervisorConfig,
        factory: impl TransportFactory,
    ) -> Result<Self, ApiError> {
        let handle = Arc::new(Handle::start(config, factory)?);
        Ok(Self { handle })
    }

    /// The same as [`with_config`](Self::with_config) for programs without an actix `System`, such as those of tokio or axum: a thread
    /// of its own runs the supervisor, and its workers have theirs. It can be called anywhere, and the handle and its streams used on
    /// any thread. The thread ends after [`shutdown`](Self::shutdown), which waits for that, or after the last handle is dropped.
    ///
    /// ```
    /// # #[cfg(not(feature = "loopback"))] fn main() {}
    /// # #[cfg(feature = "loopback")]
    /// use actix_responses::{Runtime, actors::SupervisorConfig, loopback::Loopback, protocol::Prompt, provider::Provider};
    /// # #[cfg(feature = "loopback")]
    /// use futures_util::StreamExt;
    ///
    /// # #[cfg(feature = "loopback")]
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let loopback = Loopback::start(Default::default())?;
    ///     let provider = Provider::new("loopback", &loopback.base_url())?;
    ///     let runtime = Runtime::spawn(SupervisorConfig::new(provider))?;
    ///     let asking = runtime.clone();
    ///     let task = tokio::spawn(async move {
    ///         let mut stream = asking.stream(Prompt::user("hello").with_model("demo")).await?;
    ///         while let Some(event) = stream.next().await {
    ///             println!("{}", event?.name());
    ///         }
    ///         Ok::<_, actix_responses::ApiError>(())
    ///     });
    ///     task.await??;
    ///     runtime.shutdown(std::time::Duration::from_secs(5)).await;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when the configuration makes no sense;
    /// [`ErrorKind::LocalLimit`](crate::ErrorKind) when this machine has no thread or no files for it.
    pub fn spawn(config: SupervisorConfig) -> Result<Self, ApiError> {
        Self::spawn_with_transport(config, AwcTransportFactory::from_env()?)
    }

    /// The same over a transport of the caller's.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub fn spawn_with_transport(
        config: SupervisorConfig,
        factory: impl TransportFactory,
    ) -> Result<Self, ApiError> {
        let handle = Arc::new(Handle::spawn(config, factory)?);
        Ok(Self { handle })
    }

    /// The supervisor's address, for actors that subscribe themselves.
    pub fn supervisor(&self) -> &Addr<StreamSupervisor> {
        self.handle.supervisor()
    }

    /// Lends the arbiter of this thread: streams that are submitted on it from now on run there too, on connections of their own, and
    /// what they deliver to it changes no thread. For services whose threads have much to deliver, such as the workers of an actix-web
    /// server: each calls this once, and [`Workers::Current`](crate::actors::Workers) starts no threads beside them. It is lent until it, or
    /// the runtime, ends. Outside of an arbiter, and when it is lent already, this does nothing.
    pub fn lend_arbiter(&self) {
        if let Some(arbiter) = Arbiter::try_current() {
            let thread = thread::current().id();
            self.handle.lend(LendArbiter { arbiter, thread });
        }
    }

    /// Asks for an answer and waits for the whole of it. Dropping the future cancels it.
    ///
    /// ```
    /// # #[cfg(not(feature = "loopback"))] fn main() {}
    /// # #[cfg(feature = "loopback")]
    /// # #[actix_rt::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use actix_responses::{Runtime, loopback::Loopback, protocol::Prompt, provider::Provider};
    /// # let loopback = Loopback::start(Default::default())?;
    /// # let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    /// let response = runtime.respond(Prompt::user("hello").with_model("demo")).await?;
    /// println!("{} ({:?})", response.completed()?.text(), runtime);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`stream`](Self::stream), and as [`ResponseStream::accumulate`].
    pub async fn respond(&self, prompt: Prompt) -> Result<Response, ApiError> {
        self.stream(prompt).await?.accumulate().await
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
        let (subscriber, receivers) = channel();
        self.submit_stream(request, subscriber, receivers).await
    }

    /// Goes on with a response that its server keeps, by its id: behind the event with this `sequence_number`, or from its first on. See
    /// [`SubmitRequest::resume`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no id, and as [`submit`](Self::submit). That the server does not know
    /// the response, or does not go on with it, comes through the stream.
    pub async fn resume(
        &self,
        response_id: impl Into<Id>,
        after: Option<u64>,
    ) -> Result<ResponseStream, ApiError> {
        self.submit(SubmitRequest::resume(response_id, after)).await
    }

    /// Reads a stream of the [store](SupervisorConfig::store) again, from its first event or from where a subscriber had come to before this
    /// program was started anew: [`ResponseStream::next_sequence`]. See [`SubmitRequest::stored`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) where there is no store, and as [`submit`](Self::submit). What goes
    /// wrong at the store comes through the stream: [`ErrorKind::NotFound`](crate::ErrorKind) where it does not have it, also for the moment before a
    /// new stream is claimed, some milliseconds; [`NodeLost`](crate::ErrorKind::NodeLost) ten seconds after its writer's last sign of life, if
    /// nobody can go on; [`StoreUnavailable`](crate::ErrorKind::StoreUnavailable) after 30 s without the store;
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for what was taken out of it as that.
    pub async fn read_stored(
        &self,
        stream: StreamKey,
        cursor: Cursor,
    ) -> Result<ResponseStream, ApiError> {
        let (subscriber, receivers) = channel();
        let request = SubmitRequest::stored(stream);
        self.submit_stream(request, subscriber.with_cursor(cursor), receivers)
            .await
    }

    /// The same with another policy for when the stream is not polled for long, also while nobody else listens.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_with_policy(
        &self,
        request: SubmitRequest,
        policy: DeliveryPolicy,
    ) -> Result<ResponseStream, ApiError> {
        let (subscriber, receivers) = channel();
        self.submit_stream(request, subscriber.with_policy(policy), receivers)
            .await
    }

    async fn submit_stream(
        &self,
        request: SubmitRequest,
        subscriber: Subscriber,
        receivers: Receivers,
    ) -> Result<ResponseStream, ApiError> {
        let submitted = self
            .supervisor()
            .send(request.with_subscriber(subscriber))
            .await;
        let submitted = submitted.map_err(|_| ApiError::stopped())??;
        let subscription = submitted.subscriptions.last().copied();
        Ok(ResponseStream::new(
            self.handle.clone(),
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
        self.join(request, subscriber.with_cursor(cursor), receivers)
            .await
    }

    /// The same with another policy for when the stream is not polled for long, also while nobody else listens.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_with_policy(
        &self,
        request: RequestId,
        cursor: Cursor,
        policy: DeliveryPolicy,
    ) -> Result<ResponseStream, SubscribeError> {
        let (subscriber, receivers) = channel();
        let subscriber = subscriber.with_cursor(cursor).with_policy(policy);
        self.join(request, subscriber, receivers).await
    }

    async fn join(
        &self,
        request: RequestId,
        subscriber: Subscriber,
        receivers: Receivers,
    ) -> Result<ResponseStream, SubscribeError> {
        let joined = self
            .supervisor()
            .send(Subscribe {
                request,
                subscriber,
            })
            .await;
        let subscription = joined.unwrap_or(Err(SubscribeError::ShutDown))?;
        Ok(ResponseStream::new(
            self.handle.clone(),
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
        self.ask(Submit(compact.into())).await
    }

    /// Asks for an answer in one piece, as the server writes it: see [`InOnePiece`]. Dropping the future cancels it.
    ///
    /// # Errors
    /// When the request can't be made as it is, or after all its attempts.
    pub async fn in_one_piece(&self, request: SubmitRequest) -> Result<WholeAnswer, ApiError> {
        self.ask(InOnePiece(request)).await
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
        self.ask(Submit(list)).await
    }

    /// How a response is that the provider keeps: by its id, or by a message that says more. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no id; when the request can't be made as it is, or after all its attempts.
    pub async fn retrieve(
        &self,
        question: impl Into<AboutResponse<Retrieve>>,
    ) -> Result<StoredResponse, ApiError> {
        self.ask(Submit(question.into())).await
    }

    /// Has the provider stop a response that it makes in the background. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no id; when the request can't be made as it is, or after all its attempts.
    pub async fn cancel_response(
        &self,
        question: impl Into<AboutResponse<CancelResponse>>,
    ) -> Result<StoredResponse, ApiError> {
        self.ask(Submit(question.into())).await
    }

    /// Has the provider forget a response that it keeps. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no id; when the request can't be made as it is, or after all its attempts.
    pub async fn delete_response(
        &self,
        question: impl Into<AboutResponse<DeleteResponse>>,
    ) -> Result<DeletedResponse, ApiError> {
        self.ask(Submit(question.into())).await
    }

    /// What a response was asked with that the provider keeps, a page at a time. Dropping the future cancels the request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind) for what is no id; when the request can't be made as it is, or after all its attempts.
    pub async fn input_items(
        &self,
        question: impl Into<AboutResponse<ListInputItems>>,
    ) -> Result<InputItemList, ApiError> {
        self.ask(Submit(question.into())).await
    }

    /// Asks a question and waits for its answer. The question is cancelled if this is dropped.
    async fn ask<M, T: Send + 'static>(&self, question: M) -> Result<T, ApiError>
    where
        M: Message<Result = Result<Asked<T>, ApiError>> + Send + 'static,
        StreamSupervisor: Handler<M>,
    {
        let submitted = self.supervisor().send(question).await;
        let asked = submitted.map_err(|_| ApiError::stopped())??;
        let guard = CancelOnDrop {
            runtime: self,
            request: Some(asked.request()),
        };
        let answer = asked.await;
        guard.disarm();
        answer
    }

    /// A transport for this thread as the workers have, for what no message here asks: with the same proxies and certificates. What is
    /// sent over it is no request of the runtime, which neither counts nor retries it.
    ///
    /// # Errors
    /// When the configuration can't work.
    pub fn transport(&self) -> Result<Rc<dyn Transport>, TransportError> {
        self.handle.transport()
    }

    /// How a request is doing. `None` when it is not known any more, and after the shutdown.
    pub async fn status(&self, request: RequestId) -> Option<RequestStatus> {
        let status = self.supervisor().send(GetStatus { request }).await;
        status.unwrap_or_default()
    }

    /// How all requests are doing that run, or ended a short while ago, oldest first; see [`ListRequests`]. After the shutdown there are
    /// none.
    pub async fn requests(&self) -> Vec<RequestStatus> {
        let mut all = Vec::new();
        let mut list = ListRequests::new();
        while let Ok(page) = self.supervisor().send(list).await {
            let Some(last) = page.last() else {
                break;
            };
            list.after = Some(last.request.id);
            all.extend(page);
        }
        all
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
        self.handle.shutdown(grace).await;
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("is_running", &self.supervisor().connected())
            .finish_non_exhaustive()
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
