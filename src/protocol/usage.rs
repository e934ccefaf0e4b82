//! What a response cost.

use std::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::members::{Member, Members};

/// Token counts of one response, whichever dialect and server they came from.
///
/// Servers leave parts out; what is absent reads as 0, and a missing total is the sum of input and output. What has no field
/// here, such as audio tokens or a cost, is in the `usage` that stands beside it in the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompt, those that were read from a cache or written to it included.
    pub input_tokens: u64,
    /// The part of `input_tokens` that was read from the provider's cache.
    pub cached_input_tokens: u64,
    /// The part of `input_tokens` that was written to the provider's cache, where that costs extra.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// The part of `output_tokens` that was reasoning.
    pub reasoning_output_tokens: u64,
    /// The provider's total.
    pub total_tokens: u64,
}

/// A count of a usage, or the object that holds some.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Input,
    Output,
    Total,
    Cached,
    /// What was not in the cache; with what was, it makes the input.
    NotCached,
    Written,
    /// An object of such counts, one for each time that an entry is kept; in LangChain's form a number.
    WrittenByAge,
    Reasoning,
    InputDetails,
    OutputDetails,
}

/// How many of them hold a number.
const NUMBERS: usize = Count::Reasoning as usize + 1;

/// What servers call each count; of two names of one count the first one counts. Case and underscores do not matter, so
/// `promptTokenCount` is among them.
const NAMES: [(Count, &str); 36] = [
    (Count::Input, "prompt_tokens"),
    (Count::Input, "input_tokens"),
    (Count::Input, "prompt_token_count"),
    (Count::Input, "prompt_eval_count"),
    (Count::Output, "completion_tokens"),
    (Count::Output, "output_tokens"),
    (Count::Output, "candidates_token_count"),
    (Count::Output, "eval_count"),
    (Count::Total, "total_tokens"),
    (Count::Total, "total_token_count"),
    (Count::Cached, "cached_tokens"),
    (Count::Cached, "prompt_cache_hit_tokens"),
    (Count::Cached, "cache_read_input_tokens"),
    (Count::Cached, "cache_read_tokens"),
    (Count::Cached, "cached_input_tokens"),
    (Count::Cached, "cached_prompt_tokens"),
    (Count::Cached, "num_cached_tokens"),
    (Count::Cached, "cached_content_token_count"),
    (Count::Cached, "cache_read"),
    (Count::NotCached, "prompt_cache_miss_tokens"),
    (Count::Written, "cache_write_tokens"),
    (Count::Written, "cache_creation_input_tokens"),
    (Count::Written, "cache_write_input_tokens"),
    (Count::Written, "cache_creation_tokens"),
    (Count::Written, "cached_creation_tokens"),
    (Count::WrittenByAge, "cache_creation"),
    (Count::Reasoning, "reasoning_tokens"),
    (Count::Reasoning, "thinking_tokens"),
    (Count::Reasoning, "reasoning_output_tokens"),
    (Count::Reasoning, "thoughts_token_count"),
    (Count::InputDetails, "prompt_tokens_details"),
    (Count::InputDetails, "input_tokens_details"),
    (Count::InputDetails, "input_token_details"),
    (Count::OutputDetails, "completion_tokens_details"),
    (Count::OutputDetails, "output_tokens_details"),
    (Count::OutputDetails, "output_token_details"),
];

impl TokenUsage {
    /// These counts, and where there is no input or no output those of an earlier report: gateways exist that tell the one at
    /// the start and the other at the end.
    pub(crate) fn with_gaps_from(mut self, earlier: Self) -> Self {
        if self == Self::default() {
            return self;
        }
        if self.input_tokens == 0 {
            self.input_tokens = earlier.input_tokens;
            self.cached_input_tokens = earlier.cached_input_tokens;
            self.cache_write_tokens = earlier.cache_write_tokens;
        }
        if self.output_tokens == 0 {
            self.output_tokens = earlier.output_tokens;
            self.reasoning_output_tokens = earlier.reasoning_output_tokens;
        }
        let sum = self.input_tokens.saturating_add(self.output_tokens);
        self.total_tokens = self.total_tokens.max(sum);
        self
    }

    /// Reads a `usage` object of the Responses API (`input_tokens`), of Chat Completions (`prompt_tokens`), or of a server
    /// that has names of its own.
    ///
    /// Numbers may be integers, floats or decimal strings; a negative one is none. Of several names of one count the first
    /// that is not 0 is read. Some servers count reasoning (xAI) or the cache (Anthropic) beside output and input instead of
    /// in them: where the total shows it, or without a total a part is more than its whole, they are counted in. `None` when the
    /// value is no object or has neither input, output nor total.
    pub fn from_json(usage: &Value) -> Option<Self> {
        Self::from_text(&usage.to_string())
    }

    /// The same of an object's text, which is gone through once.
    pub(crate) fn from_text(json: &str) -> Option<Self> {
        let usage = Counts::of(json, true)?;
        let cached = usage.part(Count::InputDetails, |counts| counts.get(Count::Cached));
        let reasoning = usage.part(Count::OutputDetails, |counts| counts.get(Count::Reasoning));
        let written = usage.part(Count::InputDetails, Counts::written);
        let input = usage.get(Count::Input).or_else(|| {
            let not_cached = usage.get(Count::NotCached)?;
            Some(not_cached.saturating_add(cached))
        });
        let (output, total) = (usage.get(Count::Output), usage.get(Count::Total));
        if input.is_none() && output.is_none() && total.is_none() {
            return None;
        }
        let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
        let in_cache = cached.saturating_add(written);
        let (beside_input, beside_output) = match total {
            Some(total) => {
                let uncounted = total.saturating_sub(input.saturating_add(output));
                [
                    (0, reasoning),
                    (in_cache, 0),
                    (cached, 0),
                    (written, 0),
                    (in_cache, reasoning),
                ]
                .into_iter()
                .find(|(input, output)| input.checked_add(*output) == Some(uncounted))
                .unwrap_or_default()
            }
            None => (
                if in_cache > input { in_cache } else { 0 },
                if reasoning > output { reasoning } else { 0 },
            ),
        };
        let input = input.saturating_add(beside_input);
        let output = output.saturating_add(beside_output);
        Some(Self {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: output,
            reasoning_output_tokens: reasoning,
            total_tokens: total.unwrap_or_else(|| input.saturating_add(output)),
        })
    }
}

/// Each count by itself; one that would be too large is the largest.
impl Add for TokenUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = |count: fn(&Self) -> u64| count(&self).saturating_add(count(&other));
        Self {
            input_tokens: sum(|usage| usage.input_tokens),
            cached_input_tokens: sum(|usage| usage.cached_input_tokens),
            cache_write_tokens: sum(|usage| usage.cache_write_tokens),
            output_tokens: sum(|usage| usage.output_tokens),
            reasoning_output_tokens: sum(|usage| usage.reasoning_output_tokens),
            total_tokens: sum(|usage| usage.total_tokens),
        }
    }
}

impl AddAssign for TokenUsage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for TokenUsage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), Add::add)
    }
}

impl<'a> Sum<&'a Self> for TokenUsage {
    fn sum<I: Iterator<Item = &'a Self>>(usages: I) -> Self {
        usages.copied().sum()
    }
}

/// The counts of one object.
#[derive(Default)]
struct Counts {
    numbers: [Option<Number>; NUMBERS],
    /// Of the objects in it, as they were written, and how early each one's name stands.
    details: Vec<(Count, usize, Counts)>,
}

struct Number {
    /// How early its name stands.
    rank: usize,
    value: u64,
}

impl Counts {
    /// `None` for what is no object, or not JSON.
    fn of(json: &str, with_details: bool) -> Option<Self> {
        let mut counts = Self::default();
        let mut members = Members::of(json);
        for Member { name, value } in &mut members {
            let Some((count, rank)) = named(name) else {
                continue;
            };
            let value = json.get(value)?;
            match count {
                Count::InputDetails | Count::OutputDetails => {
                    if with_details && let Some(details) = Self::of(value, false) {
                        counts.details.push((count, rank, details));
                    }
                }
                Count::WrittenByAge => counts.note(count, rank, sum(value)),
                _ => counts.note(count, rank, whole_number(value)),
            }
        }
        members.end().map(|_| counts)
    }

    /// Gateways fill in 0 where another field has the number.
    fn note(&mut self, count: Count, rank: usize, value: Option<u64>) {
        let Some(value) = value else {
            return;
        };
        let known = &mut self.numbers[count as usize];
        let is_better = known
            .as_ref()
            .is_none_or(|known| (value == 0, rank) < (known.value == 0, known.rank));
        if is_better {
            *known = Some(Number { rank, value });
        }
    }

    fn get(&self, count: Count) -> Option<u64> {
        let number = self.numbers[count as usize].as_ref()?;
        Some(number.value)
    }

    fn written(&self) -> Option<u64> {
        match self.get(Count::Written) {
            first @ (None | Some(0)) => self.get(Count::WrittenByAge).or(first),
            first => first,
        }
    }

    /// A part of the input or of the output: in one of the objects that hold details, or beside them.
    fn part(&self, details: Count, read: impl Fn(&Self) -> Option<u64>) -> u64 {
        let within = self.details.iter().filter(|(count, ..)| *count == details);
        let found = within.filter_map(|(_, rank, counts)| Some((*rank, read(counts)?)));
        let within = found
            .filter(|(_, value)| *value > 0)
            .min_by_key(|(rank, _)| *rank);
        within
            .map(|(_, value)| value)
            .or_else(|| read(self))
            .unwrap_or(0)
    }
}

/// Which count a name is of, and how early it stands among the names.
fn named(name: &str) -> Option<(Count, usize)> {
    let find = |is_name: &dyn Fn(&str) -> bool| {
        let rank = NAMES.iter().position(|(_, name)| is_name(name))?;
        Some((NAMES[rank].0, rank))
    };
    find(&|known| known == name).or_else(|| find(&|known| is_name(name, known)))
}

/// Most are told apart by their first letter.
fn is_name(key: &str, name: &str) -> bool {
    letters(key).next() == letters(name).next() && letters(key).eq(letters(name))
}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes()
        .filter(|byte| *byte != b'_')
        .map(|byte| byte.to_ascii_lowercase())
}

/// A count as servers write it: `12`, `12.0` or `"12"`. One that is too large for the type is its largest.
fn whole_number(json: &str) -> Option<u64> {
    let text = match json.strip_prefix('"') {
        Some(text) => text.strip_suffix('"')?.trim(),
        None => json,
    };
    text.parse().ok().or_else(|| {
        let number = text.parse().ok();
        number
            .and_then(|number: f64| (number >= 0.0 && number.is_finite()).then_some(number as u64))
    })
}

/// A number, or all of an object's.
fn sum(json: &str) -> Option<u64> {
    if !json.starts_with('{') {
        return whole_number(json);
    }
    Members::of(json)
        .filter_map(|member| whole_number(json.get(member.value)?))
        .reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*, sample::select};
    use serde_json::json;

    use super::*;

    /// Input, cached, written, output, reasoning and total.
    fn counts(usage: TokenUsage) -> [u64; 6] {
        [
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            usage.reasoning_output_tokens,
            usage.total_tokens,
        ]
    }

    #[test]
    fn usages_add_up() {
        let usage = |first: u64| TokenUsage {
            input_tokens: first,
            cached_input_tokens: 2,
            cache_write_tokens: 3,
            output_tokens: 4,
            reasoning_output_tokens: 5,
            total_tokens: 6,
        };
        let turns = [usage(1), usage(u64::MAX)];
        let sum = turns[0] + turns[1];
        assert_eq!(counts(sum), [u64::MAX, 4, 6, 8, 10, 12]);
        assert_eq!(turns.iter().sum::<TokenUsage>(), sum);
        assert_eq!(turns.into_iter().sum::<TokenUsage>(), sum);
        let mut so_far = TokenUsage::default();
        for turn in turns {
            so_far += turn;
        }
        assert_eq!(so_far, sum);
    }

    #[test]
    fn every_servers_names_are_read() {
        for (of, usage, expected) in [
            (
                "Responses",
                json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                    "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14}),
                [9, 4, 3, 5, 2, 14],
            ),
            (
                "Chat",
                json!({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
                    "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14}),
                [9, 4, 0, 5, 2, 14],
            ),
            (
                "DeepSeek",
                json!({"prompt_tokens": 100, "prompt_cache_hit_tokens": 80, "prompt_cache_miss_tokens": 20,
                    "completion_tokens": 50, "total_tokens": 150}),
                [100, 80, 0, 50, 0, 150],
            ),
            (
                "DeepSeek behind a proxy that drops the sum",
                json!({"prompt_cache_hit_tokens": 80, "prompt_cache_miss_tokens": 20, "completion_tokens": 50}),
                [100, 80, 0, 50, 0, 150],
            ),
            (
                "Kimi",
                json!({"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10}),
                [19, 10, 0, 21, 0, 40],
            ),
            (
                "Mistral",
                json!({"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "num_cached_tokens": 16}),
                [19, 16, 0, 21, 0, 40],
            ),
            (
                "Perplexity",
                json!({"prompt_tokens": 7, "completion_tokens": 100, "total_tokens": 107, "reasoning_tokens": 60,
                    "citation_tokens": 5, "search_context_size": "low", "cost": {"total_cost": 0.1}}),
                [7, 0, 0, 100, 60, 107],
            ),
            (
                "xAI",
                json!({"prompt_tokens": 291, "completion_tokens": 26, "total_tokens": 513,
                    "prompt_tokens_details": {"text_tokens": 291, "cached_tokens": 290},
                    "completion_tokens_details": {"reasoning_tokens": 196}}),
                [291, 290, 0, 222, 196, 513],
            ),
            (
                "xAI without a total",
                json!({"prompt_tokens": 12, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 386}}),
                [12, 0, 0, 387, 386, 399],
            ),
            (
                "OpenRouter",
                json!({"prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196, "cost": 0.95,
                    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0}}),
                [194, 0, 100, 2, 0, 196],
            ),
            (
                "Anthropic's names, the cache beside the input",
                json!({"input_tokens": 13, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 40,
                    "output_tokens": 6, "total_tokens": 559}),
                [553, 500, 40, 6, 0, 559],
            ),
            (
                "the same, and only reads are beside it",
                json!({"prompt_tokens": 53, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 40,
                    "completion_tokens": 6, "total_tokens": 559}),
                [553, 500, 40, 6, 0, 559],
            ),
            (
                "the same without a total, where the cache can't be in it",
                json!({"input_tokens": 13, "cache_read_input_tokens": 500, "output_tokens": 6}),
                [513, 500, 0, 6, 0, 519],
            ),
            (
                "the same, the cache in the input",
                json!({"prompt_tokens": 553, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 40,
                    "completion_tokens": 6, "total_tokens": 559}),
                [553, 500, 40, 6, 0, 559],
            ),
            (
                "the same without a total, where the cache may be in it",
                json!({"input_tokens": 553, "cache_read_input_tokens": 500, "output_tokens": 6}),
                [553, 500, 0, 6, 0, 559],
            ),
            (
                "a total that says neither",
                json!({"input_tokens": 13, "cache_read_input_tokens": 500, "output_tokens": 6, "total_tokens": 19}),
                [13, 500, 0, 6, 0, 19],
            ),
            (
                "Qwen's explicit cache",
                json!({"prompt_tokens": 900, "completion_tokens": 8, "total_tokens": 908, "prompt_tokens_details":
                    {"cached_tokens": 0, "cache_creation_input_tokens": 700, "cache_creation": {"ephemeral_5m_input_tokens": 700}}}),
                [900, 0, 700, 8, 0, 908],
            ),
            (
                "writes by their age alone",
                json!({"input_tokens": 90, "output_tokens": 8,
                    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20}}),
                [90, 0, 50, 8, 0, 98],
            ),
            (
                "a gateway that fills in both dialects",
                json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "input_tokens": 0, "output_tokens": 0,
                    "prompt_tokens_details": {"cached_tokens": 0, "cached_creation_tokens": 2}, "input_tokens_details": null,
                    "prompt_cache_hit_tokens": 4}),
                [9, 4, 2, 5, 0, 14],
            ),
            (
                "Gemini",
                json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 20, "totalTokenCount": 35,
                    "cachedContentTokenCount": 3, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}]}),
                [10, 3, 0, 25, 20, 35],
            ),
            (
                "Gemini's hidden thoughts",
                json!({"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 417}),
                [8, 0, 0, 9, 0, 417],
            ),
            (
                "Bedrock",
                json!({"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 20, "cacheWriteInputTokens": 10,
                    "totalTokens": 37}),
                [33, 20, 10, 4, 0, 37],
            ),
            (
                "Ollama",
                json!({"prompt_eval_count": 26, "eval_count": 298}),
                [26, 0, 0, 298, 0, 324],
            ),
            (
                "absent parts",
                json!({"input_tokens": 3, "output_tokens": 4.0, "input_tokens_details": null, "output_tokens_details": []}),
                [3, 0, 0, 4, 0, 7],
            ),
            (
                "zeros",
                json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
                [0; 6],
            ),
            (
                "a total alone",
                json!({"total_tokens": 5}),
                [0, 0, 0, 0, 0, 5],
            ),
            (
                "other forms of numbers",
                json!({"prompt_tokens": " 12 ", "completion_tokens": "3.0", "total_tokens": 15.0, "cached_tokens": "NaN",
                    "reasoning_tokens": -1}),
                [12, 0, 0, 3, 0, 15],
            ),
            (
                "too large",
                json!({"prompt_tokens": 1e300, "completion_tokens": u64::MAX, "reasoning_tokens": u64::MAX, "cached_tokens": 1}),
                [u64::MAX, 1, 0, u64::MAX, u64::MAX, u64::MAX],
            ),
        ] {
            let read = TokenUsage::from_json(&usage).map(counts);
            assert_eq!(read, Some(expected), "{of}: {usage}");
        }
    }

    #[test]
    fn an_object_without_counts_is_no_usage() {
        for value in [
            json!(null),
            json!({}),
            json!({"input_tokens": null}),
            json!({"input_tokens": -1, "output_tokens": "many", "total_tokens": true}),
            json!({"cached_tokens": 4, "cost": 0.1}),
            json!([1]),
        ] {
            assert_eq!(TokenUsage::from_json(&value), None, "{value}");
        }
    }

    #[test]
    fn usage_that_was_written_before_a_count_was_added_is_read() {
        let old = json!({"input_tokens": 1, "cached_input_tokens": 0, "output_tokens": 2, "reasoning_output_tokens": 0,
            "total_tokens": 3});
        let usage: TokenUsage = serde_json::from_value(old).unwrap();
        assert_eq!(counts(usage), [1, 0, 0, 2, 0, 3]);
    }

    fn any_usage() -> impl Strategy<Value = Value> {
        let (numbers, details): (Vec<_>, Vec<_>) = NAMES
            .iter()
            .partition(|(count, _)| (*count as usize) < NUMBERS);
        let select = |names: Vec<&(Count, &'static str)>| {
            select(names.iter().map(|(_, name)| *name).collect::<Vec<_>>())
        };
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            (0..1000_u64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(|number| json!(number.to_string())),
            Just(Value::Null),
            Just(json!({"ephemeral_5m_input_tokens": u64::MAX, "x": 1})),
            Just(json!([1])),
        ];
        let object = collection::btree_map(select(numbers), number, 0..8);
        let details = collection::btree_map(select(details), object.clone(), 0..3);
        (object, details).prop_map(|(object, details)| {
            let mut usage = json!(object);
            for (name, object) in details {
                usage[name] = json!(object);
            }
            usage
        })
    }

    proptest! {
        #[test]
        fn any_numbers_are_read_without_a_panic_and_the_total_is_the_servers(usage in any_usage()) {
            let Some(read) = TokenUsage::from_json(&usage) else { return Ok(()) };
            let sum = read.input_tokens.saturating_add(read.output_tokens);
            match Counts::of(&usage.to_string(), false).unwrap().get(Count::Total) {
                Some(total) => prop_assert_eq!(read.total_tokens, total),
                None => {
                    prop_assert_eq!(read.total_tokens, sum);
                    prop_assert!(read.cached_input_tokens.saturating_add(read.cache_write_tokens) <= read.input_tokens);
                    prop_assert!(read.reasoning_output_tokens <= read.output_tokens);
                }
            }
        }

        #[test]
        fn a_consistent_server_is_read_alike_in_each_way_of_counting(
            [fresh, cached, written, said, reasoning] in any::<[u32; 5]>(), cache_inside: bool, reasoning_inside: bool,
        ) {
            let [fresh, cached, written, said, reasoning] = [fresh, cached, written, said, reasoning].map(u64::from);
            let (input, output) = (fresh + cached + written, said + reasoning);
            let usage = json!({
                "input_tokens": if cache_inside { input } else { fresh },
                "cache_read_input_tokens": cached,
                "cache_creation_input_tokens": written,
                "output_tokens": if reasoning_inside { output } else { said },
                "reasoning_tokens": reasoning,
                "total_tokens": input + output,
            });
            let read = TokenUsage::from_json(&usage).map(counts);
            prop_assert_eq!(read, Some([input, cached, written, output, reasoning, input + output]), "{}", usage);
        }
    }
}
