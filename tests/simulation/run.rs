//! Plays a plan on one thread with the clock paused, and records it.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Addr, Handler, Message, Recipient};
use actix_responses::{
    ApiError, ErrorKind, ResponseStream, Runtime,
    actors::{
        Asked, CancelRequest, Compact, Cursor, Delivery, Fallback, GetStatus, ListModels,
        RequestNotice, RequestPhase, StreamSupervisor, Submit, SubmitRequest, Subscribe,
        Subscriber, SupervisorConfig, Unsubscribe, Workers,
    },
    protocol::{CompactionInput, CompactionOutput, ModelList, Prompt, ResponseEvent, ResponseItem},
    provider::{Provider, Timeouts},
    retry::{RetryAfterOutput, RetryPolicy},
};
use actix_rt::System;
use http::HeaderValue;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    listeners::{Listener, Observer, Quit, hear, read},
    plan::{
        BACKOFF, Close, CursorPlan, Fate, HEAD_TIMEOUT, IDLE_TIMEOUT, LinkPlan,
        MAX_REQUESTED_DELAY, Plan, QuestionKind, TRAILER_TIMEOUT, Through, When,
    },
    transport::{REQUEST_HEADER, SimulatedTransports},
    world::{QuestionRecord, Record, World},
};

/// More time than any seed can need: every attempt of a request in all its timeouts, and its slowest listener.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// When nothing that a plan sets a time for is still to come.
const LAST_ACTION: Duration = Duration::from_millis(4_500);

/// Plays a plan to its end.
pub(crate) fn run(plan: &Plan) -> Record {
    let plan = Arc::new(plan.clone());
    System::new().block_on(async move {
        tokio::time::pause();
        let world = Arc::new(World::new(&plan));
        let simulation = Simulation::new(plan, world.clone());
        if tokio::time::timeout(TIME_LIMIT, simulation.play())
            .await
            .is_err()
        {
            world
                .record()
                .leftovers
                .push("the simulation did not end".to_owned());
        }
        let took = world.now();
        let mut record = world.record().clone();
        record.took = took;
        record
    })
}

struct Simulation {
    plan: Arc<Plan>,
    world: Arc<World>,
    runtime: Rc<RefCell<Option<Runtime>>>,
    providers: Vec<Arc<Provider>>,
    /// Of requests that have one.
    fallbacks: Vec<Option<Arc<Provider>>>,
    actors: Vec<Option<Addr<Listener>>>,
}

impl Simulation {
    fn new(plan: Arc<Plan>, world: Arc<World>) -> Self {
        let provider = Provider::new("simulated", "http://simulated.test/v1").expect("a URL");
        let mut config = SupervisorConfig::new(provider.clone());
        config.workers = Workers::Current;
        config.audience = plan.limits;
        config.retain = plan.retain;
        config.retain_bytes = plan.retain_bytes;
        config.breaker = plan.breaker;
        config.limiter = plan.limiter.map(|limiter| limiter.policy);
        let hearing = world.clone();
        config.observer = Some(Arc::new(move |notice: &RequestNotice| {
            hear(&hearing, notice)
        }));
        let transports = SimulatedTransports {
            plan: plan.clone(),
            world: world.clone(),
        };
        let runtime = Runtime::with_transport(config, transports).expect("a valid configuration");
        world.set_supervisor(Some(runtime.supervisor().clone()));
        // Each request has a provider of its own, so that nobody else holds it: what still does at the end has leaked.
        let with_total = |provider: Provider, total| {
            let mut timeouts = Timeouts::default();
            timeouts.response_head = HEAD_TIMEOUT;
            timeouts.compaction_head = HEAD_TIMEOUT;
            timeouts.idle = IDLE_TIMEOUT;
            timeouts.trailer = TRAILER_TIMEOUT;
            timeouts.total = total;
            Arc::new(provider.with_timeouts(timeouts))
        };
        let at = |host: String| {
            Provider::new("simulated", &format!("http://{host}.test/v1")).expect("a URL")
        };
        let requests = plan.requests.iter().enumerate().map(|(number, request)| {
            let provider = match plan.is_spared() {
                true => at(format!("simulated-{number}")),
                false => provider.clone(),
            };
            with_total(provider.with_wire(request.wire), request.total)
        });
        let fallbacks = plan.requests.iter().enumerate().map(|(number, request)| {
            let provider = at("fallback".to_owned()).with_wire(request.wire);
            (plan.fallback_attempts(number) > 0).then(|| with_total(provider, request.total))
        });
        let fallbacks = fallbacks.collect();
        let questions = plan.questions.iter();
        let questions =
            questions.map(|question| with_total(at("questions".to_owned()), question.total));
        Self {
            providers: requests.chain(questions).collect(),
            fallbacks,
            actors: Vec::new(),
            runtime: Rc::new(RefCell::new(Some(runtime))),
            plan,
            world,
        }
    }

    async fn play(mut self) {
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        let numbers: Vec<(usize, usize)> = {
            let record = self.world.record();
            record
                .listeners
                .iter()
                .enumerate()
                .map(|(number, listener)| (number, listener.request))
                .collect()
        };
        for (number, _) in &numbers {
            let is_actor = self.world.record().listeners[*number].plan.link != LinkPlan::Stream;
            let actor = is_actor.then(|| Listener::new(self.world.clone(), *number).start());
            self.actors.push(actor);
        }
        for request in 0..self.plan.requests.len() {
            let own = numbers
                .iter()
                .filter(|(_, of)| *of == request)
                .map(|(number, _)| *number)
                .collect();
            tasks.push(actix_rt::spawn(self.submitter(request, own)));
            for when in self.plan.requests[request].cancels.clone() {
                tasks.push(actix_rt::spawn(canceller(
                    self.world.clone(),
                    request,
                    when,
                )));
            }
        }
        for question in 0..self.plan.questions.len() {
            let number = self.plan.requests.len() + question;
            tasks.push(actix_rt::spawn(self.asker(question, number)));
            if let Through::Submit { cancels } = self.plan.questions[question].through.clone() {
                for when in cancels {
                    tasks.push(actix_rt::spawn(canceller(self.world.clone(), number, when)));
                }
            }
        }
        for (number, request) in numbers {
            let plan = self.world.record().listeners[number].plan.clone();
            if let Some((when, cursor)) = plan.joins {
                tasks.push(actix_rt::spawn(self.joiner(request, number, when, cursor)));
            }
            if let Some(actor) = self.actors[number].clone() {
                match plan.fate {
                    Fate::Unsubscribes(when) => {
                        tasks.push(actix_rt::spawn(leaver(
                            self.world.clone(),
                            request,
                            number,
                            when,
                        )));
                    }
                    Fate::Dies(when) => {
                        tasks.push(actix_rt::spawn(killer(
                            self.world.clone(),
                            request,
                            actor,
                            when,
                        )));
                    }
                    Fate::Stays | Fate::PanicsAt(_) => {}
                }
            }
        }
        let closing = actix_rt::spawn(close_in_between(
            self.plan.close,
            self.runtime.clone(),
            self.world.clone(),
        ));
        self.wait_for_ends().await;
        if closing.await.is_err() {
            self.world
                .record()
                .leftovers
                .push("closing panicked".to_owned());
        }
        self.wait_for_ends().await;
        self.world.note(format_args!("everything has ended"));
        // A signal that never came is waited for no more.
        for task in tasks {
            task.abort();
        }
        // Whoever is stuck goes on, and takes what is in its mailbox at its pace.
        self.world.release_all();
        self.wait_until_forgotten().await;
        self.clean_up().await;
    }

    /// Submits a request with those who listen from the start.
    fn submitter(&self, request: usize, listeners: Vec<usize>) -> impl Future<Output = ()> + use<> {
        let plan = self.plan.requests[request].clone();
        let world = self.world.clone();
        let runtime = self.runtime.clone();
        let provider = self.providers[request].clone();
        let fallback = self.fallbacks[request].clone();
        let actors = self.actors.clone();
        async move {
            sleep(plan.at).await;
            let retry = retry_policy(plan.own_attempts, plan.after_output);
            let observer = Observer::new(world.clone(), request).start();
            let mut submit = SubmitRequest::new(Prompt::user("hello").with_model("m"))
                .with_provider(provider)
                .with_retry(retry)
                .with_when_deserted(plan.when_deserted)
                .with_label(request.to_string())
                .with_observer(observer.recipient());
            submit
                .headers
                .insert(REQUEST_HEADER, HeaderValue::from(request));
            if let Some(fallback) = fallback {
                let attempts = plan.attempts.len() - plan.own_attempts;
                let fallback = Fallback::new(fallback)
                    .with_headers(submit.headers.clone())
                    .with_retry(retry_policy(attempts, plan.after_output));
                submit = submit.with_fallback(fallback);
            }
            let is_first =
                |number: &&usize| world.record().listeners[**number].plan.joins.is_none();
            let first: Vec<usize> = listeners.iter().filter(is_first).copied().collect();
            let (streams, others): (Vec<usize>, Vec<usize>) = first
                .into_iter()
                .partition(|number| actors[*number].is_none());
            for number in &others {
                let plan = world.record().listeners[*number].plan.clone();
                let actor = actors[*number].clone().expect("it is no stream");
                submit =
                    submit.with_subscriber(subscriber(actor, plan.link).with_policy(plan.policy));
            }
            // `submit` makes one stream; the others join at once.
            let Some(handle) = runtime.borrow().clone() else {
                return;
            };
            let Some(first_stream) = streams.first() else {
                drop(runtime);
                let submitted = handle.supervisor().send(submit).await;
                drop(handle);
                match submitted {
                    Ok(Ok(submitted)) => accepted(
                        &world,
                        request,
                        submitted.request,
                        &others,
                        &submitted.subscriptions,
                    ),
                    Ok(Err(error)) => world.record().requests[request].refused = Some(error.kind()),
                    Err(_) => {
                        world.record().requests[request].refused =
                            Some(actix_responses::ErrorKind::ShutDown)
                    }
                }
                return;
            };
            let submitted = handle.submit(submit).await;
            let stream = match submitted {
                Ok(stream) => stream,
                Err(error) => {
                    world.record().requests[request].refused = Some(error.kind());
                    return;
                }
            };
            let id = stream.request();
            accepted(&world, request, id, &others, &[]);
            start_reading(&world, *first_stream, stream);
            for number in &streams[1..] {
                let joined = handle.subscribe(id, Cursor::Start).await;
                match joined {
                    Ok(stream) => start_reading(&world, *number, stream),
                    Err(error) => world.record().listeners[*number].refused = Some(error),
                }
            }
        }
    }

    /// Asks a question and waits for its answer.
    fn asker(&self, question: usize, number: usize) -> impl Future<Output = ()> + use<> {
        let plan = self.plan.questions[question].clone();
        let world = self.world.clone();
        let runtime = self.runtime.clone();
        let provider = self.providers[number].clone();
        async move {
            sleep(plan.at).await;
            let Some(handle) = runtime.borrow().clone() else {
                return;
            };
            drop(runtime);
            let retry = retry_policy(plan.attempts.len(), RetryAfterOutput::Fail);
            let observer = Observer::new(world.clone(), number).start().recipient();
            let mut compact = Compact::new(CompactionInput::new(
                "m",
                vec![ResponseItem::user_text("hello")],
            ))
            .with_provider(provider.clone())
            .with_label(number.to_string());
            let mut list = ListModels::new()
                .with_provider(provider)
                .with_label(number.to_string());
            for (headers, own_retry, own_observer) in [
                (
                    &mut compact.headers,
                    &mut compact.retry,
                    &mut compact.observer,
                ),
                (&mut list.headers, &mut list.retry, &mut list.observer),
            ] {
                headers.insert(REQUEST_HEADER, HeaderValue::from(number));
                *own_retry = Some(retry.clone());
                *own_observer = Some(Arc::new(observer.clone()));
            }
            drop(observer);
            let question = AskedQuestion {
                world,
                question,
                number,
            };
            match (plan.kind, plan.through) {
                (QuestionKind::Compact, Through::Submit { .. }) => {
                    drop(list);
                    question.submit(handle, compact, compacted).await;
                }
                (QuestionKind::ListModels, Through::Submit { .. }) => {
                    drop(compact);
                    question.submit(handle, list, listed).await;
                }
                (QuestionKind::Compact, Through::Future { dropped }) => {
                    drop(list);
                    let answer = async move { handle.compact(compact).await };
                    question.wait(answer, dropped, compacted).await;
                }
                (QuestionKind::ListModels, Through::Future { dropped }) => {
                    drop(compact);
                    let answer = async move { handle.list_models(list).await };
                    question.wait(answer, dropped, listed).await;
                }
            }
        }
    }

    /// Joins a request later.
    fn joiner(
        &self,
        request: usize,
        number: usize,
        when: When,
        cursor: CursorPlan,
    ) -> impl Future<Output = ()> + use<> {
        let world = self.world.clone();
        let runtime = self.runtime.clone();
        let actor = self.actors[number].clone();
        async move {
            let id = world.id_of(request).await;
            world.wait_for(request, when).await;
            let cursor = match cursor {
                CursorPlan::Start => Cursor::Start,
                CursorPlan::Live => Cursor::Live,
                CursorPlan::From(sequence) => Cursor::From(sequence),
            };
            let Some(handle) = runtime.borrow().clone() else {
                return;
            };
            world.note(format_args!(
                "request {request}: listener {number} joins at {cursor:?}"
            ));
            let plan = world.record().listeners[number].plan.clone();
            let Some(actor) = actor else {
                match handle.subscribe(id, cursor).await {
                    Ok(stream) => start_reading(&world, number, stream),
                    Err(error) => world.record().listeners[number].refused = Some(error),
                }
                return;
            };
            let subscriber = subscriber(actor, plan.link)
                .with_policy(plan.policy)
                .with_cursor(cursor);
            let joined = handle
                .supervisor()
                .send(Subscribe {
                    request: id,
                    subscriber,
                })
                .await;
            let now = world.now();
            let listener = &mut world.record().listeners[number];
            match joined {
                Ok(Ok(subscription)) => {
                    listener.subscription = Some(subscription);
                    listener.joined_at = Some(now);
                }
                Ok(Err(error)) => listener.refused = Some(error),
                Err(_) => {}
            }
            world.changed();
        }
    }

    /// Waits until no request has an attempt to run or to wait for.
    async fn wait_for_ends(&self) {
        loop {
            sleep(Duration::from_millis(500)).await;
            let pending = self.world.now() < LAST_ACTION;
            let asking = self
                .world
                .record()
                .questions
                .iter()
                .any(QuestionRecord::is_open);
            if !pending && !asking && self.live().await == 0 {
                return;
            }
        }
    }

    async fn live(&self) -> usize {
        let mut live = 0;
        for phase in self.phases().await {
            live += usize::from(phase.is_some_and(|phase| phase != RequestPhase::Ended));
        }
        live
    }

    async fn phases(&self) -> Vec<Option<RequestPhase>> {
        let ids: Vec<_> = self
            .world
            .record()
            .requests
            .iter()
            .filter_map(|request| request.id)
            .collect();
        let mut phases = Vec::new();
        for request in ids {
            let status = match self.world.supervisor() {
                Some(supervisor) => supervisor.send(GetStatus { request }).await.ok().flatten(),
                None => None,
            };
            phases.push(status.map(|status| status.phase));
        }
        phases
    }

    /// Ended requests are let go when their time is over and nobody is waited for.
    async fn wait_until_forgotten(&self) {
        // A mailbox of 16 and what stands beside it, at the slowest pace, and then the retention.
        for _ in 0..600 {
            sleep(Duration::from_secs(1)).await;
            if self.phases().await.iter().all(Option::is_none) {
                break;
            }
        }
        let known = self.phases().await.iter().flatten().count();
        if known > 0 {
            self.world
                .record()
                .leftovers
                .push(format!("{known} requests are still known"));
        }
    }

    async fn clean_up(self) {
        let Self {
            world,
            runtime,
            providers,
            fallbacks,
            actors,
            ..
        } = self;
        let leftover = |what: String| world.record().leftovers.push(what);
        let supervisor = world.supervisor();
        world.set_supervisor(None);
        runtime.borrow_mut().take();
        // Streams read to their ends, mailboxes are emptied, drains and the sweep of a worker have their time.
        drop(actors);
        for _ in 0..600 {
            sleep(Duration::from_secs(1)).await;
            if world.actors.load(Ordering::SeqCst) == 0
                && world.transports.load(Ordering::SeqCst) == 0
            {
                break;
            }
        }
        if supervisor.is_some_and(|supervisor| supervisor.connected()) {
            leftover("the supervisor lives".to_owned());
        }
        let count = world.actors.load(Ordering::SeqCst);
        if count > 0 {
            leftover(format!("{count} listeners are still held"));
        }
        let count = world.transports.load(Ordering::SeqCst);
        if count > 0 {
            leftover(format!("{count} workers live"));
        }
        for (request, provider) in providers.iter().enumerate() {
            let holders = Arc::strong_count(provider) - 1;
            if holders > 0 {
                leftover(format!("{holders} attempts of request {request} live"));
            }
        }
        for (request, provider) in fallbacks.iter().enumerate() {
            let holders = provider.as_ref().map_or(1, Arc::strong_count) - 1;
            if holders > 0 {
                leftover(format!("{holders} fallbacks of request {request} live"));
            }
        }
        let open: usize = world
            .record()
            .requests
            .iter()
            .map(|request| request.open)
            .sum();
        if open > 0 {
            leftover(format!("{open} bodies are open"));
        }
    }
}

fn retry_policy(max_attempts: usize, after_output: RetryAfterOutput) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    policy.max_attempts = max_attempts as u32;
    policy.after_output = after_output;
    policy.backoff.base = BACKOFF;
    policy.backoff.jitter = 0.0;
    policy.max_requested_delay = MAX_REQUESTED_DELAY;
    policy
}

/// What a compaction says.
fn compacted(output: CompactionOutput) -> String {
    match &output.items[..] {
        [ResponseItem::Compaction(item)] => item.encrypted_content.clone().unwrap_or_default(),
        items => format!("{items:?}"),
    }
}

/// What a list of models says.
fn listed(list: ModelList) -> String {
    let ids: Vec<_> = list.models.into_iter().map(|model| model.id).collect();
    ids.join(", ")
}

/// A question while it is asked.
struct AskedQuestion {
    world: Arc<World>,
    question: usize,
    number: usize,
}

impl AskedQuestion {
    /// Asks by a message, and waits for the answer.
    async fn submit<M, T>(self, handle: Runtime, message: M, text: fn(T) -> String)
    where
        M: Send + 'static,
        T: Send + 'static,
        Submit<M>: Message<Result = Result<Asked<T>, ApiError>>,
        StreamSupervisor: Handler<Submit<M>>,
    {
        let supervisor = handle.supervisor().clone();
        drop(handle);
        let asked = match supervisor.send(Submit(message)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(error)) => return self.refused(error.kind()),
            Err(_) => return self.refused(ErrorKind::ShutDown),
        };
        drop(supervisor);
        self.world.record().questions[self.question].is_asked = true;
        accepted(&self.world, self.number, asked.request(), &[], &[]);
        let answer = asked.await;
        self.answered(answer.map(text));
    }

    fn refused(&self, kind: ErrorKind) {
        self.world.record().requests[self.number].refused = Some(kind);
    }

    /// Waits for the answer, unless the future is to be dropped before.
    async fn wait<T>(
        self,
        answer: impl Future<Output = Result<T, ApiError>>,
        dropped: Option<When>,
        text: fn(T) -> String,
    ) {
        self.world.record().questions[self.question].is_asked = true;
        let leave = async {
            match dropped {
                Some(when) => self.world.wait_for(self.number, when).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            () = self.world.dropped() => None,
            () = leave => None,
            answer = answer => Some(answer),
        };
        match answer {
            Some(answer) => self.answered(answer.map(text)),
            None => {
                let now = self.world.now();
                self.world.note(format_args!(
                    "request {}: its future is dropped",
                    self.number
                ));
                let mut record = self.world.record();
                record.questions[self.question].left_at = Some(now);
                record.requests[self.number].cancelled_at.push(now);
            }
        }
    }

    fn answered(&self, answer: Result<String, ApiError>) {
        let answer = answer.map_err(|error| error.kind());
        self.world.note(format_args!(
            "request {}: the answer is {answer:?}",
            self.number
        ));
        let now = self.world.now();
        self.world.record().questions[self.question]
            .answers
            .push((now, answer));
    }
}

fn subscriber(actor: Addr<Listener>, link: LinkPlan) -> Subscriber {
    match link {
        LinkPlan::Deliveries => Subscriber::deliveries(Recipient::<Delivery>::from(actor)),
        LinkPlan::Events | LinkPlan::Stream => {
            Subscriber::events(Recipient::<ResponseEvent>::from(actor))
        }
    }
}

fn accepted(
    world: &World,
    request: usize,
    id: actix_responses::actors::RequestId,
    listeners: &[usize],
    subscriptions: &[actix_responses::actors::SubscriptionId],
) {
    // The rest of it is drawn anew for each run.
    let text = id.to_string();
    let number = text.rsplit('-').next().unwrap_or_default();
    world.note(format_args!("request {request}: accepted as {number}"));
    let now = world.now();
    let mut record = world.record();
    record.requests[request].id = Some(id);
    for (index, number) in listeners.iter().enumerate() {
        record.listeners[*number].joined_at = Some(now);
        // Where a stream was made too, the ids of the others are not told.
        record.listeners[*number].subscription = subscriptions.get(index).copied();
    }
    drop(record);
    world.changed();
}

fn start_reading(world: &Arc<World>, number: usize, stream: ResponseStream) {
    let now = world.now();
    let (request, fate) = {
        let mut record = world.record();
        let listener = &mut record.listeners[number];
        listener.joined_at = Some(now);
        (listener.request, listener.plan.fate)
    };
    let leave = {
        let world = world.clone();
        async move {
            let closed = world.dropped();
            let leave = async {
                match fate {
                    Fate::Unsubscribes(when) | Fate::Dies(when) => {
                        world.wait_for(request, when).await
                    }
                    Fate::Stays | Fate::PanicsAt(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = closed => {}
                () = leave => {}
            }
        }
    };
    actix_rt::spawn(read(world.clone(), number, stream, leave));
}

async fn canceller(world: Arc<World>, request: usize, when: When) {
    let id = world.id_of(request).await;
    world.wait_for(request, when).await;
    let Some(supervisor) = world.supervisor() else {
        return;
    };
    world.note(format_args!("request {request}: is cancelled"));
    let was_live = supervisor
        .send(CancelRequest { request: id })
        .await
        .unwrap_or(false);
    if was_live {
        let now = world.now();
        world.record().requests[request].cancelled_at.push(now);
    }
}

async fn leaver(world: Arc<World>, request: usize, number: usize, when: When) {
    let id = world.id_of(request).await;
    world.wait_for(request, when).await;
    let subscription = world.record().listeners[number].subscription;
    let (Some(supervisor), Some(subscription)) = (world.supervisor(), subscription) else {
        return;
    };
    world.note(format_args!(
        "request {request}: listener {number} unsubscribes"
    ));
    let left = supervisor
        .send(Unsubscribe {
            request: id,
            subscription,
        })
        .await;
    let now = world.now();
    let mut record = world.record();
    match left {
        Ok(false) => record.listeners[number].left_too_late = true,
        // A supervisor that ends meanwhile does not say whether it was in time.
        Ok(true) | Err(_) => record.listeners[number].left_at = Some(now),
    }
}

async fn killer(world: Arc<World>, request: usize, actor: Addr<Listener>, when: When) {
    world.id_of(request).await;
    world.wait_for(request, when).await;
    world.note(format_args!("request {request}: a listener's actor stops"));
    // One that is gone or stuck has nothing to stop any more.
    let _ = actor.try_send(Quit);
}

/// Shuts the runtime down or drops it, where the plan says so, and waits for that.
async fn close_in_between(close: Close, runtime: Rc<RefCell<Option<Runtime>>>, world: Arc<World>) {
    match close {
        Close::AtTheEnd => {}
        Close::Shutdown { at, grace } => {
            sleep(at).await;
            let Some(handle) = runtime.borrow().clone() else {
                return;
            };
            world.note(format_args!(
                "the runtime is shut down, with {grace:?} of grace"
            ));
            let before = world.now();
            world.record().closed_at = Some(before);
            handle.shutdown(grace).await;
            let took = world.now() - before;
            world.note(format_args!("the runtime is down"));
            world.record().shutdown_took = Some(took);
        }
        Close::Drop { at } => {
            sleep(at).await;
            world.note(format_args!("the runtime and its streams are dropped"));
            let now = world.now();
            world.record().closed_at = Some(now);
            world.drop_streams();
            runtime.borrow_mut().take();
        }
    }
}
