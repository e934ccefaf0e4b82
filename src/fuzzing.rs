//! What only the fuzz targets may reach: functions of this crate that read what a server sends and have no way in from outside.
//! It exists with `--cfg fuzzing` alone, which cargo-fuzz sets.

use std::time::SystemTime;

use http::HeaderMap;

use crate::{
    ApiError, retry,
    wire::{responses, server_error},
};

/// The error of a refused request, with the delay that its headers ask for.
pub fn refusal(status: u16, headers: &HeaderMap, body: &[u8], now: SystemTime) -> ApiError {
    let mut error = server_error::api_error_from_http(status, headers, body);
    let details = error.details_mut();
    details.retry_after = retry::delay_from_headers(headers, now).or(details.retry_after);
    error
}

/// An event's JSON is read alike by the walk over it and by the parser.
///
/// # Panics
/// When it is not.
pub fn walk(json: &str) {
    responses::check_walk(json);
}
