//! A relay in front of the embedded provider, and a client that sees every byte.

use std::net::SocketAddr;

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
};
use actix_web::{App, HttpServer, dev::ServerHandle};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A relay that listens on loopback until it is dropped.
pub(crate) struct RunningRelay {
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Loopback,
    server: ServerHandle,
}

impl RunningRelay {
    pub(crate) async fn start() -> Self {
        Self::with(LoopbackOptions::default(), RelayConfig::default()).await
    }

    pub(crate) async fn with(upstream: LoopbackOptions, config: RelayConfig) -> Self {
        let upstream = Loopback::start(upstream).expect("an upstream");
        let provider = Provider::new("loopback", &upstream.base_url()).expect("a provider");
        let routes = RouteTable::single(provider.clone());
        let runtime = Runtime::start(provider).expect("a runtime");
        let relay = Relay::new(runtime, routes, config);
        let server = HttpServer::new(move || App::new().configure(|app| relay.configure(app)))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .expect("a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Self {
            address,
            upstream,
            server: handle,
        }
    }

    /// The status, the head and the body of an answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, String, String) {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    /// Sends a request as it is, and reads until the relay closes.
    pub(crate) async fn exchange(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status"), head.to_owned(), body.to_owned())
    }
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        // The server goes with the test's system, too.
        drop(self.server.stop(false));
    }
}
