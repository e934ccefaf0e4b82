//! Where it listens, how it ends, and what it bounds.

use std::{
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use actix_responses::loopback::{Loopback, LoopbackError, LoopbackOptions, Reply, Script, Side};
use serde_json::json;

use super::{
    STREAM,
    client::{Client, End},
    support::{FIRST, PATIENCE, provider},
    with_causes,
};

#[test]
fn both_addresses_of_the_machine_are_served() {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        // A machine without IPv6.
        return;
    }
    let options = LoopbackOptions::default().with_addresses(addresses.to_vec());
    let loopback = Loopback::start(options).unwrap();
    let port = loopback.address().port();
    for address in addresses {
        let mut client = Client::to(SocketAddr::new(address, port));
        client.get("/v1/models");
        assert_eq!(client.answer().status, 200, "{address}");
    }
    let elsewhere = LoopbackOptions::default().with_addresses(vec![Ipv4Addr::UNSPECIFIED.into()]);
    let error = with_causes(&Loopback::start(elsewhere).expect_err("not on loopback"));
    assert!(
        error.contains("0.0.0.0:0: this is no address of"),
        "{error}"
    );
}

#[test]
fn a_stopped_server_closes_its_connections_and_frees_its_port() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let port = loopback.address().port();
    let mut client = Client::posting(&loopback, "/", &json!({}));
    client.take_until("[DONE]\n\n\r\n");
    loopback.stop();
    assert_eq!(client.rest(), (String::new(), End::Fin));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());

    let mut again = LoopbackOptions::default();
    again.port = port;
    let loopback = Loopback::start(again.clone()).expect("the same port");
    assert_eq!(loopback.base_url(), format!("http://127.0.0.1:{port}/v1"));
    let error = Loopback::start(again).expect_err("the port is taken");
    assert!(matches!(error, LoopbackError::Listen { .. }));
    assert_eq!(error.to_string(), format!("listening on 127.0.0.1:{port}"));
}

#[test]
fn stopping_does_not_wait_for_clients_that_stay() {
    let loopback = provider(Script::new([Reply::default().close_before_head()]));
    let mut told = Client::posting(&loopback, "/", &json!({}));
    assert_eq!(told.rest(), (String::new(), End::Fin));
    let _idle = Client::connect(&loopback);
    let started = Instant::now();
    loopback.stop();
    // It reads on for a second behind its FIN when it is not told to stop.
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_killed_server_resets_its_connections() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let mut idle = Client::connect(&loopback);
    let mut client = Client::posting(&loopback, "/", &json!({}));
    client.take_until("[DONE]\n\n\r\n");
    loopback.kill();
    assert_eq!(client.rest(), (String::new(), End::Reset));
    assert_eq!(idle.rest(), (String::new(), End::Reset));
}

#[test]
fn a_connection_over_the_limit_takes_the_room_of_an_idle_one_or_is_refused() {
    let mut options = LoopbackOptions::default();
    options.max_connections = 2;
    options.script = Script::new([
        Reply::sse(STREAM).hold_open(),
        Reply::text("one"),
        Reply::sse(STREAM).hold_open(),
    ]);
    let loopback = Loopback::start(options).unwrap();
    let mut busy = Client::posting(&loopback, "/", &json!({}));
    busy.take_until("[DONE]\n\n\r\n");
    let mut idle = Client::posting(&loopback, "/", &json!({}));
    assert_eq!(idle.answer().body, "one");
    let mut third = Client::posting(&loopback, "/", &json!({}));
    third.take_until("[DONE]\n\n\r\n");
    assert_eq!(idle.rest(), (String::new(), End::Fin));

    let mut refused = Client::connect(&loopback);
    let answer = refused.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("2 connections"), "{}", answer.body);
    assert_eq!(refused.rest(), (String::new(), End::Fin));
    drop(third);
    assert!(loopback.wait_until(PATIENCE, |loopback| loopback.open_connections() == 1));
    let mut next = Client::posting(&loopback, "/v1/responses", &json!({"model": "m"}));
    assert_eq!(next.answer().status, 200);
}

#[test]
fn a_client_that_does_not_read_makes_room_in_the_end() {
    let mut options = LoopbackOptions::default();
    options.max_connections = 1;
    options.request_timeout = Duration::from_millis(50);
    options.script = Script::new([Reply::text("long ".repeat(8 << 20))]);
    let loopback = Loopback::start(options).unwrap();
    let mut deaf = Client::posting(&loopback, "/v1/responses", &json!({}));
    let writes = |loopback: &Loopback| {
        let connection = loopback.connection(FIRST);
        connection.is_some_and(|connection| connection.bytes_written > 0)
    };
    assert!(loopback.wait_until(PATIENCE, writes));
    // One that comes early is refused, and the last one is not.
    let started = Instant::now();
    loop {
        let mut client = Client::connect(&loopback);
        // Who is refused may be so before this.
        let request = "POST /v1/responses HTTP/1.1\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}";
        let _ = client.stream.write_all(request.as_bytes());
        let answer = client.answer();
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503);
        assert!(started.elapsed() < PATIENCE);
    }
    assert_eq!(deaf.rest().1, End::Reset);
}

#[test]
fn a_request_that_does_not_move_is_refused_and_an_idle_connection_is_not() {
    let mut options = LoopbackOptions::default();
    options.request_timeout = Duration::from_millis(50);
    let loopback = Loopback::start(options).unwrap();
    let mut idle = Client::connect(&loopback);
    let head = "POST /v1/responses HTTP/1.1\r\ncontent-length: 2\r\n";
    for (sent, said) in [(head.to_owned(), "head"), (format!("{head}\r\n{{"), "body")] {
        let mut client = Client::connect(&loopback);
        client.send(sent);
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        for named in [said, "50ms", "request_timeout"] {
            assert!(answer.body.contains(named), "{}", answer.body);
        }
        assert_eq!(client.rest(), (String::new(), End::Fin));
    }
    idle.post("/v1/responses", &json!({"model": "m"}));
    assert_eq!(idle.answer().status, 200);
}

#[test]
fn closing_can_be_awaited_without_blocking() {
    let loopback = provider(Script::default());
    let waiting = async {
        let client = Client::connect(&loopback);
        loopback
            .until(|loopback| loopback.open_connections() == 1)
            .await;
        drop(client);
        loopback.connection_closed(FIRST).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let close = runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
    assert_eq!(close.expect("in time").expect("on record").by, Side::Client);
}
