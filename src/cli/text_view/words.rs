//! What is said of an answer's end, its cost and its calls.

use actix_responses::protocol::{Incomplete, ResponseItem, Text, TokenUsage};

use crate::cli::harmless::printable;

/// How much of a tool call is shown, in characters.
pub(super) const MAX_CALL_CHARS: usize = 300;

pub(super) fn incomplete_report(incomplete: &Incomplete) -> String {
    let reason = incomplete.reason.as_str();
    let words = [&incomplete.finish_reason, &incomplete.native_finish_reason];
    let own = match own_words(words, |word| word == reason) {
        Some(words) => format!(" (server says: {words})"),
        None => String::new(),
    };
    match reason {
        "no_finish_reason" => format!(
            "the answer is incomplete: the server never said how it ended{own}, so the rest may be missing. \
             To try: ask again."
        ),
        "max_output_tokens" => format!(
            "the answer is incomplete, the server stopped early: {reason}{own}. To try: raise --max-output-tokens."
        ),
        _ => format!("the answer is incomplete, the server stopped early: {reason}{own}."),
    }
}

/// The server's own words for the end, those left out that are known already.
pub(super) fn own_words(
    words: [&Option<Text>; 2],
    is_known: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut words: Vec<_> = words.into_iter().flatten().map(Text::as_str).collect();
    words.retain(|word| !word.is_empty() && !is_known(word));
    words.dedup();
    (!words.is_empty()).then(|| words.join(", "))
}

pub(super) fn usage_line(usage: &TokenUsage) -> String {
    let parts = |parts: &[(u64, &str)]| {
        let parts: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match parts.is_empty() {
            true => String::new(),
            false => format!(" ({})", parts.join(", ")),
        }
    };
    format!(
        "tokens: {} in{}, {} out{}",
        usage.input_tokens,
        parts(&[
            (usage.cached_input_tokens, "cached"),
            (usage.cache_write_tokens, "written to the cache"),
        ]),
        usage.output_tokens,
        parts(&[(usage.reasoning_output_tokens, "reasoning")]),
    )
}

/// What is called, in a line; nothing if the item is no call.
pub(super) fn call_line(item: &ResponseItem) -> Option<String> {
    let call = match item {
        ResponseItem::FunctionCall(call) => format!("{}({})", call.name, call.arguments),
        ResponseItem::CustomToolCall(call) => format!("{}({})", call.name, call.input),
        other => other.item_type().filter(|name| name.ends_with("_call"))?,
    };
    let words: Vec<_> = call.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(MAX_CALL_CHARS) {
        line.truncate(end);
        line.push('\u{2026}');
    }
    Some(format!("tool call: {}", printable(&line)))
}
