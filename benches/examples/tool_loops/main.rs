//! The loop of an agent with this crate and with async-openai, against servers that misbehave. Prints what each makes of it, as a table.
//!
//! `cargo run -p actix-responses-bench --features tool-loops --example tool_loops`

mod ours;
mod theirs;

use std::{error::Error, future::Future, time::Duration};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    http::StatusCode,
    loopback::{
        Action, DefaultAnswer, Loopback, LoopbackOptions, OutgoingEvent, Position, Reply, Script,
    },
    provider::Provider,
};
use async_openai::{Client, config::OpenAIConfig};
use serde::Deserialize;
use serde_json::{Value, json};

const CONTEXT_TOKENS: u64 = 100_000;
const MAX_TURNS: usize = 8;
const QUESTION: &str = "How warm is it in Bern?";

/// After this time without an end it hangs.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Asked {
    city: String,
}

fn weather(asked: &Asked) -> String {
    format!("It is 21 °C in {}.", asked.city)
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

/// The events of a first turn, which calls the tool with these arguments.
fn call(arguments: &str) -> Vec<OutgoingEvent> {
    let tools = json!([{"type": "function", "name": "weather", "parameters": schema()}]);
    let request = json!({"model": "demo", "input": QUESTION, "tools": tools, "tool_choice": "required", "stream": true});
    let mut answer = DefaultAnswer::to_request(&request, 1);
    if let Some(call) = &mut answer.tool_call {
        call.arguments = vec![arguments.to_owned()];
    }
    answer.responses_events()
}

/// How many events come up to the first piece of the call's arguments.
fn inside() -> usize {
    let events = call(r#"{"city":"Bern"}"#);
    let is_piece = |event: &OutgoingEvent| {
        event.event.as_deref() == Some("response.function_call_arguments.delta")
    };
    events.iter().take_while(|event| !is_piece(event)).count() + 1
}

/// The same with another end, which the event and a part of its response say.
fn ended(kind: &str, change: Value) -> Reply {
    let mut events = call(r#"{"city":"Bern"}"#);
    let last = events.pop().expect("an end");
    let mut data: Value = serde_json::from_str(&last.data).expect("JSON");
    data["type"] = kind.into();
    for (name, value) in change.as_object().into_iter().flatten() {
        data["response"][name] = value.clone();
    }
    events.push(OutgoingEvent::named(kind, data.to_string()));
    Reply::events(events)
}

/// The same without any output: the announcement, and the end.
fn failed_at_once(code: &str) -> Reply {
    let failed = json!({"type": "response.failed", "sequence_number": 1, "response":
        {"id": "r", "object": "response", "created_at": 1, "model": "demo", "output": [], "status": "failed",
         "error": {"code": code, "message": "the server had an error"}}});
    Reply::events([OutgoingEvent::named("response.failed", failed.to_string())])
}

fn with(at: usize, event: Value) -> Reply {
    let mut events = call(r#"{"city":"Bern"}"#);
    let name = event["type"].as_str().expect("a type").to_owned();
    events.insert(at, OutgoingEvent::named(name, event.to_string()));
    Reply::events(events)
}

/// What the server does with the first request; the later ones get the default answer.
fn cases() -> Vec<(&'static str, Vec<Reply>)> {
    let half = r#"{"city":"#;
    let mut unknown_item = call(r#"{"city":"Bern"}"#);
    for event in &mut unknown_item {
        event.data = event
            .data
            .replace(r#""type":"reasoning""#, r#""type":"new_kind""#);
    }
    let error = json!({"type": "error", "code": "server_error", "message": "the server had an error", "param": null, "sequence_number": 9});
    vec![
        ("as it should be", vec![]),
        ("503", vec![Reply::error(StatusCode::SERVICE_UNAVAILABLE)]),
        (
            "no answer: closed before the head",
            vec![Reply::default().close_before_head()],
        ),
        (
            "cut before any output",
            vec![Reply::default().cut_after_events(1)],
        ),
        (
            "cut inside the call",
            vec![Reply::default().cut_after_events(inside())],
        ),
        (
            "reset inside the call",
            vec![Reply::default().reset_after_events(inside())],
        ),
        (
            "silent inside the call",
            vec![Reply::default().with_fault(Position::Events(inside()), Action::Hang)],
        ),
        (
            "`failed` in a 200, before output",
            vec![failed_at_once("server_error")],
        ),
        ("`error` in a 200, after output", vec![with(5, error)]),
        (
            "`incomplete`, with half a call",
            vec![ended(
                "response.incomplete",
                json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
            )],
        ),
        (
            "`completed`, with half a call",
            vec![Reply::events(call(half))],
        ),
        (
            "`completed`, connection stays open",
            vec![Reply::default().hold_open()],
        ),
        (
            "an event of a new type",
            vec![with(3, json!({"type": "response.new_thing", "x": 1}))],
        ),
        ("an item of a new type", vec![Reply::events(unknown_item)]),
        (
            "a comment every second, for 20 s",
            vec![Reply::default().comments_after_events(3, Duration::from_secs(1))],
        ),
        (
            "a page of HTML with 200",
            vec![Reply::text("<html>sign in</html>").with_header("content-type", "text/html")],
        ),
        (
            "insufficient_quota",
            vec![
                Reply::json(
                    json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "no credit"}}),
                )
                .with_status(StatusCode::TOO_MANY_REQUESTS),
            ],
        ),
    ]
}

async fn outcome(
    server: &Loopback,
    run: impl Future<Output = Result<String, Box<dyn Error>>>,
) -> String {
    let said = match tokio::time::timeout(PATIENCE, run).await {
        Err(_) => "hangs".to_owned(),
        Ok(Ok(_)) => "answer".to_owned(),
        Ok(Err(error)) => format!("error: {}", error.to_string().replace('\n', " ")),
    };
    format!(
        "{} ({} requests)",
        said.chars().take(150).collect::<String>(),
        server.request_count()
    )
}

fn start(replies: &[Reply]) -> Result<Loopback, Box<dyn Error>> {
    let mut options = LoopbackOptions::default();
    options.script = Script::new(replies.to_vec());
    options.tool_calls = true;
    Ok(Loopback::start(options)?)
}

fn lines(source: &str) -> usize {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    source.lines().filter(is_code).count()
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("| the server's first answer | this crate | async-openai |\n|---|---|---|");
    for (name, replies) in cases() {
        let server = start(&replies)?;
        let mut provider = Provider::new("loopback", &server.base_url())?;
        // Both have no limit on silence within the patience here; this is one line, and the other has none.
        provider.timeouts.idle = Duration::from_secs(5);
        provider.timeouts.progress = Some(Duration::from_secs(8));
        let runtime = Runtime::with_config(SupervisorConfig::new(provider))?;
        let ours = outcome(&server, ours::run(&runtime)).await;

        let server = start(&replies)?;
        let config = OpenAIConfig::new()
            .with_api_base(server.base_url())
            .with_api_key("none");
        let theirs = outcome(&server, theirs::run(&Client::with_config(config))).await;
        println!("| {name} | {ours} | {theirs} |");
    }
    let [ours, theirs] = [include_str!("ours.rs"), include_str!("theirs.rs")].map(lines);
    println!("| lines of the loop | {ours} | {theirs} |");
    Ok(())
}
