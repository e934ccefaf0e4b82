//! Who may ask, and whose a stream is.

mod client;
mod refusal;

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

pub(crate) use self::client::Client;
pub(super) use self::refusal::Refusal;
use super::Shared;

/// The gate of every route but the probes: `resource.wrap(from_fn(access::gate))`. It refuses who may not, answers preflights, and says
/// whose the request is; [`admit`] gives that to the handler.
pub(super) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let shared = request.app_data::<Data<Shared>>().cloned();
    let admitted = shared.map(|shared| admit(request.request(), &shared));
    match admitted {
        Some(Ok(client)) => {
            request.extensions_mut().insert(client);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Some(Err(refusal)) => Ok(request
            .into_response(refusal.respond())
            .map_into_right_body()),
        None => {
            let broken = HttpResponse::InternalServerError().finish();
            Ok(request.into_response(broken).map_into_right_body())
        }
    }
}

/// Whose a request is, if they may ask.
pub(super) fn admit(request: &HttpRequest, shared: &Shared) -> Result<Client, Refusal> {
    if let Some(client) = request.extensions().get::<Client>() {
        return Ok(client.clone());
    }
    let _ = shared;
    Ok(Client::of(request.headers()))
}
