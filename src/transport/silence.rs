//! For tests: a server that says nothing.

use std::rc::Rc;

use futures_core::future::LocalBoxFuture;
use futures_util::stream;
use http::{HeaderMap, StatusCode};

use super::{Transport, TransportError, TransportFactory, TransportRequest, TransportResponse};

/// Answers with a head and nothing more.
pub(crate) struct Silence;

impl Transport for Silence {
    fn send(
        &self,
        _: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        Box::pin(async {
            Ok(TransportResponse {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Box::pin(stream::pending()),
            })
        })
    }
}

impl TransportFactory for Silence {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(Self))
    }
}
