//! Servers that answer before they have read the request.

use std::{io::Write, net::Shutdown, time::Duration};

use actix_responses::{
    ErrorKind, Runtime,
    actors::SupervisorConfig,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    transport::{AwcTransportFactory, ProxyConfig},
};

use crate::{
    asking::start_with,
    support::{
        Identity, accept, accept_request, end_of, failure_of, prompt, read_head, serve,
        until_closed, url, whole_answer,
    },
};

/// More than the sockets of both sides hold.
const LARGE: usize = 24 << 20;

/// Who closes without saying so leaves the client to find out.
fn refusal(status: &str, then: Then) -> String {
    let connection = match then {
        Then::Reads | Then::ShutsDownAndReads => "close",
        Then::Closes => "keep-alive",
    };
    let body = r#"{"error":{"message":"told early","type":"invalid_request_error"}}"#;
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
        body.len()
    )
}

/// What a server does with the rest of a request that it has answered.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reads it, as servers do that close with care (nginx's lingering close).
    Reads,
    /// Ends its side, and reads.
    ShutsDownAndReads,
    /// Closes, which resets the connection, since there are bytes that it has not read.
    Closes,
}

#[actix_rt::test]
async fn status_that_comes_before_the_request_is_sent_is_reported() {
    for (status, kind) in [
        ("429 Too Many Requests", ErrorKind::RateLimited),
        ("413 Payload Too Large", ErrorKind::InvalidRequest),
    ] {
        for then in [Then::Reads, Then::ShutsDownAndReads, Then::Closes] {
            let answer = refusal(status, then);
            let (address, _) = serve(move |listener| {
                let mut connection = accept(&listener);
                connection.set_nodelay(true).expect("an option");
                read_head(&mut connection);
                connection.write_all(answer.as_bytes()).expect("a reader");
                match then {
                    Then::Reads => until_closed(&mut connection),
                    Then::ShutsDownAndReads => {
                        connection.shutdown(Shutdown::Write).expect("a connection");
                        until_closed(&mut connection);
                    }
                    Then::Closes => {}
                }
                drop(connection);
                // What is broken is not used again.
                let mut next = accept_request(&listener);
                next.write_all(whole_answer().as_bytes()).expect("a reader");
            });
            let runtime = start_with(&url(address), |provider, _| {
                provider.timeouts.response_head = Duration::from_secs(5);
            });
            let large = Prompt::user("x".repeat(LARGE)).with_model("m");
            let error = failure_of(&runtime, large).await;
            assert_eq!(error.kind(), kind, "{status}, {then:?}: {}", error.report());
            assert!(error.message().contains("told early"), "{then:?}: {error}");
            let next = end_of(&runtime, prompt()).await;
            assert!(matches!(next, Ok(ResponseEvent::Completed(_))), "{next:?}");
        }
    }
}

#[actix_rt::test]
async fn status_that_comes_early_is_reported_over_tls() {
    let identity = Identity::new("127.0.0.1");
    let factory = AwcTransportFactory::new(&identity.trusted(), &ProxyConfig::None).expect("TLS");
    let (address, _) = serve(move |listener| {
        let connection = accept(&listener);
        // Behind tickets that are not acknowledged the system holds the answer back, and closing throws it away.
        connection.set_nodelay(true).expect("an option");
        let mut stream = Identity::over_tls(&identity.server, connection);
        read_head(&mut stream);
        let answer = refusal("413 Payload Too Large", Then::Closes);
        stream.write_all(answer.as_bytes()).expect("a reader");
        stream.flush().expect("a reader");
    });
    let base_url = format!("https://{address}/v1");
    let mut config = SupervisorConfig::new(Provider::new("test", &base_url).expect("a URL"));
    config.retry.max_attempts = 1;
    let runtime = Runtime::with_transport(config, factory).expect("a runtime");
    let error = failure_of(&runtime, Prompt::user("x".repeat(LARGE)).with_model("m")).await;
    assert_eq!(error.details().status, Some(413), "{}", error.report());
    assert!(error.message().contains("told early"), "{error}");
}
