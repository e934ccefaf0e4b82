//! What each provider needs is what it is sent: one row for each, looked at where the transport would send it.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex},
};

use actix_responses::{
    ErrorKind, Runtime,
    actors::{SupervisorConfig, Workers},
    protocol::{Prompt, ResponseEvent, ResponseItem},
    provider::{Preset, Provider, ProviderSettings},
    transport::{Transport, TransportError, TransportFactory, TransportRequest, TransportResponse},
    wire::Wire,
};
use bytes::Bytes;
use futures_core::future::LocalBoxFuture;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// What one provider needs.
struct Row {
    name: &'static str,
    /// Environment variables besides the key's.
    variables: &'static [(&'static str, &'static str)],
    /// Method and URL come out of base URL, wire and query.
    url: &'static str,
    /// Header and value that carry the key `sesame`; nothing where a key is optional and none is set.
    key: Option<(&'static str, &'static str)>,
    /// Other headers of this provider's.
    headers: &'static [(&'static str, &'static str)],
    /// What the body says about each field; null is absent.
    body: &'static [(&'static str, &'static str)],
    /// How its answers look.
    answer: &'static str,
}

const BEARER: Option<(&str, &str)> = Some(("authorization", "Bearer sesame"));

const ROWS: &[Row] = &[
    Row {
        name: "openai",
        variables: &[
            ("OPENAI_ORG_ID", "org-1"),
            ("OPENAI_ORGANIZATION", "org-2"),
            ("OPENAI_PROJECT", "proj-1"),
        ],
        url: "https://api.openai.com/v1/responses",
        key: BEARER,
        headers: &[
            ("openai-organization", "org-1"),
            ("openai-project", "proj-1"),
        ],
        body: &[
            ("/store", "null"),
            ("/max_output_tokens", "9"),
            ("/input/0/role", "\"developer\""),
        ],
        answer: RESPONSES,
    },
    Row {
        name: "azure-openai",
        variables: &[
            ("AZURE_OPENAI_ENDPOINT", "https://team.openai.azure.com/"),
            ("OPENAI_API_VERSION", "preview"),
        ],
        url: "https://team.openai.azure.com/openai/v1/responses?api-version=preview",
        key: Some(("api-key", "sesame")),
        headers: &[],
        body: &[
            ("/store", "true"),
            ("/input/2/id", "\"rs_1\""),
            ("/input/3/id", "\"fc_1\""),
        ],
        answer: RESPONSES,
    },
    Row {
        name: "openrouter",
        variables: &[
            ("OPENROUTER_APP_URL", "https://app.example"),
            ("OPENROUTER_APP_TITLE", "App"),
        ],
        url: "https://openrouter.ai/api/v1/chat/completions",
        key: BEARER,
        headers: &[("http-referer", "https://app.example"), ("x-title", "App")],
        body: &[
            ("/max_tokens", "9"),
            ("/messages/2/reasoning", "\"thought\""),
            ("/stream_options/include_usage", "true"),
        ],
        // Comments, and no event lines.
        answer: concat!(
            ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
            "data: {\"id\":\"1\",\"provider\":\"X\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning\":\"hm\"},\"finish_reason\":null}]}\n\n",
            ": OPENROUTER PROCESSING\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\",\"native_finish_reason\":\"STOP\"}]}\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,\"cost\":0.1}}\n\n",
            "data: [DONE]\n\n",
        ),
    },
    Row {
        name: "perplexity",
        variables: &[],
        url: "https://api.perplexity.ai/chat/completions",
        key: BEARER,
        headers: &[],
        body: &[
            ("/max_tokens", "9"),
            ("/stream_options", "null"),
            ("/messages/2/reasoning_content", "null"),
        ],
        // CRLF, usage in every chunk, no `[DONE]`.
        answer: concat!(
            "data: {\"id\":\"1\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4},\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hel\"},\"finish_reason\":null}]}\r\n\r\n",
            "data: {\"id\":\"1\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\r\n\r\n",
        ),
    },
    Row {
        name: "groq",
        variables: &[],
        url: "https://api.groq.com/openai/v1/chat/completions",
        key: BEARER,
        headers: &[],
        body: &[
            ("/max_completion_tokens", "9"),
            ("/max_tokens", "null"),
            ("/stream_options/include_usage", "true"),
        ],
        answer: concat!(
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":null}],\"x_groq\":{\"id\":\"req_1\"}}\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}}\n\n",
            "data: [DONE]\n\n",
        ),
    },
    Row {
        name: "deepseek",
        variables: &[],
        url: "https://api.deepseek.com/chat/completions",
        key: BEARER,
        headers: &[],
        body: &[
            ("/max_tokens", "9"),
            ("/messages/2/reasoning_content", "\"thought\""),
            ("/messages/2/tool_calls/0/id", "\"call_1\""),
        ],
        answer: CHAT,
    },
    Row {
        name: "mistral",
        variables: &[],
        url: "https://api.mistral.ai/v1/chat/completions",
        key: BEARER,
        headers: &[],
        body: &[
            ("/max_tokens", "9"),
            ("/max_completion_tokens", "null"),
            ("/stream_options", "null"),
            ("/messages/0/role", "\"system\""),
        ],
        answer: CHAT,
    },
    Row {
        name: "xai",
        variables: &[],
        url: "https://api.x.ai/v1/responses",
        key: BEARER,
        headers: &[],
        body: &[("/max_output_tokens", "9"), ("/stream", "true")],
        answer: RESPONSES,
    },
    Row {
        name: "ollama",
        variables: &[],
        url: "http://localhost:11434/v1/chat/completions",
        key: None,
        headers: &[],
        body: &[("/max_tokens", "9"), ("/messages/0/role", "\"system\"")],
        answer: CHAT,
    },
    Row {
        name: "lm-studio",
        variables: &[],
        url: "http://localhost:1234/v1/chat/completions",
        key: None,
        headers: &[],
        body: &[("/max_tokens", "9"), ("/messages/0/role", "\"system\"")],
        answer: CHAT,
    },
    Row {
        name: "llama-cpp",
        variables: &[],
        url: "http://localhost:8080/v1/chat/completions",
        key: None,
        headers: &[],
        body: &[
            ("/max_tokens", "9"),
            ("/messages/2/reasoning_content", "\"thought\""),
        ],
        answer: CHAT,
    },
    Row {
        name: "vllm",
        variables: &[],
        url: "http://localhost:8000/v1/chat/completions",
        key: None,
        headers: &[],
        body: &[
            ("/max_tokens", "9"),
            ("/messages/2/reasoning", "\"thought\""),
            ("/stream_options/include_usage", "true"),
        ],
        answer: CHAT,
    },
];

const RESPONSES: &str = concat!(
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"hello\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2,\"total_tokens\":5}}}\n\n",
);

const CHAT: &str = concat!(
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
);

/// Answers every request alike and keeps what was asked.
#[derive(Clone)]
struct Tap {
    answers: Arc<Mutex<Vec<&'static str>>>,
    requests: Arc<Mutex<Vec<Sent>>>,
}

/// A request as it would have gone out.
#[derive(Clone)]
struct Sent {
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Sent {
    fn body(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }
}

impl TransportFactory for Tap {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(self.clone()))
    }
}

impl Transport for Tap {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        self.requests.lock().unwrap().push(Sent {
            url: request.url.to_string(),
            headers: request.headers,
            body: request.body,
        });
        let answer = self.answers.lock().unwrap().pop().expect("an answer");
        let stream = HeaderValue::from_static("text/event-stream");
        let body = futures_util::stream::iter([Ok(Bytes::from_static(answer.as_bytes()))]);
        Box::pin(std::future::ready(Ok(TransportResponse {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(http::header::CONTENT_TYPE, stream)]),
            body: Box::pin(body),
        })))
    }
}

/// A runtime that gets these answers, the last first.
fn start(provider: Provider, answers: Vec<&'static str>) -> (Runtime, Tap) {
    let tap = Tap {
        answers: Arc::new(Mutex::new(answers)),
        requests: Arc::default(),
    };
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    let runtime = Runtime::with_transport(config, tap.clone()).expect("a valid configuration");
    (runtime, tap)
}

async fn ask(runtime: &Runtime, prompt: Prompt) -> Vec<ResponseEvent> {
    let stream = runtime.stream(prompt).await.expect("an accepted request");
    stream.map(|event| event.expect("an event")).collect().await
}

fn item(json: Value) -> ResponseItem {
    serde_json::from_value(json).expect("an item")
}

/// A conversation in the middle of a turn, with everything that providers differ about.
fn conversation() -> Prompt {
    Prompt::new(vec![
        item(json!({"type": "message", "role": "developer", "content": "be brief"})),
        ResponseItem::user_text("what time is it?"),
        item(json!({"type": "reasoning", "id": "rs_1", "summary": [],
            "content": [{"type": "reasoning_text", "text": "thought"}]})),
        item(json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "clock", "arguments": "{}"})),
        item(json!({"type": "function_call_output", "call_id": "call_1", "output": "noon"})),
    ])
    .with_model("test-model")
    .with_max_output_tokens(9)
}

fn variables<'a>(row: &'a Row) -> impl Fn(&str) -> Option<String> + 'a {
    let preset = Preset::named(row.name).expect("a preset");
    let mut variables: BTreeMap<_, _> = row.variables.iter().copied().collect();
    if row.key.is_some() {
        variables.insert(preset.key_env, "sesame");
    }
    move |name: &str| variables.get(name).map(|value| (*value).to_owned())
}

#[actix_rt::test]
async fn each_provider_is_sent_what_it_needs_and_its_answer_is_read() {
    for row in ROWS {
        let preset = Preset::named(row.name).unwrap();
        let provider = preset.provider(variables(row)).unwrap();
        let (runtime, tap) = start(provider, vec![row.answer]);
        let events = ask(&runtime, conversation()).await;

        let sent = tap.requests.lock().unwrap().pop().unwrap();
        let name = row.name;
        assert_eq!(sent.url, row.url, "{name}");
        assert_eq!(
            sent.header("content-type"),
            Some("application/json"),
            "{name}"
        );
        assert_eq!(sent.header("accept"), Some("text/event-stream"), "{name}");
        let key = row.key.map(|(header, _)| header);
        for header in ["authorization", "api-key"] {
            assert_eq!(
                sent.headers.contains_key(header),
                key == Some(header),
                "{name}: {header}"
            );
        }
        for (header, value) in row.key.iter().chain(row.headers) {
            assert_eq!(sent.header(header), Some(*value), "{name}: {header}");
        }
        let body = sent.body();
        for (field, value) in row.body {
            let expected: Value = serde_json::from_str(value).unwrap();
            let found = body.pointer(field).cloned().unwrap_or_default();
            assert_eq!(found, expected, "{name}: {field} in {body}");
        }
        assert_eq!(body["model"], "test-model", "{name}");

        let text: String = events
            .iter()
            .filter_map(|event| match event {
                ResponseEvent::OutputTextDelta(delta) => Some(delta.delta.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(text, "hello", "{name}");
        let Some(ResponseEvent::Completed(completed)) = events.last() else {
            panic!("{name}: {events:?}");
        };
        let usage = completed.token_usage.as_ref().expect(name);
        assert_eq!((usage.input_tokens, usage.output_tokens), (3, 2), "{name}");
    }
}

#[test]
fn each_preset_has_a_row() {
    let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    let presets: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
    assert_eq!(rows, presets);
}

#[test]
fn key_is_required_where_the_provider_is_a_service() {
    for row in ROWS {
        let preset = Preset::named(row.name).unwrap();
        let with_key = variables(row);
        let without = |name: &str| with_key(name).filter(|_| name != preset.key_env);
        match (row.key, preset.provider(without)) {
            (None, Ok(_)) => {}
            (Some(_), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
                for named in [row.name, preset.key_env] {
                    assert!(error.message().contains(named), "{error}");
                }
            }
            (_, result) => panic!("{}: {result:?}", row.name),
        }
        // A server of one's own that does ask for a key is given it.
        let key = |name: &str| (name == preset.key_env).then(|| "sesame".to_owned());
        if row.key.is_none() {
            let provider = format!("{:?}", preset.provider(key).unwrap());
            assert!(provider.contains("BearerAuth"), "{provider}");
        }
    }
}

#[actix_rt::test]
async fn azure_deployment_is_asked_below_its_own_path() {
    let mut settings = ProviderSettings::from_preset(Preset::named("azure-openai").unwrap());
    settings.base_url = Some("https://r.openai.azure.com/openai/deployments/gpt".to_owned());
    settings.query = vec![("api-version".to_owned(), "2024-10-21".to_owned())];
    settings.wire = Some(Wire::Chat);
    let lookup = |name: &str| (name == "AZURE_OPENAI_API_KEY").then(|| "sesame".to_owned());
    let (runtime, tap) = start(settings.provider("azure", lookup).unwrap(), vec![CHAT]);
    ask(&runtime, conversation()).await;
    let sent = tap.requests.lock().unwrap().pop().unwrap();
    assert_eq!(
        sent.url,
        "https://r.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(sent.header("api-key"), Some("sesame"));
    assert_eq!(sent.body()["messages"][0]["role"], "developer");
}

#[actix_rt::test]
async fn reasoning_that_was_read_goes_back_under_the_field_it_is_wanted_in() {
    const CALL: &str = concat!(
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"which \"}}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"clock\"}}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"clock\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: [DONE]\n\n",
    );
    for preset in Preset::ALL {
        let Some(field) = preset.reasoning_field else {
            continue;
        };
        let key = |name: &str| (name == preset.key_env).then(|| "sesame".to_owned());
        let (runtime, tap) = start(preset.provider(key).unwrap(), vec![CHAT, CALL]);
        let mut prompt = Prompt::user("what time is it?").with_model("test-model");
        let events = ask(&runtime, prompt.clone()).await;
        let mut done = 0;
        for event in &events {
            if let ResponseEvent::OutputItemDone(output) = event {
                prompt = prompt.with_item(output.item().clone());
                done += 1;
            }
        }
        assert_eq!(done, 2, "{}: {events:?}", preset.name);
        let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "noon"});
        ask(&runtime, prompt.with_item(item(output))).await;
        let body = tap.requests.lock().unwrap().pop().unwrap().body();
        let message = &body["messages"][1];
        assert_eq!(message[field], "which clock", "{}: {body}", preset.name);
        assert_eq!(message["tool_calls"][0]["function"]["name"], "clock");
    }
}

#[actix_rt::test]
async fn fields_of_other_servers_go_back_where_they_are_not_refused() {
    let history = [
        json!({"type": "reasoning", "summary": [], "reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is",
            "annotations": [{"type": "url_citation", "url": "u"}]}]}),
        json!({"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": "{}",
            "extra_content": {"google": {"thought_signature": "s"}}}),
        json!({"type": "function_call_output", "call_id": "call_1", "output": "noon"}),
    ];
    for preset in Preset::ALL
        .iter()
        .filter(|preset| preset.wire == Wire::Chat)
    {
        let key = |name: &str| (name == preset.key_env).then(|| "sesame".to_owned());
        let (runtime, tap) = start(preset.provider(key).unwrap(), vec![CHAT]);
        let prompt = Prompt::new(history.iter().cloned().map(item).collect());
        ask(&runtime, prompt.with_model("test-model")).await;
        let body = tap.requests.lock().unwrap().pop().unwrap().body();
        let message = &body["messages"][0];
        let refuses = ["groq", "mistral"].contains(&preset.name);
        for field in [
            "/reasoning_details/0/data",
            "/annotations/0/url_citation/url",
            "/tool_calls/0/extra_content/google",
        ] {
            assert_eq!(
                message.pointer(field).is_none(),
                refuses,
                "{}: {field} in {body}",
                preset.name
            );
        }
        assert_eq!(message["content"], "It is", "{}", preset.name);
        assert_eq!(message["tool_calls"][0]["function"]["name"], "clock");
    }
}

#[actix_rt::test]
async fn groq_error_in_the_stream_ends_it_without_a_done() {
    const FAILED: &str = concat!(
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hel\"}}]}\n\n",
        "event: error\ndata: {\"error\":{\"message\":\"Failed to call a function.\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"status_code\":400}}\n\n",
    );
    let key = |name: &str| (name == "GROQ_API_KEY").then(|| "sesame".to_owned());
    let provider = Preset::named("groq").unwrap().provider(key).unwrap();
    let (runtime, _) = start(provider, vec![FAILED]);
    let stream = runtime.stream(conversation()).await.unwrap();
    let events: Vec<_> = stream.collect().await;
    let Some(Err(error)) = events.last() else {
        panic!("{events:?}");
    };
    assert!(
        error.message().contains("Failed to call a function"),
        "{error}"
    );
    assert!(error.details().output_delivered);
}
