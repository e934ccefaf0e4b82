//! What is asked of a server about an answer. Ids that this relay does not know, of the one server that may know them: with the client's own key,
//! which says whose they are. What becomes of an answer of this relay's, of the server that made it: with the key that made it.

use std::{cell::OnceCell, mem, rc::Rc, time::Duration};

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::timeout;
use url::form_urlencoded;

use super::{
    failure, headers,
    routing::{KEY_HEADERS, Maker},
    shared::Shared,
};
use crate::{
    ApiError, ErrorKind,
    protocol::ResponseHead,
    provider::{AuthRequest, Provider},
    transport::{
        BodyStream, Transport, TransportError, TransportErrorKind, TransportRequest,
        TransportResponse,
    },
    wire::Wire,
};

/// The longest id that is passed on; some gateways make them of 500 characters.
const MAX_ID_CHARS: usize = 1024;

/// What a worker's thread asks with, once it has.
#[derive(Default)]
pub(super) struct Upstream(OnceCell<Rc<dyn Transport>>);

impl Upstream {
    fn transport(&self, shared: &Shared) -> Result<Rc<dyn Transport>, TransportError> {
        if let Some(transport) = self.0.get() {
            return Ok(transport.clone());
        }
        let transport = shared.runtime.transport()?;
        Ok(self.0.get_or_init(|| transport).clone())
    }
}

/// The server's answer to a request about a response, or nothing where there is none that could know it: it is for the client's own key alone, and for
/// the only server that is asked with such keys.
pub(super) async fn about(
    request: &HttpRequest,
    shared: &Shared,
    id: &str,
) -> Option<HttpResponse> {
    let table = shared.routes();
    let targets = table.routes().iter().flat_map(|route| &route.targets);
    let mut targets = targets.filter(|it| it.provider.wire == Wire::Responses && it.passes_key());
    let target = targets.next()?;
    let is_only = targets.all(|other| other.provider.name() == target.provider.name());
    let sent = headers::to_server(request.headers(), target, &shared.access);
    if !is_only || !headers::has_key(&sent) || !is_id(id) {
        return None;
    }
    Some(
        ask(request, shared, id, &target.provider, sent)
            .await
            .unwrap_or_else(|error| failure::respond(&error, None)),
    )
}

/// The status that the server answers with which made something, or nothing where no route leads to it any more.
pub(super) async fn to_maker(
    request: &HttpRequest,
    shared: &Shared,
    id: &str,
    maker: &Maker,
) -> Option<Result<StatusCode, ApiError>> {
    let table = shared.routes();
    let targets = table.routes().iter().flat_map(|route| &route.targets);
    let mut targets = targets.filter(|target| target.provider.wire == Wire::Responses);
    let made = targets.find_map(|target| Some((target, target.made_with(maker, true)?)));
    let (target, provider) = made.filter(|_| is_id(id))?;
    let sent = headers::to_server(request.headers(), target, &shared.access);
    // Its body is not for clients: it may quote a key of ours.
    let said = ask(request, shared, id, &provider, sent).await;
    Some(said.map(|said| StatusCode::from_u16(said.status().as_u16()).unwrap_or_default()))
}

/// Whether it can stand in a path and is nothing else there.
fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+~".contains(&byte);
    id.len() <= MAX_ID_CHARS && id.bytes().all(is_plain) && id.bytes().any(|byte| byte != b'.')
}

async fn ask(
    request: &HttpRequest,
    shared: &Shared,
    id: &str,
    provider: &Provider,
    mut sent: HeaderMap,
) -> Result<HttpResponse, ApiError> {
    let upstream = request.app_data::<Upstream>();
    let transport = match upstream {
        Some(upstream) => upstream.transport(shared)?,
        None => shared.runtime.transport()?,
    };
    let path = request.path().trim_end_matches('/');
    let below = ["/cancel", "/input_items"]
        .into_iter()
        .find(|below| path.ends_with(below));
    let query: Vec<_> = form_urlencoded::parse(request.query_string().as_bytes()).collect();
    let query: Vec<_> = query
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let is_stream = query.contains(&("stream", "true"));
    let accept = if is_stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    sent.insert(http::header::ACCEPT, HeaderValue::from_static(accept));
    for (name, value) in provider.headers() {
        sent.insert(name, value.clone());
    }
    let path = format!("responses/{id}{}", below.unwrap_or_default());
    let url = provider.url_for(&path, &query);
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let mut signed = AuthRequest::new(url.clone());
    (signed.method, signed.headers) = (method.clone(), sent);
    let asked = async {
        let own = provider.auth.headers(&signed).await?;
        let mut headers = mem::take(&mut signed.headers);
        headers.extend(own);
        for name in KEY_HEADERS {
            if let Some(key) = headers.get_mut(name) {
                key.set_sensitive(true);
            }
        }
        let request = TransportRequest {
            request: "relay".to_owned(),
            attempt: 1,
            method,
            url,
            headers,
            body: Bytes::new(),
            connect_timeout: provider.timeouts.connect,
            may_be_repeated: request.method().is_safe(),
        };
        Ok::<_, ApiError>(transport.send(request).await?)
    };
    let late = || {
        ApiError::new(
            ErrorKind::ResponseHeadTimeout,
            "the server did not answer in time",
        )
    };
    let answer = timeout(provider.timeouts.response_head, asked)
        .await
        .map_err(|_| late())??;
    let TransportResponse {
        status,
        headers: received,
        body,
    } = answer;
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(ApiError::new(
            ErrorKind::UnexpectedStatus,
            "the server redirects, which is not followed: the key would go along",
        ));
    }
    let mut head = ResponseHead::new(status);
    head.headers = received;
    let status = headers::status(status.as_u16()).unwrap_or_default();
    let mut response = HttpResponse::build(status);
    headers::add_head(&mut response, &head, None);
    if let Some(kind) = head.header("content-type") {
        response.content_type(kind);
    }
    Ok(response.streaming(passed_on(body, provider.timeouts.idle)))
}

/// A body as it comes. One that breaks, or rests for too long, ends as one that is cut.
fn passed_on(
    body: BodyStream,
    idle: Duration,
) -> impl futures_core::Stream<Item = Result<Bytes, TransportError>> {
    stream::try_unfold(body, move |mut body| async move {
        use futures_util::TryStreamExt as _;
        let silent = |_| TransportError::new(TransportErrorKind::Body, "the server fell silent");
        let chunk = timeout(idle, body.try_next()).await.map_err(silent)??;
        Ok(chunk.map(|chunk| (chunk, body)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_nothing_else_in_a_path() {
        for id in ["resp_1", "relay_0f", "resp_bGl0ZWxsbTo=", "a.b"] {
            assert!(is_id(id), "{id}");
        }
        let long = "x".repeat(MAX_ID_CHARS + 1);
        for id in [
            "", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a\\b", "a b", "ä", &long,
        ] {
            assert!(!is_id(id), "{id}");
        }
    }
}
