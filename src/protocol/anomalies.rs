//! What was odd about a stream that was read all the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a decoder noticed and went on from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StreamAnomalies {
    /// Events that could not be read and were left out.
    pub malformed_events: u64,
    /// What was wrong with the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_malformed: Option<String>,
    /// Places where `sequence_number` jumped forward.
    pub sequence_gaps: u64,
    /// Events whose `sequence_number` was not above the one before.
    pub sequence_repeats: u64,
    /// The stream never said how the answer ended (Chat's `finish_reason`), and counts as whole all the same: it ended on purpose,
    /// with nothing left open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_finish_reason: bool,
}

impl StreamAnomalies {
    /// Whether nothing was odd.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts an event that is left out, and keeps the reason of the first.
    pub(crate) fn malformed(&mut self, why: impl FnOnce() -> String) {
        self.malformed_events += 1;
        if self.first_malformed.is_none() {
            self.first_malformed = Some(why());
        }
    }
}

impl fmt::Display for StreamAnomalies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} malformed, {} sequence gaps, {} sequence repeats",
            self.malformed_events, self.sequence_gaps, self.sequence_repeats
        )?;
        if let Some(why) = &self.first_malformed {
            write!(f, " (first malformed: {why})")?;
        }
        match self.no_finish_reason {
            true => f.write_str(", no finish reason"),
            false => Ok(()),
        }
    }
}
