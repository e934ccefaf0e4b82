//! Asks the embedded provider, with no other crate than actix_responses.

use std::error::Error;

use actix_responses::{
    Runtime, actix_rt,
    futures_util::StreamExt,
    loopback::Loopback,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
};

fn main() -> Result<(), Box<dyn Error>> {
    let question = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "hello".to_owned());
    actix_rt::System::new().block_on(async {
        let loopback = Loopback::start(Default::default())?;
        let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
        let prompt = Prompt::user(question).with_model("demo");
        let mut events = runtime.stream(prompt).await?;
        while let Some(event) = events.next().await {
            if let ResponseEvent::OutputTextDelta(text) = event? {
                print!("{}", text.delta);
            }
        }
        println!();
        Ok(())
    })
}
