//! What fills an answer: it owns the stream of the runtime, for as long as somebody reads or wants it to go on. Who polls it says
//! [`driver`].

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

mod driver;
pub(super) mod going_on;
mod one_piece;

pub(super) use self::driver::Driver;
use super::{
    answers::{Answer, Answers, End, Piece, Reader, Rescue},
    config::RelayConfig,
    drain::{self, Running},
    ending,
    preamble::DoesNotFit,
    rendering::{MakeRenderer, Rendering},
    routing::{Maker, Target},
    shared::Shared,
};
use crate::{
    ApiError, ErrorKind, Runtime,
    actors::{Delivery, SubmitRequest},
    protocol::{Id, ResponseEvent, ResponseHead},
    retry::RetryPolicy,
    wire::Wire,
};

/// What is asked of one target.
pub(super) struct Question {
    /// The request, with its provider and headers.
    pub(super) request: SubmitRequest,
    /// Whether the key is one of ours: then it is no fault of the caller when it is refused.
    pub(super) own_key: bool,
    /// What could not be asked there: `x-relay-dropped`.
    pub(super) dropped: Vec<String>,
    /// What writes the answer, where the client speaks another dialect or names tools otherwise.
    pub(super) renderer: Option<MakeRenderer>,
    /// Whether it is asked for no stream.
    pub(super) in_one_piece: bool,
}

/// Makes the request for a target, which has this place among all.
pub(super) trait Ask: Fn(&Target, usize) -> Result<Question, ApiError> {}

impl<F: Fn(&Target, usize) -> Result<Question, ApiError>> Ask for F {}

/// What a client asked.
pub(super) struct Asked {
    /// What is filled.
    pub(super) answer: Arc<Answer>,
    /// Whom to ask, in this order.
    pub(super) targets: Vec<Target>,
    /// What the client gets of the answer.
    pub(super) form: Form,
    /// Whether the client is Codex, which sends 30 requests for a status from 500 on and 6 for `response.failed`.
    pub(super) is_codex: bool,
    /// Makes the request for a target.
    pub(super) question: Box<dyn Ask>,
    /// What its client's reader does where the answer has come to another node, and that is gone.
    pub(super) rescue: Option<Box<dyn Rescue>>,
    /// It is one of its client's streams for as long as it is filled.
    pub(super) _running: Option<Arc<Running>>,
}

/// What a client gets of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Its blocks as they come.
    Stream,
    /// The whole of it as one object. Nothing is sent before its outcome is known, so that it has the server's headers and a failure its status,
    /// however long that takes.
    Whole,
    /// The same as the answer to a request for a compaction.
    Compaction,
    /// The object of an answer in the background, as it stands when the server has begun one.
    Begun,
}

/// What an answer begins with.
pub(super) enum Begun {
    /// Its head is 200, and its body is what this reads. What fails from now on is an event.
    Streaming(Streaming),
    /// It failed before anything was sent.
    Failed(ApiError),
}

/// See [`Begun::Streaming`].
pub(super) struct Streaming {
    /// The head of the attempt that answers, where it came in time.
    pub(super) head: Option<Arc<ResponseHead>>,
    /// The body. It is a reader of the answer like any other.
    pub(super) reader: Reader,
    /// What fills the answer, for the connection that reads it.
    pub(super) driver: Driver,
    /// Which of the targets answers.
    pub(super) target: usize,
    /// What it was not asked.
    pub(super) dropped: Vec<String>,
    /// All of it, where the server wrote it as one object.
    pub(super) object: Option<Bytes>,
}

struct Head {
    head: Option<Arc<ResponseHead>>,
    target: usize,
    dropped: Vec<String>,
    object: Option<Bytes>,
}

/// Asks, and waits for the first block, a failure, or as long as a client waits for its head.
///
/// Dropping the future leaves the answer as a reader does: upstream is cancelled.
pub(super) async fn start(shared: &Shared, mut asked: Asked) -> Begun {
    let reader = asked.answer.read_by(0, asked.rescue.take());
    let (begin, begun) = oneshot::channel();
    let patience =
        (asked.form == Form::Stream).then(|| Instant::now() + shared.config.head_patience);
    let rendering = rendering(&asked.answer);
    let mut pump = Pump::new(shared, asked, rendering);
    (pump.begin, pump.patience) = (Some(begin), patience);
    let driver = pump.start(shared, Pump::run);
    match begun.await {
        Ok(Ok(Head {
            head,
            target,
            dropped,
            object,
        })) => Begun::Streaming(Streaming {
            head,
            reader,
            driver,
            target,
            dropped,
            object,
        }),
        Ok(Err(error)) => Begun::Failed(error),
        Err(_) => Begun::Failed(lost()),
    }
}

fn rendering(answer: &Answer) -> Rendering {
    let about = answer.about();
    Rendering::new(
        about.wire,
        answer.id().replace("relay_", "resp_"),
        about.model.clone(),
        about.request.clone(),
    )
}

/// Who says why an answer is filled no further, once it is not.
type Left = Rc<Cell<Option<Leaving>>>;

struct Pump {
    asked: Asked,
    runtime: Runtime,
    answers: Answers,
    config: RelayConfig,
    rendering: Rendering,
    /// Whoever waits for the head, until it is known.
    begin: Option<oneshot::Sender<Result<Head, ApiError>>>,
    /// Until when that is.
    patience: Option<Instant>,
    held_since: Option<Instant>,
    head: Option<Arc<ResponseHead>>,
    response_id: Option<Id>,
    /// Who is asked.
    maker: Option<Maker>,
    attempt: u32,
    is_told: bool,
    /// Nothing came yet of what is gone on with.
    is_taking_up: bool,
    dropped: Vec<String>,
    /// See [`Streaming::object`].
    object: Option<Bytes>,
    /// What a delivery gives, empty between two of them.
    out: Vec<Piece>,
}

/// Why an answer is filled no further.
enum Leaving {
    /// Somebody stops it.
    Stopped,
    /// Nobody reads it any more.
    Deserted,
    /// The relay ends.
    ShutDown,
    /// Another node goes on with it.
    Lost,
}

/// What becomes of a target.
enum Next {
    /// The answer has ended.
    Done,
    /// It failed for good before anything of its answer went out.
    Failed(ApiError),
}

/// Resolves when there is a reason; whoever has one polls it.
async fn leaving(left: Left) -> Leaving {
    poll_fn(|_| left.take().map_or(Poll::Pending, Poll::Ready)).await
}

impl Pump {
    fn new(shared: &Shared, asked: Asked, rendering: Rendering) -> Self {
        Self {
            runtime: shared.runtime.clone(),
            answers: shared.answers.clone(),
            config: shared.config.clone(),
            rendering,
            begin: None,
            patience: None,
            held_since: None,
            head: None,
            response_id: None,
            maker: None,
            attempt: 1,
            is_told: false,
            is_taking_up: false,
            dropped: Vec::new(),
            object: None,
            out: Vec::new(),
            asked,
        }
    }

    fn start<F: Future<Output = ()> + 'static>(
        self,
        shared: &Shared,
        run: impl FnOnce(Self, Left) -> F,
    ) -> Driver {
        let left = Left::default();
        let (answer, drain) = (self.asked.answer.clone(), shared.drain.clone());
        let read = answer.clone();
        let leaving = async move {
            tokio::select! {
                () = answer.cancelled() => Leaving::Stopped,
                () = answer.deserted() => Leaving::Deserted,
                () = answer.lost() => Leaving::Lost,
                () = drain.over() => Leaving::ShutDown,
            }
        };
        let run = run(self, left.clone());
        driver::start(run, leaving, left, move || read.readers())
    }

    async fn run(mut self, left: Left) {
        let mut leaving = pin!(leaving(left));
        let mut before = None;
        for target in 0..self.asked.targets.len() {
            let question = (self.asked.question)(&self.asked.targets[target], target);
            let (own_key, next) = match question {
                // That a fallback can't be asked is no news to the client: why the one before it did not answer is.
                Err(error) => (true, Next::Failed(before.take().unwrap_or(error))),
                Ok(question) => {
                    let own_key = question.own_key;
                    let provider = question.request.provider.clone();
                    let next = self.ask(target, question, leaving.as_mut()).await;
                    if let (Next::Failed(error), Some(provider)) = (&next, provider)
                        && let (ErrorKind::RateLimited, Some(wait)) =
                            (error.kind(), error.details().retry_after)
                    {
                        self.asked.targets[target].rest(&provider, wait);
                    }
                    (own_key, next)
                }
            };
            match next {
                Next::Done => return,
                Next::Failed(error) => {
                    let is_last = target + 1 == self.asked.targets.len();
                    if is_last || !another_can_help(&error, own_key) {
                        return self.fail(target, error);
                    }
                    before = Some(error);
                }
            }
        }
        self.fail(
            0,
            ApiError::new(
                ErrorKind::InvalidConfiguration,
                "no server answers for this model",
            ),
        );
    }

    /// Asks one target, until the answer has ended or `leaving` is ready.
    async fn ask(
        &mut self,
        target: usize,
        mut question: Question,
        mut leaving: impl Future<Output = Leaving> + Unpin,
    ) -> Next {
        let asked = &self.asked.targets[target];
        let renames = target > 0 || asked.model.is_some();
        let wire = asked.provider.wire;
        self.rendering
            .set_target(target, wire, renames, question.renderer.take());
        self.dropped = std::mem::take(&mut question.dropped);
        let provider = question.request.provider.as_ref();
        self.maker = provider.map(|provider| asked.maker(provider));
        (self.head, self.response_id, self.held_since) = (None, None, None);
        if question.in_one_piece {
            // What it needs is no part of a stream that is open for minutes.
            return Box::pin(self.ask_in_one_piece(target, question, leaving)).await;
        }
        let runtime = self.runtime.clone();
        let mut request = question.request.with_blocks().with_live_only();
        // Who writes the answer anew writes each piece of it.
        request.joined_deltas = self.rendering.is_as_it_came();
        let submitted = Box::pin(runtime.submit(request));
        let mut stream = tokio::select! {
            stream = submitted => match stream {
                Ok(stream) => stream,
                Err(error) => return Next::Failed(error),
            },
            why = &mut leaving => return self.left(target, why),
        };
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let due = self.due();
            if let Some(due) = due.filter(|due| *due != alarm.deadline()) {
                alarm.as_mut().reset(due);
            }
            let delivery = tokio::select! {
                biased;
                why = &mut leaving => return self.left(target, why),
                delivery = stream.next_delivery() => delivery,
                () = &mut alarm, if due.is_some() => {
                    self.lose_patience(target);
                    continue;
                }
            };
            let Some(delivery) = delivery else {
                return Next::Failed(lost());
            };
            if let Some(next) = self.take(target, &delivery) {
                return next;
            }
            let answer = self.asked.answer.clone();
            tokio::select! {
                biased;
                () = answer.room() => {}
                why = &mut leaving => return self.left(target, why),
            }
        }
    }

    /// When something is to be done though nothing comes.
    fn due(&self) -> Option<Instant> {
        let held = self.held_since.filter(|_| self.rendering.holds());
        // Who gets an answer whole sees no preamble.
        let is_seen = matches!(self.asked.form, Form::Stream | Form::Begun);
        let held = held.filter(|_| is_seen);
        let held = held.map(|since| since + self.config.preamble_patience);
        let head = self.patience.filter(|_| self.begin.is_some());
        held.into_iter().chain(head).min()
    }

    fn lose_patience(&mut self, target: usize) {
        let mut out = Vec::new();
        self.rendering.release(&mut out);
        self.send(target, &mut out);
        if self.patience.is_some_and(|until| Instant::now() >= until) {
            self.begin(target);
        }
    }

    fn take(&mut self, target: usize, delivery: &Delivery) -> Option<Next> {
        let mut out = std::mem::take(&mut self.out);
        self.is_taking_up &= delivery.blocks().next().is_none();
        let was_open = self.rendering.is_open();
        let (mut begins, mut has_items) = (false, false);
        for event in delivery.events() {
            has_items |= matches!(
                event,
                ResponseEvent::OutputItemDone(_) | ResponseEvent::Completed(_)
            );
            match event {
                // Of an attempt after output the answer that it goes on with would be another.
                ResponseEvent::Restarted(restarted) => {
                    let error = (*restarted.error).clone();
                    self.fail(target, error);
                    return Some(Next::Done);
                }
                _ if was_open => {}
                ResponseEvent::Head(head) => self.head = Some(head.clone()),
                ResponseEvent::Created(created) => self.response_id = created.response_id.clone(),
                event => begins |= event.is_output(),
            }
        }
        if let Err(DoesNotFit) = self.rendering.push(delivery, &mut out) {
            return self.break_off(target);
        }
        if !was_open && let Some(block) = delivery.blocks().last() {
            self.attempt = block.attempt;
        }
        let end = delivery
            .events()
            .last()
            .filter(|event| event.is_final())
            .cloned();
        match &end {
            Some(ResponseEvent::Failed(error)) if !was_open && !begins => {
                self.send(target, &mut out);
                return Some(Next::Failed((**error).clone()));
            }
            Some(ResponseEvent::Completed(_) | ResponseEvent::Incomplete(_)) => {
                begins = true;
                if self.rendering.fits().is_err() {
                    return self.break_off(target);
                }
            }
            _ => {}
        }
        if begins && !was_open {
            // What is held stands before what came now.
            let now = std::mem::take(&mut out);
            self.rendering.open(&mut out);
            out.extend(now);
        } else if self.rendering.holds() {
            self.held_since.get_or_insert_with(Instant::now);
        }
        if has_items && self.asked.answer.about().wire == Wire::Responses {
            // Before the client can come back with them.
            self.tell();
            let blocks = out.iter().flat_map(Piece::blocks);
            self.answers.remember_items(&self.asked.answer, blocks);
        }
        match end {
            None => {
                self.send(target, &mut out);
                self.out = out;
                None
            }
            // Unless it is the server that says that its answer failed.
            Some(ResponseEvent::Failed(error))
                if self.is_taking_up && error.details().response.is_none() =>
            {
                Some(Next::Failed((*error).clone()))
            }
            Some(event) => {
                self.finish(target, &event, out);
                Some(Next::Done)
            }
        }
    }

    /// The answer of a later attempt can't be told as the rest of what an earlier one began.
    fn break_off(&mut self, target: usize) -> Option<Next> {
        let error = ApiError::new(
            ErrorKind::Truncated,
            "the server's stream broke after it had begun, and its next answer does not go on where that one was",
        );
        self.fail(target, error);
        Some(Next::Done)
    }

    /// The answer is filled no further. The stream of the runtime goes, which cancels upstream.
    fn left(&mut self, target: usize, why: Leaving) -> Next {
        match why {
            // Whoever comes back later is to see that it is not whole.
            Leaving::Stopped | Leaving::Deserted => {
                let mut out = Vec::new();
                self.rendering.open(&mut out);
                self.finish(target, &ResponseEvent::Cancelled, out);
            }
            // Its readers go on from the store.
            Leaving::Lost => {}
            // Another node goes on with it, and its clients come back to that.
            Leaving::ShutDown
                if self.begin.is_none()
                    && self.asked.answer.goes_on().is_some()
                    && self.asked.answer.hand_over() => {}
            Leaving::ShutDown => self.fail(target, drain::shutting_down()),
        }
        Next::Done
    }

    /// The answer fails: as a status where nothing was sent and the server had not begun, else as an event.
    fn fail(&mut self, target: usize, error: ApiError) {
        self.attempt = self.attempt.max(error.details().attempt);
        let is_tired =
            self.asked.is_codex && !self.rendering.is_open() && error.details().attempt > 1;
        let is_event = self.begin.is_none()
            || self.rendering.had_begun(error.details().attempt)
            || is_tired
            || (self.asked.is_codex && is_worth_another_turn(&error));
        let error = if is_tired {
            final_for_codex(&error)
        } else {
            error
        };
        if is_event {
            let mut out = Vec::new();
            self.rendering.open(&mut out);
            self.finish(target, &ResponseEvent::Failed(error.into()), out);
            return;
        }
        let answer = &self.asked.answer;
        answer.set_attempt(self.attempt, self.maker.clone());
        answer.set_failure(ending::code(&error));
        answer.end(End::Failed);
        if let Some(begin) = self.begin.take() {
            // Its client may have left.
            let _ = begin.send(Err(error));
        }
    }

    fn finish(&mut self, target: usize, event: &ResponseEvent, mut out: Vec<Piece>) {
        self.rendering.end(event, &mut out);
        self.close(target, event, out);
    }

    /// The last blocks are these, and they have an end.
    fn close(&mut self, target: usize, event: &ResponseEvent, out: Vec<Piece>) {
        self.begin(target);
        self.tell();
        let answer = &self.asked.answer;
        let (end, usage) = match event {
            ResponseEvent::Completed(completed) => (End::Completed, completed.token_usage),
            ResponseEvent::Incomplete(incomplete) => (End::Incomplete, incomplete.token_usage),
            ResponseEvent::Failed(error) => {
                answer.set_failure(ending::code(error));
                (End::Failed, error.details().token_usage)
            }
            ResponseEvent::Cancelled => (End::Cancelled, None),
            _ => (End::Failed, None),
        };
        if let Some(usage) = usage {
            answer.set_usage(usage);
        }
        answer.close(out, end);
    }

    fn send(&mut self, target: usize, out: &mut Vec<Piece>) {
        if out.is_empty() {
            return;
        }
        self.rendering.note(out);
        self.begin(target);
        self.tell();
        self.asked.answer.push(out.drain(..));
    }

    /// Who answers, and by which id the client will know it.
    fn tell(&mut self) {
        if self.is_told {
            return;
        }
        self.is_told = self.rendering.is_open();
        let answer = &self.asked.answer;
        answer.set_attempt(self.attempt, self.maker.clone().filter(|_| self.is_told));
        if answer.about().background {
            answer.set_goes_on(self.goes_on());
        }
        let id = self.rendering.own_id().or(self.response_id.as_deref());
        if let Some(id) = id
            && (self.is_told || answer.server_id().is_none())
        {
            self.answers.set_alias(answer, id);
        }
    }

    /// Where the answer goes on though nobody listens, as its clients see it.
    fn goes_on(&self) -> Option<(&str, &Maker)> {
        let is_kept = self.asked.answer.about().stored && self.rendering.is_as_it_came();
        let id = self.response_id.as_deref().filter(|_| is_kept)?;
        Some((id, self.maker.as_ref()?))
    }

    /// The head is known: that of the attempt that answers.
    fn begin(&mut self, target: usize) {
        let Some(begin) = self.begin.take() else {
            return;
        };
        // Its client may have left.
        let _ = begin.send(Ok(Head {
            head: self.head.clone(),
            target,
            dropped: self.dropped.clone(),
            object: self.object.take(),
        }));
    }
}

/// A pump that ends without an end, for it panicked or its thread stops, says one.
impl Drop for Pump {
    fn drop(&mut self) {
        if !self.asked.answer.has_end() {
            self.fail(0, lost());
        }
    }
}

fn lost() -> ApiError {
    ApiError::new(
        ErrorKind::ShutDown,
        "the relay stopped before the answer had ended",
    )
}

/// Whether another server can answer what this one did not: never for the caller's own faults.
fn another_can_help(error: &ApiError, own_key: bool) -> bool {
    match error.kind() {
        ErrorKind::Authentication
        | ErrorKind::PermissionDenied
        | ErrorKind::QuotaExceeded
        | ErrorKind::UsageLimitReached
        | ErrorKind::UsageNotIncluded => own_key,
        ErrorKind::InvalidRequest
        | ErrorKind::NotFound
        | ErrorKind::ContextLengthExceeded
        | ErrorKind::ContentPolicy
        | ErrorKind::TooLarge
        | ErrorKind::TotalTimeout
        | ErrorKind::Lagged
        | ErrorKind::ShutDown
        | ErrorKind::LocalLimit
        | ErrorKind::Cancelled => false,
        _ => true,
    }
}

/// What Codex is told when all attempts are used up. It would try five times more, each of them as often as we do; of the codes that
/// it takes as final this is the one whose words it shows as they are.
fn final_for_codex(error: &ApiError) -> ApiError {
    let attempts = error.details().attempt;
    let message = format!("{} ({attempts} attempts)", error.message());
    ApiError::new(ErrorKind::InvalidRequest, message)
}

/// Whether a client that is not told of a status will try again, and should. One that it is to wait for keeps its `retry-after`.
fn is_worth_another_turn(error: &ApiError) -> bool {
    error.kind() != ErrorKind::RateLimited && RetryPolicy::default().delay(error, 1).is_some()
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
