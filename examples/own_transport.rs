//! A transport of one's own, around the one that is there: it keeps what every server sent, byte for byte. No key is needed: the embedded
//! provider answers.
//!
//! Run it with `cargo run --example own_transport`. Another might replay such recordings, or speak through a tunnel.

use std::{
    error::Error,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    futures_core::future::LocalBoxFuture,
    loopback::Loopback,
    protocol::Prompt,
    provider::Provider,
    transport::{
        AwcTransportFactory, Transport, TransportError, TransportFactory, TransportRequest,
        TransportResponse,
    },
};
use futures_util::{FutureExt, StreamExt, TryFutureExt};

type Recorded = Arc<Mutex<Vec<u8>>>;

/// Makes a transport for each thread with actors.
struct Recording {
    around: AwcTransportFactory,
    recorded: Recorded,
}

impl TransportFactory for Recording {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(RecordingTransport {
            around: self.around.build()?,
            recorded: self.recorded.clone(),
        }))
    }
}

struct RecordingTransport {
    around: Rc<dyn Transport>,
    recorded: Recorded,
}

impl Transport for RecordingTransport {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        let recorded = self.recorded.clone();
        let sent = self.around.send(request);
        sent.map_ok(|mut response| {
            // Retries, deadlines and decoding are above this: it only sees the bytes go by.
            let body = response.body.inspect(move |chunk| {
                let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                recorded.extend(chunk.iter().flatten());
            });
            response.body = Box::pin(body);
            response
        })
        .boxed_local()
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let loopback = Loopback::start(Default::default())?;
    let recorded = Recorded::default();
    let transport = Recording {
        around: AwcTransportFactory::from_env()?,
        recorded: recorded.clone(),
    };
    let config = SupervisorConfig::new(Provider::new("loopback", &loopback.base_url())?);
    let runtime = Runtime::with_transport(config, transport)?;
    let response = runtime
        .respond(Prompt::user("What was sent?").with_model("demo"))
        .await?;
    println!("{}", response.completed()?.text());

    let recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
    let recorded = String::from_utf8_lossy(&recorded);
    let first = recorded.lines().next().unwrap_or_default();
    println!("-- {} bytes, the first line: {first}", recorded.len());
    Ok(())
}
