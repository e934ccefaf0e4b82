//! What an endpoint is: where it is, how it authenticates, how long things may take, and what it wants differently.

mod auth;
#[cfg(feature = "toml")]
mod catalog;
mod compression;
mod endpoint;
mod presets;
mod settings;
mod timeouts;
mod turn_state;

pub use crate::transport::DrainLimits;
pub use auth::{AuthError, AuthProvider, AuthRequest, BearerAuth, HeaderAuth, NoAuth};
#[cfg(feature = "toml")]
pub use catalog::ProviderCatalog;
pub use compression::RequestCompression;
pub use endpoint::{Accept, Provider, Quirks};
pub use presets::Preset;
pub use settings::ProviderSettings;
pub use timeouts::{MAX_TRAILER, Timeouts};
pub use turn_state::TurnState;
