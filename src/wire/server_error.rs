//! stub
use crate::error::*;
pub(crate) struct ServerError;
impl ServerError {
    pub(crate) fn from_json(_: &serde_json::Value) -> Option<Self> {
        None
    }
    pub(crate) fn into_api_error(self, _: Option<u16>) -> ApiError {
        ApiError::new(ErrorKind::ServerError, "")
    }
}
