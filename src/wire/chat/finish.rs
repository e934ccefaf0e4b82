//! How a choice ends.

use std::borrow::Cow;

use crate::protocol::Text;

/// What a `finish_reason` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Finish {
    pub(in crate::wire) meaning: Meaning,
    /// The server's own word, and that of the server behind it.
    pub(in crate::wire) word: Text,
    pub(in crate::wire) native: Option<Text>,
}

/// The later ones are the worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Meaning {
    /// The model came to its end.
    Whole,
    /// The answer was cut or withheld, in the words of the Responses API where it has any: `max_output_tokens`,
    /// `content_filter`. A word that is not known is itself the reason.
    Cut(Text),
    /// The server failed on the way.
    Failed,
}

impl Finish {
    /// Reads a `finish_reason` and the `native_finish_reason` beside it. `None` for what some servers write while there is no
    /// reason yet.
    ///
    /// Gateways map the word of the server behind them, and some map what they do not know to `stop`: where the native word is
    /// known and says worse, it counts.
    pub(in crate::wire) fn read(reason: Option<&str>, native: Option<&str>) -> Option<Self> {
        let word = reason.filter(|word| !is_none_yet(word))?.trim();
        let native = native.map(str::trim).filter(|word| !is_none_yet(word));
        let meaning = known(word).unwrap_or_else(|| Meaning::Cut(word.into()));
        let behind = native.and_then(known);
        Some(Self {
            meaning: match behind {
                Some(behind) if behind.rank() > meaning.rank() => behind,
                _ => meaning,
            },
            word: word.into(),
            native: native.map(Text::from),
        })
    }

    /// Whether it is worse than another, which it then replaces: some servers repeat the reason, some name a vaguer one first
    /// or last, and some say `stop` in every chunk.
    pub(super) fn is_worse_than(&self, other: &Self) -> bool {
        self.meaning.rank() > other.meaning.rank()
    }

    pub(super) fn is_failure(&self) -> bool {
        self.meaning == Meaning::Failed
    }

    /// Whether it says that the model calls tools.
    pub(super) fn names_calls(&self) -> bool {
        matches!(
            &*squashed(&self.word),
            "toolcalls" | "toolcall" | "tooluse" | "functioncall" | "functioncalls"
        )
    }

    /// The `status` of the items that it ends.
    pub(super) fn item_status(&self) -> &'static str {
        match self.meaning {
            Meaning::Whole => "completed",
            Meaning::Cut(_) | Meaning::Failed => "incomplete",
        }
    }
}

impl Meaning {
    fn rank(&self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Cut(_) => 1,
            Self::Failed => 2,
        }
    }
}

fn is_none_yet(word: &str) -> bool {
    matches!(
        &*squashed(word),
        "" | "null" | "none" | "notfinished" | "inprogress" | "unfinished"
    )
}

/// A word without its case, its separators, and the prefix that protocol buffers give it. Gateways spell one word as
/// `max_tokens`, `MAX_TOKENS`, `MaxTokens`, `max-tokens` and `FINISH_REASON_MAX_TOKENS`.
fn squashed(word: &str) -> Cow<'_, str> {
    let squashed = match word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        true => Cow::Borrowed(word),
        false => {
            let letters = word.chars().filter(|letter| letter.is_alphanumeric());
            Cow::Owned(letters.flat_map(char::to_lowercase).collect())
        }
    };
    for prefix in ["finishreason", "stopreason"] {
        if let Some(word) = squashed.strip_prefix(prefix) {
            return Cow::Owned(word.to_owned());
        }
    }
    squashed
}

/// The words that have been seen: of OpenAI, Google, Anthropic, AWS, Cohere, Zhipu, DeepSeek, vLLM, SGLang, TGI and the gateways
/// before them.
fn known(word: &str) -> Option<Meaning> {
    Some(match &*squashed(word) {
        "stop" | "eos" | "eostoken" | "endoftext" | "stopsequence" | "stopsequences"
        | "stopstring" | "stopword" | "endturn" | "end" | "complete" | "completed" | "finished"
        | "toolcalls" | "toolcall" | "tooluse" | "functioncall" | "functioncalls" => Meaning::Whole,
        "length"
        | "limit"
        | "maxlength"
        | "maxtokens"
        | "maxnewtokens"
        | "maxoutputtokens"
        | "maxcompletiontokens"
        | "modellength"
        | "tokenlimit"
        | "contextlength"
        | "contextlengthexceeded"
        | "contextwindowexceeded"
        | "modelcontextwindowexceeded" => Meaning::Cut("max_output_tokens".into()),
        "contentfilter"
        | "contentfiltered"
        | "contentpolicy"
        | "contentpolicyviolation"
        | "safety"
        | "imagesafety"
        | "sensitive"
        | "recitation"
        | "imagerecitation"
        | "prohibitedcontent"
        | "imageprohibitedcontent"
        | "blocklist"
        | "blocked"
        | "spii"
        | "language"
        | "moderation"
        | "errortoxic"
        | "refusal"
        | "guardrail"
        | "guardrailintervened" => Meaning::Cut("content_filter".into()),
        "cancel" | "cancelled" | "canceled" | "usercancel" => Meaning::Cut("cancelled".into()),
        "error"
        | "servererror"
        | "internalerror"
        | "networkerror"
        | "modelerror"
        | "upstreamerror"
        | "errorlimit"
        | "timeout"
        | "failed"
        | "failure"
        | "insufficientsystemresource"
        | "malformedfunctioncall"
        | "malformedtoolcall"
        | "malformedresponse"
        | "unexpectedtoolcall"
        | "toomanytoolcalls"
        | "abort"
        | "aborted" => Meaning::Failed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(reason: &str, native: Option<&str>) -> Option<Meaning> {
        Finish::read(Some(reason), native).map(|finish| finish.meaning)
    }

    #[test]
    fn words_have_their_meaning_in_every_spelling() {
        let cut = |reason: &str| Meaning::Cut(reason.into());
        for (words, expected) in [
            (
                "stop eos eos_token stop_sequence end_turn complete completed COMPLETE tool_calls tool_call tool_use \
                 function_call STOP endTurn FINISH_REASON_STOP EndTurn tool-calls",
                Meaning::Whole,
            ),
            (
                "length max_tokens max_output_tokens model_length token_limit model_context_window_exceeded MAX_TOKENS \
                 MaxTokens maxTokens FINISH_REASON_MAX_TOKENS max-tokens Length",
                cut("max_output_tokens"),
            ),
            (
                "content_filter content-filter safety sensitive recitation prohibited_content blocklist spii language \
                 refusal guardrail_intervened SAFETY RECITATION PROHIBITED_CONTENT contentFilter FINISH_REASON_SAFETY \
                 content_filtered",
                cut("content_filter"),
            ),
            (
                "error network_error insufficient_system_resource malformed_function_call abort ERROR \
                 MALFORMED_FUNCTION_CALL networkError",
                Meaning::Failed,
            ),
        ] {
            for word in words.split_whitespace() {
                assert_eq!(meaning(word, None), Some(expected.clone()), "{word}");
            }
        }
        for word in ["other", "FINISH_REASON_UNSPECIFIED", "pause_turn", "日本"] {
            assert_eq!(meaning(word, None), Some(cut(word)), "{word}");
        }
        for word in ["", " ", "null", "None", "NOT_FINISHED"] {
            assert_eq!(meaning(word, None), None, "{word}");
        }
        assert_eq!(Finish::read(None, Some("STOP")), None);
    }

    #[test]
    fn the_word_of_the_server_behind_counts_where_it_says_worse() {
        for (reason, native, expected) in [
            ("stop", "STOP", Meaning::Whole),
            ("stop", "end_turn", Meaning::Whole),
            ("stop", "something", Meaning::Whole),
            ("stop", "SAFETY", Meaning::Cut("content_filter".into())),
            ("stop", "MALFORMED_FUNCTION_CALL", Meaning::Failed),
            ("error", "MAX_TOKENS", Meaning::Failed),
            ("odd", "STOP", Meaning::Cut("odd".into())),
        ] {
            assert_eq!(
                meaning(reason, Some(native)),
                Some(expected),
                "{reason}, {native}"
            );
        }
        let finish = Finish::read(Some("stop"), Some("SAFETY")).unwrap();
        assert_eq!(finish.word, "stop");
        assert_eq!(finish.native.as_deref(), Some("SAFETY"));
    }
}
