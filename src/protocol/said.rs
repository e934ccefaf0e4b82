//! What a prompt and a compaction say, for the comparison with the body that they were read from.

use std::hash::{Hash, Hasher};

use serde_json::{Map, Value};

use super::{
    CompactionInput, Prompt, PromptTemplate, ReasoningOptions, RequestOptions, received::Said,
};
use crate::json::hashing::{hash_members, hash_value};

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
        hash_template(template, hasher);
        hash_reasoning(reasoning, hasher);
        (verbosity, include).hash(hasher);
        (store, previous_response_id, conversation).hash(hasher);
        (prompt_cache_key, prompt_cache_retention, service_tier).hash(hasher);
        (max_output_tokens, max_tool_calls, top_logprobs).hash(hasher);
        (temperature.map(f64::to_bits), top_p.map(f64::to_bits)).hash(hasher);
        (background, truncation).hash(hasher);
        hash_json([tool_choice, stream_options], [text_extra, extra], hasher);
        (metadata, safety_identifier, user).hash(hasher);
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
        hash_reasoning(reasoning, hasher);
        (verbosity, output_format, service_tier).hash(hasher);
        (prompt_cache_key, prompt_cache_retention).hash(hasher);
        (previous_response_id, store).hash(hasher);
        hash_members(extra, hasher);
    }
}

fn hash_template(template: &Option<PromptTemplate>, hasher: &mut impl Hasher) {
    template.is_some().hash(hasher);
    if let Some(template) = template {
        let PromptTemplate {
            id,
            version,
            variables,
            extra,
        } = template;
        (id, version).hash(hasher);
        hash_json([], [variables, extra], hasher);
    }
}

fn hash_reasoning(reasoning: &Option<ReasoningOptions>, hasher: &mut impl Hasher) {
    reasoning.is_some().hash(hasher);
    if let Some(reasoning) = reasoning {
        let ReasoningOptions {
            effort,
            summary,
            context,
            extra,
        } = reasoning;
        (effort, summary, context).hash(hasher);
        hash_members(extra, hasher);
    }
}

fn hash_json<const VALUES: usize>(
    values: [&Option<Value>; VALUES],
    members: [&Map<String, Value>; 2],
    hasher: &mut impl Hasher,
) {
    for value in values {
        value.is_some().hash(hasher);
        if let Some(value) = value {
            hash_value(value, hasher);
        }
    }
    members
        .iter()
        .for_each(|members| hash_members(members, hasher));
}
