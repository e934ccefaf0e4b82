//! How the server is reached: directly, or through a proxy.

use std::{
    error::Error as _,
    io::{self, Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use actix_responses::transport::{ProxyConfig, TlsConfig, TransportErrorKind};

use super::{
    answer, answer_all, check, check_error, read_to_end, request, send,
    support::{Identity, Nobody, OK, read_request, serve, within},
    transport_with,
};

#[actix_rt::test]
async fn refused_connection_names_host_and_port() {
    let nobody = Nobody::new();
    let address = nobody.address;
    let said = [&address.to_string(), "connection refused"];
    let url = format!("http://{address}/");
    let error = check_error(&url, TransportErrorKind::Connect, &said).await;
    assert!(error.source().unwrap().is::<io::Error>());
}

#[actix_rt::test]
async fn silent_server_and_silent_proxy_are_given_up_after_the_connect_timeout() {
    // The kernel accepts, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let through = ProxyConfig::Url(format!("http://{address}").into());
    for (proxy, url, said) in [
        (
            ProxyConfig::None,
            format!("https://{address}/"),
            "no TLS session with",
        ),
        (
            through,
            "http://api.example/".to_owned(),
            "api.example:80 through proxy",
        ),
    ] {
        let transport = transport_with(&TlsConfig::default(), &proxy);
        let mut request = request(url);
        request.connect_timeout = Duration::from_millis(50);
        let error = within(transport.send(request)).await.err().unwrap();
        let kind = TransportErrorKind::ConnectTimeout;
        check(&error, kind, &[said, &address, "within 50ms"]);
    }
}

#[actix_rt::test]
async fn tunnel_through_a_proxy_carries_http_and_https() {
    let identity = Identity::new("api.example");
    for (scheme, port) in [("http", 80), ("https", 443)] {
        let server = Arc::clone(&identity.server);
        let (address, received) = serve(move |listener| {
            let mut stream = listener.accept().unwrap().0;
            let connect = read_request(&mut stream);
            stream
                .write_all(
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n",
                )
                .unwrap();
            if port == 443 {
                let requests = answer_all(&server, stream);
                return (connect, format!("{requests} over TLS"));
            }
            let inner = read_request(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
            (connect, inner)
        });
        let proxy = ProxyConfig::Url(format!("http://Aladdin:open%20sesame@{address}").into());
        let transport = transport_with(&identity.trusted(), &proxy);
        let response = send(&transport, format!("{scheme}://api.example/v1"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
        drop(transport);

        let (connect, inner) = within(received).await.unwrap();
        assert_eq!(
            connect,
            format!(
                "CONNECT api.example:{port} HTTP/1.1\r\nhost: api.example:{port}\r\n\
                 proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
            )
        );
        assert!(
            inner.starts_with("POST /v1 ") || inner == "1 over TLS",
            "{inner}"
        );
        assert!(!inner.contains("proxy-authorization"), "{inner}");
    }
}

#[actix_rt::test]
async fn proxy_that_refuses_is_named_without_its_password() {
    use TransportErrorKind::{InvalidRequest, InvalidResponse, Proxy};
    for (sent, kind, said) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            InvalidRequest,
            "HTTP 407",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
            InvalidRequest,
            "HTTP 403",
        ),
        (
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 502 Bad\r\n\r\n",
            Proxy,
            "HTTP 502",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n", InvalidResponse, "not HTTP"),
        ("", Proxy, "without an answer"),
    ] {
        let address = answer(sent);
        let proxy = ProxyConfig::Url(format!("http://user:hunter2@{address}").into());
        let transport = transport_with(&TlsConfig::default(), &proxy);
        let error = send(&transport, "https://api.example/")
            .await
            .err()
            .unwrap();
        check(&error, kind, &[said, &address.to_string()]);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[actix_rt::test]
async fn hop_that_fails_is_named() {
    let nobody = Nobody::new();
    for (proxy, said) in [
        (format!("http://{}", nobody.address), "connection refused"),
        (
            format!("socks5h://{}", nobody.address),
            "connection refused",
        ),
    ] {
        let transport = transport_with(&TlsConfig::default(), &ProxyConfig::Url(proxy.into()));
        let error = send(&transport, "https://api.example/")
            .await
            .err()
            .unwrap();
        let hop = format!("proxy {}", nobody.address);
        check(&error, TransportErrorKind::Proxy, &[said, &hop]);
    }
    let proxy = ProxyConfig::Url("http://proxy.invalid:3128".into());
    let transport = transport_with(&TlsConfig::default(), &proxy);
    let error = send(&transport, "https://api.example/")
        .await
        .err()
        .unwrap();
    check(
        &error,
        TransportErrorKind::Dns,
        &["proxy proxy.invalid:3128"],
    );
}

#[actix_rt::test]
async fn socks_proxy_gets_the_name_or_the_address() {
    let name = [&b"\x05\x01\x00\x03\x0bapi.example"[..], &[0, 80]].concat();
    let address = vec![5, 1, 0, 1, 127, 0, 0, 1, 0, 80];
    for (scheme, host, asked) in [
        ("socks5h", "api.example", name),
        ("socks5h", "127.0.0.1", address.clone()),
        ("socks5", "127.0.0.1", address),
    ] {
        let length = asked.len();
        let (proxy, received) = serve(move |listener| {
            let mut stream = listener.accept().unwrap().0;
            let mut methods = [0; 4];
            stream.read_exact(&mut methods).unwrap();
            assert_eq!(methods, [5, 2, 0, 2]);
            stream.write_all(&[5, 2]).unwrap();
            let mut login = [0; 18];
            stream.read_exact(&mut login).unwrap();
            assert_eq!(&login, b"\x01\x08DOM\\user\x07hunter2");
            stream.write_all(&[1, 0]).unwrap();
            let mut asked = vec![0; length];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            read_request(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
            asked
        });
        let config = ProxyConfig::Url(format!("{scheme}://DOM%5Cuser:hunter2@{proxy}").into());
        let transport = transport_with(&TlsConfig::default(), &config);
        let response = send(&transport, format!("http://{host}/")).await.unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
        assert_eq!(within(received).await.unwrap(), asked);
    }

    // It refuses the password.
    let (proxy, _) = serve(|listener| {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(&[5, 0xff]).unwrap();
    });
    let config = ProxyConfig::Url(format!("socks5h://user:hunter2@{proxy}").into());
    let transport = transport_with(&TlsConfig::default(), &config);
    let error = send(&transport, "http://api.example/").await.err().unwrap();
    check(
        &error,
        TransportErrorKind::InvalidRequest,
        &[&format!("proxy {proxy}")],
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}
