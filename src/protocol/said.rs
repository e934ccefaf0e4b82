//! What a prompt and a compaction say, for the comparison with the body that they were read from.

use std::hash::{Hash, Hasher};

use super::{CompactionInput, Prompt, RequestOptions, received::Said};

// Without `..`, so that no field is forgotten.
impl Said for Prompt {
    fn model(&self) -> &Option<String> {
        &self.options.model
    }

    fn hash_all_but_model(&self, hasher: &mut impl Hasher) {
        let Self {
            instructions,
            input,
            tools,
            parallel_tool_calls,
            output_format,
            options,
            received: _,
        } = self;
        (instructions, input, tools).hash(hasher);
        (parallel_tool_calls, output_format).hash(hasher);
        let RequestOptions {
            model: _,
            template,
            reasoning,
            verbosity,
            text_extra,
            include,
            store,
            previous_response_id,
            conversation,
            prompt_cache_key,
            prompt_cache_retention,
            service_tier,
            max_output_tokens,
            max_tool_calls,
            temperature,
            top_p,
            top_logprobs,
            tool_choice,
            background,
            truncation,
            stream_options,
            metadata,
            safety_identifier,
            user,
            extra,
        } = options;
        (template, reasoning, verbosity, text_extra, include).hash(hasher);
        (store, previous_response_id, conversation).hash(hasher);
        (prompt_cache_key, prompt_cache_retention, service_tier).hash(hasher);
        (max_output_tokens, max_tool_calls, top_logprobs).hash(hasher);
        (temperature.map(f64::to_bits), top_p.map(f64::to_bits)).hash(hasher);
        (tool_choice, background, truncation, stream_options).hash(hasher);
        (metadata, safety_identifier, user, extra).hash(hasher);
    }
}

impl Said for CompactionInput {
    fn model(&self) -> &Option<String> {
        &self.model
    }

    fn hash_all_but_model(&self, hasher: &mut impl Hasher) {
        let Self {
            model: _,
            input,
            instructions,
            tools,
            parallel_tool_calls,
            reasoning,
            verbosity,
            output_format,
            service_tier,
            prompt_cache_key,
            prompt_cache_retention,
            previous_response_id,
            store,
            extra,
            received: _,
        } = self;
        (input, instructions, tools, parallel_tool_calls).hash(hasher);
        (reasoning, verbosity, output_format, service_tier).hash(hasher);
        (prompt_cache_key, prompt_cache_retention).hash(hasher);
        (previous_response_id, store, extra).hash(hasher);
    }
}
