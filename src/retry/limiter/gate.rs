//! The queue before one model of one key at one server, and what is known of its limits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    budget::{Budget, LONGEST_BELIEF, UNKNOWN_RESET},
    told::Told,
};

/// How late a timer may be without the next request going later for it.
const TIMER_SLACK: Duration = Duration::from_millis(10);

/// What becomes of a request that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its attempt may be sent.
    Go(u64),
    /// It would wait longer than it may.
    Expired {
        ticket: u64,
        /// How long it may have waited.
        until: Duration,
        /// When it is to be thought that the next one goes.
        opens_at: Duration,
    },
}

/// How a request that waits is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) since: Duration,
    /// When it goes, as far as can be told; no sooner than now.
    pub(crate) about: Duration,
}

/// What a request takes of each budget: itself, and its tokens.
type Cost = [u64; 2];

#[derive(Debug, Default)]
pub(super) struct Gate {
    /// By ticket: the lowest goes first.
    queue: VecDeque<Waiter>,
    queued_tokens: u64,
    /// Until when each of them may wait.
    expiries: BTreeSet<(Duration, u64)>,
    /// Those that were let through and whose heads are awaited.
    flying: BTreeMap<u64, Flight>,
    flying_tokens: u64,
    /// How many may be flying.
    at_once: usize,
    closed_until: Duration,
    /// Of requests and of tokens.
    budgets: [Option<Budget>; 2],
    /// When the last one was let through, or should have been.
    paced_at: Duration,
    /// How many were let through, and which of them is the last that was heard of.
    sent: u64,
    newest: u64,
    /// When to look again, unless something happens before.
    pub(super) wake: Option<Duration>,
    pub(super) used_at: Duration,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    tokens: u64,
    since: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Flight {
    tokens: u64,
    number: u64,
}

impl Gate {
    /// A gate that lets so many through before it knows anything.
    pub(super) fn new(probes: u32) -> Self {
        Self {
            at_once: probes.max(1) as usize,
            ..Self::default()
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.flying.is_empty()
    }

    /// The ticket of the first one that waits.
    pub(super) fn first(&self) -> Option<u64> {
        self.queue.front().map(|waiter| waiter.ticket)
    }

    /// Whether it was let through, and its head is awaited.
    pub(super) fn has_let_through(&self, ticket: u64) -> bool {
        self.flying.contains_key(&ticket)
    }

    pub(super) fn enter(&mut self, ticket: u64, tokens: u64, until: Duration, now: Duration) {
        self.used_at = now;
        self.queued_tokens = self.queued_tokens.saturating_add(tokens);
        self.expiries.insert((until, ticket));
        let at = self.queue.partition_point(|waiter| waiter.ticket < ticket);
        let waiter = Waiter {
            ticket,
            tokens,
            since: now,
            until,
        };
        self.queue.insert(at, waiter);
    }

    /// It waits no more, or was let through and is not sent.
    pub(super) fn leave(&mut self, ticket: u64) {
        if self.take(ticket).is_none()
            && let Some(flight) = self.land(ticket)
        {
            self.each_budget([1, flight.tokens], Budget::give_back);
        }
    }

    fn take(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.queue.remove(self.position(ticket)?)?;
        self.queued_tokens = self.queued_tokens.saturating_sub(waiter.tokens);
        self.expiries.remove(&(waiter.until, ticket));
        Some(waiter)
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        let queue = &self.queue;
        queue
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }

    fn land(&mut self, ticket: u64) -> Option<Flight> {
        let flight = self.flying.remove(&ticket)?;
        self.flying_tokens = self.flying_tokens.saturating_sub(flight.tokens);
        Some(flight)
    }

    fn in_flight(&self) -> Cost {
        [self.flying.len() as u64, self.flying_tokens]
    }

    /// Takes what the head of a response says.
    pub(super) fn on_head(&mut self, ticket: u64, told: &Told, now: Duration) {
        self.refresh(now);
        let flight = self.land(ticket);
        let number = flight.as_ref().map_or(0, |flight| flight.number);
        let is_newest = number >= self.newest;
        self.newest = self.newest.max(number);
        if told.is_good && flight.is_some() {
            self.at_once = self.at_once.saturating_add(1);
        }
        if told.is_refused {
            self.at_once = (self.at_once / 2).max(1);
        }
        if let Some(wait) = told.closed_for {
            self.close(wait, now);
        }
        let in_flight = self.in_flight();
        let budgets = self.budgets.iter_mut().zip(&told.budgets);
        for ((budget, told), flying) in budgets.zip(in_flight) {
            if let Some(told) = told {
                Budget::hear(budget, told, flying, is_newest, now);
            }
        }
    }

    /// Takes how an attempt ended, of which there may have been a head; and for how long the server wants to hear of none, if it said that.
    pub(super) fn on_end(&mut self, ticket: u64, closed_for: Option<Duration>, now: Duration) {
        self.land(ticket);
        if let Some(wait) = closed_for {
            self.close(wait, now);
        }
    }

    fn close(&mut self, wait: Duration, now: Duration) {
        let wait = match wait.is_zero() {
            true => UNKNOWN_RESET,
            false => wait.min(LONGEST_BELIEF),
        };
        self.closed_until = self.closed_until.max(now.saturating_add(wait));
    }

    fn refresh(&mut self, now: Duration) {
        self.each_budget(self.in_flight(), |budget, flying| {
            budget.refresh(flying, now)
        });
    }

    /// Does something with each budget that is known, and what it has of a cost.
    fn each_budget(&mut self, cost: Cost, act: impl Fn(&mut Budget, u64)) {
        for (budget, cost) in self.budgets.iter_mut().zip(cost) {
            if let Some(budget) = budget {
                act(budget, cost);
            }
        }
    }

    /// Lets the first one through if it may go, or gives up one that has waited, or would wait, too long.
    pub(super) fn next(&mut self, now: Duration) -> Option<Verdict> {
        self.refresh(now);
        self.wake = None;
        let Waiter {
            ticket,
            tokens,
            until,
            ..
        } = *self.queue.front()?;
        // Of nothing that flies it is known when it is heard of.
        let may_fly = self.flying.len() < self.at_once;
        let opens_at = match may_fly || now < self.closed_until {
            true => self.opens_at([1, tokens]),
            false => now,
        };
        let (expiry, first_to_expire) = *self.expiries.first()?;
        let expired = match () {
            () if expiry <= now => Some((first_to_expire, expiry)),
            () if opens_at > until => Some((ticket, until)),
            () => None,
        };
        if let Some((ticket, until)) = expired {
            self.take(ticket);
            return Some(Verdict::Expired {
                ticket,
                until,
                opens_at,
            });
        }
        if !may_fly || opens_at > now {
            self.wake = Some(match opens_at > now {
                true => expiry.min(opens_at),
                false => expiry,
            });
            return None;
        }
        self.take(ticket);
        self.each_budget([1, tokens], Budget::take);
        self.paced_at = opens_at.max(now.saturating_sub(TIMER_SLACK));
        self.sent += 1;
        let number = self.sent;
        self.flying.insert(ticket, Flight { tokens, number });
        self.flying_tokens = self.flying_tokens.saturating_add(tokens);
        Some(Verdict::Go(ticket))
    }

    /// From when on the first one may go.
    fn opens_at(&self, cost: Cost) -> Duration {
        let waiting = [self.queue.len() as u64, self.queued_tokens];
        let budgets = self.budgets.iter().zip(cost.into_iter().zip(waiting));
        let opens_at = budgets.filter_map(|(budget, (cost, waiting))| {
            Some(budget.as_ref()?.opens_at(cost, waiting, self.paced_at))
        });
        opens_at.max().unwrap_or_default().max(self.closed_until)
    }

    pub(super) fn outlook(&self, ticket: u64, now: Duration) -> Option<Outlook> {
        let position = self.position(ticket)?;
        let count = position as u64 + 1;
        // As if all of them had as many.
        let tokens = self.queued_tokens / self.queue.len() as u64;
        let ahead = [count, tokens.saturating_mul(count)];
        let budgets = self.budgets.iter().zip(ahead);
        let about = budgets.filter_map(|(budget, ahead)| Some(budget.as_ref()?.outlook(ahead)));
        let about = about.max().unwrap_or_default().max(self.closed_until);
        Some(Outlook {
            since: self.queue[position].since,
            about: about.max(now),
        })
    }
}
