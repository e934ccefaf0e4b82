//! What is left of one count of a server's, as far as can be known here.

use std::time::Duration;

use crate::protocol::RateLimitBudget;

/// How long a count that is used up, of which the server does not say when it is full again, is waited for before one request asks.
/// Short, because that costs one refusal at most.
pub(super) const UNKNOWN_RESET: Duration = Duration::from_secs(1);

/// What a server says of the future is believed for so long at most: keys are exchanged and limits raised meanwhile.
pub(super) const LONGEST_BELIEF: Duration = Duration::from_secs(60 * 60);

/// The shortest window: timers are no finer.
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);

/// By how much a reset must have moved for a count that grows to be believed. Answers that overtake each other tell of older counts, and
/// their resets differ by how long they took; a bucket that fills steadily moves its reset as time goes by.
const MOVED: Duration = Duration::from_secs(1);

/// A count of requests or tokens, read as one that is full again at its reset and not before. A bucket that fills steadily is never
/// fuller than that says, so nobody is let through too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// What there is after a reset, at least 1.
    full: u64,
    /// What is left for requests that have not been sent.
    left: u64,
    resets_at: Duration,
    /// What it was when `left` was last believed to be more than before.
    first_reset: Duration,
    /// The longest time to a reset that the server spoke of.
    window: Duration,
    /// The last reset has passed, and no answer has told of the time since.
    is_guess: bool,
}

impl Budget {
    /// Takes what an answer says. Of the requests that are still `flying`, the server may have counted none when it wrote that.
    pub(super) fn hear(
        budget: &mut Option<Self>,
        told: &RateLimitBudget,
        flying: u64,
        is_newest: bool,
        now: Duration,
    ) {
        // Some gateways say 0 of 0 where there is no limit.
        let (Some(remaining), false) = (told.remaining, told.limit == Some(0)) else {
            return;
        };
        let reset = told.reset.filter(|reset| !reset.is_zero());
        let window = reset.unwrap_or(UNKNOWN_RESET);
        let window = window.clamp(SHORTEST_WINDOW, LONGEST_BELIEF);
        let known = budget.as_ref();
        let most = known.map_or(1, |known| known.full);
        let fresh = Self {
            full: match (reset, told.limit) {
                // Nothing says that it is full then.
                (None, _) => 1,
                (_, Some(limit)) => limit,
                (_, None) => remaining.max(most),
            },
            left: remaining.saturating_sub(flying),
            resets_at: now.saturating_add(window),
            first_reset: now.saturating_add(window),
            window: known.map_or(window, |known| known.window.max(window)),
            is_guess: false,
        };
        match budget {
            Some(known) if !known.is_guess => {
                let has_moved = fresh.resets_at > known.first_reset.saturating_add(MOVED);
                if is_newest && has_moved {
                    *known = fresh;
                    return;
                }
                known.left = known.left.min(fresh.left);
                known.window = fresh.window;
                if is_newest {
                    (known.full, known.resets_at) = (fresh.full, fresh.resets_at);
                }
            }
            _ => *budget = Some(fresh),
        }
    }

    /// Time has passed.
    pub(super) fn refresh(&mut self, flying: u64, now: Duration) {
        if now >= self.resets_at {
            self.left = self.full.saturating_sub(flying);
            self.resets_at = now.saturating_add(self.window);
            self.is_guess = true;
        }
    }

    /// What is more than the whole limit goes when nothing else has been taken of it.
    fn need(&self, cost: u64) -> u64 {
        cost.min(self.full)
    }

    pub(super) fn take(&mut self, cost: u64) {
        self.left = self.left.saturating_sub(cost);
    }

    /// It was not sent.
    pub(super) fn give_back(&mut self, cost: u64) {
        self.left = self.left.saturating_add(self.need(cost)).min(self.full);
    }

    /// From when on one may go that costs this, where all that wait cost `waiting` and the last went at `paced_at`. What is left is enough
    /// for all, or is spread over the time to the reset.
    pub(super) fn opens_at(&self, cost: u64, waiting: u64, paced_at: Duration) -> Duration {
        let need = self.need(cost);
        if self.left < need {
            return self.resets_at;
        }
        if waiting <= self.left {
            return Duration::ZERO;
        }
        let span = self.resets_at.saturating_sub(paced_at);
        let share = need as f64 / (self.left.saturating_add(need)) as f64;
        paced_at.saturating_add(span.mul_f64(share))
    }

    /// When about so much has been let through; zero for now.
    pub(super) fn outlook(&self, total: u64) -> Duration {
        if total <= self.left {
            return Duration::ZERO;
        }
        let windows = (total - self.left - 1) / self.full;
        let windows = u32::try_from(windows).unwrap_or(u32::MAX);
        self.resets_at
            .saturating_add(self.window.saturating_mul(windows))
    }
}
