//! `POST /answers` with a question streams the text of the answer; `GET /tally` counts.

use std::{future::ready, io, net::SocketAddr};

use actix::{Actor, Addr};
use actix_responses::{
    Runtime,
    actors::{SubmitRequest, Subscriber},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
};
use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    error::{ErrorBadGateway, ErrorInternalServerError},
    web,
};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::tally::{GetTally, Tally};

#[derive(Clone)]
struct Service {
    runtime: Runtime,
    tally: Addr<Tally>,
}

/// Serves on `address` with the answers of `provider`. The addresses are those that are listened on.
pub fn serve(
    provider: Provider,
    address: SocketAddr,
) -> Result<(Server, Vec<SocketAddr>), Box<dyn std::error::Error>> {
    let service = Service {
        runtime: Runtime::start(provider)?,
        tally: Tally::default().start(),
    };
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(service.clone()))
            .route("/answers", web::post().to(answer))
            .route("/tally", web::get().to(tally))
    })
    .workers(1)
    .bind(address)?;
    let addresses = server.addrs();
    Ok((server.run(), addresses))
}

async fn answer(service: web::Data<Service>, question: String) -> actix_web::Result<HttpResponse> {
    let request = SubmitRequest::new(Prompt::user(question).with_model("demo"))
        .with_subscriber(Subscriber::events(service.tally.clone().recipient()));
    let events = service
        .runtime
        .submit(request)
        .await
        .map_err(ErrorBadGateway)?;
    let text = events.filter_map(|event| {
        ready(match event {
            Ok(ResponseEvent::OutputTextDelta(delta)) => {
                Some(Ok(Bytes::copy_from_slice(delta.delta.as_bytes())))
            }
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .streaming(text))
}

async fn tally(service: web::Data<Service>) -> actix_web::Result<String> {
    let seen = service
        .tally
        .send(GetTally)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(format!("{} deltas, {} ends", seen.deltas, seen.ends))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_responses::loopback::Loopback;
    use actix_web::rt::time::timeout;

    use super::*;

    #[actix_web::test]
    async fn an_answer_streams_over_http_and_the_tally_hears_it() {
        let loopback = Loopback::start(Default::default()).unwrap();
        let provider = Provider::new("loopback", &loopback.base_url()).unwrap();
        let (server, addresses) = serve(provider, "127.0.0.1:0".parse().unwrap()).unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let base = format!("http://{}", addresses[0]);

        let client = awc::Client::default();
        let mut response = client
            .post(format!("{base}/answers"))
            .send_body("hello")
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let encoding = response.headers().get("transfer-encoding");
        assert_eq!(
            encoding.map(|value| value.as_bytes()),
            Some(&b"chunked"[..])
        );
        let text = response.body().await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("hello"), "{text:?}");
        assert_eq!(loopback.request_count(), 1);

        // The tally hears the end for itself, soon before or after the client.
        let told = async {
            loop {
                let mut response = client.get(format!("{base}/tally")).send().await.unwrap();
                let tally = response.body().await.unwrap();
                if tally.ends_with(b" deltas, 1 ends") {
                    return tally;
                }
            }
        };
        let tally = timeout(Duration::from_secs(10), told).await.unwrap();
        assert!(!tally.starts_with(b"0 "), "{tally:?}");

        handle.stop(true).await;
    }
}
