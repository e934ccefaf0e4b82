//! Who may ask: what other pages, other names, guesses and floods are told.

use std::fs;

use actix_responses::{
    loopback::LoopbackOptions,
    relay::{RelayConfig, Tokens},
};

use crate::support::RunningRelay;

/// The SHA-256 of `hunter2`.
const HASH: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

/// The list of streams, asked with these headers besides a right `host` where none is given.
async fn ask(relay: &RunningRelay, method: &str, headers: &str) -> (u16, String, String) {
    let host = match headers.starts_with("host:") {
        true => String::new(),
        false => format!("host: {}\r\n", relay.address),
    };
    relay
        .exchange(&format!(
            "{method} /streams HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n"
        ))
        .await
}

async fn with(set: impl FnOnce(&mut RelayConfig)) -> RunningRelay {
    let mut config = RelayConfig::default();
    set(&mut config);
    RunningRelay::with(LoopbackOptions::default(), config).await
}

#[actix_rt::test]
async fn a_foreign_host_is_refused() {
    let relay =
        with(|config| config.hosts = ["Relay.internal", ""].map(str::to_owned).to_vec()).await;
    for (host, status) in [
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("10.0.0.1", 403),
        ("", 403),
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("relay.internal:8484", 200),
    ] {
        let (got, _, body) = ask(&relay, "GET", &format!("host: {host}\r\n")).await;
        assert_eq!(got, status, "{host}: {body}");
        assert_eq!(body.contains("host_not_allowed"), status == 403, "{body}");
    }
}

#[actix_rt::test]
async fn another_origins_page_can_not_drive_a_relay_on_localhost() {
    let relay = with(|_| ()).await;
    let own = format!("http://{}", relay.address);
    for (headers, status) in [
        ("origin: https://evil.example\r\n".to_owned(), 403),
        ("origin: null\r\n".to_owned(), 403),
        (format!("origin: {own}.evil.example\r\n"), 403),
        ("origin: http://localhost:3000\r\n".to_owned(), 403),
        ("sec-fetch-site: cross-site\r\n".to_owned(), 403),
        (
            format!("origin: {own}\r\norigin: https://evil.example\r\n"),
            403,
        ),
        (format!("origin: {own}\r\n"), 200),
        (String::new(), 200),
    ] {
        let (got, head, body) = ask(&relay, "GET", &headers).await;
        assert_eq!(got, status, "{headers}: {body}");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    let preflight = "origin: https://evil.example\r\naccess-control-request-method: POST\r\n";
    let (status, head, _) = ask(&relay, "OPTIONS", preflight).await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control-allow"), "{head}");
}

#[actix_rt::test]
async fn a_named_origins_preflight_is_answered_and_its_page_may_read() {
    let named = ["null", "*", "HTTPS://App.example:443/"].map(str::to_owned);
    let relay = with(|config| config.origins = named.to_vec()).await;
    for origin in ["null", "*", "https://other.example"] {
        let (status, ..) = ask(&relay, "GET", &format!("origin: {origin}\r\n")).await;
        assert_eq!(status, 403, "{origin}");
    }
    let origin = "origin: https://app.example\r\n";
    let wanted = "access-control-request-method: POST\r\naccess-control-request-headers: x-a\r\n";
    let (status, head, _) = ask(&relay, "OPTIONS", &format!("{origin}{wanted}")).await;
    assert_eq!(status, 204);
    for said in [
        "access-control-allow-origin: https://app.example",
        "access-control-allow-headers: x-a",
    ] {
        assert!(head.contains(said), "{head}");
    }
    let (status, head, _) = ask(&relay, "GET", origin).await;
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://app.example"));
    let (status, ..) = ask(&relay, "GET", "origin: https://app.example.evil\r\n").await;
    assert_eq!(status, 403);
}

#[actix_rt::test]
async fn a_token_guess_is_refused_and_never_repeated() {
    let relay = with(|_| ()).await;
    let name = format!("actix-responses-access-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, format!("ada {HASH}\n")).expect("a file");
    relay
        .relay
        .set_tokens(Some(Tokens::from_file(&path).expect("tokens")));
    fs::remove_file(&path).expect("the file");
    for (headers, status) in [
        ("", 401),
        ("authorization: Bearer hunter3\r\n", 401),
        ("x-api-key: planted-guess\r\n", 401),
        (&format!("authorization: Bearer {HASH}\r\n"), 401),
        ("authorization: Bearer hunter2\r\n", 200),
        ("x-api-key: hunter2\r\n", 200),
        ("api-key: hunter2\r\n", 200),
    ] {
        let (got, head, body) = ask(&relay, "GET", headers).await;
        assert_eq!(got, status, "{headers}");
        assert_eq!(
            head.contains("\r\nwww-authenticate: Bearer"),
            status == 401,
            "{head}"
        );
        let said = format!("{head}{body}");
        assert!(
            !said.contains("hunter") && !said.contains("planted"),
            "{said}"
        );
    }
    assert!(!format!("{:?}", relay.relay).contains(HASH));
}
