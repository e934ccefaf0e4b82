//! How one server makes its default answers, and those that it gave: they can be read again, cancelled and deleted.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{answer::DefaultAnswer, event::OutgoingEvent};
use crate::wire::Wire;

/// The most answers that are kept; the oldest are forgotten first.
const MAX_KEPT_ANSWERS: usize = 256;
/// The most bytes that their requests have together.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The least time between two events of an answer that comes in the background, so that there is one to cancel.
const MIN_BACKGROUND_PACE: Duration = Duration::from_millis(10);

/// How one server makes its default answers, and those that it gave.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// What tells its ids from those of other servers; without it ids and times are always the same.
    run: Option<String>,
    /// Whether to call a function also where `tool_choice` leaves it open.
    tool_calls: bool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<KeptAnswer>,
    bytes: usize,
}

/// An answer of the Responses API, as it stands at a time: an event comes every `pace`.
#[derive(Clone, Debug)]
pub(super) struct KeptAnswer {
    answer: Arc<DefaultAnswer>,
    /// The key of its request: who has another does not see it.
    key: Option<HeaderValue>,
    /// The request's input, as JSON.
    input: Arc<str>,
    id: String,
    is_background: bool,
    since: Instant,
    pace: Duration,
    /// How many bytes its request had.
    bytes: usize,
    /// After how many events it was cancelled.
    cancelled: Option<usize>,
}

impl Answers {
    pub(super) fn new(is_reproducible: bool, tool_calls: bool) -> Self {
        // Keyed by the system's random numbers, which is all that is wanted of it.
        let random = RandomState::new().build_hasher().finish();
        Self {
            run: (!is_reproducible).then(|| format!("{random:016x}_")),
            tool_calls,
            kept: Mutex::default(),
        }
    }

    pub(super) fn answer(&self, request: &Value, number: u64) -> DefaultAnswer {
        let mut answer = DefaultAnswer::calling(request, number, self.tool_calls);
        if let Some(run) = &self.run {
            answer.run.clone_from(run);
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            answer.created_at = since.map_or(answer.created_at, |since| since.as_secs());
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is whole before the lock is let go.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer from now on, whose request has so many bytes. One without a stream that is not in the background is there at
    /// once.
    pub(super) fn keep(
        &self,
        answer: DefaultAnswer,
        request: &Value,
        bytes: usize,
        pace: Duration,
        key: Option<&HeaderValue>,
    ) -> KeptAnswer {
        let is_background = request["background"] == true;
        let pace = match request["stream"] == true {
            true => pace,
            false if is_background => pace.max(MIN_BACKGROUND_PACE),
            false => Duration::ZERO,
        };
        let kept = KeptAnswer {
            id: answer.id("resp"),
            answer: Arc::new(answer),
            key: key.cloned(),
            input: request["input"].to_string().into(),
            is_background,
            since: Instant::now(),
            pace,
            bytes,
            cancelled: None,
        };
        let mut list = self.lock();
        list.bytes += bytes;
        list.answers.push_back(kept.clone());
        while list.answers.len() > MAX_KEPT_ANSWERS || list.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = list.answers.pop_front() else {
                break;
            };
            list.bytes -= oldest.bytes;
        }
        kept
    }

    /// The answer of this id.
    pub(super) fn kept(&self, id: &str) -> Option<KeptAnswer> {
        let list = self.lock();
        list.answers.iter().find(|kept| kept.id == id).cloned()
    }

    /// The answer to the request of this number.
    pub(super) fn kept_of(&self, number: u64) -> Option<KeptAnswer> {
        let list = self.lock();
        let mut answers = list.answers.iter();
        answers.find(|kept| kept.answer.number == number).cloned()
    }

    /// Forgets the answer of this id.
    pub(super) fn delete(&self, id: &str) {
        let mut list = self.lock();
        let at = list.answers.iter().position(|kept| kept.id == id);
        if let Some(deleted) = at.and_then(|at| list.answers.remove(at)) {
            list.bytes -= deleted.bytes;
        }
    }

    /// Cancels the answer of this id, unless it has ended. Nothing where it is not in the background.
    pub(super) fn cancel(&self, id: &str) -> Option<KeptAnswer> {
        let mut list = self.lock();
        let mut answers = list.answers.iter_mut();
        let kept = answers.find(|kept| kept.id == id && kept.is_background)?;
        let due = kept.due();
        if kept.cancelled.is_none() && due < kept.answer.responses_events().len() {
            kept.cancelled = Some(due);
        }
        Some(kept.clone())
    }

    pub(super) fn is_cancelled(&self, id: &str) -> bool {
        self.kept(id).is_some_and(|kept| kept.cancelled.is_some())
    }
}

impl KeptAnswer {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_of(&self, key: Option<&HeaderValue>) -> bool {
        self.key.as_ref() == key
    }

    pub(super) fn is_background(&self) -> bool {
        self.is_background
    }

    /// How many events there are by now.
    fn due(&self) -> usize {
        if let Some(events) = self.cancelled {
            return events;
        }
        let elapsed = self.since.elapsed().as_nanos();
        let events = elapsed.checked_div(self.pace.as_nanos());
        events.map_or(usize::MAX, |events| events.try_into().unwrap_or(usize::MAX))
    }

    /// The response object as it stands.
    pub(super) fn object(&self) -> Value {
        let (_, mut object) = self.answer.written(Wire::Responses, self.due());
        if self.cancelled.is_some() {
            object["status"] = "cancelled".into();
        }
        object
    }

    /// The object of one that has only been taken up.
    pub(super) fn taken_up(&self) -> Value {
        self.answer.written(Wire::Responses, 0).1
    }

    /// The items of the request, as a list of the API.
    pub(super) fn input_items(&self) -> Value {
        let mut items = match serde_json::from_str(&self.input) {
            Ok(Value::Array(items)) => items,
            Ok(Value::Null) | Err(_) => Vec::new(),
            Ok(text) => vec![json!({"type": "message", "role": "user", "content": text})],
        };
        for (index, item) in items.iter_mut().enumerate() {
            if let Some(fields) = item.as_object_mut() {
                let id = || format!("{}_{index}", self.answer.id("item")).into();
                fields.entry("id").or_insert_with(id);
                fields.entry("type").or_insert("message".into());
                if let Some(Value::String(text)) = fields.get("content") {
                    let parts = json!([{"type": "input_text", "text": text}]);
                    fields.insert("content".to_owned(), parts);
                }
            }
        }
        let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
        let (first, last) = (id_of(items.first()), id_of(items.last()));
        json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": false})
    }

    /// The events behind this sequence number; all without one.
    pub(super) fn events(&self, starting_after: Option<usize>) -> Vec<OutgoingEvent> {
        let least = self.cancelled.unwrap_or(usize::MAX);
        let (mut events, _) = self.answer.written(Wire::Responses, least);
        if let Some(count) = self.cancelled {
            events.truncate(count);
            let kind = "response.cancelled";
            let last = json!({"type": kind, "sequence_number": count, "response": self.object()});
            events.push(OutgoingEvent::named(kind, last.to_string()));
        }
        let known = starting_after.map_or(0, |last| last.saturating_add(1));
        events.split_off(known.min(events.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_secs(1);

    fn keep(answers: &Answers, number: u64, bytes: usize) -> KeptAnswer {
        let request = json!({"model": "m", "input": "hi", "background": true});
        answers.keep(
            answers.answer(&request, number),
            &request,
            bytes,
            PACE,
            None,
        )
    }

    fn numbers(events: &[OutgoingEvent]) -> Vec<u64> {
        let data = events
            .iter()
            .map(|event| serde_json::from_str::<Value>(&event.data).unwrap());
        data.map(|data| data["sequence_number"].as_u64().unwrap())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_stands_as_far_as_time_has_come() {
        let answers = Answers::default();
        let kept = keep(&answers, 1, 9);
        let whole = kept.answer.responses_events();
        assert_eq!(kept.taken_up()["status"], "in_progress");
        let input = &kept.input_items()["data"][0];
        assert_eq!(
            (&input["role"], &input["content"][0]["text"]),
            (&json!("user"), &json!("hi"))
        );
        for (seconds, status) in [(0, "in_progress"), (6, "in_progress"), (90, "completed")] {
            tokio::time::advance(PACE * seconds).await;
            let object = answers.kept(kept.id()).unwrap().object();
            assert_eq!(object["status"], status);
            assert_eq!(
                object["output"].as_array().unwrap().is_empty(),
                seconds == 0
            );
        }
        assert_eq!(kept.object(), kept.answer.response());
        assert_eq!(kept.events(None), whole);
        assert_eq!(kept.events(Some(4)), whole[5..]);
        assert_eq!(kept.events(Some(usize::MAX)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_answer_says_no_more() {
        let answers = Answers::default();
        let id = keep(&answers, 1, 9).id().to_owned();
        tokio::time::advance(PACE * 5).await;
        assert!(!answers.is_cancelled(&id));
        answers.cancel(&id).unwrap();
        tokio::time::advance(PACE * 90).await;
        let kept = answers.cancel(&id).unwrap();
        assert!(answers.is_cancelled(&id));
        assert_eq!(kept.object()["status"], "cancelled");
        let events = kept.events(Some(2));
        assert_eq!(numbers(&events), [3, 4, 5]);
        assert_eq!(events[2].event.as_deref(), Some("response.cancelled"));

        let ended = keep(&answers, 2, 9).id().to_owned();
        tokio::time::advance(PACE * 90).await;
        let ended = answers.cancel(&ended).unwrap();
        assert_eq!(ended.object()["status"], "completed");
        assert!(answers.cancel("resp_other").is_none());
    }

    #[test]
    fn the_oldest_answers_are_forgotten() {
        let answers = Answers::default();
        let ids: Vec<_> = (0..=MAX_KEPT_ANSWERS as u64)
            .map(|number| keep(&answers, number, 1).id().to_owned())
            .collect();
        assert!(answers.kept(&ids[0]).is_none() && answers.kept(&ids[1]).is_some());
        answers.delete(&ids[1]);
        assert!(answers.kept(&ids[1]).is_none() && answers.kept(&ids[2]).is_some());
        let large = keep(&answers, 1_000, MAX_KEPT_BYTES).id().to_owned();
        assert!(answers.kept(&ids[9]).is_none() && answers.kept(&large).is_some());
        assert_eq!(answers.lock().bytes, MAX_KEPT_BYTES);
    }
}
