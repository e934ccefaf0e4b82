//! A response that reqwest reads, decoded without this crate's runtime.
//!
//! `cargo run -p actix-responses-bench --no-default-features --features examples --example decode_reqwest -- URL PROMPT`, where URL
//! is what `actix-responses loopback` prints.

use actix_responses::protocol::{Prompt, ResponseEvent};
use actix_responses::wire::{StreamDecoder, StreamLimits, Terminal, Wire};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, prompt] = [1, 2].map(|n| std::env::args().nth(n).expect("a URL and a prompt"));
    let prompt = Prompt::user(prompt).with_model("demo");
    let body = Wire::Responses.request_body(&prompt, &Default::default())?;
    let request = reqwest::Client::new().post(format!("{url}/responses"));
    let request = request.header("content-type", "application/json");
    let mut response = request.body(body).send().await?.error_for_status()?;

    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    let mut events = Vec::new();
    loop {
        let end = match response.chunk().await? {
            Some(chunk) => decoder.feed(&chunk, &mut events),
            None => decoder.end_of_stream(&mut events),
        };
        for event in events.drain(..) {
            if let ResponseEvent::OutputTextDelta(text) = event {
                print!("{}", text.delta);
            }
        }
        match end {
            Some(Terminal::Failed(error)) => return Err(error.into()),
            Some(_) => return Ok(()),
            None => {}
        }
    }
}
