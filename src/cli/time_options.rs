//! The options that say how long each thing may take.

use std::time::Duration;

use actix_responses::{duration::parse_limit, provider::Timeouts, transport::KeepAlive};
use clap::Args;

#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionOptions {
    /// How long a connection may lie still before it is probed; 0s or none sends no probes [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    tcp_keepalive: Option<Duration>,

    /// How long the peer may leave bytes without an acknowledgement, on Linux; 0s leaves it to the system, none is as long as it
    /// can count [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    tcp_user_timeout: Option<Duration>,
}

impl ConnectionOptions {
    /// How connections are probed.
    pub(super) fn keep_alive(self) -> KeepAlive {
        let mut keep_alive = KeepAlive::default();
        keep_alive.idle = self.tcp_keepalive.unwrap_or(keep_alive.idle);
        keep_alive.user_timeout = self.tcp_user_timeout.unwrap_or(keep_alive.user_timeout);
        keep_alive
    }
}

#[derive(Args)]
#[command(next_help_heading = "Timeouts (such as 500ms, 2s, 5m; none, or forever, is no limit)")]
pub(super) struct TimeoutOptions {
    /// To resolve the host and connect [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    connect_timeout: Option<Duration>,

    /// From the request until the head of the response [default: 5m, for `compact` 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    response_head_timeout: Option<Duration>,

    /// From the head of the response until the first event that changes the answer [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    first_event_timeout: Option<Duration>,

    /// Without a single byte [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    idle_timeout: Option<Duration>,

    /// Without an event that changes the answer, even if others keep the connection alive [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    progress_timeout: Option<Duration>,

    /// For what may follow Chat's finish reason, such as the usage; at most 30s in all [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    trailer_timeout: Option<Duration>,

    /// For the request with all its attempts [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    total_timeout: Option<Duration>,
}

impl TimeoutOptions {
    /// Puts those that are given in place of the provider's.
    pub(super) fn apply(&self, timeouts: &mut Timeouts) {
        timeouts.connect = self.connect_timeout.unwrap_or(timeouts.connect);
        // A compaction's head comes when it is done; who gives a time for the head means either.
        timeouts.compaction_head = self
            .response_head_timeout
            .unwrap_or(timeouts.compaction_head);
        timeouts.response_head = self.response_head_timeout.unwrap_or(timeouts.response_head);
        timeouts.first_event = self.first_event_timeout.or(timeouts.first_event);
        timeouts.idle = self.idle_timeout.unwrap_or(timeouts.idle);
        timeouts.progress = self.progress_timeout.or(timeouts.progress);
        timeouts.trailer = self.trailer_timeout.unwrap_or(timeouts.trailer);
        timeouts.total = self.total_timeout.or(timeouts.total);
    }
}
