//! Request bodies of the Responses API.

mod input;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use self::input::Input;
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::{CompactionInput, OutputSchema, Prompt, RawJson},
};

pub use self::input::ItemIds;

/// What the server is asked for so that reasoning can go on without anything stored.
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";

/// What [`request_body`] writes of a prompt; `extra` may hold none of them.
const PROMPT_FIELDS: &[&str] = &[
    "background",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// What [`compaction_body`] writes; `extra` may hold none of them.
const COMPACTION_FIELDS: &[&str] = &[
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "service_tier",
    "text",
    "tools",
];

/// What a provider wants differently in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyQuirks {
    /// `store` where the prompt leaves it open. Absent leaves it to the server, which stores. Azure needs true, or it does
    /// not find reasoning again.
    pub default_store: Option<bool>,
    /// Whether items are sent with the ids that the server gave them.
    pub item_ids: ItemIds,
}

/// Writes the body of `POST responses`. It always asks for a stream; what the prompt leaves open is not in it, and no null
/// is.
///
/// - Without tools, `tool_choice` and `parallel_tool_calls` are left out too: the API refuses them alone.
/// - `include` becomes `["reasoning.encrypted_content"]` when the prompt leaves it open, sets `reasoning` and `store` is
///   false: nothing else would bring the reasoning back. Models that do not reason refuse it, hence the second condition.
/// - Ids of items: see [`ItemIds`].
///
/// # Errors
/// [`ErrorKind::InvalidConfiguration`] when no model is named, a number is not finite, or `extra` repeats a field that
/// has its own place.
pub fn request_body(prompt: &Prompt, quirks: BodyQuirks) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    let model = required_model(options.model.as_deref())?;
    refuse_repeated(&options.extra, PROMPT_FIELDS)?;
    for (name, number) in [
        ("temperature", options.temperature),
        ("top_p", options.top_p),
    ] {
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(invalid(format!("`{name}` is not a finite number")));
        }
    }
    let store = options.store.or(quirks.default_store);
    let encrypted_reasoning = || {
        (options.reasoning.is_some() && store == Some(false))
            .then(|| vec![ENCRYPTED_REASONING.to_owned()])
    };
    let has_tools = !prompt.tools.is_empty();
    write_object(|fields| {
        fields.put("model", model)?;
        fields.put("stream", &true)?;
        fields.put_some("instructions", &text(&prompt.instructions))?;
        fields.put(
            "input",
            &Input {
                items: &prompt.input,
                with_ids: quirks.item_ids.are_sent(store),
            },
        )?;
        if has_tools {
            fields.put("tools", &prompt.tools)?;
            fields.put_some("tool_choice", &options.tool_choice)?;
            fields.put_some("parallel_tool_calls", &prompt.parallel_tool_calls)?;
        }
        fields.put_some("reasoning", &options.reasoning)?;
        fields.put_some(
            "text",
            &TextOptions::new(&options.verbosity, &prompt.output_schema),
        )?;
        fields.put_some("store", &store)?;
        fields.put_some(
            "include",
            &options.include.clone().or_else(encrypted_reasoning),
        )?;
        fields.put_some("previous_response_id", &options.previous_response_id)?;
        fields.put_some("conversation", &options.conversation)?;
        fields.put_some("prompt_cache_key", &options.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &options.prompt_cache_retention)?;
        fields.put_some("service_tier", &options.service_tier)?;
        fields.put_some("max_output_tokens", &options.max_output_tokens)?;
        fields.put_some("max_tool_calls", &options.max_tool_calls)?;
        fields.put_some("temperature", &options.temperature)?;
        fields.put_some("top_p", &options.top_p)?;
        fields.put_some("top_logprobs", &options.top_logprobs)?;
        fields.put_some("background", &options.background)?;
        fields.put_some("truncation", &options.truncation)?;
        fields.put_some("stream_options", &options.stream_options)?;
        fields.put_some("metadata", &options.metadata)?;
        fields.put_some("safety_identifier", &options.safety_identifier)?;
        fields.put_some("user", &options.user)?;
        fields.put_all(&options.extra)
    })
}

/// Writes the body of `POST responses/compact`. What the input leaves open is not in it, and no null is. Ids of items: see
/// [`ItemIds`].
///
/// # Errors
/// [`ErrorKind::InvalidConfiguration`] when no model is named, or `extra` repeats a field that has its own place.
pub fn compaction_body(input: &CompactionInput, quirks: BodyQuirks) -> Result<Bytes, ApiError> {
    let model = required_model(input.model.as_deref())?;
    refuse_repeated(&input.extra, COMPACTION_FIELDS)?;
    let store = input.store.or(quirks.default_store);
    write_object(|fields| {
        fields.put("model", model)?;
        fields.put_some("instructions", &text(&input.instructions))?;
        fields.put(
            "input",
            &Input {
                items: &input.input,
                with_ids: quirks.item_ids.are_sent(store),
            },
        )?;
        if !input.tools.is_empty() {
            fields.put("tools", &input.tools)?;
            fields.put_some("parallel_tool_calls", &input.parallel_tool_calls)?;
        }
        fields.put_some("reasoning", &input.reasoning)?;
        fields.put_some(
            "text",
            &TextOptions::new(&input.verbosity, &input.output_schema),
        )?;
        fields.put_some("previous_response_id", &input.previous_response_id)?;
        fields.put_some("prompt_cache_key", &input.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &input.prompt_cache_retention)?;
        fields.put_some("service_tier", &input.service_tier)?;
        fields.put_all(&input.extra)
    })
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidConfiguration, message).with_phase(Phase::Prepare)
}

fn required_model(model: Option<&str>) -> Result<&str, ApiError> {
    model
        .filter(|model| !model.trim().is_empty())
        .ok_or_else(|| invalid("no model is named"))
}

fn refuse_repeated(extra: &Map<String, Value>, fields: &[&str]) -> Result<(), ApiError> {
    match extra.keys().find(|name| fields.contains(&name.as_str())) {
        Some(name) => Err(invalid(format!(
            "`extra` holds `{name}`, which has a field of its own"
        ))),
        None => Ok(()),
    }
}

fn text(instructions: &Option<String>) -> Option<&str> {
    instructions.as_deref().filter(|text| !text.is_empty())
}

/// Writes one JSON object, field by field in the order of the calls.
fn write_object(
    write: impl FnOnce(&mut Fields<'_>) -> Result<(), serde_json::Error>,
) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut body);
    let written = serializer.serialize_map(None).and_then(|map| {
        let mut fields = Fields(map);
        write(&mut fields)?;
        SerializeMap::end(fields.0)
    });
    written.map_err(|error| invalid("the request can't be written as JSON").with_source(error))?;
    Ok(body.into())
}

struct Fields<'a>(<&'a mut serde_json::Serializer<&'a mut Vec<u8>> as Serializer>::SerializeMap);

impl Fields<'_> {
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        self.0.serialize_entry(name, value)
    }

    fn put_some<T: Serialize>(
        &mut self,
        name: &str,
        value: &Option<T>,
    ) -> Result<(), serde_json::Error> {
        value.as_ref().map_or(Ok(()), |value| self.put(name, value))
    }

    fn put_all(&mut self, extra: &Map<String, Value>) -> Result<(), serde_json::Error> {
        extra
            .iter()
            .try_for_each(|(name, value)| self.put(name, value))
    }
}

/// `text`: how to write the answer.
#[derive(Serialize)]
struct TextOptions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    schema: &'a RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> TextOptions<'a> {
    fn new(verbosity: &'a Option<String>, schema: &'a Option<OutputSchema>) -> Option<Self> {
        if verbosity.is_none() && schema.is_none() {
            return None;
        }
        Some(Self {
            verbosity: verbosity.as_deref(),
            format: schema.as_ref().map(|schema| Format {
                kind: "json_schema",
                name: &schema.name,
                schema: &schema.schema,
                strict: schema.strict,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::protocol::{ReasoningOptions, ResponseItem, Tool};

    fn body(prompt: &Prompt, quirks: BodyQuirks) -> Value {
        serde_json::from_slice(&request_body(prompt, quirks).unwrap()).unwrap()
    }

    fn quirks(default_store: Option<bool>, item_ids: ItemIds) -> BodyQuirks {
        BodyQuirks {
            default_store,
            item_ids,
        }
    }

    fn hello() -> Prompt {
        Prompt::new(vec![]).with_model("m")
    }

    fn changed(change: impl FnOnce(&mut Prompt)) -> Prompt {
        let mut prompt = hello();
        change(&mut prompt);
        prompt
    }

    /// The body of [`hello`] with the given fields besides.
    fn hello_body(fields: Value) -> Value {
        let mut body = json!({"model": "m", "stream": true, "input": []});
        let Value::Object(fields) = fields else {
            panic!("{fields}")
        };
        body.as_object_mut().unwrap().extend(fields);
        body
    }

    fn items(values: Value) -> Vec<ResponseItem> {
        serde_json::from_value(values).unwrap()
    }

    #[test]
    fn prompts_become_bodies() {
        let schema = || OutputSchema::new("answer", json!({"type": "object"}));
        for (prompt, expected) in [
            (hello(), json!({})),
            (
                hello().with_item(ResponseItem::user_text("a")),
                json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}]}),
            ),
            (hello().with_instructions("i"), json!({"instructions": "i"})),
            (hello().with_instructions(""), json!({})),
            // What belongs to tools is left out with them.
            (
                changed(|p| {
                    p.parallel_tool_calls = Some(true);
                    p.options.tool_choice = Some(json!("auto"));
                }),
                json!({}),
            ),
            (
                changed(|p| {
                    p.tools = vec![Tool::hosted("web_search")];
                    p.parallel_tool_calls = Some(false);
                    p.options.tool_choice = Some(json!({"type": "web_search"}));
                }),
                json!({"tools": [{"type": "web_search"}], "parallel_tool_calls": false, "tool_choice": {"type": "web_search"}}),
            ),
            (
                hello().with_tool(Tool::hosted("web_search")),
                json!({"tools": [{"type": "web_search"}]}),
            ),
            // `text` is there when one of its parts is.
            (
                changed(|p| p.options.verbosity = Some("low".into())),
                json!({"text": {"verbosity": "low"}}),
            ),
            (
                hello().with_output_schema(schema()),
                json!({"text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": true}}}),
            ),
            (
                changed(|p| {
                    let mut schema = schema();
                    schema.strict = None;
                    p.output_schema = Some(schema);
                    p.options.verbosity = Some("high".into());
                }),
                json!({"text": {"verbosity": "high",
                    "format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}}}),
            ),
            // Encrypted reasoning is asked for where nothing else brings reasoning back.
            (
                hello().with_reasoning_effort("low"),
                json!({"reasoning": {"effort": "low"}}),
            ),
            (
                hello().with_reasoning_effort("low").with_store(true),
                json!({"reasoning": {"effort": "low"}, "store": true}),
            ),
            (hello().with_store(false), json!({"store": false})),
            (
                hello().with_reasoning_effort("low").with_store(false),
                json!({"reasoning": {"effort": "low"}, "store": false, "include": ["reasoning.encrypted_content"]}),
            ),
            (
                changed(|p| {
                    p.options.reasoning = Some(ReasoningOptions::default());
                    p.options.store = Some(false);
                    p.options.include = Some(vec![]);
                }),
                json!({"reasoning": {}, "store": false, "include": []}),
            ),
            (
                changed(|p| {
                    let mut reasoning = ReasoningOptions::default();
                    reasoning.extra.insert("new".into(), json!(1));
                    reasoning.context = Some("all_turns".into());
                    p.options.reasoning = Some(reasoning);
                }),
                json!({"reasoning": {"context": "all_turns", "new": 1}}),
            ),
            (
                hello().with_extra("client_metadata", json!({"a": null})),
                json!({"client_metadata": {"a": null}}),
            ),
            (
                changed(|p| p.options.temperature = Some(0.1)),
                json!({"temperature": 0.1}),
            ),
        ] {
            assert_eq!(body(&prompt, BodyQuirks::default()), hello_body(expected));
        }
    }

    #[test]
    fn a_provider_can_have_another_default_for_store() {
        for (store, default_store, expected) in [
            (None, None, None),
            (None, Some(true), Some(true)),
            (None, Some(false), Some(false)),
            (Some(false), Some(true), Some(false)),
            (Some(true), Some(false), Some(true)),
        ] {
            let prompt = changed(|p| p.options.store = store);
            let body = body(&prompt, quirks(default_store, ItemIds::default()));
            assert_eq!(body.get("store").and_then(Value::as_bool), expected);
        }
    }

    /// Each option set, so that every field is written.
    fn full_prompt() -> Prompt {
        changed(|p| {
            p.instructions = Some("i".into());
            p.tools = vec![Tool::hosted("web_search")];
            p.parallel_tool_calls = Some(true);
            p.output_schema = Some(OutputSchema::new("answer", json!({})));
            let options = &mut p.options;
            options.reasoning = Some(ReasoningOptions::default());
            options.verbosity = Some("low".into());
            options.include = Some(vec![]);
            options.store = Some(true);
            options.previous_response_id = Some("resp_1".into());
            options.conversation = Some("conv_1".into());
            options.prompt_cache_key = Some("k".into());
            options.prompt_cache_retention = Some("24h".into());
            options.service_tier = Some("flex".into());
            options.max_output_tokens = Some(16);
            options.max_tool_calls = Some(1);
            options.temperature = Some(1.0);
            options.top_p = Some(0.5);
            options.top_logprobs = Some(2);
            options.tool_choice = Some(json!("auto"));
            options.background = Some(false);
            options.truncation = Some("auto".into());
            options.stream_options = Some(json!({}));
            options.metadata = Some([("a".to_owned(), "b".to_owned())].into());
            options.safety_identifier = Some("s".into());
            options.user = Some("u".into());
        })
    }

    #[test]
    fn every_field_that_is_written_is_refused_in_extra() {
        let written = |body: Value| -> BTreeSet<String> {
            body.as_object().unwrap().keys().cloned().collect()
        };
        let names = |fields: &[&str]| {
            fields
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let prompt = full_prompt();
        assert_eq!(
            written(body(&prompt, BodyQuirks::default())),
            names(PROMPT_FIELDS)
        );
        let compaction = compaction_body(
            &CompactionInput::from_prompt(&prompt),
            BodyQuirks::default(),
        )
        .unwrap();
        assert_eq!(
            written(serde_json::from_slice(&compaction).unwrap()),
            names(COMPACTION_FIELDS)
        );
        for name in PROMPT_FIELDS {
            let error =
                request_body(&hello().with_extra(*name, 1), BodyQuirks::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert_eq!(
                error.message(),
                format!("`extra` holds `{name}`, which has a field of its own")
            );
        }
        for name in COMPACTION_FIELDS {
            let mut input = CompactionInput::new("m", vec![]);
            input.extra.insert((*name).to_owned(), json!(1));
            let error = compaction_body(&input, BodyQuirks::default()).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for (prompt, message) in [
            (Prompt::user("a"), "no model is named"),
            (Prompt::user("a").with_model(" "), "no model is named"),
            (
                changed(|p| p.options.temperature = Some(f64::NAN)),
                "`temperature` is not a finite number",
            ),
            (
                changed(|p| p.options.top_p = Some(f64::INFINITY)),
                "`top_p` is not a finite number",
            ),
        ] {
            let error = request_body(&prompt, BodyQuirks::default()).unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::InvalidConfiguration, message)
            );
            assert_eq!(error.details().phase, Some(Phase::Prepare));
        }
        let error =
            compaction_body(&CompactionInput::default(), BodyQuirks::default()).unwrap_err();
        assert_eq!(error.message(), "no model is named");
    }

    #[test]
    fn ids_are_left_out_when_nothing_is_stored() {
        let conversation = json!([
            {"type": "message", "id": "msg_1", "role": "assistant", "content": "a"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA=="},
            {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
            {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "c"}], "content": []},
            {"type": "function_call", "id": "fc_1", "name": "f", "arguments": "{}", "call_id": "c1"},
            {"type": "custom_tool_call", "id": "ctc_1", "name": "f", "input": "", "call_id": "c2"},
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c3", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
            {"type": "item_reference", "id": "msg_0"},
            {"type": "hologram", "id": "h_1"},
        ]);
        let without = json!([
            {"type": "message", "role": "assistant", "content": "a"},
            {"type": "reasoning", "summary": [], "encrypted_content": "gA=="},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c1"},
            {"type": "custom_tool_call", "name": "f", "input": "", "call_id": "c2"},
            {"type": "local_shell_call", "call_id": "c3", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "web_search_call", "status": "completed"},
            {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
            {"type": "item_reference", "id": "msg_0"},
            {"type": "hologram", "id": "h_1"},
        ]);
        for (store, default_store, item_ids, sent) in [
            (None, None, ItemIds::WhenStored, &conversation),
            (Some(true), None, ItemIds::WhenStored, &conversation),
            (Some(false), None, ItemIds::WhenStored, &without),
            (None, Some(true), ItemIds::WhenStored, &conversation),
            (None, Some(false), ItemIds::WhenStored, &without),
            (Some(true), Some(false), ItemIds::WhenStored, &conversation),
            (Some(false), None, ItemIds::Always, &conversation),
            (Some(true), None, ItemIds::Never, &without),
        ] {
            let prompt = changed(|p| {
                p.input = items(conversation.clone());
                p.options.store = store;
            });
            let quirks = quirks(default_store, item_ids);
            assert_eq!(
                &body(&prompt, quirks)["input"],
                sent,
                "{store:?} {quirks:?}"
            );
            let compaction =
                compaction_body(&CompactionInput::from_prompt(&prompt), quirks).unwrap();
            let compaction: Value = serde_json::from_slice(&compaction).unwrap();
            assert_eq!(&compaction["input"], sent, "{store:?} {quirks:?}");
        }
    }

    #[test]
    fn unknown_items_schemas_and_tools_are_sent_byte_for_byte() {
        let mut prompt = hello().with_store(false);
        let raw = |text: &str| RawJson::parse(text).unwrap();
        prompt.input = vec![ResponseItem::from_raw(raw(
            r#"{"type" : "hologram","id":1.0}"#,
        ))];
        prompt.tools = vec![Tool::from_raw(raw(r#"{"type":"function", "name":"f"}"#))];
        prompt.output_schema = Some(OutputSchema::new("a", raw(r#"{"z":{}, "a":1e2}"#)));
        let body = request_body(&prompt, BodyQuirks::default()).unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"model":"m","stream":true,"input":[{"type" : "hologram","id":1.0}],"#.to_owned()
                + r#""tools":[{"type":"function", "name":"f"}],"#
                + r#""text":{"format":{"type":"json_schema","name":"a","schema":{"z":{}, "a":1e2},"strict":true}},"#
                + r#""store":false}"#
        );
    }

    #[test]
    fn a_compaction_asks_for_no_stream() {
        let input = CompactionInput::new("m", items(json!([{"role": "user", "content": "a"}])));
        let body = compaction_body(&input, BodyQuirks::default()).unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"model":"m","input":[{"role":"user","content":"a"}]}"#
        );
    }
}
