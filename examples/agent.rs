//! An agent: a model that may call a tool, until it answers; and a conversation that is compacted when it has become long. No key is needed:
//! the embedded provider asks for the tool in its first turn, and answers in the second.
//!
//! Run it with `cargo run --example agent`.

use std::error::Error;

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions},
    protocol::{CompactionInput, Prompt, RawJson, ResponseItem, TokenUsage, Tool},
    provider::Provider,
};
use serde::Deserialize;
use serde_json::json;

/// After how many tokens the conversation is compacted, and how many turns an answer may take.
const CONTEXT_TOKENS: u64 = 100_000;
const MAX_TURNS: usize = 8;

#[derive(Deserialize)]
struct Asked {
    city: String,
}

fn weather(asked: &Asked) -> String {
    format!("It is 21 °C in {}.", asked.city)
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let loopback = Loopback::start(LoopbackOptions::default().with_tool_calls(true))?;
    let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = Tool::function("weather", "The weather in a city", RawJson::from(schema));

    let mut conversation = vec![ResponseItem::user_text("How warm is it in Bern?")];
    let mut cost = TokenUsage::default();
    for _ in 0..MAX_TURNS {
        let prompt = Prompt::new(conversation.clone())
            .with_model("demo")
            .with_tool(tool.clone());
        // Half an answer, half a call among it, is an error here.
        let response = runtime.respond(prompt).await?.completed()?;
        let usage = response.token_usage().unwrap_or_default();
        cost += usage;
        conversation.extend(response.items());
        let calls = response.function_calls();
        for call in &calls {
            // What the model got wrong is told to the model.
            let output = match call.arguments::<Asked>() {
                Ok(asked) => weather(&asked),
                Err(error) => error.to_string(),
            };
            conversation.push(call.answer(output));
        }
        if calls.is_empty() {
            println!("{} ({} tokens)", response.text(), cost.total_tokens);
            return Ok(());
        }
        if usage.total_tokens > CONTEXT_TOKENS {
            let input = CompactionInput::new("demo", conversation);
            conversation = runtime.compact(input).await?.items;
        }
    }
    Err("the model called tools and never answered".into())
}
