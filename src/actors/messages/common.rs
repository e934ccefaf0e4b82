//! What every request can be told, whatever it asks.

/// Methods for the fields that every request has, and its `Debug`, which shows these and those that are named, in place of what is asked and
/// of secrets.
macro_rules! with_request_fields {
    ($name:ident $(<$of:ident>)? { $($shown:ident: $($path:ident).+),* }) => {
        with_fields!(some of $name $(<$of>)? {
            with_provider(provider: std::sync::Arc<$crate::provider::Provider> => Some(provider)),
            with_headers(headers: http::HeaderMap),
            with_retry(retry: $crate::retry::RetryPolicy => Some(retry)),
            with_label(label: impl Into<$crate::protocol::Id> => Some(label.into())),
            with_observer(observer: impl $crate::actors::Observer => Some(std::sync::Arc::new(observer))),
            with_span(span: tracing::Span),
        });

        impl $(<$of>)? $name $(<$of>)? {
            /// Sets a header of this request alone, in place of one of that name.
            ///
            /// # Errors
            /// When it is no header, or one that the transport sets.
            pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, $crate::protocol::error::ApiError> {
                let (name, value) = $crate::provider::checked_header(name, value)?;
                self.headers.insert(name, value);
                Ok(self)
            }
        }

        /// What is asked, and secrets, are left out.
        impl $(<$of: std::fmt::Debug>)? std::fmt::Debug for $name $(<$of>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($shown), &self.$($path).+))*
                    .field("provider", &self.provider)
                    .field("headers", &$crate::secret::redaction::RedactedHeaders(&self.headers))
                    .field("retry", &self.retry)
                    .field("label", &self.label)
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use with_request_fields;
