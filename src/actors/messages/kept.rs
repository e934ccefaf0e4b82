//! Questions about a response that its server keeps.

use std::sync::Arc;

use actix::Message;
use http::{HeaderMap, Method};
use tracing::Span;

use super::{
    common::with_request_fields,
    questions::{Answer, Asked, OneKind, Submit},
};
use crate::{
    actors::observing::Observer,
    protocol::{DeletedResponse, Id, InputItemList, StoredResponse, error::ApiError},
    provider::Provider,
    retry::RetryPolicy,
};

/// Asks a server something about a response that it keeps, or has it do something with it: [`Retrieve`], [`CancelResponse`],
/// [`DeleteResponse`], [`ListInputItems`]. Dropping the reply's future does not end the request; the methods of
/// [`Runtime`](crate::Runtime) do that.
///
/// It is tried again as everything is. A server that has done what was asked, and whose answer was lost, may answer another attempt
/// that it does not know the response.
#[derive(Clone)]
#[non_exhaustive]
pub struct AboutResponse<Q> {
    /// Which response.
    pub response_id: Id,
    /// What is asked.
    pub question: Q,
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Headers of this request alone; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again, instead of the supervisor's policy.
    pub retry: Option<RetryPolicy>,
    /// What it is called in notices and lists; more than 128 characters are cut.
    pub label: Option<Id>,
    /// Who is told what becomes of it.
    pub observer: Option<Arc<dyn Observer>>,
    /// The span that the request's is a child of: the one in which this was made, or none with [`Span::none`]. It is held until the request is
    /// accepted.
    pub span: Span,
}

impl<Q> AboutResponse<Q> {
    /// Asks the supervisor's own provider, with its own policy.
    pub fn new(response_id: impl Into<Id>, question: Q) -> Self {
        Self {
            response_id: response_id.into(),
            question,
            provider: None,
            headers: HeaderMap::new(),
            retry: None,
            label: None,
            observer: None,
            span: Span::current(),
        }
    }
}

with_request_fields!(AboutResponse<Q> { response_id: response_id, question: question });

impl<Q: Default> From<&str> for AboutResponse<Q> {
    fn from(response_id: &str) -> Self {
        Self::new(response_id, Q::default())
    }
}

impl<Q: Default> From<Id> for AboutResponse<Q> {
    fn from(response_id: Id) -> Self {
        Self::new(response_id, Q::default())
    }
}

/// How the response is, and what there is of it (`GET responses/{id}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retrieve;

/// The server is to stop it, if it was asked for in the background (`POST responses/{id}/cancel`). The answer is the response as it is
/// then; one that has ended stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelResponse;

/// The server is to forget it (`DELETE responses/{id}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteResponse;

/// What the response was asked with, a page at a time (`GET responses/{id}/input_items`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListInputItems {
    /// The page begins behind the item with this id.
    pub after: Option<Id>,
    /// How many items a page has at most; servers take 1 to 100, and have 20 by default.
    pub limit: Option<u32>,
    /// `asc` for the oldest first, `desc` for the newest, as servers have them by default.
    pub order: Option<Id>,
    /// What the server adds to the items, as with a prompt.
    pub include: Vec<String>,
}

impl ListInputItems {
    /// The first page, as the server has it by default.
    pub fn new() -> Self {
        Self::default()
    }
}

with_fields!(ListInputItems {
    with_after(after: impl Into<Id> => Some(after.into())),
    with_limit(limit: u32 => Some(limit)),
    with_order(order: impl Into<Id> => Some(order.into())),
    with_include(include: impl IntoIterator<Item = impl Into<String>> => include.into_iter().map(Into::into).collect()),
});

/// How a question about a response is asked, and its answer read.
pub(crate) trait AsksAbout {
    type Reply: OneKind;
    /// What spans call it, and what errors call its answer.
    const NAMES: (&'static str, &'static str);
    /// How, and where below the response.
    fn place() -> (Method, &'static str);
    fn query(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    fn read(body: &str) -> Result<Answer, ApiError>;
}

macro_rules! asks_about {
    ($question:ty => $reply:ty, $variant:ident, $names:expr, $method:ident $below:literal $(, $query:expr)?) => {
        impl AsksAbout for $question {
            type Reply = $reply;
            const NAMES: (&'static str, &'static str) = $names;

            fn place() -> (Method, &'static str) {
                (Method::$method, $below)
            }

            $(fn query(&self) -> Vec<(&'static str, String)> {
                $query(self)
            })?

            fn read(body: &str) -> Result<Answer, ApiError> {
                <$reply>::from_json(body).map(Answer::$variant)
            }
        }

        impl Message for AboutResponse<$question> {
            type Result = Result<$reply, ApiError>;
        }

        impl Message for Submit<AboutResponse<$question>> {
            type Result = Result<Asked<$reply>, ApiError>;
        }
    };
}

asks_about!(Retrieve => StoredResponse, Stored, ("retrieve_response", "the response"), GET "");
asks_about!(CancelResponse => StoredResponse, Stored, ("cancel_response", "the cancelled response"), POST "/cancel");
asks_about!(DeleteResponse => DeletedResponse, Deleted, ("delete_response", "the answer to the deletion"), DELETE "");
asks_about!(ListInputItems => InputItemList, InputItems, ("list_input_items", "the list of input items"), GET "/input_items", page);

fn page(list: &ListInputItems) -> Vec<(&'static str, String)> {
    let texts = [("after", &list.after), ("order", &list.order)].into_iter();
    let texts = texts.filter_map(|(name, text)| Some((name, text.as_deref()?.to_owned())));
    let limit = list.limit.map(|limit| ("limit", limit.to_string()));
    let include = list.include.iter().map(|what| ("include[]", what.clone()));
    texts.chain(limit).chain(include).collect()
}
