//! Headers, both ways. actix-web has the types of an older `http` than this crate: here alone they meet.

use actix_web::{
    HttpResponseBuilder,
    http::{
        StatusCode as ClientStatus,
        header::{
            HeaderMap as ClientHeaders, HeaderName as ClientName, HeaderValue as ClientValue,
        },
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    access::{Access, Client},
    routing::{KEY_HEADERS, Target},
};
use crate::protocol::ResponseHead;

/// What concerns one connection alone, or how a body came over it.
const OF_THE_CONNECTION: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What a client says to this service, or its browser, and not to the server.
const FOR_US: [&str; 8] = [
    "accept",
    "accept-encoding",
    "content-type",
    "cookie",
    "date",
    "origin",
    "proxy-authorization",
    "referer",
];

/// What would be a command to a proxy in front, or to a browser, and says nothing of an answer.
const OF_A_WEB_SERVER: [&str; 7] = [
    "clear-site-data",
    "content-type",
    "location",
    "refresh",
    "set-cookie",
    "set-cookie2",
    "x-sendfile",
];

/// What goes to the server of what a client sent. Its key goes where the relay has none of its own, and a token of this relay nowhere.
pub(super) fn to_server(client: &ClientHeaders, target: &Target, access: &Access) -> HeaderMap {
    let named: Vec<String> = tokens(client, "connection");
    let provider = target.provider.headers();
    let has_key = !target.passes_key();
    let mut headers = HeaderMap::with_capacity(client.len());
    for (name, value) in client {
        let text = name.as_str();
        let stays = OF_THE_CONNECTION.contains(&text)
            || FOR_US.contains(&text)
            || named.iter().any(|named| named == text)
            || (has_key && KEY_HEADERS.contains(&text))
            || ["x-relay-", "sec-", "access-control-"]
                .iter()
                .any(|start| text.starts_with(start))
            // What the operator says of a server goes before what a client says.
            || provider.contains_key(text)
            || access.is_token(name, value);
        if stays {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(text.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whether a server knows by a key of the client's own whose its ids are. All who show no key are one client, to the relay and to it.
pub(super) fn goes_with_own_key(client: &Client, target: &Target, sent: &HeaderMap) -> bool {
    target.passes_key() && (*client == Client::Anonymous || has_key(sent))
}

/// Whether a client's own key is among what goes to a server.
pub(super) fn has_key(sent: &HeaderMap) -> bool {
    KEY_HEADERS.iter().any(|name| sent.contains_key(*name))
}

/// The names in a header that lists some.
fn tokens(headers: &ClientHeaders, name: &str) -> Vec<String> {
    let values = headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    names.map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// What goes to the client of a server's head, whatever it is: all but what concerns the connection, the body's own description, what is
/// said to a browser or a proxy, and who may read it in a browser, which this service says itself.
///
/// `model` is what the client asked for, where the server was asked for another: a client that sees another name takes it for a change of its account.
pub(super) fn to_client(
    head: &ResponseHead,
    model: Option<&str>,
) -> Vec<(ClientName, ClientValue)> {
    let mut named = Vec::new();
    for value in head.headers.get_all(http::header::CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        named.extend(names.map(|name| name.trim().to_ascii_lowercase()));
    }
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let text = name.as_str();
        let stays = OF_THE_CONNECTION.contains(&text)
            || OF_A_WEB_SERVER.contains(&text)
            || ["access-control-", "x-accel-", "x-relay-"]
                .iter()
                .any(|start| text.starts_with(start))
            || named.iter().any(|named| named == text);
        if stays {
            continue;
        }
        let value = match (text, model) {
            ("openai-model", Some(model)) => model.as_bytes(),
            _ => value.as_bytes(),
        };
        if let (Ok(name), Ok(value)) = (
            ClientName::from_bytes(text.as_bytes()),
            ClientValue::from_bytes(value),
        ) {
            headers.push((name, value));
        }
    }
    headers
}

/// Adds what a server's head brings.
pub(super) fn add_head(
    response: &mut HttpResponseBuilder,
    head: &ResponseHead,
    model: Option<&str>,
) {
    for (name, value) in to_client(head, model) {
        response.append_header((name, value));
    }
}

/// A status in the client's terms.
pub(super) fn status(status: u16) -> Option<ClientStatus> {
    ClientStatus::from_u16(status).ok()
}

/// The text of a client's header.
pub(super) fn text<'a>(headers: &'a ClientHeaders, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a client is the Codex CLI, or one of its kind: they retry by rules of their own.
pub(super) fn is_codex(headers: &ClientHeaders) -> bool {
    text(headers, "originator").is_some_and(|name| name.to_ascii_lowercase().contains("codex"))
}
