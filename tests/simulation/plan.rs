//! What happens in one seed, drawn before anything runs: nothing is decided by chance while it does.
//!
//! Times are multiples of [`TICK`], and so are the delays of the retry policy: a cancel, a join and a retry often fall on the
//! same instant.

mod attempt;
mod draw;
mod steps;

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::{AudienceLimits, DeliveryPolicy, WhenDeserted},
    retry::{BreakerPolicy, LimiterPolicy, RetryAfterOutput},
    transport::TransportErrorKind,
    wire::Wire,
};

use crate::bodies::Body;

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
    pub(crate) limiter: Option<LimiterPlan>,
    pub(crate) close: Close,
}

/// A limiter, and what the servers before it allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimiterPlan {
    pub(crate) policy: LimiterPolicy,
    /// So many requests in each window.
    pub(crate) limit: u64,
    pub(crate) window: Duration,
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
    /// One for each attempt that the policies allow.
    pub(crate) attempts: Vec<AttemptPlan>,
    /// How many of them the first provider may have; the others are those of its fallback.
    pub(crate) own_attempts: usize,
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
    /// Whether the breaker opens in this seed.
    pub(crate) fn is_spared(&self) -> bool {
        self.breaker != BreakerPolicy::default()
    }

    /// The gate of a limiter that a request or a question waits at: it is of an endpoint and a model.
    pub(crate) fn gate(&self, number: usize) -> usize {
        match self.question(number).map(|question| question.kind) {
            None => 0,
            Some(QuestionKind::Compact) => 1,
            Some(QuestionKind::ListModels) => 2,
        }
    }

    /// The attempts of a request or a question.
    pub(crate) fn attempts(&self, number: usize) -> &[AttemptPlan] {
        match self.question(number) {
            Some(question) => &question.attempts,
            None => &self.requests[number].attempts,
        }
    }

    /// How many attempts the fallback of a request may have: none where it has no fallback.
    pub(crate) fn fallback_attempts(&self, number: usize) -> usize {
        let request = self.requests.get(number);
        request.map_or(0, |request| request.attempts.len() - request.own_attempts)
    }

    /// The question of that number, unless it is a request's.
    pub(crate) fn question(&self, number: usize) -> Option<&QuestionPlan> {
        let index = number.checked_sub(self.requests.len())?;
        self.questions.get(index)
    }
}
