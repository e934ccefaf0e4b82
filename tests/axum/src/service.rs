use actix_responses::{ApiError, Runtime, protocol::Prompt};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
    routing::post,
};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

/// `runtime` is of `Runtime::spawn`: its handle goes to every thread of tokio's.
pub fn service(runtime: Runtime) -> Router {
    Router::new().route("/ask", post(ask)).with_state(runtime)
}

/// What goes wrong before the first event is a status; what comes later, an event.
async fn ask(
    State(runtime): State<Runtime>,
    question: String,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, (StatusCode, Json<Value>)> {
    let prompt = Prompt::user(question).with_model("demo");
    let answer = runtime.stream(prompt).await.map_err(refused)?;
    // When the browser leaves, axum drops this stream, and with it the request upstream is cancelled.
    let events = answer.map(|event| match event {
        Ok(event) => Event::default().event(event.name()).json_data(&event),
        Err(error) => Event::default()
            .event("failed")
            .json_data(error.to_error_object()),
    });
    // The comments of a keep-alive find out that a browser has left while the model is silent.
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn refused(error: ApiError) -> (StatusCode, Json<Value>) {
    let status = error.http_status();
    let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, Json(error.to_error_object()))
}
