//! What a body does, drawn for a fault.

use actix_responses::ErrorKind;

use crate::{
    bodies::{Body, Ending},
    plan::{Fault, Step, TICK, TransportErrorKindOrd},
    rng::Rng,
};

pub(super) fn steps(
    rng: &mut Rng,
    fault: Fault,
    body: &Body,
    is_long: bool,
) -> (Vec<Step>, Vec<ErrorKind>) {
    use ErrorKind as K;
    let whole = &body.bytes[..];
    let cut = rng.below(body.terminal_at as u64 + 1) as usize;
    let mut steps = Vec::new();
    let mut kinds = Vec::new();
    match fault {
        Fault::None | Fault::Incomplete => pieces(rng, whole, body, is_long, &mut steps),
        Fault::InBandError => {
            pieces(rng, whole, body, is_long, &mut steps);
            if rng.chance(30) {
                steps.push(Step::Hang);
            }
            if let Ending::Failed(_, kind) = body.ending {
                kinds.push(kind);
            }
        }
        Fault::ConnectError(error) => kinds.push(match error {
            TransportErrorKindOrd::Dns => K::Dns,
            TransportErrorKindOrd::Connect => K::Connect,
            TransportErrorKindOrd::ConnectTimeout => K::ConnectTimeout,
            TransportErrorKindOrd::Tls => K::Tls,
            TransportErrorKindOrd::Certificate => K::Certificate,
            TransportErrorKindOrd::Send => K::Connection,
        }),
        Fault::Status { code, hangs, .. } => {
            kinds.push(match code {
                429 => K::RateLimited,
                503 | 529 => K::Overloaded,
                500.. => K::ServerError,
                400 => K::InvalidRequest,
                401 => K::Authentication,
                403 => K::PermissionDenied,
                404 => K::NotFound,
                _ => K::UnexpectedStatus,
            });
            let text = br#"{"error":{"message":"a scripted refusal"}}"#;
            steps.push(Step::Chunk {
                bytes: text.to_vec(),
                events: 0,
                is_terminal: false,
            });
            if hangs {
                steps.push(Step::Hang);
            }
        }
        Fault::HeadStall => kinds.push(K::ResponseHeadTimeout),
        Fault::Cut => {
            pieces(rng, &whole[..cut], body, is_long, &mut steps);
            kinds.push(K::Truncated);
            // A stream without a byte is an answer without a body.
            kinds.extend((cut == 0).then_some(K::UnexpectedStatus));
        }
        Fault::Reset => {
            pieces(rng, &whole[..cut], body, is_long, &mut steps);
            steps.push(Step::Break);
            kinds.push(K::Connection);
        }
        Fault::IdleStall => {
            pieces(rng, &whole[..cut], body, is_long, &mut steps);
            steps.push(Step::Hang);
            kinds.push(K::IdleTimeout);
        }
        Fault::HangAfterTerminal => {
            pieces(rng, whole, body, is_long, &mut steps);
            let rest = rng.pick(&[
                &b""[..],
                b": bye\n\n",
                b"data: [DONE]\n\n",
                b"data: {\"type\":\"error\"}\n\n",
                b"\xff\0junk",
            ]);
            if !rest.is_empty() {
                steps.push(Step::Chunk {
                    bytes: rest.to_vec(),
                    events: 1,
                    is_terminal: false,
                });
            }
            steps.push(rng.pick(&[Step::Hang, Step::Hang, Step::Break]));
        }
        Fault::Garbage => {
            let garbage = rng.pick(&[
                &b"data: {\"type\":\n\n"[..],
                b"\xff\xfe\x00\x01\n\n",
                b"data: not json\n\ndata: [1,2]\n\ndata: 7\n\n",
                b"id: \xf0\x9f\nretry: x\n\n",
            ]);
            steps.push(Step::Chunk {
                bytes: garbage.to_vec(),
                events: 3,
                is_terminal: false,
            });
            pieces(rng, whole, body, is_long, &mut steps);
        }
        Fault::NoEventStream => {
            let page = b"<html><title>Bad gateway</title></html>";
            steps.push(Step::Chunk {
                bytes: page.to_vec(),
                events: 0,
                is_terminal: false,
            });
            kinds.push(K::Protocol);
        }
        Fault::PanicInBody | Fault::PanicInSend => {
            pieces(rng, &whole[..cut], body, is_long, &mut steps);
            steps.push(Step::Panic);
            kinds.push(K::AttemptLost);
        }
        Fault::PanicWhileDraining => {
            pieces(rng, whole, body, is_long, &mut steps);
            if rng.chance(50) {
                steps.push(Step::Wait(TICK));
            }
            steps.push(Step::Panic);
            // Without a usage chunk or `[DONE]`, Chat waits for more when the panic comes.
            if body.terminal_end == whole.len() {
                kinds.push(K::AttemptLost);
            }
        }
        Fault::CancelInBody => {
            pieces(rng, whole, body, is_long, &mut steps);
            let at = rng.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Cancel);
        }
    }
    (steps, kinds)
}

/// The bytes in chunks of some kind, with pauses between a few of them.
fn pieces(rng: &mut Rng, bytes: &[u8], body: &Body, is_long: bool, steps: &mut Vec<Step>) {
    let mode = match is_long {
        true => rng.weighted(&[(3, 1), (1, 2)]),
        false => rng.weighted(&[(2, 0), (3, 1), (3, 2), (1, 3)]),
    };
    let ends = event_ends(bytes);
    let pauses = rng.pick(&[0, 5, 30]);
    let mut pauses_left = 20;
    let mut from = 0;
    while from < bytes.len() {
        let rest = &bytes[from..];
        let size = match mode {
            0 => rest.len(),
            1 => event_length(rest),
            2 => rng.between(1, 400) as usize,
            _ => rng.between(1, 12) as usize,
        };
        let chunk = &rest[..size.min(rest.len())];
        let to = from + chunk.len();
        let is_terminal = from < body.terminal_end && to >= body.terminal_end;
        let events = (ends.partition_point(|end| *end <= to)
            - ends.partition_point(|end| *end <= from)) as u64;
        steps.push(Step::Chunk {
            bytes: chunk.to_vec(),
            events,
            is_terminal,
        });
        from = to;
        if pauses_left > 0 && rng.chance(pauses) {
            pauses_left -= 1;
            steps.push(Step::Wait(TICK * rng.pick(&[1, 1, 5, 10, 30])));
        }
    }
}

/// The length of the first event, its blank line included, whatever ends its lines.
fn event_length(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(2_048))
        .find(|end| ends_event(&bytes[..*end]))
        .unwrap_or(bytes.len())
}

/// Where events end. A comment on its own is none.
fn event_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let length = event_length(&bytes[from..]);
        if bytes[from] != b':' {
            ends.push(from + length);
        }
        from += length;
    }
    ends
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\r")
}
