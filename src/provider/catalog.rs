//! Providers of one's own, from a TOML file.

use std::{borrow::Cow, collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    compression::RequestCompression, endpoint::Provider, presets::Preset,
    settings::ProviderSettings, stream_transport::StreamTransport, timeouts::Timeouts,
};
use crate::{
    duration::parse_limit,
    files,
    protocol::error::ApiError,
    retry::RetryPolicy,
    wire::{ItemIds, Quirks, Wire},
};

/// The most bytes of a file of providers: thousands of them have room in it, and its tree takes a hundred times as much.
const MAX_CATALOG_BYTES: u64 = 1 << 20;

/// The providers of a TOML file, and beside them every [`Preset`].
///
/// Each table of `providers` is one, under the name it is asked for by. All keys are optional, but one of `base_url` and
/// `preset` is needed. A key that is not known is an error, so that a slip of the pen is not a setting that is silently off.
///
/// ```toml
/// [providers.team]
/// preset = "azure-openai"               # what to begin with; the keys below go before it
/// base_url = "https://team.openai.azure.com"
/// wire = "responses"                    # or "chat"
/// key_env = "TEAM_KEY"                  # the variable with the key
/// auth_header = "api-key"               # "authorization" sends `Bearer KEY`
/// headers = { x-team = "search" }
/// env_headers = { x-user = "USER" }     # the value is in that variable
/// query = { api-version = "preview" }
/// max_attempts = 3
/// request_compression = "none"          # or "zstd"
/// transport = "sse"                     # or "websocket", "auto": see `StreamTransport`
/// client_cert = "team.pem"              # shown to a server that asks for one; beside this file. See `ProviderSettings::tls`
/// client_key = "team.key"               # where its key is not in the same file
///
/// [providers.team.timeouts]             # such as "500ms", "2s", "5m"; "none", or "forever", is no limit
/// connect = "5s"
/// response_head = "60s"
/// compaction_head = "10m"
/// whole_answer = "10m"
/// first_event = "30s"
/// idle = "60s"
/// progress = "none"
/// trailer = "5s"
/// total = "15m"
///
/// [providers.team.quirks]
/// store = true                          # `store` where the prompt leaves it open
/// item_ids = "when_stored"              # or "always", "never"
/// reasoning_field = "reasoning_content" # where Chat replays reasoning; "" does not
/// max_tokens_field = "max_tokens"       # or "max_completion_tokens"
/// developer_role = "as_system"          # or "kept"
/// usage_request = true                  # whether Chat asks for usage
/// finish_reason = true                  # whether Chat streams say how they end; without, `[DONE]` says that they are whole
/// answer_extras = true                  # whether answers go back over Chat with fields that are some server's own
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProviderCatalog {
    /// What errors call the text, such as the name of its file.
    source: String,
    entries: BTreeMap<String, ProviderSettings>,
}

impl ProviderCatalog {
    /// Reads a text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when it is no TOML, or a key is unknown or has a value that it
    /// can't have; the message names the provider and the key, and never quotes a value that may be a secret.
    pub fn from_toml(text: &str) -> Result<Self, ApiError> {
        Self::named(String::new(), Path::new(""), text, &[])
    }

    /// Reads the providers of a text that says other things too, under these keys, which are left to whoever knows them. Errors and
    /// relative paths are as for [`from_file`](Self::from_file); the file itself is not read.
    ///
    /// # Errors
    /// As for [`from_toml`](Self::from_toml).
    pub fn from_toml_beside(
        path: impl AsRef<Path>,
        text: &str,
        others: &[&str],
    ) -> Result<Self, ApiError> {
        let path = path.as_ref();
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::named(format!("{}: ", path.display()), folder, text, others)
    }

    /// Reads a file, which errors name from then on. Relative paths in it begin at its folder.
    ///
    /// # Errors
    /// As for [`from_toml`](Self::from_toml), and when the file can't be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ApiError> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_CATALOG_BYTES).map_err(|error| {
            let message = format!("{}: can't be read", path.display());
            ApiError::misconfigured(message).with_source(error)
        })?;
        Self::from_toml_beside(path, &text, &[])
    }

    fn named(source: String, folder: &Path, text: &str, others: &[&str]) -> Result<Self, ApiError> {
        let mut entries = entries(text, others).map_err(|Wrong { at, message }| {
            let line = 1 + text[..at.min(text.len())].matches('\n').count();
            ApiError::misconfigured(format!("{source}line {line}: {message}"))
        })?;
        for settings in entries.values_mut() {
            for path in [&mut settings.client_cert, &mut settings.client_key] {
                *path = path.take().map(|path| folder.join(path));
            }
        }
        Ok(Self { source, entries })
    }

    /// The names of its own providers, sorted; those of the presets are not among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What the file says about a provider, or that it is a preset. A name of the file's hides a preset of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when there is none; the message lists those there are.
    pub fn settings(&self, name: &str) -> Result<ProviderSettings, ApiError> {
        let own = self.entries.get(name).cloned();
        let found = own.or_else(|| Preset::find(name).map(ProviderSettings::from_preset));
        found.ok_or_else(|| {
            let presets = Preset::ALL.iter().map(|preset| preset.name);
            let names: Vec<_> = self.names().chain(presets).collect();
            let source = &self.source;
            ApiError::misconfigured(format!(
                "{source}no provider is named {name:?}; known are {}",
                names.join(", ")
            ))
        })
    }

    /// Makes a provider. `lookup` gives environment variables, as [`std::env::var_os`] does; only those of this provider are asked
    /// for. A certificate of one's own is for the transport: [`ProviderSettings::tls`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when there is none of that name, or as for
    /// [`ProviderSettings::provider`].
    pub fn provider<V: Into<OsString>>(
        &self,
        name: &str,
        lookup: impl Fn(&str) -> Option<V>,
    ) -> Result<Provider, ApiError> {
        let settings = self.settings(name)?;
        settings.provider(name, lookup).map_err(|mut error| {
            if self.entries.contains_key(name) {
                let message = &mut error.details_mut().message;
                message.insert_str(0, &self.source);
            }
            error
        })
    }
}

/// What is wrong with a text, and where in it.
struct Wrong {
    at: usize,
    message: String,
}

fn wrong(at: usize, message: impl Into<String>) -> Wrong {
    let message = message.into();
    Wrong { at, message }
}

fn entries(text: &str, others: &[&str]) -> Result<BTreeMap<String, ProviderSettings>, Wrong> {
    // Its `Display` quotes the line, which may hold a key.
    let mut file = DeTable::parse(text)
        .map_err(|error| {
            let position = error.span().map_or(0, |span| span.start);
            wrong(position, format!("this is not TOML: {}", error.message()))
        })?
        .into_inner();
    let providers = file.remove("providers");
    if let Some(key) = file
        .keys()
        .filter(|key| !others.contains(&key.get_ref().as_ref()))
        .min_by_key(|key| key.span().start)
    {
        let known: Vec<_> = others.iter().copied().chain(["providers"]).collect();
        let message = format!(
            "unknown key `{}`; known is {}",
            key.get_ref(),
            known.join(", ")
        );
        return Err(wrong(key.span().start, message));
    }
    let Some(providers) = providers else {
        return Ok(BTreeMap::new());
    };
    let at = providers.span().start;
    let DeValue::Table(providers) = providers.into_inner() else {
        let message = "`providers` is no table: write [providers.NAME]";
        return Err(wrong(at, message));
    };
    let entry = |(name, entry): (Spanned<Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let name = name.into_inner().into_owned();
        let settings = settings(entry)
            .map_err(|Wrong { at, message }| wrong(at, format!("provider {name:?}: {message}")))?;
        Ok((name, settings))
    };
    providers.into_iter().map(entry).collect()
}

fn settings(entry: Spanned<DeValue<'_>>) -> Result<ProviderSettings, Wrong> {
    let mut keys = Keys::new("", entry)?;
    let mut settings = ProviderSettings::default();
    if let Some((at, name)) = keys.text_at("preset")? {
        let preset = Preset::named(&name)
            .map_err(|error| wrong(at, format!("`preset`: {}", error.message())))?;
        settings.preset = Some(preset);
    }
    settings.base_url = keys.text("base_url")?;
    settings.wire = keys.choice(
        "wire",
        &[("responses", Wire::Responses), ("chat", Wire::Chat)],
    )?;
    settings.key_env = keys.text("key_env")?;
    settings.auth_header = keys.text("auth_header")?;
    settings.headers = keys.pairs("headers")?;
    settings.env_headers = keys.pairs("env_headers")?;
    settings.query = keys.pairs("query")?;
    settings.max_attempts = keys.attempts("max_attempts")?;
    settings.request_compression = keys
        .choice("request_compression", COMPRESSIONS)?
        .unwrap_or_default();
    settings.stream_transport = keys.choice("transport", TRANSPORTS)?.unwrap_or_default();
    settings.client_cert = keys.text("client_cert")?.map(Into::into);
    settings.client_key = keys.text("client_key")?.map(Into::into);
    if let Some(timeouts) = keys.take("timeouts") {
        settings.timeouts = timeouts_of(timeouts)?;
    }
    if let Some(quirks) = keys.take("quirks") {
        let preset = settings.preset.map(|preset| preset.quirks());
        settings.quirks = Some(quirks_of(quirks, preset.unwrap_or_default())?);
    }
    let at = keys.at;
    keys.end()?;
    if settings.base_url.is_none() && settings.preset.is_none() {
        let message = "it has neither a `base_url` nor a `preset`";
        return Err(wrong(at, message));
    }
    if settings.client_key.is_some() && settings.client_cert.is_none() {
        return Err(wrong(at, "`client_key` is the key of no `client_cert`"));
    }
    Ok(settings)
}

const COMPRESSIONS: &[(&str, RequestCompression)] = &[
    ("none", RequestCompression::None),
    #[cfg(feature = "zstd")]
    ("zstd", RequestCompression::ZSTD),
];

const TRANSPORTS: &[(&str, StreamTransport)] = &[
    ("sse", StreamTransport::Sse),
    ("websocket", StreamTransport::WebSocket),
    ("auto", StreamTransport::Auto),
];

fn timeouts_of(value: Spanned<DeValue<'_>>) -> Result<Timeouts, Wrong> {
    let mut keys = Keys::new("timeouts.", value)?;
    let mut timeouts = Timeouts::default();
    let Timeouts {
        connect,
        response_head,
        compaction_head,
        whole_answer,
        first_event,
        idle,
        progress,
        trailer,
        total,
    } = &mut timeouts;
    for (key, limit) in [
        ("connect", connect),
        ("response_head", response_head),
        ("compaction_head", compaction_head),
        ("whole_answer", whole_answer),
        ("idle", idle),
        ("trailer", trailer),
    ] {
        *limit = keys.limit(key)?.unwrap_or(*limit);
    }
    for (key, limit) in [
        ("first_event", first_event),
        ("progress", progress),
        ("total", total),
    ] {
        if let Some(time) = keys.limit(key)? {
            *limit = (time < Duration::MAX).then_some(time);
        }
    }
    let at = keys.at;
    keys.end()?;
    timeouts
        .validate()
        .map_err(|error| wrong(at, error.message()))?;
    Ok(timeouts)
}

fn quirks_of(value: Spanned<DeValue<'_>>, mut quirks: Quirks) -> Result<Quirks, Wrong> {
    let mut keys = Keys::new("quirks.", value)?;
    quirks.default_store = keys.boolean("store")?.or(quirks.default_store);
    let item_ids = [
        ("when_stored", ItemIds::WhenStored),
        ("always", ItemIds::Always),
        ("never", ItemIds::Never),
    ];
    let item_ids = keys.choice("item_ids", &item_ids)?;
    quirks.item_ids = item_ids.unwrap_or(quirks.item_ids);
    if let Some(field) = keys.text("reasoning_field")? {
        quirks.reasoning_field = (!field.is_empty()).then_some(field.into());
    }
    let fields = [("max_tokens", true), ("max_completion_tokens", false)];
    let has_max_tokens = keys.choice("max_tokens_field", &fields)?;
    quirks.has_max_tokens = has_max_tokens.unwrap_or(quirks.has_max_tokens);
    let roles = [("as_system", false), ("kept", true)];
    let is_kept = keys.choice("developer_role", &roles)?;
    quirks.has_developer_role = is_kept.unwrap_or(quirks.has_developer_role);
    for (key, is_off) in [
        ("usage_request", &mut quirks.no_usage_request),
        ("finish_reason", &mut quirks.omits_finish_reason),
        ("answer_extras", &mut quirks.no_answer_extras),
    ] {
        *is_off = keys.boolean(key)?.map_or(*is_off, |is_on| !is_on);
    }
    keys.end()?;
    Ok(quirks)
}

/// The keys of one table. Each is taken by its name; what is left at the end is not known.
struct Keys<'i> {
    /// What stands in front of a key where it is named.
    prefix: &'static str,
    /// Where the table is.
    at: usize,
    table: DeTable<'i>,
    known: Vec<&'static str>,
}

impl<'i> Keys<'i> {
    fn new(prefix: &'static str, value: Spanned<DeValue<'i>>) -> Result<Self, Wrong> {
        let at = value.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            let place = match prefix.trim_end_matches('.') {
                "" => "it".to_owned(),
                name => format!("`{name}`"),
            };
            return Err(wrong(at, format!("{place} is no table")));
        };
        Ok(Self {
            prefix,
            at,
            table,
            known: Vec::new(),
        })
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong(&self, at: usize, key: &str, wanted: &str) -> Wrong {
        wrong(at, format!("`{}{key}` is not {wanted}", self.prefix))
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, Wrong> {
        Ok(self.text_at(key)?.map(|(_, text)| text))
    }

    /// A text, and where it is.
    fn text_at(&mut self, key: &'static str) -> Result<Option<(usize, String)>, Wrong> {
        let Some((at, value)) = self.value(key) else {
            return Ok(None);
        };
        match value {
            DeValue::String(text) => Ok(Some((at, text.into_owned()))),
            _ => Err(self.wrong(at, key, "a string")),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<(usize, DeValue<'i>)> {
        let value = self.take(key)?;
        Some((value.span().start, value.into_inner()))
    }

    fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Wrong> {
        match self.value(key) {
            None => Ok(None),
            Some((_, DeValue::Boolean(value))) => Ok(Some(value)),
            Some((at, _)) => Err(self.wrong(at, key, "true or false")),
        }
    }

    fn attempts(&mut self, key: &'static str) -> Result<Option<u32>, Wrong> {
        let Some((at, value)) = self.value(key) else {
            return Ok(None);
        };
        let count = value
            .as_integer()
            .and_then(|count| u32::from_str_radix(count.as_str(), count.radix()).ok());
        let most = RetryPolicy::MAX_ATTEMPTS;
        match count.filter(|count| (1..=most).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(at, key, &format!("a whole number from 1 to {most}"))),
        }
    }

    fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Wrong> {
        let Some((at, value)) = self.value(key) else {
            return Ok(None);
        };
        let chosen = choices
            .iter()
            .find(|(name, _)| value.as_str() == Some(name));
        match chosen {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<_> = choices
                    .iter()
                    .map(|(name, _)| format!("{name:?}"))
                    .collect();
                Err(self.wrong(at, key, &names.join(" or ")))
            }
        }
    }

    /// A table of strings.
    fn pairs(&mut self, key: &'static str) -> Result<Vec<(String, String)>, Wrong> {
        let pairs = match self.value(key) {
            None => return Ok(Vec::new()),
            Some((_, DeValue::Table(pairs))) => pairs,
            Some((at, _)) => return Err(self.wrong(at, key, "a table of strings")),
        };
        let pair = |(name, value): (Spanned<Cow<'_, str>>, Spanned<DeValue<'_>>)| {
            let name = name.into_inner().into_owned();
            let at = value.span().start;
            match value.into_inner() {
                DeValue::String(value) => Ok((name, value.into_owned())),
                _ => Err(self.wrong(at, &format!("{key}.{name}"), "a string")),
            }
        };
        pairs.into_iter().map(pair).collect()
    }

    /// A time that something may take; the longest there is for none.
    fn limit(&mut self, key: &'static str) -> Result<Option<Duration>, Wrong> {
        let Some((at, text)) = self.text_at(key)? else {
            return Ok(None);
        };
        let limit = parse_limit(&text);
        limit
            .map(Some)
            .map_err(|error| wrong(at, format!("`{}{key}`: {error}", self.prefix)))
    }

    fn end(self) -> Result<(), Wrong> {
        let first = self.table.keys().min_by_key(|key| key.span().start);
        match first {
            None => Ok(()),
            Some(key) => Err(wrong(
                key.span().start,
                format!(
                    "unknown key `{}{}`; known are {}",
                    self.prefix,
                    key.get_ref(),
                    self.known.join(", ")
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::error::ErrorKind;

    /// The example in the documentation of [`ProviderCatalog`].
    fn documented() -> String {
        let lines = include_str!("catalog.rs")
            .lines()
            .skip_while(|line| *line != "/// ```toml")
            .skip(1)
            .take_while(|line| *line != "/// ```")
            .map(|line| line.trim_start_matches("///").trim_start());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_key_of_the_documentation_is_read() {
        let text = documented();
        assert!(text.lines().count() > 20, "{text}");
        let catalog = ProviderCatalog::from_toml(&text).unwrap();
        assert_eq!(catalog.names().collect::<Vec<_>>(), ["team"]);
        let lookup = |name: &str| match name {
            "TEAM_KEY" => Some("hunter2".to_owned()),
            "USER" => Some("ada".to_owned()),
            _ => None,
        };
        let provider = catalog.provider("team", lookup).unwrap();
        assert_eq!(
            provider.url_for(provider.wire.path(), &[]).as_str(),
            "https://team.openai.azure.com/openai/v1/responses?api-version=preview"
        );
        assert_eq!(provider.headers()["x-team"], "search");
        assert_eq!(provider.headers()["x-user"], "ada");
        assert_eq!(provider.max_attempts, Some(3));
        let timeouts = &provider.timeouts;
        assert_eq!(timeouts.idle, Duration::from_secs(60));
        assert_eq!(timeouts.first_event, Some(Duration::from_secs(30)));
        assert_eq!(timeouts.progress, None);
        assert_eq!(timeouts.trailer, Duration::from_secs(5));
        assert_eq!(timeouts.total, Some(Duration::from_secs(900)));
        let quirks = &provider.quirks;
        assert_eq!(quirks.reasoning_field.as_deref(), Some("reasoning_content"));
        assert_eq!(quirks.default_store, Some(true));
    }

    #[test]
    fn presets_are_beside_the_file_and_beneath_it() {
        let catalog = ProviderCatalog::from_toml(
            "[providers.groq]\nbase_url = 'http://host'\n[providers.seek]\npreset = 'deepseek'\nquirks.usage_request = false\nquirks.answer_extras = false",
        )
        .unwrap();
        let unset = |_: &str| None::<String>;
        let hidden = catalog.provider("groq", unset).unwrap();
        assert_eq!(
            (hidden.host(), hidden.wire),
            ("host".to_owned(), Wire::Responses)
        );
        let local = catalog.provider("ollama", unset).unwrap();
        assert_eq!(local.host(), "localhost:11434");
        // A quirk of the file's leaves the preset's others.
        let quirks = catalog.settings("seek").unwrap().quirks.unwrap();
        assert!(quirks.no_usage_request && quirks.no_answer_extras);
        assert!(quirks.has_max_tokens);
        let error = catalog.provider("seek", unset).unwrap_err();
        assert!(error.message().contains("DEEPSEEK_API_KEY"), "{error}");
        let error = catalog.provider("gork", unset).unwrap_err();
        assert!(
            error.message().contains("seek, openai, azure-openai"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_quoted() {
        for (text, said) in [
            ("providers = 'hunter2'", "`providers` is no table"),
            (
                "provider.a.preset = 'groq'",
                "unknown key `provider`; known is providers",
            ),
            ("providers.a = 'hunter2'", "provider \"a\": it is no table"),
            (
                "[providers.a]",
                "provider \"a\": it has neither a `base_url` nor a `preset`",
            ),
            (
                "providers.a.preset = 'gork'",
                "provider \"a\": `preset`: no provider is named \"gork\"; known are openai,",
            ),
            (
                "providers.a.key = 'hunter2'",
                "provider \"a\": unknown key `key`; known are preset, base_url, wire, key_env,",
            ),
            (
                "providers.a.wire = 'hunter2'",
                "provider \"a\": `wire` is not \"responses\" or \"chat\"",
            ),
            ("providers.a.base_url = 1", "`base_url` is not a string"),
            (
                "providers.a.headers = 'hunter2'",
                "`headers` is not a table of strings",
            ),
            (
                "providers.a.headers.x-key = [ 'hunter2' ]",
                "`headers.x-key` is not a string",
            ),
            (
                "providers.a.max_attempts = 0",
                "`max_attempts` is not a whole number from 1 to 100",
            ),
            (
                "providers.a.max_attempts = 101",
                "`max_attempts` is not a whole number from 1 to 100",
            ),
            ("providers.a.timeouts = '5s'", "`timeouts` is no table"),
            (
                "providers.a.timeouts.idle = 5",
                "`timeouts.idle` is not a string",
            ),
            (
                "providers.a.timeouts.idle = '5'",
                "`timeouts.idle`: \"5\" does not end in one of the units",
            ),
            ("providers.a.timeouts.idle = '0s'", "timeout `idle` is zero"),
            (
                "providers.a.timeouts.idel = '5s'",
                "unknown key `timeouts.idel`; known are connect,",
            ),
            (
                "providers.a.quirks.store = 'no'",
                "`quirks.store` is not true or false",
            ),
            (
                "providers.a.quirks.stores = true",
                "unknown key `quirks.stores`; known are store, item_ids,",
            ),
            (
                "\n\nproviders.a.headers = { x-key = \"hunter2",
                "line 3: this is not TOML: ",
            ),
        ] {
            let error = ProviderCatalog::from_toml(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let report = error.report();
            assert!(report.contains(said), "{text}: {report}");
            assert!(!report.contains("hunter2"), "{report}");
        }
    }

    #[test]
    fn file_is_named_in_every_error() {
        let name = format!("actix-responses-{}-providers.toml", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let error = ProviderCatalog::from_file(&path).unwrap_err();
        assert!(error.message().contains(&name), "{error}");
        fs::write(
            &path,
            "[providers.a]\npreset = 'groq'\n[providers.b]\nquery = 1",
        )
        .unwrap();
        let error = ProviderCatalog::from_file(&path).unwrap_err();
        assert!(
            error
                .message()
                .contains(&format!("{name}: line 4: provider \"b\"")),
            "{error}"
        );
        fs::write(&path, "[providers.a]\npreset = 'groq'").unwrap();
        let catalog = ProviderCatalog::from_file(&path).unwrap();
        for name_asked in ["a", "b"] {
            let error = catalog
                .provider(name_asked, |_| None::<String>)
                .unwrap_err();
            assert!(error.message().contains(&name), "{error}");
        }
        fs::remove_file(path).unwrap();
    }
}
