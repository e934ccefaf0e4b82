//! An error as one JSON object.

use std::error::Error;

use serde::{Serialize, Serializer};

use super::ApiError;
use crate::protocol::{OneLine, fields::Fields};

/// `{"kind", "message", ...}`: what is absent is left out, except for the first two.
impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let details = self.details();
        let mut fields = Fields::begin(serializer)?;
        fields.put("kind", details.kind.as_str())?;
        fields.put("message", &details.message)?;
        fields.put_some("phase", details.phase)?;
        fields.put_some("provider", details.provider.as_ref())?;
        fields.put_some("host", details.host.as_ref())?;
        fields.put_some("code", details.code.as_ref())?;
        fields.put_some("error_type", details.error_type.as_ref())?;
        fields.put_some("param", details.param.as_ref())?;
        fields.put_some("request_id", details.request_id.as_ref())?;
        fields.put_some("plan_type", details.plan_type.as_ref())?;
        fields.put_some("response_id", details.response_id.as_deref())?;
        fields.put_some("finish_reason", details.finish_reason.as_ref())?;
        let native = details.native_finish_reason.as_ref();
        fields.put_some("native_finish_reason", native)?;
        fields.put_some("status", details.status)?;
        fields.put_some("should_retry", details.should_retry)?;
        fields.put_some("resets_at", details.resets_at)?;
        let wait = details.retry_after.map(|wait| wait.as_millis() as u64);
        fields.put_some("retry_after_ms", wait)?;
        fields.put_some("rate_limits", details.rate_limits.as_ref())?;
        fields.put_some("token_usage", details.token_usage.as_ref())?;
        fields.put_some("usage", details.usage.as_ref().map(OneLine))?;
        fields.put_some("sequence_number", details.sequence_number)?;
        fields.put("output_delivered", &details.output_delivered)?;
        if details.attempt > 0 {
            fields.put("attempt", &details.attempt)?;
            fields.put("max_attempts", &details.max_attempts)?;
            fields.put("attempts", &details.attempts)?;
        }
        fields.put_anomalies(&details.anomalies)?;
        fields.put_some("cause", self.source().map(ToString::to_string))?;
        fields.put("advice", self.advice())?;
        fields.end()
    }
}
