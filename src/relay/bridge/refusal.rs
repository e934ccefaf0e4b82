//! What can't be carried over.

use crate::{ApiError, ErrorKind};

/// A 400, with the member of the body that it is about.
pub(super) fn invalid(message: &str, param: Option<&str>) -> ApiError {
    let mut error = ApiError::new(ErrorKind::InvalidRequest, message);
    error.details_mut().status = Some(400);
    error.details_mut().param = param.map(str::to_owned);
    error
}
