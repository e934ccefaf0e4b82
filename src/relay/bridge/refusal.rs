//! What can't be carried over.

use crate::{ApiError, ErrorKind};

/// A 400, with the member of the body that it is about.
pub(super) fn invalid(message: &str, param: Option<&str>) -> ApiError {
    ApiError::new(ErrorKind::InvalidRequest, message).with_details(|details| {
        details.status = Some(400);
        details.param = param.map(str::to_owned);
    })
}
