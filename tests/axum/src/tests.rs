//! A real server of axum's, and clients that read and leave.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{ConnectionId, Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::service::service;

const PATIENCE: Duration = Duration::from_secs(60);

async fn started(replies: Vec<Reply>) -> (Loopback, Runtime, SocketAddr) {
    let mut options = LoopbackOptions::default();
    options.script = Script::new(replies);
    let loopback = Loopback::start(options).expect("a provider");
    let provider = Provider::new("loopback", &loopback.base_url()).expect("a URL");
    let runtime = Runtime::spawn(SupervisorConfig::new(provider)).expect("a runtime");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = service(runtime.clone());
    tokio::spawn(async move { axum::serve(listener, service).await });
    (loopback, runtime, address)
}

async fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request =
        "POST /ask HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a server");
    stream
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it hangs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_events_and_the_end() {
    let (_loopback, runtime, address) = started(vec![]).await;
    let mut text = String::new();
    within(ask(address).await.read_to_string(&mut text))
        .await
        .expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(
        text.contains("event: output_text_delta\ndata: {\"type\":"),
        "{text}"
    );
    assert_eq!(text.matches("event: completed\n").count(), 1, "{text}");
    within(runtime.shutdown(Duration::ZERO)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_leaves_cancels_the_request_upstream() {
    let silent = Reply::default().stall_after_events(4);
    let (loopback, _runtime, address) = started(vec![silent]).await;
    let mut browser = ask(address).await;
    let mut read = String::new();
    while !read.contains("event: created") {
        let mut piece = [0; 1024];
        let count = within(browser.read(&mut piece))
            .await
            .expect("a part of the answer");
        assert_ne!(count, 0, "it ended: {read}");
        read.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert_eq!(loopback.open_connections(), 1);
    drop(browser);
    let closed =
        tokio::task::spawn_blocking(move || loopback.wait_for_close(ConnectionId(1), PATIENCE));
    assert!(
        closed.await.expect("a thread").is_some(),
        "it goes on for nobody"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_a_status_and_what_fails_later_an_event() {
    let failing = vec![Reply::error(axum::http::StatusCode::BAD_REQUEST)];
    let (_loopback, runtime, address) = started(failing).await;
    let mut text = String::new();
    within(ask(address).await.read_to_string(&mut text))
        .await
        .expect("an answer");
    assert!(text.contains("event: failed\ndata: {\"error\":"), "{text}");

    runtime.shutdown(Duration::ZERO).await;
    let mut text = String::new();
    within(ask(address).await.read_to_string(&mut text))
        .await
        .expect("an answer");
    assert!(text.starts_with("HTTP/1.1 5"), "{text}");
}

#[test]
fn the_guide_shows_this_service() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/guide/axum.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let shown = include_str!("service.rs");
    assert!(
        guide.contains(&format!("\n{shown}```\n")),
        "src/guide/axum.md and src/service.rs differ"
    );
}
