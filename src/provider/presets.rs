//! The providers that are known by name: plain data, of which `settings.rs` makes a provider.

use super::endpoint::Provider;
use crate::{
    protocol::error::ApiError,
    wire::{Quirks, Wire},
};

/// A provider that is known by name: where it is and how it wants to be asked. Plain data.
///
/// ```
/// use actix_responses::provider::Preset;
///
/// # fn main() -> Result<(), actix_responses::ApiError> {
/// let variables = |name: &str| (name == "GROQ_API_KEY").then(|| "gsk-0123".to_owned());
/// let provider = Preset::named("groq")?.provider(variables)?;
/// assert_eq!(
///     provider.url_for(provider.wire.path(), &[]).as_str(),
///     "https://api.groq.com/openai/v1/chat/completions"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preset {
    /// The name that it is asked for by: lower case, with hyphens.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Where it is; `None` where that depends on the account.
    pub base_url: Option<&'static str>,
    /// The variable that says where it is instead.
    pub base_url_env: Option<&'static str>,
    /// The dialect that it speaks best.
    pub wire: Wire,
    /// The variable with the key.
    pub key_env: &'static str,
    /// Whether it refuses whoever has no key. Servers of one's own mostly ask for none.
    pub key_required: bool,
    /// The header that carries the key alone; `None` is `Authorization: Bearer KEY`.
    pub key_header: Option<&'static str>,
    /// Headers whose values come from variables. One whose variable is unset is not sent; of several for the same header
    /// the first that is set counts.
    pub env_headers: &'static [(&'static str, &'static str)],
    /// Query parameters whose values come from variables, in the same way.
    pub env_query: &'static [(&'static str, &'static str)],
    /// `store` on the Responses wire, where a prompt leaves it open.
    pub store: Option<bool>,
    /// The field in which Chat messages bring reasoning back, where that is wanted.
    pub reasoning_field: Option<&'static str>,
    /// Whether Chat calls the limit of an answer `max_tokens`.
    pub has_max_tokens: bool,
    /// Whether Chat has `developer` messages.
    pub has_developer_role: bool,
    /// Whether Chat asks for usage; where it does not, usage comes anyway.
    pub usage_request: bool,
    /// Whether what the model said goes back over Chat with fields that are some server's own.
    pub answer_extras: bool,
}

/// What the presets have in common: a service with a key of its own, asked on the Chat wire.
const SERVICE: Preset = Preset {
    name: "",
    title: "",
    base_url: None,
    base_url_env: None,
    wire: Wire::Chat,
    key_env: "",
    key_required: true,
    key_header: None,
    env_headers: &[],
    env_query: &[],
    store: None,
    reasoning_field: None,
    // What servers know that were made before `max_completion_tokens`, and those that came later know too.
    has_max_tokens: true,
    has_developer_role: false,
    usage_request: true,
    answer_extras: true,
};

/// A server on one's own machine, which asks for a key only when it was started with one.
const LOCAL: Preset = Preset {
    key_required: false,
    ..SERVICE
};

static PRESETS: [Preset; 12] = [
    Preset {
        name: "openai",
        title: "OpenAI",
        base_url: Some("https://api.openai.com/v1"),
        base_url_env: Some("OPENAI_BASE_URL"),
        wire: Wire::Responses,
        key_env: "OPENAI_API_KEY",
        // The names of OpenAI's own libraries first, then those of its command.
        env_headers: &[
            ("openai-organization", "OPENAI_ORG_ID"),
            ("openai-organization", "OPENAI_ORGANIZATION"),
            ("openai-project", "OPENAI_PROJECT_ID"),
            ("openai-project", "OPENAI_PROJECT"),
        ],
        has_max_tokens: false,
        has_developer_role: true,
        ..SERVICE
    },
    Preset {
        name: AZURE,
        title: "Azure OpenAI",
        // https://RESOURCE.openai.azure.com
        base_url_env: Some("AZURE_OPENAI_ENDPOINT"),
        wire: Wire::Responses,
        key_env: "AZURE_OPENAI_API_KEY",
        key_header: Some("api-key"),
        env_query: &[(API_VERSION, "OPENAI_API_VERSION")],
        // Reasoning is found again only by its id, and that only when it was stored.
        store: Some(true),
        has_max_tokens: false,
        has_developer_role: true,
        ..SERVICE
    },
    Preset {
        name: "openrouter",
        title: "OpenRouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        key_env: "OPENROUTER_API_KEY",
        env_headers: &[
            ("http-referer", "OPENROUTER_APP_URL"),
            ("x-title", "OPENROUTER_APP_TITLE"),
        ],
        reasoning_field: Some("reasoning"),
        ..SERVICE
    },
    Preset {
        name: "perplexity",
        title: "Perplexity",
        base_url: Some("https://api.perplexity.ai"),
        key_env: "PERPLEXITY_API_KEY",
        // Its chunks all carry usage.
        usage_request: false,
        ..SERVICE
    },
    Preset {
        name: "groq",
        title: "Groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        key_env: "GROQ_API_KEY",
        has_max_tokens: false,
        // It refuses fields that it does not know, even the `annotations` that it sends.
        answer_extras: false,
        ..SERVICE
    },
    Preset {
        name: "deepseek",
        title: "DeepSeek",
        base_url: Some("https://api.deepseek.com"),
        key_env: "DEEPSEEK_API_KEY",
        // It refuses calls of tools that come back without what led to them.
        reasoning_field: Some("reasoning_content"),
        ..SERVICE
    },
    Preset {
        name: "mistral",
        title: "Mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        key_env: "MISTRAL_API_KEY",
        // It refuses fields that it does not know, and its last chunk carries usage anyway.
        usage_request: false,
        answer_extras: false,
        ..SERVICE
    },
    Preset {
        name: "xai",
        title: "xAI",
        base_url: Some("https://api.x.ai/v1"),
        wire: Wire::Responses,
        key_env: "XAI_API_KEY",
        ..SERVICE
    },
    Preset {
        name: "ollama",
        title: "Ollama",
        base_url: Some("http://localhost:11434/v1"),
        key_env: "OLLAMA_API_KEY",
        ..LOCAL
    },
    Preset {
        name: "lm-studio",
        title: "LM Studio",
        base_url: Some("http://localhost:1234/v1"),
        key_env: "LM_API_TOKEN",
        ..LOCAL
    },
    Preset {
        name: "llama-cpp",
        title: "llama.cpp",
        base_url: Some("http://localhost:8080/v1"),
        key_env: "LLAMA_API_KEY",
        reasoning_field: Some("reasoning_content"),
        ..LOCAL
    },
    Preset {
        name: "vllm",
        title: "vLLM",
        base_url: Some("http://localhost:8000/v1"),
        key_env: "VLLM_API_KEY",
        reasoning_field: Some("reasoning"),
        ..LOCAL
    },
];

const AZURE: &str = "azure-openai";

/// Azure's query parameter.
const API_VERSION: &str = "api-version";

impl Preset {
    /// Every preset: services first, then servers of one's own.
    pub const ALL: &'static [Self] = &PRESETS;

    /// The preset of a name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when there is none; the message lists those there are.
    pub fn named(name: &str) -> Result<&'static Self, ApiError> {
        Self::find(name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|preset| preset.name).collect();
            ApiError::misconfigured(format!(
                "no provider is named {name:?}; known are {}",
                names.join(", ")
            ))
        })
    }

    pub(super) fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// What it wants differently in request bodies.
    pub fn quirks(&self) -> Quirks {
        Quirks {
            default_store: self.store,
            reasoning_field: self.reasoning_field.map(Into::into),
            has_max_tokens: self.has_max_tokens,
            has_developer_role: self.has_developer_role,
            no_usage_request: !self.usage_request,
            no_answer_extras: !self.answer_extras,
            ..Quirks::default()
        }
    }

    /// Completes a base URL that names only the host, as Azure's portal gives it. The provider's query says which API is meant.
    pub(super) fn complete(&self, provider: Provider) -> Provider {
        if self.name != AZURE || !matches!(provider.base_url().path(), "" | "/") {
            return provider;
        }
        // The API without dated versions is below `v1`; those who name a date ask for the one before it.
        let is_dated = provider
            .query()
            .iter()
            .any(|(name, value)| name == API_VERSION && value.starts_with("20"));
        let path = match is_dated {
            true => "/openai",
            false => "/openai/v1",
        };
        provider.with_base_path(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_written_alike() {
        for (index, preset) in Preset::ALL.iter().enumerate() {
            let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            assert!(preset.name.chars().all(is_plain), "{}", preset.name);
            assert!(!preset.title.is_empty() && !preset.key_env.is_empty());
            let same = Preset::ALL
                .iter()
                .position(|other| other.name == preset.name);
            assert_eq!(same, Some(index));
        }
    }

    #[test]
    fn unknown_name_is_answered_with_those_there_are() {
        let error = Preset::named("gork").unwrap_err();
        assert!(error.message().contains("\"gork\""), "{error}");
        for preset in Preset::ALL {
            assert!(error.message().contains(preset.name), "{error}");
        }
    }
}
