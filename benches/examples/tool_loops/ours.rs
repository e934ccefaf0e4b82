//! The loop of `examples/agent.rs`.

use std::error::Error;

use actix_responses::{
    Runtime,
    protocol::{CompactionInput, Prompt, RawJson, ResponseItem, TokenUsage, Tool},
};

use super::{Asked, CONTEXT_TOKENS, MAX_TURNS, QUESTION, schema, weather};

pub async fn run(runtime: &Runtime) -> Result<String, Box<dyn Error>> {
    let tool = Tool::function("weather", "The weather in a city", RawJson::from(schema()));
    let mut conversation = vec![ResponseItem::user_text(QUESTION)];
    let mut cost = TokenUsage::default();
    for _ in 0..MAX_TURNS {
        let prompt = Prompt::new(conversation.clone())
            .with_model("demo")
            .with_tool(tool.clone());
        let response = runtime.respond(prompt).await?.completed()?;
        let usage = response.token_usage().unwrap_or_default();
        cost += usage;
        conversation.extend(response.items());
        let calls = response.function_calls();
        for call in &calls {
            let output = match call.arguments::<Asked>() {
                Ok(asked) => weather(&asked),
                Err(error) => error.to_string(),
            };
            conversation.push(call.answer(output));
        }
        if calls.is_empty() {
            return Ok(format!(
                "{} ({} tokens)",
                response.text(),
                cost.total_tokens
            ));
        }
        if usage.total_tokens > CONTEXT_TOKENS {
            let input = CompactionInput::new("demo", conversation);
            conversation = runtime.compact(input).await?.items;
        }
    }
    Err("the model called tools and never answered".into())
}
