//! `relay.toml`: the providers of a catalog, the routes to them, and what the relay itself may do.

mod reading;
mod store;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use self::reading::{Entry, Fallback, File, KeySource, Place, Time, variable, variable_said};
pub use self::store::StoreConfig;
use super::{
    config::RelayConfig,
    routing::{Route, RouteTable, Target},
};
use crate::{
    ApiError, ErrorKind, files,
    provider::{NoAuth, Provider, ProviderCatalog, ProviderSettings},
    transport::TlsConfig,
};

/// The most bytes of a configuration, and of a file of keys.
const MAX_BYTES: u64 = 1 << 20;

/// The variable that a provider's own keys are put into, where it names none.
const KEY_OF_RELAY: &str = "RELAY_PROVIDER_KEY";

/// What a file says about a relay.
#[derive(Clone)]
#[non_exhaustive]
pub struct Configuration {
    /// Who answers.
    pub routes: RouteTable,
    /// How the relay behaves.
    pub relay: RelayConfig,
    /// Where it listens, as the command's `--listen`.
    pub listen: Vec<String>,
    /// The file with the tokens of clients.
    pub tokens_file: Option<PathBuf>,
    /// Everybody may ask who can reach it.
    pub allow_anonymous: bool,
    /// How servers are met.
    pub tls: TlsConfig,
    /// Where answers are kept. It is for the program to open it.
    pub store: StoreConfig,
    /// The keys, so that a program can keep them off its screen.
    secrets: Vec<String>,
}

impl Configuration {
    /// Reads a file, as a whole: what is wrong is an error, and nothing is left aside. `lookup` gives environment variables, as
    /// [`std::env::var_os`] does. Relative paths in the file begin at its folder.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`]; the message says file, line and what is wrong, and never quotes a secret.
    pub fn from_file(
        path: impl AsRef<Path>,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ApiError> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_BYTES).map_err(|error| {
            misconfigured(format!("{}: can't be read", path.display())).with_source(error)
        })?;
        Self::from_text(path, &text, &lookup)
    }

    fn from_text(
        path: &Path,
        text: &str,
        lookup: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ApiError> {
        let place = Place::new(path, text);
        let catalog = ProviderCatalog::from_toml_beside(path, text, File::KEYS);
        let (catalog, file) = match (catalog, File::read(&place)) {
            (Ok(catalog), Ok(file)) => (catalog, file),
            (Err(of_providers), Err(other)) => {
                let mut both = vec![of_providers.message(), other.message()];
                // Both say of a line that it is no TOML, or has a key that nobody knows.
                both.dedup_by_key(|said| place.line_of(said));
                return Err(misconfigured(both.join("\n")));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let mut reader = Reader {
            place,
            catalog,
            file: &file,
            lookup,
            made: BTreeMap::new(),
            wrong: Vec::new(),
            secrets: Vec::new(),
        };
        let routes = reader.routes();
        reader.check_keys();
        let tls = reader.tls();
        let (relay, store) = reader.store();
        reader.check_knobs(&relay);
        let (Some(tls), []) = (tls, &*reader.wrong) else {
            return Err(misconfigured(reader.wrong.join("\n")));
        };
        let secrets = reader.secrets;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            routes: RouteTable::new(routes),
            relay,
            listen: file.relay.listen.clone().unwrap_or_default().0,
            tokens_file: file
                .relay
                .tokens_file
                .as_ref()
                .map(|path| match path == "-" {
                    true => path.into(),
                    false => folder.join(path),
                }),
            allow_anonymous: file.relay.allow_anonymous,
            tls,
            store,
            secrets,
        })
    }

    /// What must not be printed: for a program that prints what servers say.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

/// Secrets are left out.
impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("routes", &self.routes)
            .field("relay", &self.relay)
            .field("listen", &self.listen)
            .field("tokens_file", &self.tokens_file)
            .field("allow_anonymous", &self.allow_anonymous)
            .field("tls", &self.tls)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Makes routes of a file, and remembers all that is wrong with them.
struct Reader<'a> {
    place: Place<'a>,
    catalog: ProviderCatalog,
    file: &'a File,
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
    /// Each provider is made once, so that its keys rest for all routes.
    made: BTreeMap<String, Target>,
    wrong: Vec<String>,
    secrets: Vec<String>,
}

impl Reader<'_> {
    fn routes(&mut self) -> Vec<Route> {
        let mut routes = Vec::new();
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for entry in &self.file.route {
            let at = entry.span().start;
            let entry = entry.get_ref();
            let hidden = seen
                .iter()
                .find(|(earlier, _)| RouteTable::covers(earlier, &entry.model));
            if let Some((earlier, line)) = hidden {
                let model = &entry.model;
                let what = match *earlier == model {
                    true => format!("the route {model:?} is there already, in line {line}"),
                    false => format!(
                        "nothing comes to the route {model:?}: {earlier:?} in line {line} is before it and takes all"
                    ),
                };
                self.complain(at, &what);
            }
            seen.push((&entry.model, self.place.line(at)));
            routes.extend(self.route(at, entry));
        }
        let mut named: Vec<_> = self.catalog.names().map(str::to_owned).collect();
        match (&*named, self.file.route.is_empty()) {
            // One provider needs no route.
            ([only], true) => {
                let only = only.clone();
                let target = self.target(0, &only);
                routes.extend(target.map(|target| Route::new("*", target)));
            }
            (_, true) => self.complain(0, "there is no [[route]], so nothing would be answered"),
            (_, false) => {
                named.retain(|name| {
                    !self
                        .file
                        .route
                        .iter()
                        .any(|route| route.get_ref().asks(name))
                });
                for name in named {
                    let at = self.place.find(&format!("[providers.{name}]"));
                    self.complain(at, &format!("no route asks the provider {name:?}"));
                }
            }
        }
        routes
    }

    fn route(&mut self, at: usize, entry: &Entry) -> Option<Route> {
        if entry.model.is_empty() {
            self.complain(at, "`model` is empty: \"*\" is every model");
        }
        let mut servers = vec![(&entry.provider, entry.rename.as_ref())];
        for Fallback { provider, rename } in &entry.fallback {
            // Under the same name the same server would be asked again, which retries do already.
            if servers.contains(&(provider, rename.as_ref())) {
                let what = format!(
                    "the fallback {provider:?} goes round in a loop: the route has asked it before"
                );
                self.complain(at, &what);
            }
            servers.push((provider, rename.as_ref()));
        }
        if servers
            .iter()
            .any(|(_, rename)| rename.is_some_and(String::is_empty))
        {
            let what = "`rename` is empty: leave it out, and the server is asked for the model as the client calls it";
            self.complain(at, what);
        }
        let mut targets = servers.into_iter().map(|(provider, rename)| {
            let mut target = self.target(at, provider)?;
            target.model = rename.cloned();
            Some(target)
        });
        let mut route = Route::new(&entry.model, targets.next()??);
        route.targets.extend(targets.flatten());
        route.lowers_tools = entry.tools.is_some();
        route.refuses_compaction = entry.compaction == Some(false);
        route.one_piece = entry.one_piece;
        Some(route)
    }

    fn target(&mut self, at: usize, name: &str) -> Option<Target> {
        if let Some(target) = self.made.get(name) {
            return Some(target.clone());
        }
        let made = self.providers(name).and_then(|providers| {
            for provider in &providers {
                self.check_loop(provider)?;
            }
            Ok(providers)
        });
        match made {
            Ok(mut providers) => {
                let first = providers.remove(0);
                let target = Target::with_keys(first, providers);
                self.made.insert(name.to_owned(), target.clone());
                Some(target)
            }
            Err(message) => {
                self.complain(at, &message);
                None
            }
        }
    }

    /// The provider with each of its keys; at least one.
    fn providers(&mut self, name: &str) -> Result<Vec<Arc<Provider>>, String> {
        let said = |error: ApiError| {
            let message = error.message();
            message
                .strip_prefix(&self.place.prefix())
                .unwrap_or(message)
                .to_owned()
        };
        let mut settings = self.catalog.settings(name).map_err(said)?;
        let named = settings.key_variable().unwrap_or(KEY_OF_RELAY).to_owned();
        let with_key = |settings: &ProviderSettings, key: &str| {
            let lookup = |name: &str| match name == named {
                true => Some(key.into()),
                false => (self.lookup)(name),
            };
            settings.provider(name, lookup).map_err(said)
        };
        let keys = match self.file.keys.get(name) {
            Some(source) => self.keys(name, source.get_ref())?,
            None => Vec::new(),
        };
        if !keys.is_empty() {
            settings.key_env = Some(named.clone());
            let providers = keys
                .iter()
                .map(|key| with_key(&settings, key).map(Arc::new));
            let providers = providers.collect::<Result<_, _>>()?;
            self.secrets.extend(keys);
            return Ok(providers);
        }
        let own = match settings.key_variable() {
            Some(name) => variable(self.lookup, name)?,
            None => None,
        };
        let provider = match (&own, &settings.key_env) {
            // A preset's variable that is not set: the clients bring their keys.
            (None, None) if settings.preset.is_some() => {
                with_key(&settings, "none")?.with_auth(NoAuth)
            }
            _ => settings.provider(name, self.lookup).map_err(said)?,
        };
        let of_provider = provider.secrets();
        self.secrets.extend(own);
        self.secrets
            .extend(of_provider.iter().map(|secret| secret.expose().to_owned()));
        Ok(vec![Arc::new(provider)])
    }

    fn keys(&self, name: &str, source: &KeySource) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        for named in &source.env.clone().unwrap_or_default().0 {
            let key = variable(self.lookup, named)?;
            keys.push(key.ok_or_else(|| {
                format!(
                    "keys of {name:?}: {} is not set, or blank",
                    variable_said(named)
                )
            })?);
        }
        if let Some(path) = &source.file {
            let text = key_file(&self.place.beside(path))
                .map_err(|error| format!("keys of {name:?}: {path:?} can't be read: {error}"))?;
            keys.extend(lines_of(&text).map(str::to_owned));
        }
        let mut all = HashSet::new();
        if !keys.iter().all(|key| all.insert(key)) {
            return Err(format!(
                "keys of {name:?}: the same key is there twice: leave one out, for it has no more room than one"
            ));
        }
        match keys.is_empty() {
            true => Err(format!(
                "keys of {name:?}: there is none; `env` names variables, `file` a file with a key a line"
            )),
            false => Ok(keys),
        }
    }

    /// A provider that is this relay would ask itself for ever.
    fn check_loop(&self, provider: &Provider) -> Result<(), String> {
        let Some(listen) = &self.file.relay.listen else {
            return Ok(());
        };
        let url = provider.base_url();
        let port = url.port_or_known_default().unwrap_or_default();
        let is_local =
            ["localhost", "127.0.0.1", "[::1]"].contains(&url.host_str().unwrap_or_default());
        let is_self = listen.0.iter().any(|address| {
            address.rsplit(':').next() == Some(&*port.to_string())
                && (is_local || *address == provider.host())
        });
        match is_self {
            true => Err(format!(
                "provider {:?} is this relay itself: requests would go round in a loop",
                provider.name()
            )),
            false => Ok(()),
        }
    }

    fn check_keys(&mut self) {
        for (name, source) in &self.file.keys {
            if !self.made.contains_key(name) && self.wrong.is_empty() {
                self.complain(
                    source.span().start,
                    &format!("no route asks {name:?}, whose keys these are"),
                );
            }
        }
    }

    /// A certificate belongs to the transport, which is one for all.
    fn tls(&mut self) -> Option<TlsConfig> {
        let names: Vec<_> = self.made.keys().cloned().collect();
        let settings = names.iter().flat_map(|name| self.catalog.settings(name));
        let with_cert: Vec<_> = settings
            .filter(|settings| settings.client_cert.is_some())
            .collect();
        let one = with_cert.first().cloned().unwrap_or_default();
        if with_cert.iter().any(|other| {
            (&other.client_cert, &other.client_key) != (&one.client_cert, &one.client_key)
        }) {
            let at = self.place.find("client_cert");
            self.complain(at, "providers have different client certificates: a relay shows one, so run one for each");
        }
        match one.tls(self.lookup) {
            Ok(tls) => Some(tls),
            Err(error) => {
                self.complain(0, error.message());
                None
            }
        }
    }

    /// The knobs of the relay, and where its answers are kept.
    fn store(&mut self) -> (RelayConfig, StoreConfig) {
        let mut relay = self.file.relay.config();
        let mut store = StoreConfig::default();
        let Some(said) = &self.file.store else {
            return (relay, store);
        };
        let (at, said) = (said.span().start, said.get_ref());
        relay.node.clone_from(&said.node);
        if let Some(Time(time)) = said.claim_time {
            relay.claim_time = time;
        }
        let opened = StoreConfig::of(said, &self.place, self.lookup).and_then(|read| {
            store = read;
            store
                .open(&relay)
                .map_err(|error| error.message().to_owned())
        });
        if let Err(what) = opened {
            self.complain(at, &format!("[store]: {what}"));
        }
        self.secrets.extend(store.secrets());
        (relay, store)
    }

    fn check_knobs(&mut self, relay: &RelayConfig) {
        for (field, what) in relay.wrong() {
            let table = match field {
                "node" => "store",
                _ => "relay",
            };
            self.complain(self.place.value_of(table, field), &what);
        }
        let listen = self.file.relay.listen.as_ref();
        if listen.is_some_and(|listen| listen.0.is_empty()) {
            let at = self.place.value_of("relay", "listen");
            let what =
                "`listen` names no address: write one, such as \"localhost:8484\", or leave it out";
            self.complain(at, what);
        }
    }

    fn complain(&mut self, at: usize, what: &str) {
        let text = self.place.at(at, what);
        if !self.wrong.contains(&text) {
            self.wrong.push(text);
        }
    }
}

fn misconfigured(message: String) -> ApiError {
    ApiError::new(ErrorKind::InvalidConfiguration, message)
}

/// A file of keys or tokens; `-` is standard input, which is read once and remembered.
pub(super) fn key_file(path: &Path) -> io::Result<String> {
    static STANDARD_INPUT: OnceLock<String> = OnceLock::new();
    if path != Path::new("-") {
        return files::read_text(path, MAX_BYTES);
    }
    if let Some(text) = STANDARD_INPUT.get() {
        return Ok(text.clone());
    }
    let text = files::text(files::read_all(io::stdin().by_ref(), MAX_BYTES)?)?;
    Ok(STANDARD_INPUT.get_or_init(|| text).clone())
}

/// Its lines without blank ones and comments.
pub(super) fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}
