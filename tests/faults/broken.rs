//! Connections that break, and servers that are killed.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use actix_responses::{
    ErrorKind,
    loopback::{Action, LoopbackOptions, Position, Reply, Script},
    protocol::ResponseEvent,
    wire::Wire,
};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{
    asking::start_with,
    support::{
        DELTA, HEAD, PATIENCE, ServerProcess, accept_request, always, chunk, end_of, failure_of,
        prompt, read_request, serve, url, whole_answer, within,
    },
};

/// The timer that bounds every wait here.
const IDLE: Duration = Duration::from_secs(10);

fn is_broken(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Connection | ErrorKind::Truncated)
}

#[actix_rt::test]
async fn reset_in_the_middle_is_reported() {
    // In the middle of a line, and between two events.
    for bytes in [700, 20] {
        let loopback = always(Reply::default().reset_after_bytes(bytes));
        let runtime = start_with(&loopback.base_url(), |_, _| {});
        let begun = Instant::now();
        let error = failure_of(&runtime, prompt()).await;
        assert!(is_broken(error.kind()), "{error}");
        assert!(begun.elapsed() < PATIENCE / 4);
    }
}

#[actix_rt::test]
async fn reset_right_after_the_terminal_event_takes_no_end_with_it() {
    const STREAMS: usize = 50;
    for wire in [Wire::Responses, Wire::Chat] {
        let loopback = always(Reply::default().with_fault(Position::BodyEnd, Action::Reset));
        let runtime = start_with(&loopback.base_url(), |provider, _| provider.wire = wire);
        // At a time, so that most resets are there before their answers are read; and one after the other.
        let asking = (0..STREAMS).map(|_| end_of(&runtime, prompt()));
        let mut ends = futures_util::future::join_all(asking).await;
        for _ in 0..STREAMS {
            ends.push(end_of(&runtime, prompt()).await);
        }
        for end in ends {
            assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
        }
        assert_eq!(loopback.request_count(), 2 * STREAMS as u64);
    }
}

#[actix_rt::test]
async fn service_reports_a_killed_server_process_at_once() {
    let mut options = LoopbackOptions::default();
    options.script = Script::always(Reply::default().stall_after_events(4));
    let name = "broken::service_reports_a_killed_server_process_at_once";
    let mut server = ServerProcess::start(name, options);
    let runtime = start_with(&server.base_url, |provider, _| {
        provider.timeouts.idle = IDLE
    });
    let mut stream = runtime.stream(prompt()).await.expect("a request");
    // The head, and an event of the body.
    for _ in 0..2 {
        let first = within(stream.next()).await.expect("an event");
        assert!(first.is_ok(), "{first:?}");
    }
    server.kill();
    let killed = Instant::now();
    let events: Vec<_> = within(stream.collect()).await;
    let error = events
        .last()
        .expect("an end")
        .as_ref()
        .expect_err("a failure");
    assert!(is_broken(error.kind()), "{error}");
    assert!(killed.elapsed() < IDLE, "{:?}", killed.elapsed());
    assert_eq!(events.iter().filter(|event| event.is_err()).count(), 1);

    // The next request finds nobody, and says so.
    let error = failure_of(&runtime, prompt()).await;
    assert!(
        matches!(error.kind(), ErrorKind::Connect | ErrorKind::Connection),
        "{error}"
    );
}

#[actix_rt::test]
async fn connection_closed_under_the_next_request_is_mended_by_a_retry() {
    let (address, requests) = serve(|listener| {
        let mut first = accept_request(&listener);
        first
            .write_all(whole_answer().as_bytes())
            .expect("a reader");
        // The second request comes on the same connection; closing now is what a load balancer does whose time is up.
        read_request(&mut first);
        drop(first);
        let mut second = accept_request(&listener);
        second
            .write_all(whole_answer().as_bytes())
            .expect("a reader");
        3
    });
    let runtime = start_with(&url(address), |_, max_attempts| *max_attempts = 2);
    for _ in 0..2 {
        let end = end_of(&runtime, prompt()).await;
        assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
    }
    assert_eq!(within(requests).await, Ok(3));
}

#[actix_rt::test]
async fn many_connections_that_break_at_once_are_all_reported() {
    const STREAMS: usize = 50;
    let (address, _) = serve(|listener| {
        let connections: Vec<TcpStream> = (0..STREAMS)
            .map(|_| {
                let mut connection = accept_request(&listener);
                let begun = format!("{HEAD}{}", chunk(DELTA));
                connection.write_all(begun.as_bytes()).expect("a reader");
                connection
            })
            .collect();
        // All close together, on as many threads as the system likes.
        for connection in connections {
            thread::spawn(move || drop(connection));
        }
    });
    let runtime = start_with(&url(address), |provider, _| provider.timeouts.idle = IDLE);
    let asking = (0..STREAMS).map(|_| failure_of(&runtime, prompt()));
    for error in futures_util::future::join_all(asking).await {
        assert!(is_broken(error.kind()), "{error}");
        assert!(error.details().output_delivered);
    }
}
