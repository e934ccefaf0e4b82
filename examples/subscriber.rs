//! An actor that subscribes to a response, as an actix service would embed it. No key is needed: the embedded provider answers.
//!
//! Run it with `cargo run --example subscriber`.

use actix::prelude::*;
use actix_responses::{
    Runtime,
    actors::{Delivery, SubmitRequest, Subscriber},
    loopback::{Loopback, LoopbackOptions},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
};
use tokio::sync::oneshot;

/// Prints the text of one answer, and hands on how it ended.
struct Listener {
    ended: Option<oneshot::Sender<ResponseEvent>>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, ctx: &mut Self::Context) {
        for event in delivery.events() {
            match event {
                ResponseEvent::OutputTextDelta(text) => print!("{}", text.delta),
                // Exactly one end comes, whatever happens to the server or the connection.
                end if end.is_final() => {
                    if let Some(ended) = self.ended.take() {
                        ended.send(end.clone()).expect("main waits for it");
                    }
                    ctx.stop();
                }
                _ => {}
            }
        }
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let loopback = Loopback::start(LoopbackOptions::default())?;
    let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;
    let (ended, end) = oneshot::channel();
    let listener = Listener { ended: Some(ended) }.start();

    let request = SubmitRequest::new(Prompt::user("Who listens?").with_model("demo"))
        .with_subscriber(Subscriber::deliveries(listener.recipient()));
    runtime.supervisor().send(request).await??;
    println!("\n-- {} --", end.await?.name());
    Ok(())
}
