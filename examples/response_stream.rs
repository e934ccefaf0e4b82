//! A response as a stream, for programs that want no actor of their own. No key is needed: the embedded provider answers.
//!
//! Run it with `cargo run --example response_stream`.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
};
use futures_util::StreamExt;

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = LoopbackOptions::default();
    options.pace = Duration::from_millis(5);
    let loopback = Loopback::start(options)?;
    // Against OpenAI it is `Provider::openai().with_auth(BearerAuth::from_env("OPENAI_API_KEY")?)`.
    let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    let prompt = Prompt::user("What is a stream?")
        .with_model("demo")
        .with_instructions("Answer in one sentence.");

    let mut stream = runtime.stream(prompt).await?;
    // Dropping the stream before its end would cancel the request. A failure is an `Err`, and the last item.
    while let Some(event) = stream.next().await {
        match event? {
            ResponseEvent::OutputTextDelta(delta) => {
                print!("{}", delta.delta);
                stdout().flush()?;
            }
            ResponseEvent::Completed(completed) => {
                println!("\n{:?}", completed.token_usage);
            }
            _ => {}
        }
    }
    Ok(())
}
