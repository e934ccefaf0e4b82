//! The limits of an event stream, and the errors of passing them. There are no others.

use std::error::Error;
use std::fmt;

/// How much an [`SseDecoder`](super::SseDecoder) accepts before it gives up on a stream.
///
/// The largest event OpenAI was seen to send has about 100 KB, an event with a generated image
/// several MB. The defaults of 32 MiB leave room above that, while a server that never ends a line
/// cannot fill the memory. Buffers grow only with what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SseLimits {
    /// Bytes of one line, without its terminator; a leading byte order mark counts. Also bounds
    /// `event` and `id`.
    pub max_line_bytes: usize,
    /// Bytes of the data of one event as received: the values of its `data` lines and the line
    /// feeds that join them.
    pub max_event_bytes: usize,
}

with_fields!(SseLimits {
    with_max_line_bytes(max_line_bytes: usize),
    with_max_event_bytes(max_event_bytes: usize),
});

impl Default for SseLimits {
    fn default() -> Self {
        Self {
            max_line_bytes: 32 * 1024 * 1024,
            max_event_bytes: 32 * 1024 * 1024,
        }
    }
}

/// Why decoding an event stream stopped.
///
/// Nothing a server can write is malformed: unknown fields are ignored and invalid UTF-8 is
/// replaced. Only size ends decoding. Trying again helps only if the server answers differently;
/// raising the limit helps if the answer was meant to be that large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A line has more than [`max_line_bytes`](SseLimits::max_line_bytes), comments and ignored
    /// fields included. Raised as soon as the limit is passed, before the line has ended and
    /// before the excess is buffered.
    LineTooLong {
        /// The limit that was passed, in bytes.
        limit: usize,
    },
    /// The data lines of one event have together more than
    /// [`max_event_bytes`](SseLimits::max_event_bytes).
    EventTooLarge {
        /// The limit that was passed, in bytes.
        limit: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { limit } => write!(
                formatter,
                "a line of the event stream is longer than {limit} bytes \
                 (raise SseLimits::max_line_bytes to accept it)"
            ),
            Self::EventTooLarge { limit } => write!(
                formatter,
                "the data of a server-sent event is larger than {limit} bytes \
                 (raise SseLimits::max_event_bytes to accept it)"
            ),
        }
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::DecodeError;

    #[test]
    fn each_message_names_its_limit_and_the_way_to_raise_it() {
        assert_eq!(
            DecodeError::LineTooLong { limit: 80 }.to_string(),
            "a line of the event stream is longer than 80 bytes \
             (raise SseLimits::max_line_bytes to accept it)"
        );
        assert_eq!(
            DecodeError::EventTooLarge { limit: 90 }.to_string(),
            "the data of a server-sent event is larger than 90 bytes \
             (raise SseLimits::max_event_bytes to accept it)"
        );
    }
}
