//! One line on a terminal that says what is being waited for.

use std::time::Duration;

use actix_responses::{
    actors::{Milestone, RequestNotice},
    duration::format_duration,
};
use tokio::time::Instant;

use super::{harmless::printable, terminals::Terminals};

/// Back to the start of the line, and nothing on it.
const ERASE: &str = "\r\x1b[K";
/// A wait of the retry policy's is shown in steps of this.
const TENTH: Duration = Duration::from_millis(100);

/// What the line is about, and whether it is there. It is erased before anything else is written.
pub(super) struct StatusLine {
    doing: Doing,
    since: Instant,
    attempt: u32,
    max_attempts: u32,
    is_drawn: bool,
    terminals: Terminals,
}

enum Doing {
    /// Connecting, sending, or waiting for the first event.
    Asking,
    /// Events come.
    Answering,
    /// Another attempt is due.
    Waiting { reason: String, until: Instant },
}

impl StatusLine {
    pub(super) fn new(now: Instant, terminals: Terminals) -> Self {
        Self {
            doing: Doing::Asking,
            since: now,
            attempt: 1,
            max_attempts: 1,
            is_drawn: false,
            terminals,
        }
    }

    pub(super) fn on_notice(&mut self, notice: &RequestNotice, now: Instant) {
        match &notice.milestone {
            Milestone::Started => {
                self.attempt = notice.attempt;
                self.max_attempts = notice.request.max_attempts;
                self.doing = Doing::Asking;
                self.since = now;
            }
            Milestone::Failed {
                error,
                retry_in: Some(wait),
                ..
            } => {
                self.doing = Doing::Waiting {
                    reason: error.kind().to_string(),
                    until: now + *wait,
                };
            }
            _ => {}
        }
    }

    pub(super) fn on_events(&mut self) {
        self.doing = Doing::Answering;
    }

    pub(super) fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// What draws the line.
    pub(super) fn draw(&mut self, now: Instant) -> String {
        self.is_drawn = true;
        // Without wrapping, since only one line can be erased.
        format!("\x1b[?7l{}\x1b[?7h", self.terminals.dim(&self.text(now)))
    }

    /// What removes the line from the terminal, if it is there.
    pub(super) fn erase(&mut self) -> &'static str {
        match std::mem::take(&mut self.is_drawn) {
            true => ERASE,
            false => "",
        }
    }

    fn text(&self, now: Instant) -> String {
        let seconds = (now - self.since).as_secs();
        let attempt = format!("attempt {} of {}", self.attempt, self.max_attempts);
        match &self.doing {
            Doing::Asking => format!("{attempt}: waiting for the answer, {seconds} s"),
            Doing::Answering => format!("{attempt}: answering, {seconds} s"),
            Doing::Waiting { reason, until } => {
                let left = until.saturating_duration_since(now);
                let tenths = left.as_millis().div_ceil(TENTH.as_millis());
                let left = TENTH * u32::try_from(tenths).unwrap_or(u32::MAX);
                let next = self.attempt + 1;
                let reason = printable(reason);
                format!(
                    "{reason}: attempt {next} of {} in {}",
                    self.max_attempts,
                    format_duration(left)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_erased_once() {
        let now = Instant::now();
        let mut line = StatusLine::new(now, Terminals::default());
        assert_eq!(line.erase(), "");
        let drawn = line.draw(now + Duration::from_millis(2_900));
        assert!(
            drawn.contains("attempt 1 of 1: waiting for the answer, 2 s"),
            "{drawn:?}"
        );
        assert!(line.is_drawn());
        assert_eq!(line.erase(), ERASE);
        assert_eq!(line.erase(), "");
    }

    #[test]
    fn a_wait_is_counted_down_in_tenths() {
        let now = Instant::now();
        let mut line = StatusLine::new(now, Terminals::default());
        line.doing = Doing::Waiting {
            reason: "rate_limited".to_owned(),
            until: now + Duration::from_millis(1_950),
        };
        line.max_attempts = 3;
        for (later, text) in [
            (0, "rate_limited: attempt 2 of 3 in 2s"),
            (500, "rate_limited: attempt 2 of 3 in 1.5s"),
            (1_900, "rate_limited: attempt 2 of 3 in 100ms"),
            (9_000, "rate_limited: attempt 2 of 3 in 0s"),
        ] {
            assert_eq!(line.text(now + Duration::from_millis(later)), text);
        }
    }
}
