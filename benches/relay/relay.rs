//! The relay in a process of its own: this program again, which serves as the command `serve` does.

use std::{
    env, fs, future,
    net::{Ipv4Addr, TcpListener},
    process::Command,
    sync::Arc,
    thread::available_parallelism,
};

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

/// Names the command as it is released, which then relays in place of this program: it is linked as a whole, and has no clock of tests.
const COMMAND: &str = "ACTIX_RESPONSES_BENCH_COMMAND";

/// All streams are of one client.
const MAX_STREAMS: usize = 10_000;

/// Starts a relay to this server.
pub fn start(wire: Wire, upstream: &Process) -> Process {
    start_with(wire, "stream", upstream)
}

/// The same, with answers in one piece so.
pub fn start_with(wire: Wire, one_piece: &str, upstream: &Process) -> Process {
    start_as(wire, one_piece, upstream, None)
}

/// A node of several, which share a Redis.
pub fn start_on(redis: &str, upstream: &Process) -> Process {
    start_as(Wire::Responses, "stream", upstream, Some(redis))
}

fn start_as(wire: Wire, one_piece: &str, upstream: &Process, redis: Option<&str>) -> Process {
    let dialect = match wire {
        Wire::Chat => "chat",
        _ => "responses",
    };
    let base_url = format!("http://{}/v1", upstream.address());
    let Some(program) = env::var_os(COMMAND) else {
        let redis = redis.map(|redis| format!(" {redis}")).unwrap_or_default();
        return Process::again(RELAYS, &format!("{dialect} {one_piece} {base_url}{redis}"));
    };
    let folder = env::temp_dir().join(format!("bench-relay-{}", upstream.id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(format!("{dialect}-{one_piece}.toml"));
    let store = redis.map(|redis| format!("[store]\nurl = \"{redis}\"\n"));
    let config = format!(
        "[relay]\nmax_streams = {MAX_STREAMS}\none_piece = \"{one_piece}\"\n[providers.bench]\nbase_url = \"{base_url}\"\nwire = \"{dialect}\"\n{}",
        store.unwrap_or_default()
    );
    fs::write(&file, config).expect("its configuration");
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
    Process::start(command.arg(file))
        .kept_itself()
        .with_folder(folder)
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
        let config = RelayConfig::default().with_max_streams(MAX_STREAMS);
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
