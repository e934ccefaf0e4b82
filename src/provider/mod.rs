//! One endpoint, and how to ask it.

mod transport;

pub use transport::{
    BodyStream, Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse,
};
