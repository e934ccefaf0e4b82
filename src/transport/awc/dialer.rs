//! How awc gets its connections.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use actix_service::Service;
use actix_tls::connect::{ConnectError as TcpConnectError, ConnectInfo, Connection as Connected};
use awc::http::Uri;
use futures_core::future::LocalBoxFuture;
use rustls::ClientConfig;
use tokio::sync::Notify;

use crate::transport::{
    TransportError, TransportErrorKind,
    connection::{Connection, Connections, Peer, Socket},
    dial::{dial, handshake},
    keep_alive::KeepAlive,
    proxy::{Authority, ProxyRules},
};

/// How long a connection may lie idle and still be used. Load balancers close theirs after 60 s (AWS) or later; closing first
/// avoids sending a request into a connection that is just being closed.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(50);

/// Opens connections for awc. Its errors travel inside an [`io::Error`], because awc's own can't hold them.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) tls: Option<Result<Arc<ClientConfig>, String>>,
    pub(super) proxy: Arc<ProxyRules>,
    pub(super) timeout: Duration,
    pub(super) keep_alive: KeepAlive,
    pub(super) shortage: Arc<Notify>,
    pub(super) connections: Rc<Connections>,
}

impl Service<ConnectInfo<Uri>> for Dialer {
    type Response = Connected<Uri, Connection>;
    type Error = TcpConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let uri = info.request().clone();
            let host = info.hostname().trim_matches(['[', ']']);
            match dialer.connect(Authority(host, info.port())).await {
                Ok(connection) => Ok(Connected::new(uri, connection)),
                Err(error) => Err(TcpConnectError::Io(io::Error::other(error))),
            }
        })
    }
}

impl Dialer {
    async fn connect(&self, target: Authority<'_>) -> Result<Connection, TransportError> {
        let is_https = self.tls.is_some();
        let tls =
            self.tls.clone().transpose().map_err(|message| {
                TransportError::new(TransportErrorKind::InvalidRequest, message)
            })?;
        let proxy = self.proxy.proxy_for(is_https, target.0, target.1)?;
        let stream = dial(target, proxy, self.timeout, self.keep_alive, &self.shortage).await?;
        let socket = match &tls {
            Some(tls) => Socket::Tls(Box::new(
                handshake(stream, target, tls, self.timeout).await?,
            )),
            None => Socket::Plain(stream),
        };
        let peer = Rc::new(Peer {
            is_https,
            authority: target.to_string(),
        });
        Ok(Connection::new(socket, peer, &self.connections))
    }
}
