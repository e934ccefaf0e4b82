//! Finding out that a peer is gone, from a connection that lies still.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How a connection is probed that nothing comes on. A peer that is gone, or a network that has forgotten the connection, is
/// found by that, also where a model thinks for minutes.
///
/// It holds for the connection to a proxy too. What a platform can not set is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// After how long the first probe is sent; zero sends none, nor does more than the 9 hours that Linux takes. Default 60 s, below the time after which most middleboxes forget
    /// a connection (100 s at the earliest of those seen, 350 s at AWS).
    pub idle: Duration,
    /// How long after a probe without an answer the next one is sent. Default 15 s.
    pub interval: Duration,
    /// How many probes without an answer end the connection. Default 3.
    pub probes: u32,
    /// How long bytes that were sent may go without an acknowledgement (`TCP_USER_TIMEOUT`, Linux alone); zero leaves it to the
    /// system, which tries for a quarter of an hour. Default 30 s.
    pub user_timeout: Duration,
}

with_fields!(KeepAlive {
    with_idle(idle: Duration),
    with_interval(interval: Duration),
    with_probes(probes: u32),
    with_user_timeout(user_timeout: Duration),
});

/// The longest times that Linux takes: 15 bits of seconds, and 31 bits of milliseconds.
const MAX_IDLE: Duration = Duration::from_secs(i16::MAX as u64);
const MAX_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            probes: 3,
            user_timeout: Duration::from_secs(30),
        }
    }
}

impl KeepAlive {
    /// Sets the options of a connection. It works without them, so what can't be set is logged and no more.
    pub(super) fn apply(self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if !self.idle.is_zero()
            && self.idle <= MAX_IDLE
            && let Err(error) = socket.set_tcp_keepalive(&self.probing())
        {
            tracing::debug!(%error, "can't set TCP keepalive");
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if !self.user_timeout.is_zero()
            && let Err(error) =
                socket.set_tcp_user_timeout(Some(self.user_timeout.min(MAX_USER_TIMEOUT)))
        {
            tracing::debug!(%error, "can't set TCP_USER_TIMEOUT");
        }
    }

    fn probing(self) -> TcpKeepalive {
        let probing = TcpKeepalive::new().with_time(self.idle);
        #[cfg(any(
            target_os = "linux",
            target_os = "android",
            target_os = "macos",
            target_os = "freebsd"
        ))]
        let probing = probing
            .with_interval(self.interval)
            .with_retries(self.probes);
        probing
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[actix_rt::test]
    async fn options_are_set_and_zero_leaves_them_and_no_time_is_too_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let both = |time| KeepAlive {
            idle: time,
            user_timeout: time,
            ..KeepAlive::default()
        };
        for (keep_alive, probes, user_timeout) in [
            (KeepAlive::default(), true, Some(Duration::from_secs(30))),
            (both(Duration::ZERO), false, None),
            (both(Duration::MAX), false, Some(MAX_USER_TIMEOUT)),
        ] {
            let stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            keep_alive.apply(&stream);
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().unwrap(), probes);
            #[cfg(target_os = "linux")]
            if probes {
                assert_eq!(
                    socket.tcp_keepalive_time().unwrap(),
                    Duration::from_secs(60)
                );
                assert_eq!(
                    socket.tcp_keepalive_interval().unwrap(),
                    Duration::from_secs(15)
                );
                assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            }
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), user_timeout);
        }
    }
}
