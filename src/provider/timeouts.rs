//! How long each part of a request may take.

use std::time::Duration;

use crate::protocol::error::ApiError;

/// How long each part of an attempt may take. `None` is no limit.
///
/// There is no limit on the whole by default, because an answer of any length is fine while it keeps coming: that it does is
/// what [`idle`](Self::idle) watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Resolving the host and connecting, together; then the TLS handshake, as much again. 5 s: a round trip takes less than
    /// a second anywhere, and a lost packet is sent again after one and after three.
    pub connect: Duration,
    /// From the request being ready until the head of a streaming response, connecting included. 300 s: hosted servers answer
    /// within a second, but a local one loads its model first.
    pub response_head: Duration,
    /// The same for a compaction, whose head comes when the whole answer is done. 600 s: it reads the longest inputs there are.
    pub compaction_head: Duration,
    /// An answer in one piece ([`InOnePiece`](crate::actors::InOnePiece)), from the request being ready to its last byte, connecting
    /// included. 600 s: nothing comes before all of it is there, and the API's own packages wait as long.
    pub whole_answer: Duration,
    /// From the response's head until the first event that changes the answer, such as the one that begins it; signs of life do not
    /// count. None: how long a model thinks before it says anything has no bound.
    pub first_event: Option<Duration>,
    /// Without a single byte of the body, comments included. 300 s: servers send a comment every 15 s or so; proxies that
    /// sit between give up sooner and close.
    pub idle: Duration,
    /// Without an event that changes the answer; comments, `ping`, `keepalive`, a repeated `in_progress` and empty pieces do not count.
    /// None: a server that keeps the connection alive says that it is still at work.
    pub progress: Option<Duration>,
    /// Behind a `finish_reason` on the Chat wire, for what may follow it: the usage, `[DONE]`, and from some gateways the rest of
    /// the answer. What comes of these begins the time anew, up to 30 s in all; then the answer counts as whole.
    /// 5 s: gateways that count tokens themselves take up to some seconds. Zero waits for nothing.
    pub trailer: Duration,
    /// The request with all its attempts and the waits between them. None: see above.
    pub total: Option<Duration>,
}

with_fields!(Timeouts {
    with_connect(connect: Duration),
    with_response_head(response_head: Duration),
    with_compaction_head(compaction_head: Duration),
    with_whole_answer(whole_answer: Duration),
    with_first_event(first_event: impl Into<Option<Duration>> => first_event.into()),
    with_idle(idle: Duration),
    with_progress(progress: impl Into<Option<Duration>> => progress.into()),
    with_trailer(trailer: Duration),
    with_total(total: impl Into<Option<Duration>> => total.into()),
});

/// How long the first `finish_reason` of a Chat stream may lie back while more comes, before the answer counts as whole. 30 s: no
/// gateway is known that goes on for longer, and a server that repeats a chunk for ever must end.
pub(crate) const MAX_TRAILER: Duration = Duration::from_secs(30);

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(300),
            compaction_head: Duration::from_secs(600),
            whole_answer: Duration::from_secs(600),
            first_event: None,
            idle: Duration::from_secs(300),
            progress: None,
            trailer: Duration::from_secs(5),
            total: None,
        }
    }
}

impl Timeouts {
    /// Checks that each limit lets something happen.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when one is zero, which would fail every request; the message names it.
    pub fn validate(&self) -> Result<(), ApiError> {
        let limits = [
            ("connect", Some(self.connect)),
            ("response_head", Some(self.response_head)),
            ("compaction_head", Some(self.compaction_head)),
            ("whole_answer", Some(self.whole_answer)),
            ("first_event", self.first_event),
            ("idle", Some(self.idle)),
            ("progress", self.progress),
            ("total", self.total),
        ];
        for (name, limit) in limits {
            if limit == Some(Duration::ZERO) {
                let message = format!("timeout `{name}` is zero, so no request could succeed");
                return Err(ApiError::misconfigured(message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorKind;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Timeouts::default().validate(), Ok(()));
    }

    #[test]
    fn zero_is_refused_by_name() {
        type Set = fn(&mut Timeouts);
        let fields: [(&str, Set); 8] = [
            ("connect", |t| t.connect = Duration::ZERO),
            ("response_head", |t| t.response_head = Duration::ZERO),
            ("compaction_head", |t| t.compaction_head = Duration::ZERO),
            ("whole_answer", |t| t.whole_answer = Duration::ZERO),
            ("first_event", |t| t.first_event = Some(Duration::ZERO)),
            ("idle", |t| t.idle = Duration::ZERO),
            ("progress", |t| t.progress = Some(Duration::ZERO)),
            ("total", |t| t.total = Some(Duration::ZERO)),
        ];
        for (name, set) in fields {
            let mut timeouts = Timeouts::default();
            set(&mut timeouts);
            let error = timeouts.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.message().contains(&format!("`{name}`")), "{error}");
        }
    }
}
