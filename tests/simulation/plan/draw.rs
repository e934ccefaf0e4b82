//! Plans, their requests, questions and listeners, drawn.

use std::time::Duration;

use actix_responses::{
    actors::{AudienceLimits, DeliveryPolicy, WhenDeserted},
    retry::{BreakerPolicy, LimiterPolicy, RetryAfterOutput},
    wire::Wire,
};

use crate::{
    plan::{
        AttemptPlan, Close, CursorPlan, Fate, LimiterPlan, LinkPlan, ListenerPlan, Pace, Plan,
        QuestionKind, QuestionPlan, RequestPlan, Signal, TICK, Through, When,
    },
    rng::Rng,
};

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let is_long = rng.chance(3);
        let mut limits = AudienceLimits::default();
        limits.log_events = rng.pick(&[4, 16, 64, 8_192]);
        limits.log_bytes = rng.pick(&[1_024, 16 * 1_024, 2 * 1_024 * 1_024]);
        limits.lag_events = rng.pick(&[1, 4, 32, 1_024]);
        let count = match is_long {
            true => 1,
            false => rng.weighted(&[(4, 1), (3, 2), (2, 3), (1, 6)]),
        };
        let requests = (0..count)
            .map(|index| request(rng, index, is_long))
            .collect();
        let close = rng.weighted(&[(70, 0), (20, 1), (10, 2)]);
        let at = ticks(rng, 400);
        let mut plan = Self {
            limits,
            retain: rng.pick(&[
                Duration::ZERO,
                TICK * 10,
                Duration::from_secs(1),
                Duration::from_secs(5),
            ]),
            retain_bytes: rng.weighted(&[(1, 0), (1, 4 * 1_024), (4, 64 * 1_024 * 1_024)]),
            requests,
            questions: Vec::new(),
            breaker: BreakerPolicy::default(),
            limiter: None,
            close: match close {
                0 => Close::AtTheEnd,
                1 => Close::Shutdown {
                    at,
                    grace: rng.pick(&[Duration::ZERO, TICK * 10, Duration::from_secs(3)]),
                },
                _ => Close::Drop { at },
            },
        };
        plan.draw_questions(rng);
        plan.draw_fallbacks(rng);
        plan.draw_limiter(rng);
        plan
    }

    /// Some requests have a fallback, which the last of their attempts are for.
    fn draw_fallbacks(&mut self, rng: &mut Rng) {
        for request in &mut self.requests {
            let attempts = request.attempts.len() as u64;
            request.own_attempts = match attempts > 1 && rng.chance(50) {
                true => rng.between(1, attempts - 1),
                false => attempts,
            } as usize;
        }
    }

    /// Last of all, so that what was drawn before means what it did. Where a breaker opens there is no limiter.
    fn draw_limiter(&mut self, rng: &mut Rng) {
        let ms = Duration::from_millis;
        if self.is_spared() || !rng.chance(25) {
            return;
        }
        let mut policy = LimiterPolicy::default();
        policy.probes = rng.between(1, 2) as u32;
        policy.max_wait = rng.pick(&[ms(300), Duration::from_secs(3), Duration::from_secs(60)]);
        // A fallback has another queue, of which the checks know nothing.
        for request in &mut self.requests {
            request.own_attempts = request.attempts.len();
        }
        self.limiter = Some(LimiterPlan {
            policy,
            limit: rng.between(1, 4),
            window: rng.pick(&[ms(100), ms(700), Duration::from_secs(2)]),
        });
    }

    /// Draws the questions, and whether a breaker opens soon. All questions go to one endpoint. Where its breaker opens, each
    /// stream has an endpoint and an attempt of its own, so that none is held back.
    fn draw_questions(&mut self, rng: &mut Rng) {
        let ms = Duration::from_millis;
        let opens = rng.chance(20);
        let count = match opens {
            true => rng.between(3, 8),
            false => rng.weighted(&[(5, 0), (3, 1), (2, 2), (1, 4)]),
        };
        if opens {
            self.breaker.failures = rng.between(2, 3) as u32;
            self.breaker.pause = rng.pick(&[ms(50), ms(100), ms(300)]);
            self.breaker.max_pause = ms(400);
            for request in &mut self.requests {
                request.attempts.truncate(1);
            }
        }
        let first = self.requests.len();
        let questions = (0..count as usize).map(|index| question(rng, first + index, opens));
        self.questions = questions.collect();
    }
}

fn ticks(rng: &mut Rng, most: u64) -> Duration {
    TICK * rng.below(most + 1) as u32
}

fn request(rng: &mut Rng, index: usize, is_long: bool) -> RequestPlan {
    let wire = rng.pick(&[Wire::Responses, Wire::Chat]);
    let max_attempts = rng.between(1, 4) as u32;
    let attempts: Vec<_> = (1..=max_attempts)
        .map(|attempt| AttemptPlan::new(rng, wire, format!("{index}.{attempt}"), is_long))
        .collect();
    let listeners = match rng.chance(5) {
        true => 0,
        false => rng.weighted(&[(4, 1), (4, 2), (2, 3), (1, 5)]),
    };
    let cancels = rng.weighted(&[(70, 0), (25, 1), (5, 2)]);
    RequestPlan {
        at: ticks(rng, 100),
        wire,
        when_deserted: rng.pick(&[
            WhenDeserted::Cancel,
            WhenDeserted::Linger(TICK * 20),
            WhenDeserted::KeepGoing,
        ]),
        after_output: rng.pick(&[RetryAfterOutput::Fail, RetryAfterOutput::Restart]),
        total: rng.chance(8).then(|| TICK * rng.between(20, 500) as u32),
        own_attempts: attempts.len(),
        attempts,
        listeners: (0..listeners)
            .map(|_| listener(rng, max_attempts, is_long))
            .collect(),
        cancels: (0..cancels).map(|_| when(rng, max_attempts)).collect(),
    }
}

fn question(rng: &mut Rng, number: usize, opens: bool) -> QuestionPlan {
    let kind = rng.pick(&[QuestionKind::Compact, QuestionKind::ListModels]);
    let max_attempts = rng.between(1, 4) as u32;
    let attempts = (1..=max_attempts)
        .map(|attempt| AttemptPlan::answer(rng, kind, format!("{number}.{attempt}"), opens))
        .collect();
    let ends_early = rng.chance(if opens { 50 } else { 30 });
    let early = ends_early.then(|| when(rng, max_attempts));
    QuestionPlan {
        at: ticks(rng, if opens { 300 } else { 100 }),
        kind,
        through: match rng.chance(60) {
            true => Through::Submit {
                cancels: early.into_iter().collect(),
            },
            false => Through::Future { dropped: early },
        },
        total: rng.chance(8).then(|| TICK * rng.between(20, 500) as u32),
        attempts,
    }
}

fn when(rng: &mut Rng, max_attempts: u32) -> When {
    let attempt = rng.between(1, max_attempts.into()) as u32;
    let signal = match rng.below(4) {
        0 => return When::At(ticks(rng, 300)),
        1 => Signal::Sent { attempt },
        2 => Signal::Terminal { attempt },
        _ => Signal::Over { attempt },
    };
    // The delays before the second, third and fourth attempt are among them.
    let delay = rng.pick(&[0, 0, 1, 5, 10, 20, 40]);
    When::After(signal, TICK * delay)
}

fn listener(rng: &mut Rng, max_attempts: u32, is_long: bool) -> ListenerPlan {
    let ms = Duration::from_millis;
    let link = rng.weighted(&[
        (4, LinkPlan::Deliveries),
        (3, LinkPlan::Events),
        (3, LinkPlan::Stream),
    ]);
    let policy = match link {
        LinkPlan::Stream => DeliveryPolicy::default(),
        _ => rng.weighted(&[
            (3, DeliveryPolicy::default()),
            (2, DeliveryPolicy::Wait { max_wait: ms(200) }),
            (
                1,
                DeliveryPolicy::Wait {
                    max_wait: Duration::ZERO,
                },
            ),
            (3, DeliveryPolicy::DropDeltas),
            (2, DeliveryPolicy::Disconnect),
        ]),
    };
    let slow = match is_long {
        true => TICK,
        false => TICK * rng.pick(&[1, 2, 5, 10, 20, 100]),
    };
    let stuck = rng.below(12);
    let panics_at = rng.between(1, 8);
    let fate = rng.below(20);
    let joins = rng.chance(35).then(|| {
        let cursor = match rng.below(4) {
            0 | 1 => CursorPlan::Start,
            2 => CursorPlan::Live,
            _ => CursorPlan::From(rng.below(20)),
        };
        (when(rng, max_attempts), cursor)
    });
    ListenerPlan {
        link,
        policy,
        capacity: rng.pick(&[1, 2, 4, 16]),
        pace: rng.weighted(&[
            (10, Pace::Quick),
            (5, Pace::Slow(slow)),
            (3, Pace::StuckAfter(stuck)),
        ]),
        fate: match fate {
            0..=2 => Fate::Unsubscribes(when(rng, max_attempts)),
            3 | 4 => Fate::Dies(when(rng, max_attempts)),
            5 if link != LinkPlan::Stream => Fate::PanicsAt(panics_at),
            _ => Fate::Stays,
        },
        joins,
    }
}
