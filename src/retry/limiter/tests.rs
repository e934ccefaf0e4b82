//! The limiter before servers that are played, with time that is counted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use proptest::prelude::*;

use super::*;
use crate::protocol::RateLimitBudget;

const GATE: u64 = 7;
const NEVER: Duration = Duration::from_secs(1 << 40);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn limiter() -> Limiter {
    Limiter::new(LimiterPolicy::default())
}

fn budget(limit: u64, remaining: u64, reset: u64) -> Option<RateLimitBudget> {
    Some(RateLimitBudget {
        limit: Some(limit),
        remaining: Some(remaining),
        reset: Some(ms(reset)),
    })
}

fn good(budgets: [Option<RateLimitBudget>; 2]) -> Told {
    Told {
        is_good: true,
        budgets,
        ..Told::default()
    }
}

fn refused(wait: u64, budgets: [Option<RateLimitBudget>; 2]) -> Told {
    Told {
        is_refused: true,
        closed_for: Some(ms(wait)),
        budgets,
        ..Told::default()
    }
}

/// Who is let through at a moment.
fn released(limiter: &mut Limiter, now: u64) -> Vec<u64> {
    let goes = std::iter::from_fn(|| limiter.next(GATE, ms(now)));
    let goes = goes.map(|verdict| match verdict {
        Verdict::Go(ticket) => ticket,
        expired => panic!("{expired:?}"),
    });
    goes.collect()
}

fn enter(limiter: &mut Limiter, tickets: std::ops::Range<u64>, now: u64) {
    for ticket in tickets {
        assert!(limiter.enter(GATE, ticket, 0, NEVER, ms(now)));
    }
}

#[test]
fn a_few_probes_go_until_something_is_heard_and_each_answer_lets_one_more_go() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..20, 0);
    assert_eq!(released(&mut limiter, 0), [0, 1, 2, 3]);
    assert_eq!(limiter.wake_at(), Some(NEVER));
    limiter.on_head(GATE, 2, &good([None; 2]), ms(5));
    assert_eq!(released(&mut limiter, 5), [4, 5]);
    limiter.on_end(GATE, 0, None, ms(6));
    assert_eq!(released(&mut limiter, 6), [6], "an end says nothing");
}

#[test]
fn what_is_left_is_spread_and_those_in_flight_are_counted() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..40, 0);
    assert_eq!(released(&mut limiter, 0), [0, 1, 2, 3]);
    // The server has counted one of them when it writes this: three of the nine are taken.
    limiter.on_head(GATE, 0, &good([budget(10, 9, 700), None]), ms(0));
    for ticket in 1..4 {
        limiter.on_head(
            GATE,
            ticket,
            &good([budget(10, 9 - ticket, 700), None]),
            ms(0),
        );
    }
    let mut went = Vec::new();
    for now in 0..700 {
        let now_released = released(&mut limiter, now);
        went.extend(now_released.iter().map(|ticket| (*ticket, now)));
        assert!(now_released.len() <= 1, "no herd: {went:?}");
        for ticket in now_released {
            let left = 9 - ticket;
            limiter.on_head(
                GATE,
                ticket,
                &good([budget(10, left, 700 - now), None]),
                ms(now),
            );
        }
    }
    assert_eq!(went.len(), 6, "{went:?}");
    assert_eq!(limiter.wake_at(), Some(ms(700)));
    assert_eq!(released(&mut limiter, 700), [10]);
}

#[test]
fn when_there_is_enough_for_all_nobody_waits() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..1, 0);
    assert_eq!(released(&mut limiter, 0), [0]);
    for _ in 0..20 {
        limiter.on_head(GATE, 0, &good([budget(500, 499, 60_000), None]), ms(1));
        limiter.on_end(GATE, 0, None, ms(1));
        enter(&mut limiter, 0..1, 1);
        assert_eq!(released(&mut limiter, 1), [0]);
    }
    limiter.on_head(GATE, 0, &good([budget(500, 499, 60_000), None]), ms(1));
    enter(&mut limiter, 1..20, 2);
    assert_eq!(released(&mut limiter, 2).len(), 19);
}

#[test]
fn a_refusal_closes_the_gate_and_a_retry_has_its_place_again() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..10, 0);
    assert_eq!(released(&mut limiter, 0), [0, 1, 2, 3]);
    limiter.on_head(GATE, 0, &refused(2_000, [None; 2]), ms(100));
    limiter.on_end(GATE, 0, None, ms(101));
    for ticket in 1..4 {
        limiter.on_head(GATE, ticket, &good([None; 2]), ms(110));
    }
    for now in [111, 1_000, 2_099] {
        assert_eq!(released(&mut limiter, now), [0; 0]);
        assert_eq!(limiter.wake_at(), Some(ms(2_100)));
    }
    enter(&mut limiter, 0..1, 2_100);
    assert_eq!(released(&mut limiter, 2_100), [0, 4, 5, 6, 7]);
}

#[test]
fn a_refusal_without_a_word_closes_for_a_second_and_no_word_counts_for_more_than_an_hour() {
    for (wait, expected) in [(0, 1_000), (1 << 40, 3_600_000)] {
        let mut limiter = limiter();
        enter(&mut limiter, 0..10, 0);
        released(&mut limiter, 0);
        limiter.on_head(GATE, 0, &refused(wait, [None; 2]), ms(0));
        assert_eq!(released(&mut limiter, 0), [0; 0]);
        assert_eq!(limiter.wake_at(), Some(ms(expected)));
    }
}

#[test]
fn an_end_that_says_rate_limited_closes_the_gate_and_another_does_not() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..10, 0);
    released(&mut limiter, 0);
    let down = ApiError::new(ErrorKind::Connect, "refused");
    limiter.on_end(GATE, 0, Some(&down), ms(1));
    assert_eq!(released(&mut limiter, 1), [4]);
    let mut limited = ApiError::new(ErrorKind::RateLimited, "try again in 300 ms");
    limited.details_mut().retry_after = Some(ms(300));
    limiter.on_end(GATE, 1, Some(&limited), ms(2));
    assert_eq!(released(&mut limiter, 2), [0; 0]);
    assert_eq!(limiter.wake_at(), Some(ms(302)));
}

#[test]
fn tokens_are_counted_and_one_that_is_larger_than_the_limit_goes_alone() {
    let mut limiter = limiter();
    let tokens = [100, 400, 5_000, 100];
    for (ticket, tokens) in tokens.into_iter().enumerate() {
        limiter.enter(GATE, ticket as u64, tokens, NEVER, ms(0));
        if ticket == 0 {
            assert_eq!(released(&mut limiter, 0), [0]);
            limiter.on_head(GATE, 0, &good([None, budget(1_000, 900, 6_000)]), ms(0));
        }
    }
    // It is the share of its tokens that it waits for.
    assert_eq!(released(&mut limiter, 0), [0; 0]);
    assert_eq!(released(&mut limiter, 1_847), [1]);
    assert_eq!(released(&mut limiter, 5_999), [0; 0], "500 are left");
    assert_eq!(released(&mut limiter, 6_000), [0; 0], "400 fly");
    limiter.on_head(
        GATE,
        1,
        &good([None, budget(1_000, 1_000, 1_000)]),
        ms(6_001),
    );
    assert_eq!(released(&mut limiter, 6_001), [2], "it is full");
    assert_eq!(
        released(&mut limiter, 8_001),
        [0; 0],
        "nobody goes beside it"
    );
    limiter.on_head(GATE, 2, &good([None, budget(1_000, 0, 500)]), ms(8_002));
    assert_eq!(released(&mut limiter, 8_502), [3]);
}

#[test]
fn who_would_wait_too_long_is_told_at_once_and_who_has_is_told_then() {
    let mut limiter = limiter();
    for ticket in 0..4 {
        limiter.enter(GATE, ticket, 0, NEVER, ms(0));
    }
    limiter.enter(GATE, 4, 0, ms(1_000), ms(0));
    limiter.enter(GATE, 5, 0, ms(900), ms(0));
    assert_eq!(released(&mut limiter, 0), [0, 1, 2, 3]);
    assert_eq!(limiter.wake_at(), Some(ms(900)));
    let expired = |ticket, until, opens_at| {
        Some(Verdict::Expired {
            ticket,
            until: ms(until),
            opens_at: ms(opens_at),
        })
    };
    assert_eq!(limiter.next(GATE, ms(900)), expired(5, 900, 900));
    limiter.on_head(GATE, 0, &refused(500, [None; 2]), ms(950));
    assert_eq!(limiter.next(GATE, ms(950)), expired(4, 1_000, 1_450));
    assert_eq!(limiter.next(GATE, ms(950)), None);
}

#[test]
fn who_leaves_is_not_waited_for_and_gives_back_what_it_did_not_use() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..1, 0);
    released(&mut limiter, 0);
    limiter.on_head(GATE, 0, &good([budget(10, 1, 5_000), None]), ms(0));
    enter(&mut limiter, 1..2, 0);
    assert_eq!(released(&mut limiter, 0), [1]);
    enter(&mut limiter, 2..4, 0);
    assert_eq!(released(&mut limiter, 10), [0; 0]);
    let outlook = limiter.outlook(GATE, 3, ms(10)).unwrap();
    assert_eq!((outlook.since, outlook.about), (ms(0), ms(5_000)));
    limiter.leave(GATE, 2);
    limiter.leave(GATE, 1);
    assert_eq!(released(&mut limiter, 10), [3]);
    assert_eq!(limiter.outlook(GATE, 3, ms(10)), None);
}

#[test]
fn gates_are_apart_and_bounded() {
    let mut limiter = limiter();
    enter(&mut limiter, 0..8, 0);
    assert_eq!(released(&mut limiter, 0).len(), 4);
    for gate in 100..100 + MAX_GATES as u64 - 1 {
        assert!(limiter.enter(gate, gate, 0, NEVER, ms(gate)));
        assert_eq!(limiter.next(gate, ms(gate)), Some(Verdict::Go(gate)));
    }
    assert!(!limiter.enter(5, 5, 0, NEVER, ms(0)), "all are in use");
    limiter.on_end(200, 200, None, ms(0));
    limiter.on_end(100, 100, None, ms(0));
    assert!(limiter.enter(5, 5, 0, NEVER, ms(0)));
    assert!(!limiter.gates.contains_key(&100), "the oldest made room");
    assert_eq!(limiter.gates.len(), MAX_GATES);
}

/// A server that is played.
#[derive(Clone, Copy, Debug)]
enum Server {
    /// So many in each window.
    Window { limit: u64, length: u64 },
    /// One more in each interval, up to so many.
    Bucket { limit: u64, interval: u64 },
    /// As the first, but it says no more than when to come again.
    Mute { limit: u64, length: u64 },
}

#[derive(Default)]
struct Count {
    window: u64,
    taken: u64,
}

impl Server {
    fn answer(self, count: &mut Count, now: u64) -> Told {
        let (limit, length) = match self {
            Self::Window { limit, length } | Self::Mute { limit, length } => (limit, length),
            Self::Bucket { limit, interval } => (limit, interval),
        };
        let window = now / length;
        let past = window - count.window;
        count.window = window;
        count.taken = match self {
            Self::Bucket { .. } => count.taken.saturating_sub(past),
            _ if past > 0 => 0,
            _ => count.taken,
        };
        let is_one_too_many = count.taken >= limit;
        count.taken += u64::from(!is_one_too_many);
        let next = (window + 1) * length - now;
        let reset = match self {
            Self::Bucket { .. } => count.taken.saturating_sub(1) * length + next,
            _ => next,
        };
        let budgets = match self {
            Self::Mute { .. } => [None; 2],
            _ => [budget(limit, limit - count.taken, reset), None],
        };
        match is_one_too_many {
            true => refused(next, budgets),
            false => good(budgets),
        }
    }
}

#[derive(Default)]
struct Played {
    /// Who was let through when, first attempts only.
    went: Vec<u64>,
    /// When each refusal was heard, and of whom.
    refusals: Vec<(u64, u64)>,
    first_head: u64,
    took: u64,
}

/// Plays a burst; how long requests take to the server and back is as `up` and `down` say, in turn.
fn play(server: Server, burst: u64, up: &[u64], down: &[u64]) -> Played {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        Enter(u64),
        AtServer(u64),
        Head(u64),
        Wake,
    }
    let mut limiter = limiter();
    let mut played = Played::default();
    let mut count = Count::default();
    let (mut told, mut tried) = (BTreeMap::new(), BTreeMap::new());
    let mut events = BinaryHeap::new();
    for ticket in 0..burst {
        events.push(Reverse((0, Event::Enter(ticket))));
    }
    let (mut sent, mut woken_at) = (0_usize, 0);
    while let Some(Reverse((now, event))) = events.pop() {
        match event {
            Event::Enter(ticket) => {
                limiter.enter(GATE, ticket, 0, NEVER, ms(now));
            }
            Event::AtServer(ticket) => {
                told.insert(ticket, server.answer(&mut count, now));
                let back = down[sent % down.len()];
                events.push(Reverse((now + back, Event::Head(ticket))));
            }
            Event::Head(ticket) => {
                let told: Told = told.remove(&ticket).unwrap();
                limiter.on_head(GATE, ticket, &told, ms(now));
                if played.first_head == 0 {
                    played.first_head = now;
                }
                played.took = now;
                if let Some(wait) = told.closed_for {
                    played.refusals.push((now, ticket));
                    let again = now + wait.as_millis() as u64;
                    events.push(Reverse((again, Event::Enter(ticket))));
                }
            }
            Event::Wake => {}
        }
        while let Some(verdict) = limiter.next(GATE, ms(now)) {
            let Verdict::Go(ticket) = verdict else {
                panic!("{verdict:?}")
            };
            let attempts: &mut u64 = tried.entry(ticket).or_default();
            *attempts += 1;
            if *attempts == 1 {
                played.went.push(ticket);
            }
            events.push(Reverse((
                now + up[sent % up.len()],
                Event::AtServer(ticket),
            )));
            sent += 1;
        }
        if let Some(wake) = limiter.wake_at().filter(|wake| *wake < NEVER) {
            // Timers count whole milliseconds.
            let at = wake.as_nanos().div_ceil(1_000_000) as u64;
            let at = at.max(now + 1);
            if at != woken_at {
                events.push(Reverse((at, Event::Wake)));
                woken_at = at;
            }
        }
    }
    assert_eq!(tried.len() as u64, burst, "somebody waits for ever");
    played
}

#[test]
fn a_thousand_requests_at_ten_a_second() {
    let server = Server::Window {
        limit: 10,
        length: 1_000,
    };
    let played = play(server, 1_000, &[20], &[30, 60, 5]);
    assert_eq!(played.refusals, []);
    assert!(played.took < 101_000, "{} ms", played.took);
    assert!(played.went.is_sorted(), "first come, first served");
}

#[test]
fn a_bucket_that_fills_steadily_is_used_well() {
    // 500 a minute; all of it is there at the beginning.
    let server = Server::Bucket {
        limit: 500,
        interval: 120,
    };
    let played = play(server, 1_500, &[20], &[300, 800]);
    assert_eq!(played.refusals, []);
    // 120 s would be the least.
    assert!(played.took < 200_000, "{} ms", played.took);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nobody_is_refused_after_the_first_answers(
        limit in 1_u64..40, length in 50_u64..3_000, burst in 1_u64..200, is_bucket: bool,
        up in 0_u64..300, down in proptest::collection::vec(0_u64..500, 1..6),
    ) {
        let server = match is_bucket {
            true => Server::Bucket { limit, interval: length.div_ceil(limit) },
            false => Server::Window { limit, length },
        };
        let played = play(server, burst, &[up], &down);
        let late: Vec<_> = played.refusals.iter().filter(|(_, ticket)| *ticket >= 4).collect();
        prop_assert!(late.is_empty(), "{late:?} after {}", played.first_head);
        prop_assert!(played.went.is_sorted());
    }

    #[test]
    fn where_nothing_is_said_beforehand_each_is_refused_a_few_times_at_most(
        limit in 1_u64..40, length in 50_u64..3_000, burst in 1_u64..200,
        up in 0_u64..100, down in proptest::collection::vec(0_u64..100, 1..6),
    ) {
        let played = play(Server::Mute { limit, length }, burst, &[up], &down);
        let mut refused = BTreeMap::<u64, u32>::new();
        for (_, ticket) in &played.refusals {
            *refused.entry(*ticket).or_default() += 1;
        }
        let most = refused.values().max().copied().unwrap_or_default();
        prop_assert!(most <= 4, "{refused:?}");
    }
}
