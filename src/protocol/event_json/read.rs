//! An event read back from its JSON object.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

use crate::{
    json::members::member,
    protocol::{OutputItem, RawJson, ResponseEvent},
};

#[derive(Deserialize)]
struct Type<'a> {
    #[serde(rename = "type", borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Item {
    item: RawJson,
    output_index: Option<u32>,
}

/// Reads what its `Serialize` wrote. Only from serde_json's deserializers, for the sake of what is kept as it came; fields that the
/// event does not have are not looked at.
impl<'de> Deserialize<'de> for ResponseEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = RawJson::deserialize(deserializer)?;
        read(json.get()).map_err(D::Error::custom)
    }
}

fn read(json: &str) -> serde_json::Result<ResponseEvent> {
    fn of<T: DeserializeOwned>(json: &str) -> serde_json::Result<T> {
        serde_json::from_str(json)
    }
    let item = || {
        let Item { item, output_index } = of(json)?;
        serde_json::Result::Ok(OutputItem::new(output_index, item))
    };
    let field = |name| member(json, name).ok_or_else(|| Error::missing_field(name));
    let Type { name } = serde_json::from_str(json)?;
    Ok(match &*name {
        "head" => ResponseEvent::Head(of(json)?),
        "created" => ResponseEvent::Created(of(json)?),
        "output_item_added" => ResponseEvent::OutputItemAdded(item()?),
        "output_item_done" => ResponseEvent::OutputItemDone(item()?),
        "output_text_delta" => ResponseEvent::OutputTextDelta(of(json)?),
        "refusal_delta" => ResponseEvent::RefusalDelta(of(json)?),
        "reasoning_summary_delta" => ResponseEvent::ReasoningSummaryDelta(of(json)?),
        "reasoning_content_delta" => ResponseEvent::ReasoningContentDelta(of(json)?),
        "reasoning_summary_part_added" => ResponseEvent::ReasoningSummaryPartAdded(of(json)?),
        "tool_call_input_delta" => ResponseEvent::ToolCallInputDelta(of(json)?),
        "rate_limits" => ResponseEvent::RateLimits(of(json)?),
        "models_etag" => ResponseEvent::ModelsEtag(of(field("etag")?)?),
        "server_model" => ResponseEvent::ServerModel(of(field("model")?)?),
        "server_reasoning_included" => ResponseEvent::ServerReasoningIncluded,
        "other" => ResponseEvent::Other(of(json)?),
        "restarted" => ResponseEvent::Restarted(of(json)?),
        "completed" => ResponseEvent::Completed(of(json)?),
        "incomplete" => ResponseEvent::Incomplete(of(json)?),
        "failed" => ResponseEvent::Failed(of(field("error")?)?),
        "cancelled" => ResponseEvent::Cancelled,
        other => return Err(Error::custom(format!("no event has the type {other:?}"))),
    })
}
