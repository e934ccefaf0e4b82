//! A service that streams answers. Without arguments it serves; with a question it asks itself once, prints the answer as
//! it comes, and ends. The answers are the embedded provider's, made up.

mod service;
mod tally;

use std::{
    error::Error,
    io::{Write, stdout},
};

use actix_responses::{loopback::Loopback, provider::Provider};
use futures_util::StreamExt;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let question = std::env::args().nth(1);
    let loopback = Loopback::start(Default::default())?;
    let provider = Provider::new("loopback", &loopback.base_url())?;
    let port = if question.is_some() { 0 } else { 8080 };
    let (server, addresses) = service::serve(provider, ([127, 0, 0, 1], port).into())?;
    let url = format!("http://{}/answers", addresses[0]);
    let Some(question) = question else {
        println!("ask with: curl --no-buffer --data hello {url}");
        return Ok(server.await?);
    };

    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut response = awc::Client::default()
        .post(url)
        .send_body(question)
        .await
        .map_err(|error| error.to_string())?;
    while let Some(chunk) = response.next().await {
        stdout().write_all(&chunk?)?;
        stdout().flush()?;
    }
    println!();
    handle.stop(true).await;
    Ok(())
}
