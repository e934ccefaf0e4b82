use http::HeaderName;

use super::*;
use crate::{
    protocol::error::ErrorKind,
    provider::{BearerAuth, HeaderAuth, add_auth},
};

fn provider(base_url: &str) -> Provider {
    Provider::new("test", base_url).unwrap()
}

#[test]
fn path_is_joined_to_the_base_url() {
    for (base_url, path, url) in [
        ("https://host/v1", "responses", "https://host/v1/responses"),
        ("https://host/v1/", "responses", "https://host/v1/responses"),
        (
            "https://host/v1//",
            "//responses",
            "https://host/v1/responses",
        ),
        ("https://host", "responses", "https://host/responses"),
        (
            "https://host/",
            "/responses/compact",
            "https://host/responses/compact",
        ),
        ("https://host/v1", "", "https://host/v1"),
        ("https://host/v1/", "", "https://host/v1/"),
        (
            "http://host:8080/a/b",
            "chat/completions",
            "http://host:8080/a/b/chat/completions",
        ),
        (
            "https://host:443/v1",
            "responses",
            "https://host/v1/responses",
        ),
        (
            "http://[::1]:1234/v1",
            "responses",
            "http://[::1]:1234/v1/responses",
        ),
        (
            "https://bücher.example/ü",
            "ö",
            "https://xn--bcher-kva.example/%C3%BC/%C3%B6",
        ),
        (
            "https://host/v1",
            "a b?c#d%2Fe",
            "https://host/v1/a%20b%3Fc%23d%2Fe",
        ),
        (
            " https://host/v1\n",
            "responses",
            "https://host/v1/responses",
        ),
    ] {
        assert_eq!(
            provider(base_url).url_for(path, &[]).as_str(),
            url,
            "{base_url} + {path}"
        );
    }
}

#[test]
fn request_url_follows_what_is_set_after_it_was_asked_for() {
    let mut provider = provider("https://host/v1");
    let url = |provider: &Provider| provider.request_url().to_string();
    assert_eq!(url(&provider), "https://host/v1/responses");
    provider.wire = Wire::Chat;
    assert_eq!(url(&provider), "https://host/v1/chat/completions");
    let provider = provider.with_query("a", "1").with_base_path("v2");
    assert_eq!(url(&provider), "https://host/v2/chat/completions?a=1");
    let provider = provider.with_wire(Wire::Responses);
    assert_eq!(url(&provider), "https://host/v2/responses?a=1");
    assert_eq!(&**provider.origin(), "https://host");
}

#[test]
fn query_is_encoded_merged_and_in_order() {
    let base = "https://host/openai?api-version=1&x=a+b";
    let own = provider(base).with_query("b", "2").with_query("a", "1");
    for (provider, extra, query) in [
        (provider("https://host"), vec![], None),
        (provider("https://host?"), vec![], None),
        (provider(base), vec![], Some("api-version=1&x=a+b")),
        (
            own.clone(),
            vec![("c", "3")],
            Some("api-version=1&x=a+b&b=2&a=1&c=3"),
        ),
        (
            own.clone(),
            vec![("a", "9"), ("x", "8")],
            Some("api-version=1&b=2&a=9&x=8"),
        ),
        (
            own.with_query("api-version", "2"),
            vec![],
            Some("x=a+b&b=2&a=1&api-version=2"),
        ),
        (
            provider("https://host"),
            vec![("include[]", "a"), ("include[]", "b")],
            Some("include%5B%5D=a&include%5B%5D=b"),
        ),
        (
            provider("https://host"),
            vec![("k y", "a b&c=d+e%f#ü")],
            Some("k%20y=a%20b%26c%3Dd%2Be%25f%23%C3%BC"),
        ),
    ] {
        assert_eq!(provider.url_for("responses", &extra).query(), query);
    }
}

#[test]
fn base_url_that_can_not_be_used_is_refused_without_showing_it() {
    for (base_url, said) in [
        ("", "relative URL without a base"),
        ("api.hunter2.com/v1", "relative URL without a base"),
        ("ftp://hunter2/v1", "\"ftp\" is neither http nor https"),
        ("unix:/hunter2", "\"unix\" is neither http nor https"),
        ("https://", "empty host"),
        ("https://host:hunter2/", "invalid port"),
        ("https://hunter2@host/v1", "AuthProvider"),
        ("https://:hunter2@host/v1", "AuthProvider"),
        ("https://host/v1#hunter2", "fragment"),
    ] {
        let error = Provider::new("test", base_url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(
            error
                .message()
                .starts_with("base URL of provider \"test\": "),
            "{error}"
        );
        assert!(error.message().contains(said), "{error}");
        assert!(!error.report().contains("hunter2"), "{error}");
    }
}

#[test]
fn header_of_a_later_kind_replaces_an_earlier_one() {
    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }
    let own = |name, value| provider("https://host").with_header(name, value).unwrap();
    let nothing = HeaderMap::new();
    for (provider, request, auth, name, expected) in [
        (
            provider("https://host"),
            &nothing,
            &nothing,
            "user-agent",
            vec![USER_AGENT],
        ),
        (
            own("User-Agent", "mine"),
            &nothing,
            &nothing,
            "user-agent",
            vec!["mine"],
        ),
        (
            own("x-a", "provider"),
            &map(&[("x-a", "request")]),
            &nothing,
            "x-a",
            vec!["request"],
        ),
        (
            own("x-a", "provider"),
            &map(&[("x-a", "1"), ("x-a", "2")]),
            &nothing,
            "x-a",
            vec!["1", "2"],
        ),
        (
            own("accept", "*/*"),
            &map(&[("accept", "*/*")]),
            &nothing,
            "accept",
            vec!["text/event-stream"],
        ),
        (
            own("content-type", "text/plain"),
            &nothing,
            &nothing,
            "content-type",
            vec!["application/json"],
        ),
        (
            own("authorization", "provider"),
            &map(&[("authorization", "request")]),
            &map(&[("authorization", "auth")]),
            "authorization",
            vec!["auth"],
        ),
        (
            own("authorization", "provider"),
            &nothing,
            &nothing,
            "authorization",
            vec!["provider"],
        ),
    ] {
        let mut headers = provider.headers_for(request, Accept::EventStream);
        add_auth(&mut headers, auth);
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values, expected, "{name}");
    }
}

#[test]
fn invalid_header_is_reported_by_name() {
    for (name, value, said) in [
        ("x y", "hunter2", "\"x y\" is no header's name"),
        ("", "hunter2", "\"\" is no header's name"),
        (
            "X-Key",
            "hunter2\n",
            "header x-key has a value that can't be sent",
        ),
        (
            "Content-Length",
            "hunter2",
            "header content-length is set by the transport",
        ),
        ("host", "hunter2", "header host is set by the transport"),
    ] {
        let error = provider("https://host")
            .with_header(name, value)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert_eq!(error.message(), said);
    }
}

#[test]
fn secrets_are_marked_and_not_printed() {
    let provider = provider("https://host/sk-hunter2hunter2/?code=hunter2")
        .with_query("api_key", "hunter2")
        .with_header("Cookie", "hunter2")
        .and_then(|provider| provider.with_header("x-api-key", "hunter2"))
        .unwrap();
    let bearer = provider
        .clone()
        .with_auth(BearerAuth::new("hunter2").unwrap());
    let keyed = provider
        .clone()
        .with_auth(HeaderAuth::new("x-own", "hunter2").unwrap());
    for provider in [bearer, keyed] {
        let printed = format!("{provider:?} {provider:#?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    let auth = HeaderMap::from_iter([(
        HeaderName::from_static("x-own"),
        HeaderValue::from_static("hunter2"),
    )]);
    let mut headers = provider.headers_for(&HeaderMap::new(), Accept::Json);
    add_auth(&mut headers, &auth);
    assert!(!format!("{headers:?}").contains("hunter2"), "{headers:?}");
}

#[test]
fn openai_is_the_public_api() {
    let provider = Provider::openai();
    let url = provider.url_for(provider.wire.path(), &[]);
    assert_eq!(url.as_str(), "https://api.openai.com/v1/responses");
    assert_eq!(provider.host(), "api.openai.com");
    assert_eq!(
        Provider::new("local", "http://[::1]:80/v1").unwrap().host(),
        "[::1]"
    );
}
