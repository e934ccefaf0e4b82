//! Peers that are there and do too little.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use actix_responses::{
    ErrorKind, Phase,
    protocol::{Prompt, ResponseEvent},
};

use crate::{
    asking::start_with,
    support::{
        DELTA, HEAD, Identity, PATIENCE, accept, accept_request, chunk, end_of, failure_of, prompt,
        read_head, serve, until_closed, url, whole_answer, within, write_until_refused,
    },
};

const SHORT: Duration = Duration::from_millis(300);

/// One byte after the other, as long as somebody takes them.
#[expect(
    clippy::disallowed_methods,
    reason = "the pauses are the fault itself, on a thread without an arbiter"
)]
fn trickle(stream: &mut TcpStream, text: &str, pause: Duration) {
    stream.set_nodelay(true).expect("an option");
    for byte in text.as_bytes() {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        thread::sleep(pause);
    }
}

#[actix_rt::test]
async fn server_that_reads_nothing_is_given_up_at_the_head_timeout() {
    let (address, closed) = serve(|listener| {
        let mut connection = accept(&listener);
        // The head only: the body fills what the sockets hold, and there it stands.
        read_head(&mut connection);
        let held = connection.try_clone().expect("a handle");
        (held, listener)
    });
    let runtime = start_with(&url(address), |provider, _| {
        provider.timeouts.response_head = SHORT;
    });
    let large = Prompt::user("x".repeat(16 << 20)).with_model("m");
    let error = failure_of(&runtime, large).await;
    assert_eq!(error.kind(), ErrorKind::ResponseHeadTimeout, "{error}");
    // The connection is let go, in the middle of the request.
    let (mut connection, _listener) = within(closed).await.expect("a connection");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("an option");
    until_closed(&mut connection);
}

#[actix_rt::test]
async fn server_that_goes_silent_after_a_part_is_given_up_at_the_idle_timeout() {
    let (address, _) = serve(|listener| {
        let mut connection = accept_request(&listener);
        let begun = format!("{HEAD}{}", chunk(DELTA));
        connection.write_all(begun.as_bytes()).expect("a reader");
        // Open, and never a byte more: what a peer looks like that lost its power.
        until_closed(&mut connection);
    });
    let runtime = start_with(&url(address), |provider, _| provider.timeouts.idle = SHORT);
    let error = failure_of(&runtime, prompt()).await;
    assert_eq!(error.kind(), ErrorKind::IdleTimeout, "{error}");
    assert!(error.details().output_delivered);
}

#[actix_rt::test]
async fn answer_that_comes_byte_by_byte_is_whole_and_keeps_the_idle_timer_quiet() {
    let (address, _) = serve(|listener| {
        let mut connection = accept_request(&listener);
        trickle(&mut connection, &whole_answer(), Duration::from_millis(3));
    });
    // The whole takes three times as long as may pass without a byte.
    let runtime = start_with(&url(address), |provider, _| provider.timeouts.idle = SHORT);
    let end = end_of(&runtime, prompt()).await;
    assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
}

#[actix_rt::test]
async fn trickle_without_an_event_ends_at_the_progress_timeout() {
    let (address, closed) = serve(|listener| {
        let mut connection = accept_request(&listener);
        connection.write_all(HEAD.as_bytes()).expect("a reader");
        let endless = chunk(":").repeat(10_000);
        trickle(&mut connection, &endless, Duration::from_millis(3));
    });
    let runtime = start_with(&url(address), |provider, _| {
        provider.timeouts.progress = Some(SHORT);
    });
    let error = failure_of(&runtime, prompt()).await;
    assert_eq!(error.kind(), ErrorKind::ProgressTimeout, "{error}");
    within(closed).await.expect("the connection is closed");
}

#[actix_rt::test]
async fn head_that_never_ends_ends_at_its_timeout_or_its_limit() {
    for (pause, kind) in [
        (Duration::from_millis(3), ErrorKind::ResponseHeadTimeout),
        (Duration::ZERO, ErrorKind::TooLarge),
    ] {
        let (address, closed) = serve(move |listener| {
            let mut connection = accept_request(&listener);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nx: ");
            match pause.is_zero() {
                true => drop(write_until_refused(&mut connection, "y")),
                false => trickle(&mut connection, &"y".repeat(100_000), pause),
            }
        });
        let runtime = start_with(&url(address), |provider, _| {
            provider.timeouts.response_head = match pause.is_zero() {
                true => PATIENCE,
                false => SHORT,
            };
        });
        let error = failure_of(&runtime, prompt()).await;
        assert_eq!(error.kind(), kind, "{error}");
        within(closed).await.expect("the connection is closed");
    }
}

/// The first flight of a server's handshake, after it has read the client's.
fn handshake(connection: &mut TcpStream) -> Vec<u8> {
    let config = Identity::new("127.0.0.1").server;
    let mut session = rustls::ServerConnection::new(config).expect("a session");
    while !session.wants_write() {
        session.read_tls(connection).expect("a client's hello");
        session.process_new_packets().expect("TLS");
    }
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).expect("memory");
    }
    flight
}

#[actix_rt::test]
async fn tls_handshake_that_stalls_ends_at_the_connect_timeout() {
    // Without a word, and after half of the server's part.
    for has_begun in [false, true] {
        let (address, _) = serve(move |listener| {
            let mut connection = accept(&listener);
            if has_begun {
                let flight = handshake(&mut connection);
                connection
                    .write_all(&flight[..flight.len() / 2])
                    .expect("a reader");
            }
            until_closed(&mut connection);
        });
        let base_url = format!("https://{address}/v1");
        let runtime = start_with(&base_url, |provider, _| provider.timeouts.connect = SHORT);
        let error = failure_of(&runtime, prompt()).await;
        assert_eq!(error.kind(), ErrorKind::ConnectTimeout, "{error}");
        assert!(error.details().phase <= Some(Phase::ResponseHead));
    }
}

#[actix_rt::test]
async fn peer_that_half_closes_in_the_middle_is_a_truncation() {
    let (address, closed) = serve(|listener| {
        let mut connection = accept_request(&listener);
        let begun = format!("{HEAD}{}", chunk(DELTA));
        connection.write_all(begun.as_bytes()).expect("a reader");
        connection
            .shutdown(std::net::Shutdown::Write)
            .expect("a connection");
        // It still reads; the client must close its side, too.
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).map(|_| rest.len())
    });
    let runtime = start_with(&url(address), |_, _| {});
    let error = failure_of(&runtime, prompt()).await;
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    assert_eq!(within(closed).await.expect("a script").expect("FIN"), 0);
}
