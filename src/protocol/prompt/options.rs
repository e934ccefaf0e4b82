//! A prompt's options, set one by one.

use serde_json::Value;

use super::{Prompt, PromptTemplate, ReasoningOptions};

macro_rules! setters {
    ($($(#[$doc:meta])* $with:ident($option:ident: $type:ty);)*) => {
        impl Prompt {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $with(mut self, $option: $type) -> Self {
                    self.options.$option = Some($option.into());
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets the prompt that the server keeps, which this one fills in.
    with_template(template: PromptTemplate);
    /// Sets how much the model thinks, and what it shows of it. What other methods set of that is lost.
    with_reasoning(reasoning: ReasoningOptions);
    /// Sets how long answers are: `low`, `medium` or `high`.
    with_verbosity(verbosity: impl Into<String>);
    /// Sets whether the server keeps the response.
    with_store(store: bool);
    /// Sets the stored response that this one continues.
    with_previous_response_id(previous_response_id: impl Into<String>);
    /// Sets the stored conversation that the response belongs to.
    with_conversation(conversation: impl Into<String>);
    /// Sets what requests that begin alike have in common, so that they hit the same cache.
    with_prompt_cache_key(prompt_cache_key: impl Into<String>);
    /// Sets how long a cached prefix is kept: `in_memory` or `24h`.
    with_prompt_cache_retention(prompt_cache_retention: impl Into<String>);
    /// Sets the tier: `auto`, `default`, `flex` or `priority`.
    with_service_tier(service_tier: impl Into<String>);
    /// Sets the most tokens that the answer may have.
    with_max_output_tokens(max_output_tokens: u64);
    /// Sets the most calls of the server's own tools.
    with_max_tool_calls(max_tool_calls: u64);
    /// Sets how random the answer is, from 0 to 2.
    with_temperature(temperature: f64);
    /// Sets from which share of the likeliest tokens to choose, from 0 to 1.
    with_top_p(top_p: f64);
    /// Sets how many alternatives to report for each token, from 0 to 20.
    with_top_logprobs(top_logprobs: u32);
    /// Sets which tool to call: `"auto"`, `"none"`, `"required"`, or an object that names one.
    with_tool_choice(tool_choice: impl Into<Value>);
    /// Sets whether the response goes on when nobody reads it.
    with_background(background: bool);
    /// Sets what to do with input that is too long: `auto` drops the oldest items, `disabled` refuses.
    with_truncation(truncation: impl Into<String>);
    /// Sets how to stream.
    with_stream_options(stream_options: impl Into<Value>);
    /// Sets who asks, as a hash.
    with_safety_identifier(safety_identifier: impl Into<String>);
    /// Sets who asks, under the older name.
    with_user(user: impl Into<String>);
}
