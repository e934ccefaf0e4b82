//! What a request goes on from: answers before it, items of theirs, what is sealed in them; and who can be asked because of that.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Value, value::RawValue};

use super::{
    access::Client,
    answers::{Answers, MAX_REFERENCES},
    bridge::{refusal, sealed},
    routing::{Maker, Target},
};
use crate::{
    ApiError,
    protocol::{Prompt, ResponseItem},
    provider::Provider,
    wire::Wire,
};

/// Of how many sealed texts a store that nodes share is asked who made them, beside those that this node knows: in most conversations the
/// last one tells.
const MAX_SEALED: usize = 16;

/// What of a request only those can read who made it.
#[derive(Default)]
pub(super) struct Continued {
    /// Whether there is any of it.
    is_bound: bool,
    /// Who made it, if the relay remembers.
    maker: Option<Maker>,
    /// Whether it is stored at its maker, which no other key reads: it is asked though its key rests.
    is_stored: bool,
    /// What of it this client was not given here, as a refusal: only a key of the client's own may show it.
    unknown: Option<ApiError>,
    /// The conversation that ends with the previous response, where the relay has it yet.
    earlier: Option<Vec<ResponseItem>>,
    /// The items that references stand for, of those that the relay has yet.
    referenced: HashMap<String, Value>,
    /// Why some of that is missing, though it may be there.
    unread: Option<ApiError>,
}

impl Continued {
    /// Looks up what a request brings, and puts the target first that made it.
    pub(super) async fn of(
        answers: &Answers,
        client: &Client,
        prompt: &Prompt,
        targets: &mut [Target],
    ) -> Self {
        let previous = prompt.options.previous_response_id.as_deref();
        let references: Vec<_> = prompt.input.iter().filter_map(reference).collect();
        let references: Vec<&str> = references.iter().map(|id| &**id).collect();
        let sealed: Vec<&str> = prompt.input.iter().filter_map(sealed::text).collect();
        let conversation = prompt.options.conversation.as_deref();
        let is_stored = previous.is_some() || conversation.is_some() || !references.is_empty();
        if !is_stored && sealed.is_empty() {
            return Self::default();
        }
        // Nobody is given a conversation here: a relay has no route that makes one.
        let mut unknown = conversation.map(refusal::no_conversation);
        let mut unread = None;
        // A store that does not answer is waited for once; what is known here is known without it.
        let mut is_away = false;
        let is_there = |text: &str| {
            let is_shared = answers.store().is_shared();
            is_shared && !answers.knows_maker(client, text)
        };
        let mut of_previous = None;
        if let Some(id) = previous {
            match answers.maker_of(client, id).await {
                Ok(Some(maker)) => of_previous = maker,
                Ok(None) => drop(unknown.get_or_insert_with(|| refusal::no_response(id))),
                Err(_) => {
                    unknown.get_or_insert_with(refusal::store_unavailable);
                    unread = Some(refusal::store_unavailable());
                    is_away = true;
                }
            }
        }
        let mut of_others = None;
        let mut asked = 0;
        for id in &references {
            if is_there(id) {
                if is_away {
                    continue;
                }
                if asked == MAX_REFERENCES {
                    unknown.get_or_insert_with(refusal::too_many_references);
                    unread.get_or_insert_with(refusal::too_many_references);
                    continue;
                }
                asked += 1;
            }
            match answers.maker(client, id).await {
                // Of several the last: it is what the answer goes on from at once.
                Ok(Some(maker)) => of_others = Some(maker),
                Ok(None) => {
                    unknown.get_or_insert_with(|| refusal::no_item(id));
                }
                Err(_) => {
                    unknown.get_or_insert_with(refusal::store_unavailable);
                    unread = Some(refusal::store_unavailable());
                    is_away = true;
                }
            }
        }
        let mut maker = of_previous.or(of_others);
        let mut asked = 0;
        for text in sealed.iter().rev() {
            if maker.is_some() {
                break;
            }
            if is_there(text) {
                if is_away || asked == MAX_SEALED {
                    continue;
                }
                asked += 1;
            }
            match answers.maker(client, text).await {
                Ok(found) => maker = found,
                // Whoever made it, the first target is asked as with all that is not known.
                Err(_) => is_away = true,
            }
        }
        let made_here = |target: &Target| {
            let is_maker = |maker: &Maker| target.provider.name() == &*maker.provider;
            maker.as_ref().is_some_and(is_maker)
        };
        if let Some(at) = targets.iter().position(made_here) {
            targets[..=at].rotate_right(1);
        }
        let mut continued = Self {
            is_bound: true,
            is_stored,
            unknown,
            ..Self::default()
        };
        let is_kept = |target: &Target| {
            target.provider.wire == Wire::Responses && (maker.is_none() || made_here(target))
        };
        let is_put_in = is_stored && !matches!(&*targets, [only] if is_kept(only));
        if let Some(previous) = previous.filter(|_| is_put_in && unread.is_none()) {
            let items = match answers.items(client, previous).await {
                Ok(items) => items,
                Err(_) => {
                    unread = Some(refusal::store_unavailable());
                    None
                }
            };
            continued.earlier = items.and_then(|items| {
                let items = items.into_iter().map(serde_json::from_value);
                items.collect::<Result<_, _>>().ok()
            });
        }
        if is_put_in && unread.is_none() {
            let earlier = continued.earlier.iter().flatten().filter_map(reference);
            let earlier: Vec<_> = earlier.collect();
            let all = earlier.iter().map(|id| &**id).chain(references);
            let references: Vec<&str> = all.collect();
            match answers.items_by_id(client, &references).await {
                Ok(Some(referenced)) => continued.referenced = referenced,
                Ok(None) => unread = Some(refusal::too_many_references()),
                Err(_) => unread = Some(refusal::store_unavailable()),
            }
        }
        continued.unread = unread;
        continued.maker = maker;
        continued
    }

    /// With which key a target is asked: the one that made what the request brings, and else that of the session.
    pub(super) fn provider(&self, target: &Target, session: Option<&str>) -> Arc<Provider> {
        let makers = self
            .maker
            .as_ref()
            .and_then(|maker| target.made_with(maker, self.is_stored));
        makers.unwrap_or_else(|| target.choose(session))
    }

    /// Whether this target with this key, at this place among all, has made what the request brings, as far as is known.
    fn is_made_by(&self, target: &Target, provider: &Arc<Provider>, place: usize) -> bool {
        match &self.maker {
            Some(maker) => target.maker(provider) == *maker,
            None => place == 0,
        }
    }

    fn is_kept_by(&self, target: &Target, provider: &Arc<Provider>, place: usize) -> bool {
        provider.wire == Wire::Responses && self.is_made_by(target, provider, place)
    }

    /// Makes of a prompt one that this target can read. What it can not is left out and named.
    ///
    /// # Errors
    /// For what is not known. `is_own_key`: what this relay does not know may be known there, for the client shows its own key.
    pub(super) fn adapt(
        &self,
        prompt: &mut Prompt,
        (target, place): (&Target, usize),
        provider: &Arc<Provider>,
        is_own_key: bool,
        dropped: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        if !self.is_bound {
            return Ok(());
        }
        if !self.is_kept_by(target, provider, place) {
            self.put_in(prompt)?;
        } else if let Some(refused) = &self.unknown
            && !is_own_key
        {
            return Err(refused.clone());
        }
        if provider.wire == Wire::Responses {
            let is_elsewhere = !self.is_made_by(target, provider, place);
            if let Some(id) = prompt
                .options
                .conversation
                .as_ref()
                .filter(|_| is_elsewhere)
            {
                return Err(refusal::no_conversation(id));
            }
            sealed::leave_out(&mut prompt.input, is_elsewhere, dropped)?;
        }
        Ok(())
    }

    /// Puts in what ids stand for.
    fn put_in(&self, prompt: &mut Prompt) -> Result<(), ApiError> {
        if let Some(unread) = &self.unread {
            return Err(unread.clone());
        }
        if let Some(id) = prompt.options.previous_response_id.take() {
            let mut items = (self.earlier.clone()).ok_or_else(|| refusal::no_response(&id))?;
            items.append(&mut prompt.input);
            prompt.input = items;
        }
        for item in &mut prompt.input {
            if let Some(id) = reference(item) {
                let found = self.referenced.get(&*id).cloned();
                let found = found.and_then(|item| serde_json::from_value(item).ok());
                *item = found.ok_or_else(|| refusal::no_item(&id))?;
            }
        }
        Ok(())
    }
}

/// The id of the item that a reference stands for. OpenAI's API takes one without a `type`, too, and of a member that comes twice the last;
/// neither is a typed item, nor is one of many megabytes.
fn reference(item: &ResponseItem) -> Option<Cow<'_, str>> {
    let raw = match item {
        ResponseItem::ItemReference(reference) => return Some(Cow::Borrowed(&reference.id)),
        ResponseItem::Unknown(raw) => raw,
        _ => return None,
    };
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let member = |name| members.get(name).filter(|value| value.get() != "null");
    let text = |name| serde_json::from_str::<String>(member(name)?.get()).ok();
    let is_reference = match member("type") {
        None => member("role").is_none(),
        Some(_) => text("type").as_deref() == Some("item_reference"),
    };
    is_reference.then(|| text("id"))?.map(Cow::Owned)
}
