//! URLs as awc wants them.

use std::rc::Rc;

use awc::http::{Uri, header as awc_header};
use url::{Position, Url};

use super::errors::invalid_request;
use crate::transport::{TransportError, TransportErrorKind, connection::Peer};

/// A URL as awc wants it.
pub(super) struct Target {
    pub(super) url: Url,
    /// Always `http`: TLS is below awc.
    pub(super) uri: Uri,
    pub(super) host: awc_header::HeaderValue,
    pub(super) peer: Rc<Peer>,
}

impl Target {
    pub(super) fn new(url: Url) -> Result<Self, TransportError> {
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            scheme => {
                let message = format!("scheme {scheme:?} is neither http nor https");
                return Err(TransportError::new(
                    TransportErrorKind::InvalidRequest,
                    message,
                ));
            }
        };
        let host = url.host().map(|host| host.to_string()).unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let authority = format!("{host}:{port}");
        let path = &url[Position::BeforePath..Position::AfterQuery];
        // The URL is not shown: its query may hold a key.
        let unusable = || format!("can't send a request to this URL of {authority}");
        let uri = Uri::try_from(format!("http://{authority}{path}"))
            .map_err(|error| invalid_request(unusable(), error))?;
        let host = match url.port() {
            Some(_) => awc_header::HeaderValue::from_str(&authority),
            None => awc_header::HeaderValue::from_str(&host),
        };
        let host = host.map_err(|error| invalid_request(unusable(), error))?;
        Ok(Self {
            url,
            uri,
            host,
            peer: Rc::new(Peer {
                is_https,
                authority,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_is_named_with_its_port_and_the_host_as_its_url_has_it() {
        for (url, peer, host) in [
            ("https://host/v1?key=hunter2", "host:443", "host"),
            ("http://host:443/v1", "host:443", "host:443"),
            ("http://user:hunter2@host:8080/", "host:8080", "host:8080"),
            ("http://[::1]/", "[::1]:80", "[::1]"),
            ("https://[::1]/", "[::1]:443", "[::1]"),
        ] {
            let target = Target::new(Url::parse(url).unwrap()).unwrap();
            assert_eq!(
                (&*target.peer.authority, target.host.to_str().unwrap()),
                (peer, host)
            );
        }
        let error = Target::new(Url::parse("ws://host/").unwrap())
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "scheme \"ws\" is neither http nor https");
    }
}
