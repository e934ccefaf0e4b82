//! What a response cost.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Token counts of one response, whichever dialect they came in.
///
/// Servers leave parts out; what is absent reads as 0, and a missing total is the sum of input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that was read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// The part of `output_tokens` that was reasoning.
    pub reasoning_output_tokens: u64,
    /// The provider's total.
    pub total_tokens: u64,
}

impl TokenUsage {
    /// Reads a `usage` object of the Responses API (`input_tokens`) or of Chat Completions (`prompt_tokens`).
    ///
    /// Numbers may be integers, whole floats or decimal strings. `None` when the value is no object or names no count at
    /// all.
    pub fn from_json(usage: &Value) -> Option<Self> {
        let usage = usage.as_object()?;
        let count = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| usage.get(*name).and_then(whole_number))
        };
        let detail = |objects: &[&str], name: &str| {
            objects
                .iter()
                .find_map(|object| usage.get(*object)?.get(name).and_then(whole_number))
        };
        let input = count(&["input_tokens", "prompt_tokens"]);
        let output = count(&["output_tokens", "completion_tokens"]);
        let total = count(&["total_tokens"]);
        if input.is_none() && output.is_none() && total.is_none() {
            return None;
        }
        let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
        Some(Self {
            input_tokens: input,
            cached_input_tokens: detail(
                &["input_tokens_details", "prompt_tokens_details"],
                "cached_tokens",
            )
            .unwrap_or(0),
            output_tokens: output,
            reasoning_output_tokens: detail(
                &["output_tokens_details", "completion_tokens_details"],
                "reasoning_tokens",
            )
            .unwrap_or(0),
            total_tokens: total.unwrap_or_else(|| input.saturating_add(output)),
        })
    }
}

/// A count as servers write it: `12`, `12.0` or `"12"`.
fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|n| *n >= 0.0 && n.is_finite())
                .map(|n| n as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_dialects_are_read() {
        let responses = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14});
        let chat = json!({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14});
        let expected = TokenUsage {
            input_tokens: 9,
            cached_input_tokens: 4,
            output_tokens: 5,
            reasoning_output_tokens: 2,
            total_tokens: 14,
        };
        assert_eq!(TokenUsage::from_json(&responses), Some(expected));
        assert_eq!(TokenUsage::from_json(&chat), Some(expected));
    }

    #[test]
    fn absent_parts_are_zero_and_a_missing_total_is_the_sum() {
        let usage = TokenUsage::from_json(
            &json!({"input_tokens": 3, "output_tokens": 4.0, "input_tokens_details": null}),
        );
        assert_eq!(
            usage.map(|u| (u.total_tokens, u.cached_input_tokens)),
            Some((7, 0))
        );
    }

    #[test]
    fn an_object_without_counts_is_no_usage() {
        for value in [
            json!(null),
            json!({}),
            json!({"input_tokens": null}),
            json!([1]),
        ] {
            assert_eq!(TokenUsage::from_json(&value), None, "{value}");
        }
    }
}
