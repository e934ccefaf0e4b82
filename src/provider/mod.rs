//! One endpoint: how to ask it, and an embedded one to ask.

mod auth;
mod awc_transport;
#[cfg(feature = "toml")]
mod catalog;
mod compression;
mod dial;
mod early_answer;
mod endpoint;
mod framing;
pub mod loopback;
mod presets;
mod proxy;
mod redaction;
mod settings;
mod timeouts;
mod tls;
mod transport;

pub use auth::{AuthError, AuthProvider, AuthRequest, BearerAuth, HeaderAuth, NoAuth, Secret};
pub use awc_transport::{AwcTransport, AwcTransportFactory};
#[cfg(feature = "toml")]
pub use catalog::ProviderCatalog;
pub use compression::RequestCompression;
pub use endpoint::{Accept, Provider, Quirks};
pub use loopback::{Loopback, LoopbackOptions};
pub use presets::Preset;
pub use proxy::ProxyConfig;
pub(crate) use redaction::{secrets_in_headers, secrets_in_query};
pub use settings::ProviderSettings;
pub use timeouts::{DrainLimits, MAX_TRAILER, Timeouts};
pub use tls::{TlsConfig, TlsRoots};
pub use transport::{
    BodyStream, Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse,
};
