//! What every request can be told, whatever it asks.

/// Methods for the fields that every request has.
macro_rules! with_request_fields {
    ([$($generics:tt)*] $name:ty) => {
        impl $($generics)* $name {
            /// Sets where it goes.
            #[must_use]
            pub fn with_provider(mut self, provider: std::sync::Arc<$crate::provider::Provider>) -> Self {
                self.provider = Some(provider);
                self
            }

            /// Sets headers of this request alone.
            #[must_use]
            pub fn with_headers(mut self, headers: http::HeaderMap) -> Self {
                self.headers = headers;
                self
            }

            /// Sets a header of this request alone, in place of one of that name.
            ///
            /// # Errors
            /// When it is no header, or one that the transport sets.
            pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, $crate::protocol::error::ApiError> {
                let (name, value) = $crate::provider::checked_header(name, value)?;
                self.headers.insert(name, value);
                Ok(self)
            }

            /// Sets when it is tried again.
            #[must_use]
            pub fn with_retry(mut self, retry: $crate::retry::RetryPolicy) -> Self {
                self.retry = Some(retry);
                self
            }

            /// Sets what it is called in notices and lists; more than 128 characters are cut.
            #[must_use]
            pub fn with_label(mut self, label: impl Into<$crate::protocol::Id>) -> Self {
                self.label = Some(label.into());
                self
            }

            /// Sets who is told what becomes of it: a closure, the recipient of an actor, or another [`Observer`](crate::actors::Observer).
            #[must_use]
            pub fn with_observer(mut self, observer: impl $crate::actors::Observer) -> Self {
                self.observer = Some(std::sync::Arc::new(observer));
                self
            }

            /// Sets the span that this one's is a child of, instead of the one in which it was made; none with [`Span::none`](tracing::Span::none).
            #[must_use]
            pub fn with_span(mut self, span: tracing::Span) -> Self {
                self.span = span;
                self
            }
        }
    };
}
pub(super) use with_request_fields;
