//! Whole clients, from the request to the last event.

use std::{
    cell::RefCell, collections::HashMap, hint::black_box, rc::Rc, sync::Arc, time::Duration,
};

use actix::{Actor, ActorContext, Context, Handler};
use actix_responses::{
    Runtime,
    actors::{Delivery, SubmitRequest, Subscriber, SupervisorConfig, Workers},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    transport::DrainLimits,
};
use async_openai::{
    config::OpenAIConfig,
    types::responses::{CreateResponse, CreateResponseArgs},
};
use futures_util::StreamExt;
use serde_json::json;
use tokio::{sync::oneshot, time::sleep};

use crate::support::{
    clock,
    decoders::{Tally, openai_event, our_event, upstream_event},
    server::Server,
    upstream,
};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The runtime, to an actor that subscribes.
    Ours,
    /// The runtime, to a `ResponseStream`.
    OursStream,
    /// The runtime, to an actor; the connection is closed at the terminal event.
    OursWithoutDrain,
    /// awc, which drops the bytes.
    AwcRaw,
    /// reqwest, which drops the bytes.
    ReqwestRaw,
    /// Upstream's pipeline over reqwest.
    Upstream,
    /// async-openai's stream.
    AsyncOpenai,
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursStream => "ours_stream",
            Self::OursWithoutDrain => "ours_without_drain",
            Self::AwcRaw => "awc_raw",
            Self::ReqwestRaw => "reqwest_raw",
            Self::Upstream => "upstream",
            Self::AsyncOpenai => "async_openai",
        }
    }

    /// Whether it decodes nothing.
    pub fn is_raw(self) -> bool {
        matches!(self, Self::AwcRaw | Self::ReqwestRaw)
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// The deltas; of a client that decodes nothing the chunks and bytes.
    pub tally: Tally,
    /// When the first event (or chunk) was there, by [`clock::monotonic`].
    pub first: Duration,
    /// When the last one was there.
    pub last: Duration,
}

impl Answer {
    fn arrived(&mut self) {
        self.last = clock::monotonic();
        if self.first.is_zero() {
            self.first = self.last;
        }
    }
}

/// All the clients, each with its own pool of connections.
pub struct Clients {
    pub server: Rc<Server>,
    runtime: Runtime,
    providers: RefCell<HashMap<(String, bool), Arc<Provider>>>,
    awc: awc::Client,
    reqwest: reqwest::Client,
}

/// Lets the actors of a runtime start. Where the command line leaves everything out that would use it, it is dropped next,
/// and a worker that starts only then finds no clock.
pub async fn settled(runtime: Runtime) -> Runtime {
    sleep(Duration::from_millis(1)).await;
    runtime
}

impl Clients {
    /// Makes them, in an actix `System`.
    pub async fn new(server: Rc<Server>, workers: Workers) -> Self {
        let provider = Provider::new("bench", &server.base_url("small")).expect("a provider");
        let mut config = SupervisorConfig::new(provider);
        config.workers = workers;
        let connector = awc::Connector::new().limit(0);
        Self {
            server,
            runtime: settled(Runtime::with_config(config).expect("a runtime")).await,
            providers: RefCell::default(),
            awc: awc::Client::builder()
                .connector(connector)
                .disable_timeout()
                .finish(),
            reqwest: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        }
    }

    /// Asks for a script of the server and reads the answer to its end.
    pub async fn ask(&self, client: Client, script: &str) -> Answer {
        match client {
            Client::Ours => self.ours(script, DrainLimits::default()).await,
            Client::OursWithoutDrain => {
                let mut drain = DrainLimits::default();
                drain.time = Duration::ZERO;
                drain.bytes = 0;
                self.ours(script, drain).await
            }
            Client::OursStream => self.ours_stream(script).await,
            Client::AwcRaw => self.awc_raw(script).await,
            Client::ReqwestRaw => self.reqwest_raw(script).await,
            Client::Upstream => self.upstream(script).await,
            Client::AsyncOpenai => self.async_openai(script).await,
        }
    }

    fn request(&self, script: &str, drain: DrainLimits) -> SubmitRequest {
        let mut providers = self.providers.borrow_mut();
        let provider = providers
            .entry((script.to_owned(), drain.bytes == 0))
            .or_insert_with(|| {
                let base_url = self.server.base_url(script);
                let mut provider = Provider::new("bench", &base_url).expect("a provider");
                provider.drain = drain;
                Arc::new(provider)
            });
        let prompt = Prompt::user("hello").with_model("bench");
        SubmitRequest::new(prompt).with_provider(provider.clone())
    }

    async fn ours(&self, script: &str, drain: DrainLimits) -> Answer {
        let (reader, answer) = Reader::new();
        let subscriber = Subscriber::deliveries(reader.start().recipient());
        let request = self.request(script, drain).with_subscriber(subscriber);
        let submitted = self.runtime.supervisor().send(request).await;
        submitted
            .expect("a supervisor")
            .expect("an accepted request");
        answer.await.expect("an answer")
    }

    async fn ours_stream(&self, script: &str) -> Answer {
        let request = self.request(script, DrainLimits::default());
        let mut events = self
            .runtime
            .submit(request)
            .await
            .expect("an accepted request");
        let mut answer = Answer::default();
        while let Some(event) = events.next().await {
            let event = event.expect("an event");
            if answer.first.is_zero() || event.is_final() {
                answer.arrived();
            }
            our_event(&event, &mut answer.tally);
        }
        answer
    }

    fn url(&self, script: &str) -> String {
        self.server.base_url(script) + "/responses"
    }

    async fn awc_raw(&self, script: &str) -> Answer {
        let request = self
            .awc
            .post(self.url(script))
            .content_type("application/json");
        let mut response = request
            .send_body(body().to_string())
            .await
            .expect("an answer");
        let mut answer = Answer::default();
        while let Some(chunk) = response.next().await {
            if answer.first.is_zero() {
                answer.arrived();
            }
            count(&mut answer.tally, &chunk.expect("a chunk"));
        }
        answer.arrived();
        answer
    }

    async fn post(&self, script: &str) -> reqwest::Response {
        let request = self.reqwest.post(self.url(script)).json(&body());
        request.send().await.expect("an answer")
    }

    async fn reqwest_raw(&self, script: &str) -> Answer {
        let mut response = self.post(script).await;
        let mut answer = Answer::default();
        while let Some(chunk) = response.chunk().await.expect("a chunk") {
            if answer.first.is_zero() {
                answer.arrived();
            }
            count(&mut answer.tally, &chunk);
        }
        answer.arrived();
        answer
    }

    async fn upstream(&self, script: &str) -> Answer {
        let body = self.post(script).await.bytes_stream().boxed();
        let wire = actix_responses::wire::Wire::Responses;
        let mut events = upstream::spawn(wire, body, Duration::from_secs(300));
        let mut answer = Answer::default();
        while let Some(event) = events.recv().await {
            let event = event.expect("an event");
            if answer.first.is_zero() || matches!(event, upstream::UpstreamEvent::Completed(_)) {
                answer.arrived();
            }
            upstream_event(&event, &mut answer.tally);
        }
        answer
    }

    async fn async_openai(&self, script: &str) -> Answer {
        use async_openai::types::responses::ResponseStreamEvent::ResponseCompleted;

        let config = OpenAIConfig::new()
            .with_api_base(self.server.base_url(script))
            .with_api_key("none");
        let client =
            async_openai::Client::with_config(config).with_http_client(self.reqwest.clone());
        let responses = client.responses();
        let mut events = responses
            .create_stream(openai_request())
            .await
            .expect("an answer");
        let mut answer = Answer::default();
        while let Some(event) = events.next().await {
            let event = event.expect("an event");
            let is_last = matches!(event, ResponseCompleted(_));
            if answer.first.is_zero() || is_last {
                answer.arrived();
            }
            openai_event(&event, &mut answer.tally);
            // It does not end the stream, so a program that waits for the end would wait for the connection's.
            if is_last && script == "held_open" {
                break;
            }
        }
        answer
    }
}

fn body() -> serde_json::Value {
    json!({
        "model": "bench", "stream": true, "store": false,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
    })
}

fn openai_request() -> CreateResponse {
    CreateResponseArgs::default()
        .model("bench")
        .input("hello")
        .build()
        .expect("a request")
}

fn count(tally: &mut Tally, chunk: &[u8]) {
    tally.deltas += 1;
    tally.bytes += black_box(chunk).len();
}

/// Counts what it is sent, and reports at the end.
pub struct Reader {
    answer: Answer,
    done: Option<oneshot::Sender<Answer>>,
}

impl Reader {
    pub fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (done, answer) = oneshot::channel();
        (
            Self {
                answer: Answer::default(),
                done: Some(done),
            },
            answer,
        )
    }
}

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Reader {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, ctx: &mut Context<Self>) {
        let is_final = delivery.is_final();
        if self.answer.first.is_zero() || is_final {
            self.answer.arrived();
        }
        for event in delivery.events() {
            our_event(event, &mut self.answer.tally);
        }
        if is_final {
            let end = delivery.events().last();
            assert!(
                matches!(end, Some(ResponseEvent::Completed(_))),
                "it ended with {end:?}"
            );
            if let Some(done) = self.done.take() {
                // Nobody waits any more when the benchmark was cut short.
                let _ = done.send(self.answer);
            }
            ctx.stop();
        }
    }
}
