//! Passing a trace on to the server.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use http::HeaderMap;
use tracing::Span;

/// Writes the context of a span into headers, such as `traceparent` and `tracestate` of W3C Trace Context, so that the server's spans
/// become part of the caller's trace. Set as [`SupervisorConfig::propagator`](crate::actors::SupervisorConfig::propagator); without one,
/// nothing is sent.
///
/// ```
/// use actix_responses::{actors::SupervisorConfig, http::HeaderMap, provider::Provider, telemetry::Propagator, tracing::Span};
///
/// #[derive(Debug)]
/// struct TraceContext;
///
/// impl Propagator for TraceContext {
///     fn inject(&self, span: &Span, headers: &mut HeaderMap) {
///         // With tracing-opentelemetry, opentelemetry_sdk and opentelemetry-http:
///         // TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
///         # let _ = (span, headers);
///     }
/// }
///
/// let config = SupervisorConfig::new(Provider::openai()).with_propagator(TraceContext);
/// # let _ = config;
/// ```
pub trait Propagator: fmt::Debug + Send + Sync {
    /// Writes the context of an attempt's span into `headers`, which are empty. It is called on a worker's thread for each attempt
    /// and each redirect. The span is disabled, and names no trace, where a filter leaves it out: spans have the level INFO.
    ///
    /// A header that the request has already is not replaced: what the caller, the provider or its auth has set goes before this. After a
    /// panic here the attempt is sent without.
    fn inject(&self, span: &Span, headers: &mut HeaderMap);
}

/// Adds what the propagator says of an attempt's span to the headers that it is sent with.
pub(crate) fn inject(propagator: Option<&dyn Propagator>, span: &Span, headers: &mut HeaderMap) {
    let Some(propagator) = propagator else {
        return;
    };
    let mut injected = HeaderMap::new();
    let injecting = AssertUnwindSafe(|| propagator.inject(span, &mut injected));
    if catch_unwind(injecting).is_err() {
        tracing::error!(
            "the propagator panicked: the attempt is sent without the headers of its trace"
        );
        return;
    }
    for name in injected.keys() {
        if !headers.contains_key(name) {
            for value in injected.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}
