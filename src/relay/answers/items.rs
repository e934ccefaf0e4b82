//! What answers hold that clients bring back: who made it, and the items that ids stand for.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Answer, Answers, ReadError,
    told::{self, Told},
};
use crate::{
    relay::{
        access::Client,
        block::{self, Event},
        body,
        makers::Made,
        resume::object,
        routing::Maker,
    },
    store::StoreError,
};

/// How many turns a conversation may have that goes on by ids.
const MAX_TURNS: usize = 1000;

/// How many items that one request refers to are looked for at a store that nodes share.
pub(in crate::relay) const MAX_REFERENCES: usize = 1000;

impl Answers {
    pub(super) fn remember(&self, answer: &Answer, text: &str) {
        if let Some(maker) = answer.maker().cloned() {
            let answer_id = answer.id_shared();
            let made = Made {
                maker,
                answer: answer_id,
            };
            self.inner.makers.remember(answer.client(), text, made);
        }
    }

    /// Remembers who made the items that are done in these blocks: by their ids, and by what is sealed in them.
    pub(in crate::relay) fn remember_items(
        &self,
        answer: &Answer,
        blocks: impl Iterator<Item = Bytes>,
    ) {
        for block in blocks {
            let data = block::data(&block);
            let done = Event::read_if(&data, |kind| kind == "response.output_item.done");
            let Some(item) = done.and_then(|event| event.item) else {
                continue;
            };
            self.remember_item(answer, item);
        }
    }

    fn remember_item(&self, answer: &Answer, item: &RawValue) {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Item<'a> {
            #[serde(borrow)]
            id: Option<Cow<'a, str>>,
            #[serde(borrow)]
            encrypted_content: Option<Cow<'a, str>>,
        }
        let item: Item<'_> = serde_json::from_str(item.get()).unwrap_or_default();
        let texts = [item.id, item.encrypted_content];
        self.remember_texts(answer, texts.into_iter().flatten());
    }

    /// Remembers who made what these texts stand for: ids of items, and what is sealed in them.
    pub(in crate::relay) fn remember_texts<'a>(
        &self,
        answer: &Answer,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) {
        for text in texts {
            self.remember(answer, &text);
            answer.add_made(&text);
        }
    }

    async fn made(&self, client: &Client, text: &str) -> Result<Option<Made>, ReadError> {
        let made = self.inner.makers.find(client, text);
        if made.is_some() || !self.inner.storage.is_shared {
            return Ok(made);
        }
        let storage = &self.inner.storage;
        let (client_there, alias) = (client.in_store(), told::made(text));
        let found = storage.store.find(&client_there, &alias);
        let info = match storage.asked(found).await {
            Ok(info) => info,
            Err(StoreError::Unknown) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let answer: Arc<str> = info.stream.id.into();
        let made = Told::read(&info.about).maker();
        let made = made.map(|maker| Made { maker, answer });
        if let Some(made) = &made {
            self.inner.makers.remember(client, text, made.clone());
        }
        Ok(made)
    }

    /// Whether this node knows who gave this client this text, without a look at the store.
    pub(in crate::relay) fn knows_maker(&self, client: &Client, text: &str) -> bool {
        self.inner.makers.find(client, text).is_some()
    }

    /// Who gave this client an item with this id, or what is sealed so.
    pub(in crate::relay) async fn maker(
        &self,
        client: &Client,
        text: &str,
    ) -> Result<Option<Maker>, ReadError> {
        let made = self.made(client, text).await?;
        Ok(made.map(|made| made.maker))
    }

    /// Whether this client was given an answer with this id, and who made it, once that is known.
    pub(in crate::relay) async fn maker_of(
        &self,
        client: &Client,
        id: &str,
    ) -> Result<Option<Option<Maker>>, ReadError> {
        if let Some(made) = self.inner.makers.find(client, id) {
            return Ok(Some(Some(made.maker)));
        }
        let answer = self.find(client, id).await?;
        Ok(answer.map(|answer| answer.maker().cloned()))
    }

    /// Of these items those that stand in answers which this client was given and which are stored. `None` where they are too many to look for.
    pub(in crate::relay) async fn items_by_id(
        &self,
        client: &Client,
        ids: &[&str],
    ) -> Result<Option<HashMap<String, Value>>, ReadError> {
        let mut found = HashMap::new();
        let most = match self.inner.storage.is_shared {
            true => MAX_REFERENCES,
            false => usize::MAX,
        };
        let mut read = 0;
        for id in ids {
            if found.contains_key(*id) {
                continue;
            }
            if read == most {
                return Ok(None);
            }
            read += 1;
            let Some(made) = self.made(client, id).await? else {
                continue;
            };
            let answer = self.find(client, &made.answer).await?;
            let Some(answer) = answer.filter(|answer| answer.about().stored) else {
                continue;
            };
            // One that can't be read any more is as one that was never there.
            let blocks = if_there(answer.blocks().await)?.unwrap_or_default();
            let output = object::object_of(&answer, &blocks)["output"].take();
            let Value::Array(output) = output else {
                continue;
            };
            for item in output {
                if let Some(id) = item["id"].as_str() {
                    found.insert(id.to_owned(), item);
                }
            }
        }
        Ok(Some(found))
    }

    /// All items that came before a request which goes on from this answer: of each answer in the chain its input, then its output.
    /// `None` where one of them is not known, or has no end yet.
    pub(in crate::relay) async fn items(
        &self,
        client: &Client,
        id: &str,
    ) -> Result<Option<Vec<Value>>, ReadError> {
        let mut id = id.to_owned();
        let mut turns = Vec::new();
        loop {
            let answer = self.find(client, &id).await?;
            let answer = answer.filter(|it| it.about().stored && it.end_so_far().is_some());
            let Some(answer) = answer.filter(|_| turns.len() <= MAX_TURNS) else {
                return Ok(None);
            };
            let read = if_there(answer.blocks().await)?.zip(if_there(answer.request().await)?);
            let Some((blocks, request)) = read else {
                return Ok(None);
            };
            let mut turn = object::input_items(&answer, &request);
            if let Some(Value::Array(output)) =
                object::object_of(&answer, &blocks).get_mut("output")
            {
                turn.append(output);
            }
            turns.push(turn);
            // An input that can't be held is none that can be gone on from; one that is null is none.
            let is_there = has_input(&request);
            let mut request = body::members(&request);
            if is_there && request.get("input").is_some_and(Value::is_null) {
                return Ok(None);
            }
            match request.remove("previous_response_id") {
                Some(Value::String(previous)) => id = previous,
                _ => break,
            }
        }
        Ok(Some(turns.into_iter().rev().flatten().collect()))
    }
}

fn has_input(request: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        input: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Input<'_>>(request).is_ok_and(|request| request.input.is_some())
}

/// What was read, unless it is gone; that a store does not answer says nothing of that.
fn if_there<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Err(ReadError::Unavailable) => Err(ReadError::Unavailable),
        read => Ok(read.ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_null_is_none_and_one_that_can_not_be_held_is_there() {
        let deep = format!(r#"{{"input":{}1{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
        for (request, is_there) in [
            (r#"{"model":"m"}"#, false),
            (r#"{"input":null}"#, false),
            (r#"{"input":"a"}"#, true),
            (r#"{"input":"\ud83d"}"#, true),
            (r#"{"input":[1e400]}"#, true),
            (&deep, true),
        ] {
            assert_eq!(has_input(request.as_bytes()), is_there, "{request}");
        }
    }
}
