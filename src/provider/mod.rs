//! What an endpoint is: where it is, how it authenticates, how long things may take, and what it wants differently.

mod auth;
#[cfg(feature = "toml")]
mod catalog;
mod compression;
mod endpoint;
mod headers;
mod kept;
mod presets;
mod settings;
mod stream_transport;
mod timeouts;
mod turn_state;

pub use auth::{AuthError, AuthProvider, AuthRequest, BearerAuth, HeaderAuth, NoAuth};
#[cfg(feature = "toml")]
pub use catalog::ProviderCatalog;
pub use compression::RequestCompression;
pub use endpoint::Provider;
pub(crate) use headers::{Accept, add_auth, checked_header};
pub use presets::Preset;
pub use settings::ProviderSettings;
pub use stream_transport::StreamTransport;
pub(crate) use timeouts::MAX_TRAILER;
pub use timeouts::Timeouts;
pub(crate) use turn_state::TURN_STATE;
pub use turn_state::TurnState;
