//! The clock of an attempt: which limit is next, and what is said when it passes. It reads no time itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    protocol::error::{ApiError, ErrorKind, Phase},
    provider::{MAX_TRAILER, Timeouts},
};

/// When what was last seen of a response.
pub(crate) struct Clock {
    milestone: Milestone,
    byte: Instant,
    event: Instant,
}

/// The last of them that was reached, and when.
#[derive(Clone, Copy)]
enum Milestone {
    /// None; the opening watches the time itself.
    Opening,
    /// The response's head, or, where there were events already, another moment since.
    Head(Instant),
    /// The whole answer; what may follow it is waited for.
    Finishing {
        first: Instant,
        /// When the last of what followed it came.
        last: Instant,
    },
}

impl Milestone {
    fn finishing(now: Instant) -> Self {
        Self::Finishing {
            first: now,
            last: now,
        }
    }
}

/// A bound on how long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// On the response's head.
    Head(Duration),
    FirstEvent(Duration),
    Idle(Duration),
    Progress(Duration),
    Total(Duration),
    /// On an answer in one piece.
    Whole(Duration),
    /// On what may follow a whole answer. A stream whose answer is whole ends well when it passes.
    Trailer(Duration),
}

impl Clock {
    /// One that has seen nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            milestone: Milestone::Opening,
            byte: now,
            event: now,
        }
    }

    pub(crate) fn on_head(&mut self, now: Instant) {
        *self = Self {
            milestone: Milestone::Head(now),
            byte: now,
            event: now,
        };
    }

    pub(crate) fn on_byte(&mut self, now: Instant) {
        self.byte = now;
    }

    pub(crate) fn on_event(&mut self, now: Instant) {
        self.event = now;
    }

    /// Takes whether the answer `is_finishing`, that is whole but for what may follow it, and whether some of that has just come.
    pub(crate) fn on_progress(&mut self, is_finishing: bool, went_on: bool, now: Instant) {
        self.milestone = match (is_finishing, self.milestone) {
            (true, Milestone::Head(_)) => Milestone::finishing(now),
            (true, Milestone::Finishing { first, .. }) if went_on => {
                Milestone::Finishing { first, last: now }
            }
            (false, Milestone::Finishing { first, .. }) => Milestone::Head(first),
            (_, milestone) => milestone,
        };
    }

    /// The response is read again: the time that nobody read is not the server's.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.byte = now;
        self.event = now;
        if let Milestone::Finishing { .. } = self.milestone {
            self.milestone = Milestone::finishing(now);
        }
    }

    /// The next moment at which patience ends; `total` is when it does for the whole request. Of limits that end together, the last in
    /// this list counts.
    pub(crate) fn next(
        &self,
        timeouts: &Timeouts,
        total: Option<Instant>,
        had_event: bool,
        is_read: bool,
    ) -> Option<(Instant, Limit)> {
        let whole = timeouts.total.unwrap_or_default();
        let mut next = total.map(|at| (at, Limit::Total(whole)));
        // What would be after the end of time is never.
        let mut bound = |since: Instant, patience, limit| {
            if let Some(at) = since.checked_add(patience)
                && next.is_none_or(|(before, _)| at <= before)
            {
                next = Some((at, limit));
            }
        };
        match self.milestone {
            // The opening watches the time until the head itself.
            Milestone::Opening => {}
            // Who is not read from can't be late.
            _ if !is_read => {}
            Milestone::Finishing { first, last } => {
                let trailer = timeouts.trailer.min(MAX_TRAILER);
                let since = last.min(first + (MAX_TRAILER - trailer));
                bound(since, trailer, Limit::Trailer(trailer));
            }
            Milestone::Head(head) => {
                if let Some(first) = timeouts.first_event
                    && !had_event
                {
                    bound(head, first, Limit::FirstEvent(first));
                }
                if let Some(progress) = timeouts.progress {
                    bound(self.event, progress, Limit::Progress(progress));
                }
                bound(self.byte, timeouts.idle, Limit::Idle(timeouts.idle));
            }
        }
        next
    }
}

impl Limit {
    /// What is said when it has passed in a phase.
    pub(crate) fn error(self, phase: Phase) -> ApiError {
        let (kind, message) = match self {
            Self::Head(limit) => {
                let what = match phase {
                    Phase::Authorize => "authentication was not ready",
                    _ => "no response head",
                };
                let message = format!("{what} within {limit:?}");
                (ErrorKind::ResponseHeadTimeout, message)
            }
            Self::Total(limit) => {
                let message = format!("the request took longer than {limit:?}");
                (ErrorKind::TotalTimeout, message)
            }
            Self::Whole(limit) => {
                let message =
                    format!("the answer was not whole within {limit:?} (limit `whole_answer`)");
                (ErrorKind::ProgressTimeout, message)
            }
            Self::FirstEvent(limit) => {
                let message = format!("no event within {limit:?} of the response head");
                (ErrorKind::FirstEventTimeout, message)
            }
            Self::Idle(limit) => (ErrorKind::IdleTimeout, format!("no byte for {limit:?}")),
            Self::Progress(limit) => {
                let message =
                    format!("no event for {limit:?}, though the connection was kept alive");
                (ErrorKind::ProgressTimeout, message)
            }
            Self::Trailer(limit) => {
                let message = format!("nothing followed the answer within {limit:?}");
                (ErrorKind::Truncated, message)
            }
        };
        ApiError::new(kind, message).with_phase(phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// What happens to a clock at a second.
    type Step = (u64, fn(&mut Clock, Instant));

    #[test]
    fn the_next_limit_is_the_nearest_of_those_that_apply() {
        let timeouts = Timeouts {
            first_event: Some(secs(20)),
            idle: secs(10),
            progress: Some(secs(15)),
            trailer: secs(5),
            total: Some(secs(100)),
            ..Timeouts::default()
        };
        let head: Step = (1, |c, now| c.on_head(now));
        let byte: Step = (8, |c, now| c.on_byte(now));
        let event: Step = (8, |c, now| {
            c.on_byte(now);
            c.on_event(now);
        });
        let whole: Step = (9, |c, now| c.on_progress(true, false, now));
        let more: Step = (12, |c, now| c.on_progress(true, true, now));
        let late_more: Step = (38, |c, now| c.on_progress(true, true, now));
        let not_whole: Step = (13, |c, now| c.on_progress(false, false, now));
        let resumed: Step = (30, |c, now| c.resume(now));
        let (total, idle) = (Limit::Total(secs(100)), Limit::Idle(secs(10)));
        let (progress, trailer) = (Limit::Progress(secs(15)), Limit::Trailer(secs(5)));
        // What came, whether there was an event, whether it is read, and what is due when.
        let table: [(&[Step], bool, bool, u64, Limit); 13] = [
            (&[], false, true, 100, total),
            (&[head], false, true, 11, idle),
            (&[head], false, false, 100, total),
            (&[head, byte], false, true, 16, progress),
            (&[head, event], true, true, 18, idle),
            (&[head, event, (20, byte.1)], true, true, 23, progress),
            (
                &[head, event, (15, event.1), (22, event.1)],
                false,
                true,
                21,
                Limit::FirstEvent(secs(20)),
            ),
            (&[head, event, whole], true, true, 14, trailer),
            (&[head, event, whole, more], true, true, 17, trailer),
            (&[head, event, whole, late_more], true, true, 39, trailer),
            (&[head, event, whole, not_whole], true, true, 18, idle),
            (&[head, event, resumed], true, true, 40, idle),
            (&[head, event, whole, resumed], true, true, 35, trailer),
        ];
        let start = Instant::now();
        for (number, (steps, had_event, is_read, due, limit)) in table.into_iter().enumerate() {
            let mut clock = Clock::new(start);
            for (second, step) in steps {
                step(&mut clock, start + secs(*second));
            }
            let next = clock.next(&timeouts, Some(start + secs(100)), had_event, is_read);
            let next = next.map(|(at, limit)| ((at - start).as_secs(), limit));
            assert_eq!(next, Some((due, limit)), "row {number}");
        }
    }

    #[test]
    fn without_limits_nothing_is_due() {
        let now = Instant::now();
        assert_eq!(
            Clock::new(now).next(&Timeouts::default(), None, false, true),
            None
        );
    }

    #[test]
    fn a_limit_beyond_the_end_of_time_is_none() {
        let timeouts = Timeouts {
            first_event: Some(Duration::MAX),
            idle: Duration::MAX,
            progress: Some(Duration::MAX),
            trailer: Duration::MAX,
            ..Timeouts::default()
        };
        let now = Instant::now();
        let mut clock = Clock::new(now);
        clock.on_head(now);
        assert_eq!(clock.next(&timeouts, None, false, true), None);
        clock.on_progress(true, false, now);
        let (at, _) = clock.next(&timeouts, None, true, true).expect("a trailer");
        assert_eq!(at - now, MAX_TRAILER);
    }

    #[test]
    fn of_limits_that_end_together_idle_counts() {
        let timeouts = Timeouts {
            first_event: Some(secs(10)),
            idle: secs(10),
            progress: Some(secs(10)),
            ..Timeouts::default()
        };
        let now = Instant::now();
        let mut clock = Clock::new(now);
        clock.on_head(now);
        let next = clock.next(&timeouts, Some(now + secs(10)), false, true);
        assert_eq!(next, Some((now + secs(10), Limit::Idle(secs(10)))));
    }

    #[test]
    fn each_limit_says_what_it_waited_for() {
        let limit = secs(3);
        for (limit, phase, expected) in [
            (
                Limit::Head(limit),
                Phase::Authorize,
                "authentication was not ready within 3s",
            ),
            (
                Limit::Head(limit),
                Phase::ResponseHead,
                "no response head within 3s",
            ),
            (
                Limit::Total(limit),
                Phase::Body,
                "the request took longer than 3s",
            ),
            (
                Limit::FirstEvent(limit),
                Phase::Body,
                "no event within 3s of the response head",
            ),
            (Limit::Idle(limit), Phase::Body, "no byte for 3s"),
            (
                Limit::Trailer(limit),
                Phase::Body,
                "nothing followed the answer within 3s",
            ),
            (
                Limit::Progress(limit),
                Phase::Body,
                "no event for 3s, though the connection was kept alive",
            ),
        ] {
            let error = limit.error(phase);
            assert_eq!(error.message(), expected);
            assert_eq!(error.details().phase, Some(phase));
        }
    }
}
