//! Where responses are that a server keeps.

use std::fmt::Write as _;

use url::Url;

use super::Provider;
use crate::{
    json::excerpt::excerpt,
    protocol::error::{ApiError, ErrorKind, Phase},
    wire::Wire,
};

/// The longest id of a response; gateways make them of some 500 characters.
const MAX_ID_BYTES: usize = 1024;

impl Provider {
    /// The URL of a response that the server keeps: `responses/{id}`, and what is behind that. The id is one segment of the path,
    /// whatever it holds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for what can be no id: nothing, `.` and `..`, which name other places, and more than 1,024 bytes.
    /// [`ErrorKind::InvalidConfiguration`] over the Chat wire, which keeps no responses.
    pub(crate) fn response_url(
        &self,
        id: &str,
        below: &str,
        query: &[(&str, &str)],
    ) -> Result<Url, ApiError> {
        if self.wire != Wire::Responses {
            let message = "responses are kept over the Responses API alone".to_owned();
            return Err(ApiError::misconfigured(message));
        }
        if matches!(id, "" | "." | "..") || id.len() > MAX_ID_BYTES {
            let message = format!("{:?} is no id of a response", excerpt(id));
            let error = ApiError::new(ErrorKind::InvalidRequest, message);
            return Err(error.with_phase(Phase::Prepare));
        }
        let mut path = String::from("responses/");
        for byte in id.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    path.push(char::from(byte));
                }
                // It can't fail: it is a `String`.
                _ => drop(write!(path, "%{byte:02X}")),
            }
        }
        path += below;
        Ok(self.url_for(&path, query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_of_the_path_whatever_it_holds() {
        let provider = Provider::new("test", "https://host/v1?api-version=1").unwrap();
        for (id, path) in [
            ("resp_0a-b.c~d", "/v1/responses/resp_0a-b.c~d/cancel"),
            ("../models", "/v1/responses/..%2Fmodels/cancel"),
            ("a/b?c#d", "/v1/responses/a%2Fb%3Fc%23d/cancel"),
            ("%2e%2e", "/v1/responses/%252e%252e/cancel"),
            ("a b\\\u{e9}", "/v1/responses/a%20b%5C%C3%A9/cancel"),
        ] {
            let url = provider.response_url(id, "/cancel", &[("x", "1")]).unwrap();
            assert_eq!((url.path(), url.query()), (path, Some("api-version=1&x=1")));
        }
        for id in ["", ".", "..", &"a".repeat(MAX_ID_BYTES + 1)] {
            let error = provider.response_url(id, "", &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
        let chat = provider.with_wire(Wire::Chat);
        let error = chat.response_url("resp_1", "", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}
