//! Attempts, drawn.

use std::time::Duration;

use actix_responses::{ErrorKind, wire::Wire};

use super::steps::steps;
use crate::{
    bodies::{Ending, IN_BAND_ERRORS, Shape, body, question_body},
    plan::{AttemptPlan, Fault, QuestionKind, Step, TICK, TransportErrorKindOrd},
    rng::Rng,
};

impl AttemptPlan {
    pub(super) fn new(rng: &mut Rng, wire: Wire, tag: String, is_long: bool) -> Self {
        let connect_error = connect_error(rng);
        let status = status(rng);
        let fault = match is_long {
            true => Fault::None,
            false => rng.weighted(&[
                (30, Fault::None),
                (3, Fault::Incomplete),
                (8, Fault::InBandError),
                (7, Fault::ConnectError(connect_error)),
                (10, status),
                (3, Fault::HeadStall),
                (8, Fault::Cut),
                (8, Fault::Reset),
                (4, Fault::IdleStall),
                (7, Fault::HangAfterTerminal),
                (4, Fault::Garbage),
                (2, Fault::NoEventStream),
                (4, Fault::PanicInBody),
                (1, Fault::PanicInSend),
                (2, Fault::PanicWhileDraining),
                (3, Fault::CancelInBody),
            ]),
        };
        let ending = match fault {
            Fault::Incomplete => Ending::Incomplete,
            Fault::InBandError => rng.pick(&IN_BAND_ERRORS),
            _ => Ending::Completed,
        };
        let deltas = match is_long {
            true => rng.between(1_500, 3_000),
            false => rng.weighted(&[(1, 0), (6, 8), (2, 40), (1, 200)]),
        };
        let deltas = rng.between(deltas / 2, deltas);
        let body = body(
            rng,
            Shape {
                wire,
                tag,
                deltas,
                ending,
            },
        );
        let (steps, mut fails_with) = steps(rng, fault, &body, is_long);
        if let (Fault::Garbage, Some(Step::Chunk { bytes, .. })) = (fault, steps.first()) {
            // JSON that broke off may have been a piece of the answer, which on the Responses wire comes again in what follows,
            // unless it is empty. Words in place of an answer of the Chat wire say why there is none.
            let is_empty = deltas == 0;
            if bytes.starts_with(b"data: {") && (wire == Wire::Chat || is_empty) {
                fails_with.push(ErrorKind::Truncated);
            } else if bytes.starts_with(b"data: not json") && wire == Wire::Chat && is_empty {
                fails_with.push(ErrorKind::ServerError);
            }
        }
        Self {
            head_after: head_after(rng),
            fault,
            steps,
            body: Some(body),
            fails_with,
        }
    }

    /// An attempt at a question. Where the breaker opens, most find the endpoint down.
    pub(super) fn answer(rng: &mut Rng, kind: QuestionKind, tag: String, opens: bool) -> Self {
        let is_stream = kind == QuestionKind::Compact && rng.chance(40);
        let connect_error = connect_error(rng);
        let status = status(rng);
        let down = Fault::Status {
            code: rng.pick(&[500, 503]),
            retry_after_ms: None,
            hangs: false,
        };
        let fault = match opens {
            true => rng.weighted(&[
                (5, Fault::None),
                (5, Fault::ConnectError(connect_error)),
                (5, down),
                (2, Fault::HeadStall),
                (1, Fault::CancelInBody),
            ]),
            false => rng.weighted(&[
                (30, Fault::None),
                (8, Fault::InBandError),
                (7, Fault::ConnectError(connect_error)),
                (10, status),
                (3, Fault::HeadStall),
                (8, Fault::Cut),
                (8, Fault::Reset),
                (4, Fault::IdleStall),
                (7, Fault::HangAfterTerminal),
                (2, Fault::NoEventStream),
                (4, Fault::PanicInBody),
                (1, Fault::PanicInSend),
                (2, Fault::PanicWhileDraining),
                (3, Fault::CancelInBody),
            ]),
        };
        // Only a stream says where it ends.
        let needs_stream = matches!(fault, Fault::HangAfterTerminal | Fault::PanicWhileDraining);
        let fault = match needs_stream && !is_stream {
            true => Fault::None,
            false => fault,
        };
        let ending = match fault {
            Fault::InBandError => rng.pick(&IN_BAND_ERRORS),
            _ => Ending::Completed,
        };
        let body = question_body(kind == QuestionKind::Compact, is_stream, &tag, ending);
        let (steps, mut fails_with) = steps(rng, fault, &body, false);
        if fault == Fault::PanicWhileDraining {
            fails_with.clear();
        }
        Self {
            head_after: head_after(rng),
            fault,
            steps,
            body: Some(body),
            fails_with,
        }
    }
}

fn head_after(rng: &mut Rng) -> Duration {
    rng.weighted(&[
        (6, Duration::ZERO),
        (3, TICK * 3),
        (1, Duration::from_secs(1)),
    ])
}

fn connect_error(rng: &mut Rng) -> TransportErrorKindOrd {
    use TransportErrorKindOrd as T;
    rng.pick(&[
        T::Dns,
        T::Connect,
        T::ConnectTimeout,
        T::Tls,
        T::Certificate,
        T::Send,
    ])
}

fn status(rng: &mut Rng) -> Fault {
    let code = rng.pick(&[429, 429, 500, 502, 503, 529, 400, 401, 403, 404, 408, 409]);
    let retry_after_ms = rng.pick(&[
        None,
        None,
        Some(0),
        Some(10),
        Some(100),
        Some(250),
        Some(2_000),
        Some(9_000),
    ]);
    Fault::Status {
        code,
        retry_after_ms,
        hangs: rng.chance(10),
    }
}
