//! What a server says of the responses that it keeps.

use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Id, RawJson, ResponseHead, ResponseItem, TokenUsage,
    error::{ApiError, ErrorKind, Phase},
};

/// A response as its server has it: answered, under way, failed or cancelled.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredResponse {
    /// Its id.
    pub id: Id,
    /// `completed`, `incomplete`, `failed`, `cancelled`, `queued` or `in_progress`, in the server's spelling.
    pub status: Option<String>,
    /// What it cost, once the server says so.
    pub token_usage: Option<TokenUsage>,
    /// Its items, as far as they are there.
    pub output: Vec<ResponseItem>,
    /// The object as it came.
    pub raw: RawJson,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
}

impl StoredResponse {
    /// Reads a response object.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], saying what is wrong, when the text is none.
    pub fn from_json(text: &str) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Shape {
            id: Id,
            object: Option<String>,
            status: Option<String>,
            usage: Option<RawJson>,
            output: Option<Vec<RawJson>>,
        }
        let (raw, shape) = read::<Shape>("the response", text)?;
        if shape.object.is_some_and(|object| object != "response") {
            return Err(wrong("the response is another object"));
        }
        let usage = shape.usage.as_ref();
        Ok(Self {
            id: shape.id,
            status: shape.status,
            token_usage: usage.and_then(|usage| TokenUsage::from_text(usage.get())),
            output: items(shape.output),
            raw,
            head: None,
        })
    }

    /// Whether it goes on: its status is `queued` or `in_progress`.
    pub fn is_under_way(&self) -> bool {
        matches!(self.status.as_deref(), Some("queued" | "in_progress"))
    }
}

/// That a response is deleted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeletedResponse {
    /// Its id, where the server repeats it.
    pub id: Option<Id>,
    /// Whether the server says that it is; servers that say nothing with a success mean that.
    pub is_deleted: bool,
    /// What came; absent where nothing did (204).
    pub raw: Option<RawJson>,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
}

impl DeletedResponse {
    /// Reads the answer of `DELETE responses/{id}`. An empty text says nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when the text is no JSON object.
    pub fn from_json(text: &str) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Shape {
            id: Option<Id>,
            deleted: Option<bool>,
        }
        let (raw, shape) = match text.trim() {
            "" => (None, None),
            text => {
                let (raw, shape) = read::<Shape>("the answer to the deletion", text)?;
                (Some(raw), Some(shape))
            }
        };
        let deleted = shape.as_ref().and_then(|shape| shape.deleted);
        Ok(Self {
            id: shape.and_then(|shape| shape.id),
            is_deleted: deleted.unwrap_or(true),
            raw,
            head: None,
        })
    }
}

/// A page of the items that a response was asked with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputItemList {
    /// The items, in the order that was asked for.
    pub items: Vec<ResponseItem>,
    /// The id of the last of them, which the next page comes behind.
    pub last_id: Option<Id>,
    /// Whether there is a next page.
    pub has_more: bool,
    /// The page as it came.
    pub raw: RawJson,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
}

impl InputItemList {
    /// Reads the answer of `GET responses/{id}/input_items`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], saying what is wrong, when the text is none.
    pub fn from_json(text: &str) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Shape {
            data: Vec<RawJson>,
            last_id: Option<Id>,
            has_more: Option<bool>,
        }
        let (raw, shape) = read::<Shape>("the list of input items", text)?;
        Ok(Self {
            items: items(Some(shape.data)),
            last_id: shape.last_id,
            has_more: shape.has_more.unwrap_or(false),
            raw,
            head: None,
        })
    }
}

fn items(raw: Option<Vec<RawJson>>) -> Vec<ResponseItem> {
    let raw = raw.into_iter().flatten();
    raw.map(ResponseItem::from_raw).collect()
}

fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<(RawJson, T), ApiError> {
    let raw = RawJson::parse(text)
        .map_err(|error| wrong(&format!("{what} is not JSON")).with_source(error))?;
    let shape = raw
        .to()
        .map_err(|error| wrong(&format!("{what} can't be read")).with_source(error))?;
    Ok((raw, shape))
}

fn wrong(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Protocol, message).with_phase(Phase::Body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_a_response_is_read() {
        let text = r#"{"id":"resp_1","object":"response","status":"in_progress","usage":null,"output":[{"type":"message","id":"m"}],"x":[1e2]}"#;
        let stored = StoredResponse::from_json(text).unwrap();
        assert_eq!((&*stored.id, stored.is_under_way()), ("resp_1", true));
        assert_eq!((stored.output.len(), stored.raw.get()), (1, text));
        let usage = r#"{"id":"r","usage":{"input_tokens":3,"output_tokens":2}}"#;
        let usage = StoredResponse::from_json(usage).unwrap().token_usage;
        assert_eq!(usage.map(|usage| usage.input_tokens), Some(3));
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":"r","object":"list"}"#,
        ] {
            let error = StoredResponse::from_json(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{text}");
        }

        for (text, expected) in [
            (r#"{"id":"r","deleted":true}"#, true),
            (r#"{"deleted":false}"#, false),
            (" ", true),
        ] {
            let deleted = DeletedResponse::from_json(text).unwrap();
            assert_eq!(deleted.is_deleted, expected, "{text}");
        }
        assert!(DeletedResponse::from_json("ok").is_err());

        let page = r#"{"object":"list","data":[{"type":"message"},{"type":"new"}],"first_id":"a","last_id":"b","has_more":true}"#;
        let page = InputItemList::from_json(page).unwrap();
        assert_eq!((page.items.len(), page.has_more), (2, true));
        assert_eq!(page.last_id.as_deref(), Some("b"));
        assert!(InputItemList::from_json("{}").is_err());
    }
}
