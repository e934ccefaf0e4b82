//! Whether a response that runs on without its stream is gone on with, or given up for another.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    attempts::{Lost, Standing},
    requests::Request,
};
use crate::{
    actors::audience::{Audience, listener::Listener},
    protocol::error::{ApiError, ErrorKind},
};

impl Request {
    /// Looks at what there is of the answer after its attempt failed with this error, and gives up on going on with it where its server
    /// does not, or not any more.
    pub(super) fn standing(
        &self,
        listener: &mut Listener,
        error: &ApiError,
        now: Instant,
    ) -> Standing {
        let Listener::Audience(audience) = listener else {
            return Standing::default();
        };
        let is_refused = self.is_resuming && audience.resumption.is_some() && is_refusal(error);
        let mut lost = None;
        if is_refused || is_too_old(audience, self.spec.retry.resume_window, now) {
            let given_up = audience.resumption.take();
            // What breaks behind that is an error as any other: it was this process that asked.
            lost = match given_up {
                Some(_) if is_refused && self.spec.is_read_again() => Some(Lost::Refused),
                Some(_) if self.is_reading => Some(Lost::Late),
                _ => None,
            };
        }
        let resumes = audience.resumption.is_some();
        // Nothing else is to be asked for than what was refused.
        let kept = self.spec.kept.get();
        let is_all = self.spec.is_read_again() || kept.is_some_and(|kept| kept.from.is_some());
        let output_delivered = audience.output_delivered();
        let is_accepted = self.spec.stream.is_background && audience.accepted_at().is_some();
        Standing {
            output_delivered,
            resumes,
            is_begun: !resumes && (output_delivered || is_accepted),
            is_refused: is_refused && !is_all,
            lost,
        }
    }
}

/// Whether the server says of this response, and not of requests like this one, that it does not go on with it: it does not know it
/// (any more), it is too old, it never goes on with any.
fn is_refusal(error: &ApiError) -> bool {
    matches!(
        error.details().status,
        Some(400 | 404 | 405 | 410 | 422 | 501)
    )
}

/// Whether the server has begun the response so long ago that it does not go on with it any more.
fn is_too_old(audience: &Audience, window: Option<Duration>, now: Instant) -> bool {
    let accepted_at = audience.accepted_at();
    window.is_some_and(|window| accepted_at.is_some_and(|at| now - at >= window))
}

/// What became of an answer that another process began and its server does not go on with: in the server's words, with all that it said.
pub(super) fn lose(error: &mut ApiError, lost: Lost) {
    let details = error.details_mut();
    details.kind = ErrorKind::NodeLost;
    let said = &details.message;
    details.message = match lost {
        Lost::Refused => format!(
            "the process that wrote the stream is gone, and its server does not go on with the answer: {said}"
        ),
        // That it is gone was said.
        Lost::Late => format!("{said}, and its server is not asked to go on after so long"),
    };
}
