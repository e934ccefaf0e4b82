//! An answer that outlives the program that asked for it: a first runtime stops in the middle, a second one goes on where its reader was, and the
//! server is asked for one answer. No key is needed.
//!
//! Run it with `cargo run --example restart`. With `RESPONSES_STORE=redis://127.0.0.1` the stream lies there, as it must for two processes; else
//! in this one's memory.

use std::{
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use actix_responses::{
    ApiError, Runtime,
    actors::{Cursor, SubmitRequest, SupervisorConfig},
    loopback::{Loopback, LoopbackOptions},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    store::{MemoryStore, StoreLimits, StreamKey, StreamStore},
};
use futures_util::StreamExt;

/// How much the first reader has seen when its program stops.
const SEEN: usize = 3;

#[cfg(feature = "redis")]
fn store() -> Result<Arc<dyn StreamStore>, ApiError> {
    use actix_responses::store::{RedisOptions, RedisStore};

    match std::env::var("RESPONSES_STORE") {
        Ok(url) => Ok(Arc::new(RedisStore::new(&url, RedisOptions::default())?)),
        Err(_) => Ok(Arc::new(MemoryStore::new(StoreLimits::default()))),
    }
}

#[cfg(not(feature = "redis"))]
fn store() -> Result<Arc<dyn StreamStore>, ApiError> {
    Ok(Arc::new(MemoryStore::new(StoreLimits::default())))
}

fn start(loopback: &Loopback, store: &Arc<dyn StreamStore>) -> Result<Runtime, ApiError> {
    let provider = Provider::new("loopback", &loopback.base_url())?;
    let mut config = SupervisorConfig::new(provider);
    config.store = Some(store.clone());
    Runtime::with_config(config)
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = LoopbackOptions::default().with_pace(Duration::from_millis(100));
    let loopback = Loopback::start(options)?;
    let store = store()?;
    // What a program keeps beside its conversation. It is never used again.
    let name = StreamKey {
        client: "me".to_owned(),
        id: format!("{:016x}", RandomState::new().build_hasher().finish()),
    };

    let runtime = start(&loopback, &store)?;
    let prompt = Prompt::user("Say something long enough to be cut in the middle of it")
        .with_model("demo")
        .with_background(true);
    let request = SubmitRequest::new(prompt).with_stored_as(name.clone());
    let mut stream = runtime.submit(request).await?;
    let mut text = String::new();
    let mut seen = 0;
    while seen < SEEN
        && let Some(event) = stream.next().await
    {
        if let ResponseEvent::OutputTextDelta(delta) = event? {
            text.push_str(&delta.delta);
            seen += 1;
        }
    }
    let next = stream.next_sequence();
    println!("{text} ... the first program stops before event {next}");
    runtime.shutdown(Duration::ZERO).await;

    let runtime = start(&loopback, &store)?;
    let mut stream = runtime.read_stored(name, Cursor::From(next)).await?;
    while let Some(event) = stream.next().await {
        if let ResponseEvent::OutputTextDelta(delta) = event? {
            text.push_str(&delta.delta);
        }
    }
    let requests = loopback.requests();
    let asked = requests.iter().filter(|request| request.method == "POST");
    println!("{text} ({} answer was asked for)", asked.count());
    runtime.shutdown(Duration::ZERO).await;
    Ok(())
}
