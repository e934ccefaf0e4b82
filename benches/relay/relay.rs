//! The relay in a process of its own: this program again, which serves as the command `serve` does.

use std::{env, future, net::Ipv4Addr, net::TcpListener, sync::Arc, thread::available_parallelism};

use actix_responses::{
    Runtime,
    actors::{SupervisorConfig, Workers},
    provider::Provider,
    relay::{self, OnePiece, Relay, RelayConfig, RouteTable},
    store::{RedisOptions, RedisStore},
    wire::Wire,
};
use actix_rt::System;

use crate::process::{Process, end_with_parent};

/// Set for the process that relays: which dialect its server speaks, how answers in one piece are had, where the server is, and where the
/// Redis that it shares, if there is one.
const RELAYS: &str = "ACTIX_RESPONSES_BENCH_RELAYS";

/// Starts a relay to this server.
pub fn start(wire: Wire, upstream: &Process) -> Process {
    start_with(wire, "stream", upstream)
}

/// The same, with answers in one piece so.
pub fn start_with(wire: Wire, one_piece: &str, upstream: &Process) -> Process {
    let dialect = match wire {
        Wire::Chat => "chat",
        _ => "responses",
    };
    let asked = format!("{dialect} {one_piece} http://{}/v1", upstream.address());
    Process::again(RELAYS, &asked)
}

/// A node of several, which share a Redis.
pub fn start_on(redis: &str, upstream: &Process) -> Process {
    let server = upstream.address();
    Process::again(
        RELAYS,
        &format!("responses stream http://{server}/v1 {redis}"),
    )
}

/// Relays, if this process was started for that. It ends with its parent.
pub fn serve_if_asked() -> bool {
    let Ok(asked) = env::var(RELAYS) else {
        return false;
    };
    end_with_parent();
    let words: Vec<_> = asked.split(' ').collect();
    let [dialect, one_piece, base_url, ref redis @ ..] = words[..] else {
        panic!("a dialect, how answers are had, and a server: {asked}");
    };
    let one_piece: OnePiece = one_piece.parse().expect("a way to have answers");
    let wire = match dialect {
        "chat" => Wire::Chat,
        _ => Wire::Responses,
    };
    System::new().block_on(async {
        let provider = Provider::new("bench", base_url).expect("a provider");
        let provider = provider.with_wire(wire);
        let mut config = SupervisorConfig::new(provider.clone());
        config.workers = Workers::Current;
        let runtime = Runtime::with_config(config).expect("a runtime");
        // All streams are of one client.
        let config = RelayConfig::default().with_max_streams(10_000);
        let mut config = config.with_one_piece(one_piece);
        if let [url] = redis {
            let store = RedisStore::new(url, RedisOptions::default()).expect("a store");
            config = config.with_store(Arc::new(store));
        }
        let relay = Relay::new(runtime, RouteTable::single(provider), config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let workers = available_parallelism().map_or(1, usize::from);
        let _serving = relay::serve(vec![listener], &relay, workers).expect("a server");
        println!("{port}");
        future::pending::<()>().await;
    });
    true
}
