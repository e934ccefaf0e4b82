//! What keeps a web page from driving a relay on the machine of who reads it.
//!
//! A browser says in `Origin` whose page asks, and in `Host` which name led here: a page whose name was bound to this machine's address
//! still says its own.

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use url::{Origin, Url};

use super::Refusal;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// A name of `hosts` as it is compared; else what is wrong with it.
pub(in crate::relay) fn host_name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if let Ok(address) = without_brackets(text).parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    // A name that is whole may end with a dot, in a URL and here.
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !text.is_empty()
        && text.bytes().all(is_of_names)
        && !text.starts_with('.')
        && !text.ends_with('.');
    match (is_name, text.contains('*')) {
        (true, _) => Ok(text.to_ascii_lowercase()),
        (false, true) => Err("there is no name for all: write each, such as \"relay.internal\""),
        (false, false) => {
            Err("write a name alone, such as \"relay.internal\": no scheme, port or path")
        }
    }
}

/// An origin of `origins` as browsers send it; else what is wrong with it.
pub(in crate::relay) fn page_origin(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.contains('*') {
        return Err("there is no origin for all: write each, such as \"https://app.example\"");
    }
    if text.eq_ignore_ascii_case("null") {
        return Err(
            "pages of anybody say that: write the origin of yours, such as \"https://app.example\"",
        );
    }
    // Of a shell that lets its pages of files say so.
    if text.eq_ignore_ascii_case("file://") {
        return Ok("file://".to_owned());
    }
    let whole = Url::parse(text).ok();
    let whole = whole.and_then(|url| Some((url.host_str()?.to_owned(), url)));
    let Some((host, url)) = whole.filter(|(host, _)| !host.is_empty()) else {
        return Err("write its scheme and host, such as \"https://app.example\"");
    };
    let is_alone = matches!(url.path(), "" | "/")
        && url.username().is_empty()
        && url.password().or(url.query()).or(url.fragment()).is_none();
    if !is_alone {
        return Err("write its scheme and host alone, such as \"https://app.example\"");
    }
    Ok(match url.origin() {
        origin @ Origin::Tuple(..) => origin.ascii_serialization(),
        // Of extensions and the like.
        Origin::Opaque(_) => {
            let port = url.port().map(|port| format!(":{port}"));
            format!("{}://{host}{}", url.scheme(), port.unwrap_or_default())
        }
    })
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Refuses a request that names another host than the listener at `local`.
pub(super) fn check_host(
    request: &HttpRequest,
    local: IpAddr,
    hosts: &[String],
) -> Result<(), Refusal> {
    let mut named = request.headers().get_all(header::HOST);
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    };
    // A proxy's form of a request names it once more.
    let authority = request.uri().authority();
    let is_ours = is_ours(without_port(host), local, hosts)
        && authority.is_none_or(|authority| is_ours(authority.host(), local, hosts));
    match is_ours {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "the Host of this request is not one of this relay's: name it in `hosts` of its configuration, or with --allow-host",
        )),
    }
}

fn is_ours(host: &str, local: IpAddr, hosts: &[String]) -> bool {
    if let Ok(address) = without_brackets(host).parse::<IpAddr>() {
        let is_at_home = address.is_loopback() && local.is_loopback();
        // One of who forwards to here may be named.
        let is_named = || hosts.contains(&address.to_string());
        // An address is no name, so nobody can bind it anew.
        return address == local || local.is_unspecified() || is_at_home || is_named();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is = |known: &str| !host.is_empty() && host.eq_ignore_ascii_case(known);
    is("localhost") || hosts.iter().any(|known| is(known))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses a request of another origin's page.
pub(super) fn check_origin(request: &HttpRequest, origins: &[String]) -> Result<(), Refusal> {
    let headers = request.headers();
    let is_allowed = match headers.get(header::ORIGIN) {
        // No browser says two.
        _ if headers.get_all(header::ORIGIN).count() > 1 => false,
        Some(origin) => is_same_origin(headers, origin) || named(headers, origins).is_some(),
        // Old browsers do not say; a link to the page may be followed from anywhere.
        None => {
            let is = |name, value: &str| headers.get(name).is_some_and(|said| said == value);
            let is_foreign = is(FETCH_SITE, "cross-site") || is(FETCH_SITE, "same-site");
            !is_foreign || is(FETCH_MODE, "navigate")
        }
    };
    match is_allowed {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not use this relay: name it in `origins` of its configuration, or with --allow-origin",
        )),
    }
}

/// Whether the page came from here: over HTTP, or HTTPS of who stands in front.
fn is_same_origin(headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return false;
    };
    ["http://", "https://"].iter().any(|scheme| {
        let said = origin.as_bytes().strip_prefix(scheme.as_bytes());
        said == Some(host.as_bytes())
    })
}

/// The origin of a request, if it is one of these: exactly.
pub(super) fn named(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_named = origins.iter().any(|known| origin == known.as_str());
    is_named.then(|| origin.clone())
}

/// The answer to a browser that asks whether a named origin's page may ask.
pub(super) fn preflight(request: &HttpRequest) -> Option<HttpResponse> {
    let headers = request.headers();
    let is_preflight = request.method() == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return None;
    }
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"));
    response.insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"));
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
    }
    response.insert_header((ALLOW_PRIVATE_NETWORK, "true"));
    Some(response.finish())
}

/// Lets the page of a named origin read an answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("*"),
    );
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_host_or_origin_says_what_to_write() {
        for (text, name) in [
            ("Relay.Internal", Some("relay.internal")),
            (" relay_1 ", Some("relay_1")),
            ("[2001:DB8::1]", Some("2001:db8::1")),
            ("203.0.113.7", Some("203.0.113.7")),
            ("", None),
            ("*", None),
            ("*.internal", None),
            ("http://x", None),
            ("x:80", None),
            ("203.0.113.7:80", None),
            ("x.", Some("x")),
            (".", None),
            ("x..", None),
            (".x", None),
            ("x/y", None),
        ] {
            let found = host_name(text);
            assert_eq!(found.as_deref().ok(), name, "{text}");
            assert!(found.is_ok() || found.unwrap_err().contains("write "));
        }
        for (text, origin) in [
            ("https://app.example", Some("https://app.example")),
            ("HTTPS://App.Example:443/", Some("https://app.example")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            (
                "https://b\u{fc}cher.example",
                Some("https://xn--bcher-kva.example"),
            ),
            ("chrome-extension://abcd", Some("chrome-extension://abcd")),
            ("tauri://localhost", Some("tauri://localhost")),
            ("*", None),
            ("https://*.example", None),
            ("null", None),
            ("app.example", None),
            ("app.example:443", None),
            ("localhost:3000", None),
            ("File://", Some("file://")),
            ("file:///x", None),
            ("https://app.example/path", None),
            ("https://app.example?x", None),
            ("https://ada:hunter2@app.example", None),
            ("", None),
        ] {
            let found = page_origin(text);
            assert_eq!(found.as_deref().ok(), origin, "{text}");
            assert!(found.is_ok() || found.unwrap_err().contains("write "));
        }
    }

    #[test]
    fn a_named_address_is_one_by_which_another_forwards() {
        let local = "172.17.0.2".parse().unwrap();
        let hosts = ["203.0.113.7", "2001:db8::1"].map(str::to_owned);
        for (host, is) in [
            ("203.0.113.7:80", true),
            ("[2001:DB8::1]:80", true),
            ("203.0.113.8", false),
        ] {
            assert_eq!(is_ours(without_port(host), local, &hosts), is, "{host}");
        }
        // What is no name is none.
        assert!(!is_ours("", local, &[String::new()]));
    }

    #[test]
    fn a_host_is_compared_whole() {
        let hosts = ["relay.internal".to_owned()];
        for (host, local, is) in [
            ("127.0.0.1:8484", "127.0.0.1", true),
            ("[::1]:8484", "127.0.0.1", true),
            ("localhost", "::1", true),
            ("LocalHost:1", "127.0.0.1", true),
            ("relay.internal:8484", "0.0.0.0", true),
            ("10.1.2.3", "0.0.0.0", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "127.0.0.1", false),
            ("127.0.0.1", "10.1.2.3", false),
            ("localhost.evil.example", "127.0.0.1", false),
            ("127.0.0.1.evil.example", "127.0.0.1", false),
            ("evil.relay.internal", "127.0.0.1", false),
            ("relay.internal.", "127.0.0.1", true),
            ("relay.internal..", "127.0.0.1", false),
            ("evil.example", "0.0.0.0", false),
            ("", "127.0.0.1", false),
        ] {
            let local = local.parse().unwrap();
            assert_eq!(
                is_ours(without_port(host), local, &hosts),
                is,
                "{host} {local}"
            );
        }
    }
}
