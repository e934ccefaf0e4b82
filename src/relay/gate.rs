//! What every request passes before its handler.

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, StatusCode, Version, header},
    middleware::Next,
    web::Data,
};

use super::{
    access::{Access, Client, Refusal},
    shared::Shared,
};

/// The gate of every route but the probes: `resource.wrap(from_fn(gate::gate))`. It refuses who may not, answers preflights, and says
/// whose the request is; [`admit`] gives that to the handler.
pub(super) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(shared) = request.app_data::<Data<Shared>>().cloned() else {
        let broken = HttpResponse::InternalServerError().finish();
        return Ok(request.into_response(broken).map_into_right_body());
    };
    let access = &shared.access;
    let origin = access.named_origin(request.headers());
    let preflight = origin
        .as_ref()
        .and_then(|_| Access::preflight(request.request()));
    let mut response = match preflight {
        // It carries no token. The question behind it does.
        Some(preflight) => request.into_response(preflight).map_into_right_body(),
        None => match access.admit(request.request()) {
            // Its body would have no end.
            Ok(_) if wants_websocket(request.request()) => {
                request.into_response(over_http()).map_into_right_body()
            }
            Ok(client) => {
                request.extensions_mut().insert(client);
                next.call(request).await?.map_into_left_body()
            }
            Err(refusal) => {
                let response = refusal.respond();
                request.into_response(response).map_into_right_body()
            }
        },
    };
    if let Some(origin) = origin {
        Access::allow_origin(response.headers_mut(), origin);
    }
    let is_old = response.request().version() <= Version::HTTP_10;
    if is_old && response.response().body().size() == BodySize::Stream {
        // Who asks so knows no chunks: the body ends with the connection.
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

fn wants_websocket(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The answer to who asks for another protocol.
pub(super) fn over_http() -> HttpResponse {
    let message = "responses come over HTTP here: POST the request";
    let refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message);
    refusal.respond()
}

/// Whose a request is, if they may ask.
pub(super) fn admit(request: &HttpRequest, shared: &Shared) -> Result<Client, Refusal> {
    if let Some(client) = request.extensions().get::<Client>() {
        return Ok(client.clone());
    }
    shared.access.admit(request)
}
