//! One request, watched by several: an observer hears of its attempts, one listens from the start, and one joins late and misses
//! nothing. No key is needed: the embedded provider answers, but only the second time it is asked.
//!
//! Run it with `cargo run --example watching`.

use std::{error::Error, time::Duration};

use actix_responses::{
    Runtime,
    actors::{Cursor, Milestone, RequestNotice, SubmitRequest},
    http::StatusCode,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    protocol::{Prompt, ResponseAccumulator},
    provider::Provider,
};
use futures_util::StreamExt;

/// Says what becomes of each attempt.
fn tell(notice: &RequestNotice) {
    match &notice.milestone {
        Milestone::Started => println!("attempt {}", notice.attempt),
        Milestone::Failed {
            error, retry_in, ..
        } => println!("  failed, again in {retry_in:?}: {error}"),
        Milestone::Ended { outcome, .. } => println!("over after {:?}: {outcome:?}", notice.age),
        _ => {}
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = LoopbackOptions::default();
    options.pace = Duration::from_millis(1);
    options.script = Script::new([Reply::error(StatusCode::SERVICE_UNAVAILABLE)]);
    let loopback = Loopback::start(options)?;
    let runtime = Runtime::start(Provider::new("loopback", &loopback.base_url())?)?;

    let request =
        SubmitRequest::new(Prompt::user("Who watches?").with_model("demo")).with_observer(tell);
    let mut first = runtime.submit(request).await?;
    // What comes event by event can be had as a whole at any time: text, items, calls, usage.
    let mut gathered = ResponseAccumulator::default();
    while gathered.text().is_empty()
        && let Some(event) = first.next().await
    {
        gathered.push(&event?)?;
    }
    println!("the answer begins: {:?}", gathered.text());

    // Somebody else joins, from the start; `Cursor::From` goes on where one had been.
    let late = runtime.subscribe(first.request(), Cursor::Start).await?;
    let late = actix_rt::spawn(late.text());
    while let Some(event) = first.next().await {
        gathered.push(&event?)?;
    }
    assert_eq!(late.await??, gathered.text());
    println!("both have read: {}", gathered.text());
    Ok(())
}
