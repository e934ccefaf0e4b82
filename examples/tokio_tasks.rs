//! A program of plain tokio, on several threads: the runtime has threads of its own, and its handle goes from task to task. No key is needed:
//! the embedded provider answers.
//!
//! Run it with `cargo run --example tokio_tasks`.

use std::{error::Error, time::Duration};

use actix_responses::{
    Runtime, actors::SupervisorConfig, loopback::Loopback, protocol::Prompt, provider::Provider,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let loopback = Loopback::start(Default::default())?;
    let provider = Provider::new("loopback", &loopback.base_url())?;
    let runtime = Runtime::spawn(SupervisorConfig::new(provider))?;

    let mut asking = Vec::new();
    for topic in ["threads", "tasks", "actors"] {
        let runtime = runtime.clone();
        asking.push(tokio::spawn(async move {
            let prompt = Prompt::user(format!("What are {topic}?")).with_model("demo");
            let response = runtime.respond(prompt).await?;
            let tokens = response.token_usage().map(|usage| usage.total_tokens);
            Ok::<_, actix_responses::ApiError>((response.completed()?.text(), tokens))
        }));
    }
    for asked in asking {
        let (text, tokens) = asked.await??;
        println!("{text} ({} tokens)", tokens.unwrap_or_default());
    }
    // Those that still run have five seconds, and its threads have ended when it returns.
    runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
