//! The models that a server has.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    RawJson, ResponseHead,
    error::{ApiError, ErrorKind, Phase},
};
use crate::json::{
    lenient::{integer, string},
    members::values,
    tree::tree,
};

/// The models that a server has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelList {
    /// The models, in the server's order.
    pub models: Vec<Model>,
    /// Which version of the list this is: the header `etag`, or else the body's field of that name.
    pub etag: Option<String>,
    /// The server says that the list is still the one that the request named (header `if-none-match`): it is not sent again,
    /// and `models` is empty.
    pub not_modified: bool,
    /// The list as it came; absent where it was not sent.
    pub raw: Option<RawJson>,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// What requests call it.
    pub id: String,
    /// When it was made, in seconds of Unix time.
    pub created: Option<i64>,
    /// Who made it or runs it.
    pub owned_by: Option<String>,
    /// The entry as it came.
    pub raw: RawJson,
}

#[derive(Default, Deserialize)]
struct Lists<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    models: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    etag: Option<String>,
}

impl ModelList {
    /// Reads the answer of `GET models`: OpenAI's form, with the models in `data`; that of servers that have them in
    /// `models`, or answer with the list itself. `etag` is the response's header, which goes before a field of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], saying what is wrong, when the text is none of these, reports an error, or an entry has no name.
    /// [`ErrorKind::TooLarge`] when it is over [`RawJson::MAX_TREE_BYTES`].
    pub fn from_json(text: &str, etag: Option<String>) -> Result<Self, ApiError> {
        let wrong = |what: String| {
            ApiError::new(ErrorKind::Protocol, format!("the list of models {what}"))
                .with_phase(Phase::Body)
        };
        let unreadable = |error| wrong("can't be read".to_owned()).with_source(error);
        let raw = RawJson::parse(text)
            .map_err(|error| wrong("is not JSON".to_owned()).with_source(error))?;
        let lists = match raw.get().starts_with('[') {
            true => Lists {
                data: Some(serde_json::from_str(raw.get()).map_err(unreadable)?),
                ..Lists::default()
            },
            false => serde_json::from_str(raw.get()).map_err(unreadable)?,
        };
        if lists.error.is_some() {
            return Err(wrong("is an error".to_owned()));
        }
        let entries = lists
            .data
            .or(lists.models)
            .ok_or_else(|| wrong("has neither `data` nor `models`".to_owned()))?
            .get();
        let entries = RawJson::borrowed_elements(entries).map_err(|error| {
            match entries.starts_with('[') {
                false => unreadable(error),
                true => {
                    let mut error = wrong(format!("can't be read: {error}"));
                    error.details_mut().kind = ErrorKind::TooLarge;
                    error
                }
            }
        })?;
        let models = entries.into_iter().enumerate().map(|(index, entry)| {
            Model::from_raw(entry).ok_or_else(|| wrong(format!("has no name in entry {index}")))
        });
        Ok(Self {
            models: models.collect::<Result<_, _>>()?,
            etag: etag.or(lists.etag),
            not_modified: false,
            raw: Some(raw.clone()),
            head: None,
        })
    }

    /// What a status 304 says.
    pub(crate) fn unchanged(etag: Option<String>) -> Self {
        Self {
            models: Vec::new(),
            etag,
            not_modified: true,
            raw: None,
            head: None,
        }
    }
}

impl Model {
    fn from_raw(raw: &RawValue) -> Option<Self> {
        let names = ["id", "slug", "model", "name", "created", "owned_by"];
        let [id, slug, model, name, created, owned_by] = values(raw.get(), names);
        let text = |json| string(json).map(Cow::into_owned);
        Some(Self {
            id: [id, slug, model, name]
                .into_iter()
                .flatten()
                .find_map(text)?,
            created: created.and_then(|created| integer(&tree(created)?)),
            owned_by: owned_by.and_then(text),
            raw: RawJson::from_raw(raw),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_list_is_read() {
        let model = r#"{"id":"m", "object":"model","created":1.5,"owned_by":"me"}"#;
        for text in [
            format!(r#"{{"object":"list","data":[{model}]}}"#),
            format!(r#"{{"models":[{model}],"etag":null}}"#),
            format!(r#"{{"models":[{{"name":"other"}}],"data":[{model}]}}"#),
            format!(" [{model}] "),
        ] {
            let list = ModelList::from_json(&text, None).unwrap();
            let [read] = &list.models[..] else {
                panic!("{list:?}");
            };
            assert_eq!((&*read.id, read.created), ("m", Some(1)), "{text}");
            assert_eq!(read.owned_by.as_deref(), Some("me"));
            assert_eq!(read.raw.get(), model);
        }
        let text = r#"{"models":[{"slug":"a"},{"model":"b","name":"x"},{"name":"c"}]}"#;
        let list = ModelList::from_json(text, None).unwrap();
        let ids: Vec<_> = list.models.iter().map(|model| &*model.id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }

    #[test]
    fn etag_of_the_header_goes_before_that_of_the_body() {
        let text = r#"{"data":[],"etag":"body"}"#;
        for (header, expected) in [(None, "body"), (Some("\"h\""), "\"h\"")] {
            let list = ModelList::from_json(text, header.map(str::to_owned)).unwrap();
            assert_eq!(list.etag.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for (text, said) in [
            ("<html>", "is not JSON"),
            ("{}", "has neither `data` nor `models`"),
            ("3", "can't be read"),
            (r#"{"data":3}"#, "can't be read"),
            (r#"{"data":[],"error":{"message":"no"}}"#, "is an error"),
            (r#"{"data":[{"id":"a"},{}]}"#, "has no name in entry 1"),
            (r#"{"data":[{"id":7}]}"#, "has no name in entry 0"),
        ] {
            let error = ModelList::from_json(text, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert_eq!(
                error.message(),
                format!("the list of models {said}"),
                "{text}"
            );
        }
    }
}
