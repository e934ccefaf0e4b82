//! Answers whose node is gone: another one goes on with them where their server does, or says that they are lost.
//!
//! Whoever reads an answer of another node brings a [`Rescuer`]: the claim that lapses is found by readers, and they have the key.

pub(super) mod places;

use std::{pin::pin, sync::Arc, time::Duration};

use actix_web::{HttpRequest, http::header::HeaderMap, web::Data};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    access::Client,
    answers::{Answer, ReadError, Rescue},
    block::{self, Event},
    headers,
    pump::{
        Asked, Form, Question,
        going_on::{self, Before, end_lost, lost},
    },
    routing::Target,
    shared::Shared,
};
use crate::{
    actors::SubmitRequest,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    store::{Claim, StoreError, StreamInfo, follow::Followed},
    wire::Wire,
};

/// How long it is looked for a wish to stop an answer that nobody can go on with: whoever stopped it is not to read that it was lost.
const LOOK_FOR_CANCEL: Duration = Duration::from_millis(100);

/// Among so many of the last blocks the last event with a number is looked for, before it is among all, and among as many of the first the one with
/// the response: signs of life of another relay have neither.
const LOOK_BACK: u64 = 16;

/// For so many times as long as a claim holds the store is asked for what there is of an answer, and again for what was asked: 30 s, where nothing
/// else is said. Nodes that can't read it do not hand it from one to the other for ever.
const CLAIMS_TO_READ: u32 = 3;

/// How soon it is asked again.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// How much longer than a claim holds a stream is watched that was found without a writer: a follower looks twice before it takes one.
const WATCH: Duration = Duration::from_secs(2);

/// Takes over what a request finds without a node, with what that shows of keys.
#[derive(Clone)]
pub(super) struct Rescuer {
    shared: Arc<Shared>,
    client: Client,
    headers: Arc<HeaderMap>,
}

/// Who does something for an answer whose node is gone, when its reader finds it; nobody where nodes share nothing.
pub(super) fn rescue(
    shared: &Data<Shared>,
    client: &Client,
    request: &HttpRequest,
) -> Option<Box<dyn Rescue>> {
    let is_shared = shared.answers.store().is_shared();
    is_shared.then(|| Box::new(Rescuer::new(shared, client, request)) as _)
}

/// A request is about this answer, which may have no node: it is given the time that a reader gives it. It returns at once.
pub(super) fn found(shared: &Data<Shared>, request: &HttpRequest, answer: &Answer) {
    if let Some(info) = answer.info()
        && info.end.is_none()
        && info.claimed_for.is_none()
    {
        Rescuer::new(shared, answer.client(), request).watch(info);
    }
}

impl Rescue for Rescuer {
    fn orphan(&self, claim: Claim, info: StreamInfo) {
        actix_rt::spawn(self.clone().take_over(claim, info));
    }
}

impl Rescuer {
    fn new(shared: &Data<Shared>, client: &Client, request: &HttpRequest) -> Self {
        let mut headers = request.headers().clone();
        // That is how far the client has read, and not how far this node has.
        headers.remove("last-event-id");
        Self {
            shared: shared.clone().into_inner(),
            client: client.clone(),
            headers: Arc::new(headers),
        }
    }

    fn watch(self, info: &StreamInfo) {
        let stream = info.stream.clone();
        if !self.shared.takeovers.watch(&stream) {
            return;
        }
        let from = info.blocks + 1;
        let time = self.shared.config.claim_time() + WATCH;
        actix_rt::spawn(async move {
            let follow = self.shared.answers.follow(&stream, from);
            // Whatever else comes is from a writer.
            let first = timeout(time, pin!(follow).next()).await;
            self.shared.takeovers.watched(&stream);
            if let Ok(Some(Ok(Followed::Orphan { claim, info }))) = first {
                self.take_over(claim, info).await;
            }
        });
    }

    async fn take_over(self, claim: Claim, info: StreamInfo) {
        tracing::info!(
            id = info.stream.id,
            epoch = claim.epoch,
            "an answer is taken over"
        );
        let answers = &self.shared.answers;
        // From here on the claim is renewed, however long the rest takes.
        let answer = answers.take_over(&self.client, &claim, info.clone());
        let read = async || self.before(&answer, &info).await;
        let Some(read) = self.patiently(&answer, read).await else {
            return;
        };
        let (before, way) = match read {
            Ok((before, after)) => (before, self.way(&answer, after)),
            Err(_) => (
                Before::unread(info.blocks),
                Err("what came of it can't be read"),
            ),
        };
        match way {
            Ok(way) => self.go_on(answer, before, way).await,
            Err(why) => end_lost_or_cancelled(&answer, before, why).await,
        }
    }

    /// What the store says, which is asked again for a while where it does not answer. Nothing where the answer is another's: one that lost it, or
    /// that finds it next, since this node ends or the whole store is away.
    async fn patiently<T>(
        &self,
        answer: &Answer,
        ask: impl AsyncFn() -> Result<T, ReadError>,
    ) -> Option<Result<T, ReadError>> {
        let until = Instant::now() + self.shared.config.claim_time() * CLAIMS_TO_READ;
        let said = async {
            loop {
                let said = timeout_at(until, ask()).await;
                let said = said.unwrap_or(Err(ReadError::Unavailable));
                let is_away = matches!(said, Err(ReadError::Unavailable));
                if !is_away || Instant::now() + READ_AGAIN > until {
                    return said;
                }
                tokio::select! {
                    biased;
                    () = answer.cancelled() => return said,
                    () = sleep(READ_AGAIN) => {}
                }
            }
        };
        let said = tokio::select! {
            biased;
            () = answer.lost() => return None,
            () = self.shared.drain.over() => None,
            said = said => Some(said),
        };
        let answers = &self.shared.answers;
        let is_read = match &said {
            None => false,
            // Only reading may fail there.
            Some(Err(ReadError::Unavailable)) => answers.knows(answer).await,
            Some(_) => true,
        };
        if !is_read {
            answer.hand_over();
            return None;
        }
        said
    }

    /// What there is of a stream that nobody else writes to, and the number of its last event, where its server numbers them.
    async fn before(
        &self,
        answer: &Answer,
        info: &StreamInfo,
    ) -> Result<(Before, Option<u64>), ReadError> {
        let number = |block: &Bytes| Event::read(&block::data(block)).sequence_number;
        let is_numbered = answer.about().wire == Wire::Responses;
        let mut from = (info.blocks + 1).saturating_sub(LOOK_BACK).max(1);
        let mut last = self.blocks_from(info, from).await?;
        if is_numbered && from > 1 && last.iter().all(|block| number(block).is_none()) {
            from = 1;
            last = self.blocks_from(info, from).await?;
        }
        let first = match from {
            1 => last.clone(),
            _ => {
                self.shared
                    .answers
                    .store()
                    .read(&info.stream, 1)
                    .await?
                    .blocks
            }
        };
        // A sign of life says neither which answer it is of nor where that stands.
        let begins = |block: &&Bytes| Event::read(&block::data(block)).response.is_some();
        let begun = first.iter().take(LOOK_BACK as usize).find(begins);
        let numbered = last.iter().rfind(|block| number(block).is_some());
        let after = numbered.and_then(number);
        let before = Before {
            first: begun.or(first.first()).cloned(),
            last: numbered.or(last.last()).cloned(),
            blocks: info.blocks,
        };
        Ok((before, after))
    }

    /// All of its blocks from this one on.
    async fn blocks_from(&self, info: &StreamInfo, from: u64) -> Result<Vec<Bytes>, StoreError> {
        let store = self.shared.answers.store();
        let mut blocks = Vec::new();
        while from + (blocks.len() as u64) <= info.blocks {
            let next = from + blocks.len() as u64;
            let more = store.read(&info.stream, next).await?;
            if more.blocks.is_empty() {
                // It is not there any more.
                return Err(StoreError::Expired);
            }
            blocks.extend(more.blocks);
        }
        Ok(blocks)
    }

    /// Who is asked for the rest of an answer, and how; or why nobody can be.
    fn way(&self, answer: &Answer, after: Option<u64>) -> Result<Way, &'static str> {
        let (id, maker) = answer
            .goes_on()
            .ok_or("it did not run in the background at its server")?;
        let after = after.ok_or("its server does not number its events")?;
        let nowhere = "no route leads to its server any more";
        let route = self.shared.routes().find(&answer.about().model);
        let route = route.filter(|route| !route.lowers_tools).ok_or(nowhere)?;
        let targets = route.targets.clone();
        let made_here = |target: &Target| {
            let is_asked = target.provider.wire == Wire::Responses;
            is_asked.then(|| target.made_with(&maker, true)).flatten()
        };
        let mut makers = targets.iter().enumerate();
        let (place, provider) = makers
            .find_map(|(place, target)| Some((place, made_here(target)?)))
            .ok_or(nowhere)?;
        let headers = headers::to_server(&self.headers, &targets[place], &self.shared.access);
        Ok(Way {
            targets,
            place,
            provider,
            headers,
            response_id: id,
            after,
        })
    }

    async fn go_on(self, answer: Arc<Answer>, before: Before, way: Way) {
        let Ok(permit) = self.shared.access.begin_stream(&self.client) else {
            let why = "its client has as many streams as it may have";
            let event = ResponseEvent::Failed(lost(why).into());
            return end_lost(&answer, before, &event);
        };
        let running = self.shared.drain.begin(permit);
        let seat = tokio::select! {
            biased;
            () = self.shared.drain.over() => {
                answer.hand_over();
                return;
            }
            () = answer.lost() => return,
            () = answer.cancelled() => return end_lost(&answer, before, &ResponseEvent::Cancelled),
            seat = self.shared.takeovers.place() => seat,
        };
        // What was asked says what the server is to tell: without it the rest would be of another answer.
        let body = async || answer.request().await;
        let Some(body) = self.patiently(&answer, body).await else {
            return;
        };
        let Some(prompt) = body.ok().and_then(|body| Prompt::from_body(body).ok()) else {
            let why = "what was asked can't be read";
            return end_lost_or_cancelled(&answer, before, why).await;
        };
        let observer = self.shared.metrics.observer(&self.client);
        let (targets, place) = (way.targets.clone(), way.place);
        let question = move |target: &Target, _: usize| {
            // It is held for as long as the answer is filled.
            let _held = &seat;
            let mut request = SubmitRequest::resume(way.response_id.clone(), Some(way.after))
                .with_provider(way.provider.clone())
                .with_headers(way.headers.clone())
                .with_observer(observer.clone());
            request.prompt = prompt.clone();
            Ok(Question {
                request,
                own_key: !target.passes_key(),
                dropped: Vec::new(),
                renderer: None,
                in_one_piece: false,
            })
        };
        let asked = Asked {
            answer,
            targets,
            form: Form::Stream,
            is_codex: false,
            question: Box::new(question),
            rescue: None,
            _running: Some(running),
        };
        going_on::go_on(&self.shared, asked, place, before);
    }
}

/// Ends an answer that nobody goes on with, as the last one who could has asked for: a cancel that the store has may still be on its way here.
async fn end_lost_or_cancelled(answer: &Answer, before: Before, why: &str) {
    let cancelled = timeout(LOOK_FOR_CANCEL, answer.cancelled()).await;
    let event = match cancelled {
        Ok(()) => ResponseEvent::Cancelled,
        Err(_) => ResponseEvent::Failed(lost(why).into()),
    };
    end_lost(answer, before, &event);
}

/// How an answer is gone on with.
struct Way {
    targets: Vec<Target>,
    /// Which of them has it.
    place: usize,
    /// With the key that made it.
    provider: Arc<Provider>,
    headers: http::HeaderMap,
    response_id: String,
    after: u64,
}
