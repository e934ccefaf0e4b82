//! Which server a model is asked of, and under which name.

mod keys;

use std::{sync::Arc, time::Duration};

use self::keys::KeyRing;
use super::config::OnePiece;
use crate::provider::Provider;

/// The headers in which a key stands.
pub(super) const KEY_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// A server, and which of its keys: what it made goes back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    /// The provider's name.
    pub(super) provider: Arc<str>,
    /// The place of the key among those of the provider.
    pub(super) key: usize,
}

/// What clients may ask for, and who answers it. The first route that matches a model is the one.
///
/// ```
/// use actix_responses::{provider::Provider, relay::{Route, RouteTable, Target}};
///
/// # fn main() -> Result<(), actix_responses::ApiError> {
/// let vllm = Provider::new("vllm", "http://gpu-7:8000/v1")?;
/// let table = RouteTable::new(vec![
///     Route::new("gpt-*", Target::new(Provider::openai())),
///     Route::new("*", Target::new(vllm).with_model("qwen3")),
/// ]);
/// let route = table.find("gpt-5").unwrap();
/// assert_eq!(route.targets[0].provider.name(), "openai");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

/// Who answers for the models of one pattern.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The models that it is for, as clients name them; `*` stands for any text.
    pub model: String,
    /// Whom to ask, in this order: those behind the first are fallbacks.
    pub targets: Vec<Target>,
    /// Tools that are no functions go to the server as functions, and come back as what they were: for servers that ignore them.
    pub lowers_tools: bool,
    /// A compaction over Chat is refused, in place of a request for a summary.
    pub refuses_compaction: bool,
    /// How answers in one piece are had, where it is not as [`RelayConfig::one_piece`](super::RelayConfig::one_piece) says.
    pub one_piece: Option<OnePiece>,
}

/// One server, and what it calls the model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// The server.
    pub provider: Arc<Provider>,
    /// The model's name there, where it is another.
    pub model: Option<String>,
    keys: Arc<KeyRing>,
}

impl RouteTable {
    /// The routes in the order in which they are looked at.
    pub fn new(routes: Vec<Route>) -> Self {
        let routes = routes.into_iter().map(Arc::new).collect();
        Self { routes }
    }

    /// One server for every model.
    pub fn single(provider: impl Into<Arc<Provider>>) -> Self {
        Self::new(vec![Route::new("*", Target::new(provider))])
    }

    /// The route of a model.
    pub fn find(&self, model: &str) -> Option<Arc<Route>> {
        let mut routes = self.routes.iter();
        routes.find(|route| is_match(&route.model, model)).cloned()
    }

    /// Whether a pattern takes every name that another one is for.
    pub(super) fn covers(pattern: &str, other: &str) -> bool {
        // A star of the other stands for any text, which only a star takes.
        is_match(pattern, other)
    }

    /// All of them, in order.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl Route {
    /// A route with one target.
    pub fn new(model: impl Into<String>, target: Target) -> Self {
        Self {
            model: model.into(),
            targets: vec![target],
            lowers_tools: false,
            refuses_compaction: false,
            one_piece: None,
        }
    }

    /// Adds whom to ask when those before it fail.
    #[must_use]
    pub fn with_fallback(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Sets whether tools that are no functions go to the server as functions.
    #[must_use]
    pub fn with_lowers_tools(mut self, lowers_tools: bool) -> Self {
        self.lowers_tools = lowers_tools;
        self
    }

    /// Sets whether a compaction over Chat is refused.
    #[must_use]
    pub fn with_refuses_compaction(mut self, refuses_compaction: bool) -> Self {
        self.refuses_compaction = refuses_compaction;
        self
    }

    /// Sets how answers in one piece are had.
    #[must_use]
    pub fn with_one_piece(mut self, one_piece: OnePiece) -> Self {
        self.one_piece = Some(one_piece);
        self
    }
}

impl Target {
    /// A server that knows the model by the name that clients use.
    pub fn new(provider: impl Into<Arc<Provider>>) -> Self {
        Self::with_keys(provider.into(), Vec::new())
    }

    /// A server with several keys: the same provider, each time with another. A session stays with one.
    pub fn with_keys(provider: Arc<Provider>, others: Vec<Arc<Provider>>) -> Self {
        let all = std::iter::once(provider.clone()).chain(others).collect();
        Self {
            provider,
            model: None,
            keys: Arc::new(KeyRing::new(all)),
        }
    }

    /// The server with the key of a session, which the client's `session-id` or `prompt_cache_key` names. Without one it is the first key.
    pub fn choose(&self, session: Option<&str>) -> Arc<Provider> {
        let chosen = self.keys.choose(session);
        chosen.unwrap_or_else(|| self.provider.clone())
    }

    /// Lets the key of a provider that [`choose`](Self::choose) gave rest for as long as the server said in `retry-after`, an hour at most.
    pub fn rest(&self, provider: &Arc<Provider>, wait: Duration) {
        self.keys.rest(provider, wait);
    }

    /// The server with the key that made something; not while that rests, unless nobody else can be asked.
    pub(super) fn made_with(&self, maker: &Maker, though_it_rests: bool) -> Option<Arc<Provider>> {
        let is_this = self.provider.name() == &*maker.provider;
        let keys = is_this.then_some(&self.keys)?;
        keys.at(maker.key, though_it_rests)
    }

    /// Who makes what a provider answers that [`choose`](Self::choose) gave.
    pub(super) fn maker(&self, provider: &Arc<Provider>) -> Maker {
        Maker {
            provider: self.provider.name().into(),
            key: self.keys.place(provider).unwrap_or_default(),
        }
    }

    /// Whether the client's own key goes to the server, because there is none to replace it.
    pub fn passes_key(&self) -> bool {
        let headers = self.provider.headers();
        let has_key = KEY_HEADERS.iter().any(|name| headers.contains_key(*name));
        self.provider.auth.is_none() && !has_key
    }

    /// Sets what it calls the model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }
}

/// Whether a pattern, in which `*` stands for any text, is this name.
fn is_match(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, name, is) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5.1", false),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "gpt-5", true),
            ("gpt-*", "agpt-5", false),
            ("*", "", true),
            ("*-mini", "gpt-mini", true),
            ("*-mini", "mini", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("gpt-?", "gpt-5", false),
            ("[a]", "a", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(is_match(pattern, name), is, "{pattern} {name}");
        }
    }
}
