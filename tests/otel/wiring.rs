//! What a program writes to have the spans of its requests with a collector.

use std::{
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    pin::Pin,
    time::Duration,
};

use actix_responses::{http::HeaderMap, telemetry::Propagator};
use opentelemetry::{Array, Value, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_http::{Bytes, HeaderInjector, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// Sends the spans of this process to a collector.
pub(crate) fn send_spans_to(endpoint: String) -> SdkTracerProvider {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(endpoint)
        .with_http_client(OverTcp)
        .build();
    let exporter = WithLists(exporter.expect("an exporter"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tests"))
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    tracing_subscriber::registry().with(layer).init();
    provider
}

/// W3C Trace Context.
#[derive(Debug)]
pub(crate) struct TraceContext;

impl Propagator for TraceContext {
    fn inject(&self, span: &Span, headers: &mut HeaderMap) {
        let mut headers = HeaderInjector(headers);
        TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    }
}

/// Makes lists of the attributes that are lists by the conventions: `tracing` has none, so they come as JSON.
struct WithLists<E>(E);

const LISTS: [&str; 2] = [
    "gen_ai.request.stop_sequences",
    "gen_ai.response.finish_reasons",
];

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter
    for WithLists<E>
{
    async fn export(&self, mut spans: Vec<SpanData>) -> OTelSdkResult {
        for attribute in spans.iter_mut().flat_map(|span| &mut span.attributes) {
            if LISTS.contains(&attribute.key.as_str())
                && let Ok(list) = serde_json::from_str::<Vec<String>>(&attribute.value.as_str())
            {
                let list = list.into_iter().map(Into::into).collect();
                attribute.value = Value::Array(Array::String(list));
            }
        }
        self.0.export(spans).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E> fmt::Debug for WithLists<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithLists")
    }
}

/// The exporter's HTTP client, with a connection for each request: a program has the feature `reqwest-client` of opentelemetry-otlp in its place.
#[derive(Debug)]
struct OverTcp;

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OverTcp {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { Ok(post(request)?) })
    }
}

fn post(request: Request<Bytes>) -> io::Result<Response<Bytes>> {
    let authority = request
        .uri()
        .authority()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(authority.as_str())?;
    write!(
        stream,
        "POST {} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        request.uri().path(),
        request.body().len(),
    )?;
    stream.write_all(request.body())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let response = Response::builder().status(status).body(Bytes::new());
    response.map_err(io::Error::other)
}
