//! A conversation over several turns: its items are kept, sent with each turn, and compacted when they have become many; the last
//! answer is JSON that is read into a type. No key is needed: the embedded provider answers.
//!
//! Run it with `cargo run --example conversation`.

use std::error::Error;

use actix_responses::{
    Runtime,
    loopback::{DefaultAnswer, Loopback, LoopbackOptions, Reply, Script},
    protocol::{CompactionInput, OutputSchema, Prompt, ResponseItem},
    provider::Provider,
};
use serde::Deserialize;
use serde_json::json;

/// After how many tokens of input the conversation is compacted: few, so that it happens here.
const CONTEXT_TOKENS: u64 = 100;

#[derive(Debug, Deserialize)]
struct Summary {
    title: String,
    turns: u32,
}

struct Conversation {
    runtime: Runtime,
    items: Vec<ResponseItem>,
}

impl Conversation {
    /// One turn. What the user said stays even if it fails, so that it can be tried again with what follows.
    async fn say(&mut self, text: &str) -> Result<String, Box<dyn Error>> {
        self.items.push(ResponseItem::user_text(text));
        let response = self.runtime.respond(self.prompt()).await?.completed()?;
        self.items.extend(response.items());
        let usage = response.token_usage().unwrap_or_default();
        if usage.input_tokens > CONTEXT_TOKENS {
            let input = CompactionInput::new("demo", self.items.clone());
            let items = self.runtime.compact(input).await?.items;
            println!("({} items became {})", self.items.len(), items.len());
            self.items = items;
        }
        Ok(response.text())
    }

    fn prompt(&self) -> Prompt {
        // No tool is offered, and none may be made up.
        Prompt::new(self.items.clone())
            .with_model("demo")
            .with_tool_choice("none")
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Three default answers, to two turns and a compaction, and one that is JSON.
    let mut json_answer = DefaultAnswer::to_request(&json!({"tool_choice": "none"}), 4);
    json_answer.text = vec![r#"{"title": "Streams", "turns": 2}"#.into()];
    let mut replies = vec![Reply::default(); 3];
    replies.push(Reply::events(json_answer.responses_events()));
    let mut options = LoopbackOptions::default();
    options.script = Script::new(replies);
    let loopback = Loopback::start(options)?;

    let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    let items = Vec::new();
    let mut conversation = Conversation { runtime, items };
    println!("{}", conversation.say("What is a stream?").await?);
    println!("{}", conversation.say("And how does it end?").await?);

    let schema = json!({"type": "object", "required": ["title", "turns"], "additionalProperties": false,
        "properties": {"title": {"type": "string"}, "turns": {"type": "integer"}}});
    let prompt = conversation
        .prompt()
        .with_output_schema(OutputSchema::new("summary", schema));
    // An answer that is cut short, refused, or no such JSON is an error here.
    let summary: Summary = conversation.runtime.respond(prompt).await?.parse()?;
    println!("{}: {} turns", summary.title, summary.turns);
    Ok(())
}
