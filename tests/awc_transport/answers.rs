//! What comes back, and how it is read.

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    sync::mpsc,
};

use actix_responses::transport::TransportErrorKind;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Method, header};

use super::{
    answer, check, check_error, read_to_end, request, send,
    support::{CHUNKED, OK, accept_request, serve, within},
    transport,
};

#[actix_rt::test]
async fn chunked_body_arrives_in_the_pieces_it_is_sent_in() {
    let (go_on, wait) = mpsc::channel();
    let (address, _) = serve(move |listener| {
        let mut stream = accept_request(&listener);
        stream
            .write_all(format!("{CHUNKED}3\r\none\r\n").as_bytes())
            .unwrap();
        wait.recv().unwrap();
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    });
    // A name, so that resolving is part of it.
    let url = format!("http://localhost:{}/", address.port());
    let mut body = send(&transport(), url).await.unwrap().body;
    assert_eq!(within(body.next()).await.unwrap().unwrap(), "one");
    assert!(body.next().now_or_never().is_none());
    go_on.send(()).unwrap();
    assert_eq!(within(body.next()).await.unwrap().unwrap(), "two");
    assert!(within(body.next()).await.is_none());
}

#[actix_rt::test]
async fn redirect_is_a_response_and_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    for length in ["content-length: 0\r\n", ""] {
        let head =
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\n{length}\r\n");
        let response = send(&transport(), format!("http://{}/", answer(head)))
            .await
            .unwrap();
        assert_eq!(response.status, 307);
        assert_eq!(response.headers[header::LOCATION], location);
    }
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[actix_rt::test]
async fn answer_that_can_not_be_read_is_an_error_that_says_why() {
    use TransportErrorKind::{InvalidResponse, Send, TooLarge};
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(257));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(140_000));
    let lzw = "HTTP/1.1 200 OK\r\ncontent-encoding: compress\r\ncontent-length: 2\r\n\r\nok";
    for (sent, kind, said) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", InvalidResponse, "not HTTP"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            InvalidResponse,
            "not HTTP",
        ),
        (&many, TooLarge, "has 257 fields, and the limit is 256"),
        (&long, TooLarge, "128 KiB"),
        ("", Send, "before the response's head"),
        (
            "HTTP/1.1 200 OK\r\ncont",
            Send,
            "before the response's head",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            InvalidResponse,
            "not HTTP",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            Send,
            "before the response's head",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            InvalidResponse,
            "(101)",
        ),
        (lzw, InvalidResponse, "compress"),
    ] {
        let address = answer(sent);
        let said = [said, &address.to_string()];
        check_error(&format!("http://{address}/"), kind, &said).await;
    }
}

#[actix_rt::test]
async fn response_without_a_body_needs_no_length() {
    for (method, status, headers, expected) in [
        (Method::POST, 204, "", ""),
        (Method::GET, 304, "content-length: 7\r\n", ""),
        (Method::HEAD, 200, "content-length: 7\r\n", ""),
        (Method::HEAD, 200, "", ""),
        (Method::POST, 200, "content-length: 0\r\n", ""),
        // A status is worth more than a body that can't be read.
        (Method::POST, 401, "", ""),
        (
            Method::POST,
            500,
            "content-encoding: compress\r\ncontent-length: 2\r\n",
            "",
        ),
    ] {
        let address = answer(format!("HTTP/1.1 {status} Some\r\n{headers}\r\n"));
        let mut request = request(format!("http://{address}/"));
        request.method = method;
        request.body = Bytes::new();
        let response = within(transport().send(request)).await.unwrap();
        assert_eq!(response.status, status);
        assert_eq!(read_to_end(response.body).await.unwrap(), expected);
    }
}

#[actix_rt::test]
async fn what_awc_can_not_read_by_itself_is_read() {
    let fields: String = (0..256)
        .map(|number| format!("x-{number}: {number}\r\n"))
        .collect();
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    for (sent, expected) in [
        // A body that ends with its connection.
        (
            "HTTP/1.0 200 OK\r\n\r\ndata: 1\n\n".to_owned(),
            "data: 1\n\n",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n".to_owned(),
            "data: 1\n\n",
        ),
        ("HTTP/1.1 401 Unauthorized\r\n\r\nno".to_owned(), "no"),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n".to_owned(),
            "one",
        ),
        // Interim responses.
        (format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"), "ok"),
        (
            format!("HTTP/1.1 102 Processing\r\n\r\n{early}{early}{OK}"),
            "ok",
        ),
        // As many fields as a gateway may add.
        (
            format!(
                "HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\nok",
                &fields[9..]
            ),
            "ok",
        ),
    ] {
        let response = send(&transport(), format!("http://{}/", answer(&*sent))).await;
        let response = response.unwrap_or_else(|error| panic!("{sent}: {error}"));
        if sent.contains("x-255") {
            assert_eq!(response.headers["x-255"], "255");
            assert_eq!(response.headers.len(), 256);
        }
        assert_eq!(
            read_to_end(response.body).await.unwrap(),
            expected,
            "{sent}"
        );
    }
}

#[actix_rt::test]
async fn answer_to_a_request_that_is_not_read_is_heard() {
    let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let (finished, wait) = std::sync::mpsc::channel::<()>();
    let (address, _) = serve(move |listener| {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(refusal.as_bytes()).unwrap();
        // It stays open, and nothing more of the request is read.
        let _ = wait.recv();
    });
    let mut large = request(format!("http://{address}/"));
    large.body = Bytes::from(vec![b' '; 20 << 20]);
    let response = within(transport().send(large)).await.unwrap();
    assert_eq!(response.status, 413);
    assert_eq!(read_to_end(response.body).await.unwrap(), "no");
    drop(finished);
}

#[actix_rt::test]
async fn cut_body_is_an_error_where_its_length_is_known() {
    let address = answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let response = send(&transport(), format!("http://{address}/"))
        .await
        .unwrap();
    let error = read_to_end(response.body).await.unwrap_err();
    check(
        &error,
        TransportErrorKind::Body,
        &["4 of 9 bytes", &address.to_string()],
    );

    // awc reports a chunked body that was cut as one that ended: the decoder must miss its terminal event.
    for cut in ["4\r\nhalf\r\n", "9\r\nhalf"] {
        let address = answer(format!("{CHUNKED}{cut}"));
        let response = send(&transport(), format!("http://{address}/"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), "half");
    }

    let address = answer(format!("{CHUNKED}4\r\nhalf\r\nno chunk\r\n"));
    let response = send(&transport(), format!("http://{address}/"))
        .await
        .unwrap();
    let error = read_to_end(response.body).await.unwrap_err();
    check(&error, TransportErrorKind::Body, &[&address.to_string()]);
}

#[actix_rt::test]
async fn body_that_comes_compressed_is_unpacked() {
    // `printf 'data: a\n\n' | gzip -n`.
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x49, 0x2c, 0x49, 0xb4, 0x52, 0x48, 0xe4, 0xe2,
        2, 0, 0x7e, 0xe3, 0xc4, 0x38, 9, 0, 0, 0,
    ];
    for (status, chunks) in [(200, 1), (200, 7), (400, gzip.len())] {
        let (address, _) = serve(move |listener| {
            let mut stream = accept_request(&listener);
            let head = format!("HTTP/1.1 {status} _\r\ncontent-encoding: gzip\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            for chunk in gzip.chunks(chunks) {
                stream.write_all(chunk).unwrap();
            }
        });
        let response = send(&transport(), format!("http://{address}/"))
            .await
            .unwrap();
        assert_eq!(response.status, status);
        let text = read_to_end(response.body).await;
        assert_eq!(text.unwrap(), "data: a\n\n");
    }
}
