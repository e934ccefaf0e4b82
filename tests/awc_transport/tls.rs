//! Certificates, and what is said of those that do not fit.

use std::{
    error::Error as _,
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use actix_responses::{
    ApiError, ErrorKind,
    transport::{AwcTransportFactory, ProxyConfig, TlsConfig, TransportErrorKind},
};
use tokio::sync::oneshot;

use super::{
    answer_all, check, check_error, read_to_end, send,
    support::{Identity, OK, accept, read_request, serve, within},
    transport_with,
};

fn serve_over_tls(identity: &Identity) -> (SocketAddr, oneshot::Receiver<usize>) {
    let server = Arc::clone(&identity.server);
    serve(move |listener| answer_all(&server, accept(&listener)))
}

#[actix_rt::test]
async fn certificate_of_an_own_authority_is_trusted_and_the_session_reused() {
    let identity = Identity::new("127.0.0.1");
    let (address, requests) = serve_over_tls(&identity);
    let transport = transport_with(&identity.trusted(), &ProxyConfig::None);
    for _ in 0..2 {
        let response = send(&transport, format!("https://{address}/"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
    }
    drop(transport);
    assert_eq!(within(requests).await.unwrap(), 2);
}

#[actix_rt::test]
async fn server_that_wants_a_certificate_gets_it_or_says_by_alert_what_it_wants() {
    let [identity, client, other] = [(); 3].map(|()| Identity::new("127.0.0.1"));
    for (shown, alert, hint) in [
        (Some(&client), "", ""),
        (None, "CertificateRequired", "wants a client certificate"),
        (Some(&other), "", "refuses the client certificate"),
    ] {
        let server = identity.server_for(&client);
        let (address, _) = serve(move |listener| answer_all(&server, accept(&listener)));
        let mut tls = identity.trusted();
        tls.client_cert_file = shown.map(|shown| shown.ca_file.clone());
        tls.client_key_file = shown.map(|shown| shown.key_file.clone());
        let transport = transport_with(&tls, &ProxyConfig::None);
        match send(&transport, format!("https://{address}/")).await {
            Ok(response) => {
                assert_eq!(hint, "");
                assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
            }
            Err(error) => {
                assert_ne!(hint, "", "{error}");
                let said = [alert, hint, &address.to_string()];
                check(&error, TransportErrorKind::TlsAlert, &said);
                let error = ApiError::from(error);
                assert_eq!(
                    (error.kind(), error.details().should_retry),
                    (ErrorKind::Tls, Some(false))
                );
            }
        }
    }
}

#[actix_rt::test]
async fn certificate_that_is_not_trusted_is_refused_with_the_reason() {
    let identity = Identity::new("127.0.0.1");
    let misnamed = Identity::new("example.com");
    for (server, tls, reason) in [
        (&identity, TlsConfig::default(), "UnknownIssuer"),
        (&misnamed, misnamed.trusted(), "not valid for name"),
    ] {
        let (address, requests) = serve_over_tls(server);
        let transport = transport_with(&tls, &ProxyConfig::None);
        let error = send(&transport, format!("https://{address}/"))
            .await
            .err()
            .unwrap();
        check(
            &error,
            TransportErrorKind::Certificate,
            &[&address.to_string()],
        );
        let source = error.source().unwrap().to_string();
        assert!(source.contains(reason), "{source}");
        assert_eq!(within(requests).await.unwrap(), 0);
    }
}

#[actix_rt::test]
async fn server_without_tls_fails_the_handshake() {
    for sent in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let (address, _) = serve(move |listener| {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(sent.as_bytes()).unwrap();
        });
        let url = format!("https://{address}/");
        let error = check_error(&url, TransportErrorKind::Tls, &[&address.to_string()]).await;
        assert!(error.source().is_some());
    }
}

#[actix_rt::test]
async fn a_configuration_of_rustls_of_ones_own_is_used_as_it_is() {
    let [identity, client] = [(); 2].map(|()| Identity::new("127.0.0.1"));
    let own = |alpn: &[&str]| {
        let mut config = identity.client_for(&client);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut tls = TlsConfig::default();
        tls.rustls = Some(Arc::new(config));
        tls
    };
    for alpn in [&[][..], &["http/1.1"]] {
        let mut server = rustls::ServerConfig::clone(&identity.server_for(&client));
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = Arc::new(server);
        let (address, protocol) = serve(move |listener| {
            let mut stream = Identity::over_tls(&server, accept(&listener));
            read_request(&mut stream);
            stream.write_all(OK.as_bytes()).unwrap();
            stream.conn.alpn_protocol().map(<[u8]>::to_vec)
        });
        let transport = transport_with(&own(alpn), &ProxyConfig::None);
        let response = send(&transport, format!("https://{address}/"))
            .await
            .unwrap();
        assert_eq!(read_to_end(response.body).await.unwrap(), "ok");
        assert_eq!(
            within(protocol).await.unwrap().as_deref(),
            Some(&b"http/1.1"[..])
        );
    }
    // Without its authority and its certificate the same server is not asked.
    let server = identity.server_for(&client);
    let (address, _) = serve(move |listener| answer_all(&server, accept(&listener)));
    let transport = transport_with(&TlsConfig::default(), &ProxyConfig::None);
    let refused = send(&transport, format!("https://{address}/")).await;
    check(
        &refused.err().unwrap(),
        TransportErrorKind::Certificate,
        &[&address.to_string()],
    );
    type Set = fn(&mut TlsConfig);
    let settings: [(Set, &str); 4] = [
        (
            |tls| tls.extra_ca_file = Some("ca.pem".into()),
            "`extra_ca_file`",
        ),
        (
            |tls| tls.client_cert_file = Some("a.pem".into()),
            "`client_cert_file`",
        ),
        (
            |tls| tls.client_key_file = Some("a.pem".into()),
            "`client_key_file`",
        ),
        (|_| {}, "\"h2\""),
    ];
    for (set, named) in settings {
        let is_alpn = named == "\"h2\"";
        let mut tls = own(if is_alpn { &["h2", "http/1.1"] } else { &[] });
        set(&mut tls);
        let error = AwcTransportFactory::new(&tls, &ProxyConfig::None).err();
        check(
            &error.unwrap(),
            TransportErrorKind::InvalidRequest,
            &["`rustls`", named],
        );
    }
}
