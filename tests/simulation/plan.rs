//! What happens in one seed, drawn before anything runs: nothing is decided by chance while it does.
//!
//! Times are multiples of [`TICK`], and so are the delays of the retry policy: a cancel, a join and a retry often fall on the
//! same instant.

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::{AudienceLimits, DeliveryPolicy, WhenDeserted},
    retry::{BreakerPolicy, RetryAfterOutput},
    transport::TransportErrorKind,
    wire::Wire,
};

use crate::{
    bodies::{Body, Ending, IN_BAND_ERRORS, Shape, body, question_body},
    rng::Rng,
};

pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Timeouts of every provider in a simulation, short enough that a seed ends soon.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
pub(crate) const TRAILER_TIMEOUT: Duration = Duration::from_millis(250);

/// The first delay of the retry policy, which doubles and has no jitter.
pub(crate) const BACKOFF: Duration = Duration::from_millis(100);

/// The longest delay that a server may ask for.
pub(crate) const MAX_REQUESTED_DELAY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) limits: AudienceLimits,
    pub(crate) retain: Duration,
    pub(crate) retain_bytes: usize,
    pub(crate) requests: Vec<RequestPlan>,
    /// They are numbered on from the requests.
    pub(crate) questions: Vec<QuestionPlan>,
    pub(crate) breaker: BreakerPolicy,
    pub(crate) close: Close,
}

/// What ends the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// It is dropped after everything has ended.
    AtTheEnd,
    /// It is shut down in the middle.
    Shutdown { at: Duration, grace: Duration },
    /// The handle and all streams are dropped in the middle.
    Drop { at: Duration },
}

#[derive(Clone, Debug)]
pub(crate) struct RequestPlan {
    pub(crate) at: Duration,
    pub(crate) wire: Wire,
    pub(crate) when_deserted: WhenDeserted,
    pub(crate) after_output: RetryAfterOutput,
    pub(crate) total: Option<Duration>,
    /// One for each attempt that the policy allows.
    pub(crate) attempts: Vec<AttemptPlan>,
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) cancels: Vec<When>,
}

/// A compaction or a list of models.
#[derive(Clone, Debug)]
pub(crate) struct QuestionPlan {
    pub(crate) at: Duration,
    pub(crate) kind: QuestionKind,
    pub(crate) through: Through,
    pub(crate) total: Option<Duration>,
    /// One for each attempt that the policy allows.
    pub(crate) attempts: Vec<AttemptPlan>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuestionKind {
    Compact,
    ListModels,
}

/// How a question is asked, and what ends it early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// By a message to the supervisor; it is cancelled by its id.
    Submit { cancels: Vec<When> },
    /// By the runtime; it is cancelled by the drop of its future.
    Future { dropped: Option<When> },
}

/// A moment: at a time of the seed, or some time after something that happens in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Duration),
    After(Signal, Duration),
}

/// What the transport sees of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Sent {
        attempt: u32,
    },
    /// The bytes of the terminal event were handed over.
    Terminal {
        attempt: u32,
    },
    /// The body or the exchange is over, whatever the reason.
    Over {
        attempt: u32,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct AttemptPlan {
    pub(crate) head_after: Duration,
    pub(crate) fault: Fault,
    pub(crate) steps: Vec<Step>,
    /// The whole answer, where one is sent or cut.
    pub(crate) body: Option<Body>,
    /// The kinds that the attempt may fail with; none when it must not fail.
    pub(crate) fails_with: Vec<ErrorKind>,
}

/// What goes wrong with an attempt, for the statistics and for the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    None,
    Incomplete,
    InBandError,
    ConnectError(TransportErrorKindOrd),
    Status {
        code: u16,
        retry_after_ms: Option<u64>,
        hangs: bool,
    },
    HeadStall,
    Cut,
    Reset,
    IdleStall,
    HangAfterTerminal,
    Garbage,
    NoEventStream,
    PanicInBody,
    PanicInSend,
    PanicWhileDraining,
    CancelInBody,
}

/// `TransportErrorKind` without an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TransportErrorKindOrd {
    Dns,
    Connect,
    ConnectTimeout,
    Tls,
    Certificate,
    Send,
}

impl TransportErrorKindOrd {
    pub(crate) fn kind(self) -> TransportErrorKind {
        match self {
            Self::Dns => TransportErrorKind::Dns,
            Self::Connect => TransportErrorKind::Connect,
            Self::ConnectTimeout => TransportErrorKind::ConnectTimeout,
            Self::Tls => TransportErrorKind::Tls,
            Self::Certificate => TransportErrorKind::Certificate,
            Self::Send => TransportErrorKind::Send,
        }
    }
}

impl Fault {
    /// The kind of fault, without its details.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Incomplete => "incomplete",
            Self::InBandError => "in-band error",
            Self::ConnectError(_) => "connect error",
            Self::Status { hangs: true, .. } => "error status, body hangs",
            Self::Status {
                code: 429,
                retry_after_ms: Some(_),
                ..
            } => "429 with retry-after",
            Self::Status { code: 429, .. } => "429",
            Self::Status { code: 500.., .. } => "5xx",
            Self::Status { .. } => "4xx",
            Self::HeadStall => "head stall",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::IdleStall => "idle stall",
            Self::HangAfterTerminal => "hang after terminal",
            Self::Garbage => "garbage",
            Self::NoEventStream => "no event stream",
            Self::PanicInBody => "panic in body",
            Self::PanicInSend => "panic in send",
            Self::PanicWhileDraining => "panic while draining",
            Self::CancelInBody => "cancel in body",
        }
    }
}

/// What a body does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes, with the number of events that they complete.
    Chunk {
        bytes: Vec<u8>,
        events: u64,
        is_terminal: bool,
    },
    Wait(Duration),
    Break,
    Hang,
    Panic,
    /// The request is cancelled by whoever reads the body, in the middle of that.
    Cancel,
}

#[derive(Clone, Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) link: LinkPlan,
    pub(crate) policy: DeliveryPolicy,
    pub(crate) capacity: usize,
    pub(crate) pace: Pace,
    pub(crate) fate: Fate,
    /// None: it is there from the start.
    pub(crate) joins: Option<(When, CursorPlan)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkPlan {
    Deliveries,
    Events,
    /// A `ResponseStream`. Its policy is the default one.
    Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CursorPlan {
    Start,
    Live,
    From(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    /// Each message takes this long.
    Slow(Duration),
    /// Nothing is taken after so many messages until the simulation is over.
    StuckAfter(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Unsubscribes(When),
    /// Its actor stops; a stream is dropped.
    Dies(When),
    /// Its handler panics at this message.
    PanicsAt(u64),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let is_long = rng.chance(3);
        let limits = AudienceLimits {
            log_events: rng.pick(&[4, 16, 64, 8_192]),
            log_bytes: rng.pick(&[1_024, 16 * 1_024, 2 * 1_024 * 1_024]),
            lag_events: rng.pick(&[1, 4, 32, 1_024]),
        };
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
        plan
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
            self.breaker = BreakerPolicy {
                failures: rng.between(2, 3) as u32,
                pause: rng.pick(&[ms(50), ms(100), ms(300)]),
                max_pause: ms(400),
            };
            for request in &mut self.requests {
                request.attempts.truncate(1);
            }
        }
        let first = self.requests.len();
        let questions = (0..count as usize).map(|index| question(rng, first + index, opens));
        self.questions = questions.collect();
    }

    /// Whether the breaker opens in this seed.
    pub(crate) fn is_spared(&self) -> bool {
        self.breaker != BreakerPolicy::default()
    }

    /// The attempts of a request or a question.
    pub(crate) fn attempts(&self, number: usize) -> &[AttemptPlan] {
        match self.question(number) {
            Some(question) => &question.attempts,
            None => &self.requests[number].attempts,
        }
    }

    /// The question of that number, unless it is a request's.
    pub(crate) fn question(&self, number: usize) -> Option<&QuestionPlan> {
        let index = number.checked_sub(self.requests.len())?;
        self.questions.get(index)
    }
}

fn ticks(rng: &mut Rng, most: u64) -> Duration {
    TICK * rng.below(most + 1) as u32
}

fn request(rng: &mut Rng, index: usize, is_long: bool) -> RequestPlan {
    let wire = rng.pick(&[Wire::Responses, Wire::Chat]);
    let max_attempts = rng.between(1, 4) as u32;
    let attempts = (1..=max_attempts)
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

impl AttemptPlan {
    fn new(rng: &mut Rng, wire: Wire, tag: String, is_long: bool) -> Self {
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
                fails_with.push(ErrorKind::Protocol);
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
    fn answer(rng: &mut Rng, kind: QuestionKind, tag: String, opens: bool) -> Self {
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

fn steps(rng: &mut Rng, fault: Fault, body: &Body, is_long: bool) -> (Vec<Step>, Vec<ErrorKind>) {
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
