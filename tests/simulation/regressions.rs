//! What seeds have found, as plans of their own: a seed means something else as soon as the plan is drawn differently.

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::{AudienceLimits, DeliveryPolicy, WhenDeserted},
    protocol::ResponseEvent,
    retry::{BreakerPolicy, RetryAfterOutput},
    wire::Wire,
};

use crate::{
    bodies::{Ending, Shape, body},
    check::check,
    plan::{
        AttemptPlan, Close, Fate, Fault, LinkPlan, ListenerPlan, Pace, Plan, RequestPlan, Signal,
        Step, TICK, When,
    },
    report,
    rng::Rng,
    run::run,
    world::Record,
};

fn whole_answer(number: u32) -> AttemptPlan {
    let shape = Shape {
        wire: Wire::Responses,
        tag: format!("0.{number}"),
        deltas: 3,
        ending: Ending::Completed,
    };
    let body = body(&mut Rng::new(7), shape);
    let (before, terminal) = body.bytes.split_at(body.terminal_at);
    let (start, rest) = before.split_at(before.len() / 2);
    let chunk = |bytes: &[u8], is_terminal| Step::Chunk {
        bytes: bytes.to_vec(),
        events: 9,
        is_terminal,
    };
    AttemptPlan {
        head_after: Duration::ZERO,
        fault: Fault::None,
        // Three deliveries: one is handled, one fills a mailbox of one, and the end finds it full.
        steps: vec![
            chunk(start, false),
            Step::Wait(TICK),
            chunk(rest, false),
            Step::Wait(TICK),
            chunk(terminal, true),
        ],
        body: Some(body),
        fails_with: Vec::new(),
    }
}

fn refused(code: u16, retry_after_ms: Option<u64>, hangs: bool, kind: ErrorKind) -> AttemptPlan {
    AttemptPlan {
        fault: Fault::Status {
            code,
            retry_after_ms,
            hangs,
        },
        steps: if hangs { vec![Step::Hang] } else { Vec::new() },
        body: None,
        fails_with: vec![kind],
        ..whole_answer(1)
    }
}

fn listener(link: LinkPlan, policy: DeliveryPolicy, pace: Pace) -> ListenerPlan {
    ListenerPlan {
        link,
        policy,
        capacity: 1,
        pace,
        fate: Fate::Stays,
        joins: None,
    }
}

fn plan(attempts: Vec<AttemptPlan>, listeners: Vec<ListenerPlan>) -> Plan {
    Plan {
        limits: AudienceLimits::default(),
        retain: Duration::from_secs(1),
        retain_bytes: 1_024 * 1_024,
        requests: vec![RequestPlan {
            at: Duration::ZERO,
            wire: Wire::Responses,
            when_deserted: WhenDeserted::KeepGoing,
            after_output: RetryAfterOutput::Fail,
            total: None,
            own_attempts: attempts.len(),
            attempts,
            listeners,
            cancels: Vec::new(),
        }],
        questions: Vec::new(),
        breaker: BreakerPolicy::default(),
        limiter: None,
        close: Close::AtTheEnd,
    }
}

#[track_caller]
fn keeps_its_promises(plan: &Plan) -> Record {
    crate::hide_scripted_panics();
    let record = run(plan);
    let broken = check(plan, &record).broken;
    assert!(broken.is_empty(), "{}", report(&record, &broken));
    record
}

/// The handler of the end was running when the wait for it was over, and `Lagged` followed.
#[test]
fn who_is_slow_with_its_end_gets_no_other() {
    for link in [LinkPlan::Deliveries, LinkPlan::Events] {
        for max_wait in (0..60).map(|n| TICK * n) {
            let slow = listener(
                link,
                DeliveryPolicy::Wait { max_wait },
                Pace::Slow(TICK * 5),
            );
            keeps_its_promises(&plan(vec![whole_answer(1)], vec![slow]));
        }
    }
}

/// The same where a shutdown's grace ends.
#[test]
fn a_shutdown_sends_no_second_end() {
    for link in [LinkPlan::Deliveries, LinkPlan::Events] {
        for at in (0..60).map(|n| TICK * n) {
            let slow = listener(link, DeliveryPolicy::default(), Pace::Slow(TICK * 5));
            let mut plan = plan(vec![whole_answer(1)], vec![slow]);
            plan.close = Close::Shutdown {
                at,
                grace: TICK * 3,
            };
            keeps_its_promises(&plan);
        }
    }
}

/// The time to linger began anew with each attempt, and a request that nobody wanted was sent again.
#[test]
fn who_left_between_two_attempts_is_not_forgotten() {
    for (when_deserted, attempts) in [
        (WhenDeserted::Linger(TICK * 20), 1),
        (WhenDeserted::Linger(TICK * 300), 2),
        (WhenDeserted::Cancel, 1),
        (WhenDeserted::KeepGoing, 2),
    ] {
        for fate in [Fate::Unsubscribes, Fate::Dies] {
            let mut leaves = listener(LinkPlan::Deliveries, DeliveryPolicy::default(), Pace::Quick);
            leaves.fate = fate(When::After(Signal::Over { attempt: 1 }, TICK * 5));
            let refused = refused(429, Some(2_000), false, ErrorKind::RateLimited);
            let mut plan = plan(vec![refused, whole_answer(2)], vec![leaves]);
            plan.requests[0].when_deserted = when_deserted;
            let record = keeps_its_promises(&plan);
            assert_eq!(
                record.requests[0].attempts.len(),
                attempts,
                "{when_deserted:?}"
            );
        }
    }
}

/// The limit on the head ended the reading of the error's body, and with it the error.
#[test]
fn a_refusal_is_known_though_its_body_hangs() {
    let mut refused = refused(429, Some(9_000), true, ErrorKind::RateLimited);
    refused.head_after = Duration::from_secs(1);
    let quick = listener(LinkPlan::Deliveries, DeliveryPolicy::default(), Pace::Quick);
    let record = keeps_its_promises(&plan(vec![refused], vec![quick]));
    let Some(ResponseEvent::Failed(error)) =
        record.listeners[0].seen.last().map(|seen| &seen.event)
    else {
        panic!("{:?}", record.listeners[0].seen)
    };
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.details().retry_after, Some(Duration::from_secs(9)));
}
