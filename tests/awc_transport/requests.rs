//! What goes out.

use std::io::Write;

use actix_responses::transport::TransportErrorKind;
use http::{HeaderValue, header};

use super::{
    check, read_to_end, request,
    support::{OK, read_request, serve, within},
    transport,
};

#[actix_rt::test]
async fn request_carries_our_headers_and_none_of_the_clients_taste() {
    let (address, received) = serve(|listener| {
        let mut stream = listener.accept().unwrap().0;
        let received = read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        received
    });
    let mut request = request(format!("http://{address}/v1/responses?a=b%20c#fragment"));
    request
        .headers
        .insert("x-own", HeaderValue::from_static("1"));
    request
        .headers
        .append("x-own", HeaderValue::from_static("2"));
    let response = within(transport().send(request)).await.unwrap();
    assert_eq!(read_to_end(response.body).await.unwrap(), "ok");

    let received = received.await.unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /v1/responses?a=b%20c HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: {address}");
    let expected = [
        "accept-encoding: identity",
        "content-length: 2",
        &host,
        "x-own: 1",
        "x-own: 2",
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "{}");
}

#[actix_rt::test]
async fn date_of_the_caller_goes_out_and_none_of_ours() {
    let (address, received) = serve(|listener| {
        let mut stream = listener.accept().unwrap().0;
        let received = read_request(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        received
    });
    let mut request = request(format!("http://{address}/"));
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    request
        .headers
        .insert(header::DATE, HeaderValue::from_static(date));
    within(transport().send(request)).await.unwrap();
    let received = received.await.unwrap();
    let mut dates = received
        .lines()
        .filter_map(|line| line.strip_prefix("date:"));
    assert_eq!(
        (dates.next().map(str::trim), dates.next()),
        (Some(date), None)
    );
}

#[actix_rt::test]
async fn header_of_the_transport_itself_is_refused() {
    let mut request = request("http://127.0.0.1:1/");
    request
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    let error = within(transport().send(request)).await.err().unwrap();
    check(
        &error,
        TransportErrorKind::InvalidRequest,
        &["content-length"],
    );
}
