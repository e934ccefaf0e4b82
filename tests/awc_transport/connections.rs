//! When a connection is used again, and when it is closed.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    pin::pin,
    sync::mpsc,
    time::Duration,
};

use actix_responses::transport::TransportErrorKind;
use futures_util::{StreamExt as _, future::join_all};
use tokio::sync::oneshot;

use super::{
    check, read_to_end, request, send,
    support::{CHUNKED, OK, accept_request, read_request, serve, within},
    transport,
};

/// Whether the client closes, without sending anything more.
fn is_closed(stream: &mut impl Read) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[actix_rt::test]
async fn connection_is_used_again_after_reading_to_the_end() {
    let (address, served) = serve(|listener| {
        let mut stream = accept_request(&listener);
        stream.write_all(OK.as_bytes()).unwrap();
        read_request(&mut stream);
        stream
            .write_all(format!("{CHUNKED}1\r\na\r\n0\r\n\r\n").as_bytes())
            .unwrap();
        read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let transport = transport();
    for expected in ["ok", "a", "ok"] {
        let response = send(&transport, format!("http://{address}/"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), expected);
    }
    within(served).await.unwrap();
}

#[actix_rt::test]
async fn connection_that_the_server_closed_while_idle_is_not_used() {
    let (close, wait) = mpsc::channel();
    let (closing, closed) = oneshot::channel();
    let (address, _) = serve(move |listener| {
        let mut stream = accept_request(&listener);
        stream.write_all(OK.as_bytes()).unwrap();
        wait.recv().unwrap();
        drop(stream);
        closing.send(()).unwrap();
        accept_request(&listener).write_all(OK.as_bytes()).unwrap();
    });
    let transport = transport();
    let first = send(&transport, format!("http://{address}/"))
        .await
        .unwrap();
    assert_eq!(read_to_end(first.body).await.unwrap(), "ok");
    close.send(()).unwrap();
    within(closed).await.unwrap();
    // The reactor looks at its sockets; until it has, the connection is taken for alive.
    tokio::task::yield_now().await;
    let second = send(&transport, format!("http://{address}/"))
        .await
        .unwrap();
    assert_eq!(read_to_end(second.body).await.unwrap(), "ok");
}

#[actix_rt::test]
async fn used_connection_closed_under_a_request_is_an_error_and_nothing_is_sent_twice() {
    let (address, connections) = serve(|listener| {
        let mut stream = accept_request(&listener);
        stream.write_all(OK.as_bytes()).unwrap();
        read_request(&mut stream);
        drop(stream);
        listener
    });
    let transport = transport();
    let response = send(&transport, format!("http://{address}/"))
        .await
        .unwrap();
    read_to_end(response.body).await.unwrap();
    let error = send(&transport, format!("http://{address}/"))
        .await
        .err()
        .unwrap();
    check(
        &error,
        TransportErrorKind::Send,
        &["closed", &address.to_string()],
    );

    let listener = within(connections).await.unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[actix_rt::test]
async fn dropping_a_body_closes_its_connection() {
    let (address, closed) = serve(|listener| {
        let mut stream = accept_request(&listener);
        stream
            .write_all(format!("{CHUNKED}3\r\none\r\n").as_bytes())
            .unwrap();
        is_closed(&mut stream)
    });
    let mut body = send(&transport(), format!("http://{address}/"))
        .await
        .unwrap()
        .body;
    assert_eq!(within(body.next()).await.unwrap().unwrap(), "one");
    drop(body);
    assert!(within(closed).await.unwrap());
}

#[actix_rt::test]
async fn dropping_a_future_closes_its_connection() {
    let (seen, read) = oneshot::channel();
    let (address, closed) = serve(|listener| {
        let mut stream = accept_request(&listener);
        seen.send(()).unwrap();
        is_closed(&mut stream)
    });
    let transport = transport();
    {
        let mut sending = pin!(transport.send(request(format!("http://{address}/"))));
        let mut read = pin!(read);
        let until_read = std::future::poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending());
            read.as_mut().poll(cx)
        });
        within(until_read).await.unwrap();
    }
    assert!(within(closed).await.unwrap());
}

#[actix_rt::test]
async fn more_streams_than_awcs_default_limit_are_open_at_a_time() {
    const STREAMS: usize = 120;
    let (address, open) = serve(|listener| {
        let accept_one = |_| {
            let mut stream = accept_request(&listener);
            stream
                .write_all(format!("{CHUNKED}1\r\na\r\n").as_bytes())
                .unwrap();
            stream
        };
        (0..STREAMS).map(accept_one).collect::<Vec<_>>()
    });
    let transport = transport();
    let sending = (0..STREAMS).map(|_| transport.send(request(format!("http://{address}/"))));
    let responses = within(join_all(sending)).await;
    assert_eq!(responses.into_iter().filter(Result::is_ok).count(), STREAMS);
    assert_eq!(within(open).await.unwrap().len(), STREAMS);
}

#[actix_rt::test]
async fn connection_that_ends_a_body_is_not_used_again() {
    let (address, _) = serve(|listener| {
        let mut first = accept_request(&listener);
        first.write_all(b"HTTP/1.1 200 OK\r\n\r\none").unwrap();
        drop(first);
        accept_request(&listener).write_all(OK.as_bytes()).unwrap();
    });
    let transport = transport();
    for expected in ["one", "ok"] {
        let response = send(&transport, format!("http://{address}/"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), expected);
    }
}

#[actix_rt::test]
async fn dead_connections_cost_one_request_on_a_new_one() {
    const CONNECTIONS: usize = 20;
    let (address, requests) = serve(|listener| {
        let first: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let mut stream = accept_request(&listener);
                stream.write_all(OK.as_bytes()).unwrap();
                stream
            })
            .collect();
        // The first that is asked again says nothing and closes, and so would all others.
        let asked = first.into_iter().map(|mut stream| {
            stream.set_nonblocking(true).unwrap();
            move || {
                let mut byte = [0];
                let has_come = matches!(stream.peek(&mut byte), Ok(1));
                has_come.then(|| {
                    stream.set_nonblocking(false).unwrap();
                    read_request(&mut stream)
                })
            }
        });
        let mut asked: Vec<_> = asked.collect();
        let old = loop {
            if let Some(request) = asked.iter_mut().find_map(|asked| asked()) {
                break request;
            }
            std::thread::yield_now();
        };
        drop(asked);
        let mut stream = listener.accept().unwrap().0;
        let new = read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        let lines = |request: &str| {
            let mut lines: Vec<_> = request.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines(&old), lines(&new), "it is the same request");
        listener
    });
    let transport = transport();
    let url = format!("http://{address}/");
    let sending = (0..CONNECTIONS).map(|_| transport.send(request(&url)));
    let responses = within(join_all(sending)).await;
    let reading = responses
        .into_iter()
        .map(|response| read_to_end(response.unwrap().body));
    within(join_all(reading)).await;

    let mut repeated = request(&url);
    repeated.may_be_repeated = true;
    let response = within(transport.send(repeated)).await.unwrap();
    assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
    let listener = within(requests).await.unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "one new connection is enough");
}

#[actix_rt::test]
async fn idle_connections_are_closed_when_their_time_has_come() {
    const CONNECTIONS: usize = 200;
    let (address, streams) = serve(|listener| {
        let streams = (0..CONNECTIONS).map(|_| {
            let mut stream = accept_request(&listener);
            stream.write_all(OK.as_bytes()).unwrap();
            stream
        });
        streams.collect::<Vec<_>>()
    });
    let transport = transport();
    let url = format!("http://{address}/");
    let sending = (0..CONNECTIONS).map(|_| transport.send(request(&url)));
    for response in within(join_all(sending)).await {
        read_to_end(response.unwrap().body).await.unwrap();
    }
    let streams = within(streams).await.unwrap();
    for stream in &streams {
        stream.set_nonblocking(true).unwrap();
    }
    let are_open = || {
        let is_open = |mut stream: &TcpStream| !is_closed(&mut stream);
        streams.iter().filter(|stream| is_open(stream)).count()
    };
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(49)).await;
    assert_eq!(are_open(), CONNECTIONS);
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::time::resume();
    while are_open() > 0 {
        tokio::task::yield_now().await;
    }
}
