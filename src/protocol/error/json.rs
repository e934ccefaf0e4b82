//! An error as one JSON object.

use std::error::Error;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{ApiError, Phase};
use crate::protocol::OneLine;

/// `{"kind", "message", ...}`: what is absent is left out, except for the first two.
impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let details = self.details();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", details.kind.as_str())?;
        map.serialize_entry("message", &details.message)?;
        let texts = [
            ("phase", details.phase.map(Phase::as_str)),
            ("provider", details.provider.as_deref()),
            ("host", details.host.as_deref()),
            ("code", details.code.as_deref()),
            ("error_type", details.error_type.as_deref()),
            ("param", details.param.as_deref()),
            ("request_id", details.request_id.as_deref()),
            ("plan_type", details.plan_type.as_deref()),
            ("response_id", details.response_id.as_deref()),
            ("finish_reason", details.finish_reason.as_deref()),
            (
                "native_finish_reason",
                details.native_finish_reason.as_deref(),
            ),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                map.serialize_entry(name, text)?;
            }
        }
        if let Some(status) = details.status {
            map.serialize_entry("status", &status)?;
        }
        if let Some(should_retry) = details.should_retry {
            map.serialize_entry("should_retry", &should_retry)?;
        }
        if let Some(resets_at) = details.resets_at {
            map.serialize_entry("resets_at", &resets_at)?;
        }
        if let Some(wait) = details.retry_after {
            map.serialize_entry("retry_after_ms", &(wait.as_millis() as u64))?;
        }
        if let Some(limits) = &details.rate_limits {
            map.serialize_entry("rate_limits", limits)?;
        }
        if let Some(usage) = &details.token_usage {
            map.serialize_entry("token_usage", usage)?;
        }
        if let Some(usage) = &details.usage {
            map.serialize_entry("usage", &OneLine(usage))?;
        }
        if let Some(number) = details.sequence_number {
            map.serialize_entry("sequence_number", &number)?;
        }
        map.serialize_entry("output_delivered", &details.output_delivered)?;
        if details.attempt > 0 {
            map.serialize_entry("attempt", &details.attempt)?;
            map.serialize_entry("max_attempts", &details.max_attempts)?;
            map.serialize_entry("attempts", &details.attempts)?;
        }
        if !details.anomalies.is_empty() {
            map.serialize_entry("anomalies", &details.anomalies)?;
        }
        if let Some(source) = self.source() {
            map.serialize_entry("cause", &source.to_string())?;
        }
        map.serialize_entry("advice", self.advice())?;
        map.end()
    }
}
