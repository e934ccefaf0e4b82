//! `serve`: the relay, one service in front of many clients and many servers.

use std::{
    collections::HashSet,
    env,
    fs::File,
    io::{self, ErrorKind as IoErrorKind, Write as _},
    mem,
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use actix_responses::{
    Runtime,
    actors::{SupervisorConfig, Workers},
    duration::parse_limit,
    provider::{BearerAuth, Provider},
    relay::{
        self, Configuration, OnePiece, Relay, RelayConfig, Route, RouteTable, StoreConfig, Target,
        Tokens,
    },
    transport::{AwcTransportFactory, ProxyConfig},
};
use clap::{Arg, ArgAction, Args};

use super::{
    console,
    exit_status::ExitStatus,
    files::{read_text, unreadable},
    interrupts::{Hangups, Interrupt, Interrupts},
    listeners::{listeners, places},
    logging,
    provider_options::{ProviderOptions, Upstream},
    secrets::Secrets,
    store_options::{StoreOptions, watch_start},
    system,
    usage_error::UsageError,
};

/// Relay clients of both APIs to servers of either, until Ctrl-C or SIGTERM
///
/// One line on stdout says the base URL for clients. Without a provider the embedded one answers. SIGHUP reads --config, the
/// tokens and --key-file again. A second SIGTERM ends at once what the first gave time to end. Exit status: 0 it has drained after a SIGTERM, or --check found nothing; 2 wrong usage or configuration; 130 stopped by
/// Ctrl-C.
#[derive(Args)]
#[command(mut_args(brief))]
pub(super) struct Serve {
    /// Where to listen: an address with its port, or a port on this machine alone; may be repeated [default: localhost:8484]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,

    /// A TOML file with providers, routes to them and the relay's knobs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Read --config and the tokens, say what is wrong with them or the flags, and end
    #[arg(long)]
    check: bool,

    /// How long running streams have to end after a SIGTERM [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    grace: Option<Duration>,

    /// Whether answers in one piece are made of a stream of the server's, or asked for as they are: stream, server [default: stream]
    #[arg(long, value_name = "HOW")]
    one_piece: Option<OnePiece>,

    /// Log to stderr what happens; twice for more. RUST_LOG chooses what
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// A file with keys of the provider's, a line for each: a session stays with one, and one that was refused rests. - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Provider", conflicts_with_all = ["config", "api_key_env"])]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    access: AccessOptions,

    #[command(flatten)]
    store: StoreOptions,

    #[command(flatten)]
    provider: ProviderOptions,
}

#[derive(Args)]
#[command(next_help_heading = "Who may ask")]
struct AccessOptions {
    /// A file with a line for each client, its name and the SHA-256 of its token: TOKEN=$(openssl rand -hex 32); echo "ada $(printf %s
    /// "$TOKEN" | sha256sum | cut -d' ' -f1)". - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "allow_anonymous")]
    tokens: Option<PathBuf>,

    /// Let everybody ask who can reach an address that is not this machine's alone
    #[arg(long)]
    allow_anonymous: bool,

    /// A host name by which clients call this relay, besides its address and localhost; may be repeated
    #[arg(long = "allow-host", value_name = "NAME")]
    hosts: Vec<String>,

    /// An origin whose pages may use this relay, such as https://app.example; may be repeated
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
}

const LISTEN: &str = "--listen";

/// Whom the relay asks, and how it behaves.
struct Setting {
    runtime: SupervisorConfig,
    transport: AwcTransportFactory,
    routes: RouteTable,
    relay: RelayConfig,
    listen: Vec<String>,
    /// Who says so.
    listen_said: String,
    tokens: Option<PathBuf>,
    allow_anonymous: bool,
    store: StoreConfig,
    secrets: Secrets,
    /// The embedded provider serves as long as this lives.
    upstream: Option<Upstream>,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let setting = self.setting()?;
        let tokens = tokens(setting.tokens.as_ref())?;
        let is_guarded = tokens.is_some() || setting.allow_anonymous;
        let places = places(&setting.listen_said, &setting.listen, is_guarded)?;
        if self.check {
            return Ok(ExitStatus::Success);
        }
        logging::start(self.verbose, setting.secrets.clone())?;
        let listeners = listeners(&places)?;
        if let Some(upstream) = &setting.upstream {
            upstream.announce();
        }
        system::start()?.block_on(async {
            let mut interrupts = Interrupts::new().map_err(UsageError::at_start)?;
            // The threads that serve run the streams, too.
            let mut config = setting.runtime;
            config.workers = Workers::Current;
            let runtime = Runtime::with_transport(config, setting.transport)?;
            let drain = Drain {
                grace: setting.relay.grace,
                notice: setting.relay.drain_notice,
            };
            if let Some(store) = setting.relay.store.clone() {
                actix_rt::spawn(async move { watch_start(&*store).await });
            }
            let relay = Relay::new(runtime, setting.routes, setting.relay);
            relay.set_tokens(tokens);
            let reload = Reload {
                secrets: setting.secrets,
                tokens: setting.tokens,
                serve: self,
            };
            serve(relay, reload, listeners, drain, &mut interrupts).await
        })
    }

    fn setting(&self) -> Result<Setting, UsageError> {
        let mut setting = match &self.config {
            Some(path) => {
                let read = configuration(path)?;
                let provider = read.routes.routes()[0].targets[0].provider.clone();
                let transport = AwcTransportFactory::new(&read.tls, &ProxyConfig::default());
                Setting {
                    runtime: SupervisorConfig::new(Provider::clone(&provider)),
                    transport: transport
                        .map_err(|error| UsageError::at("can't set up the transport", &error))?,
                    secrets: Secrets::new(read.secrets().to_vec()),
                    routes: read.routes,
                    relay: read.relay,
                    listen: read.listen,
                    listen_said: format!("--config: {}: listen", path.display()),
                    tokens: read.tokens_file,
                    allow_anonymous: read.allow_anonymous,
                    store: read.store,
                    upstream: None,
                }
            }
            None => {
                let keys = self.keys()?;
                let (upstream, routes) = self.keyed(&keys)?;
                Setting {
                    runtime: SupervisorConfig::new(upstream.provider.clone()),
                    transport: upstream.transport()?,
                    secrets: upstream.secrets.and(keys),
                    routes,
                    relay: RelayConfig::default(),
                    listen: Vec::new(),
                    listen_said: LISTEN.to_owned(),
                    tokens: None,
                    allow_anonymous: false,
                    store: StoreConfig::default().with_tls(upstream.tls.clone()),
                    upstream: Some(upstream),
                }
            }
        };
        let access = &self.access;
        setting.relay.grace = self.grace.unwrap_or(setting.relay.grace);
        setting.relay.one_piece = self.one_piece.unwrap_or(setting.relay.one_piece);
        setting.relay.hosts.extend(access.hosts.iter().cloned());
        setting.relay.origins.extend(access.origins.iter().cloned());
        if !self.listen.is_empty() {
            setting.listen.clone_from(&self.listen);
            setting.listen_said = LISTEN.to_owned();
        }
        setting.tokens = access.tokens.clone().or(setting.tokens);
        setting.allow_anonymous |= access.allow_anonymous;
        let store = mem::take(&mut setting.store);
        let (store, secrets) = self.store.open(store, &mut setting.relay)?;
        setting.relay.store = store;
        setting.secrets = setting.secrets.and(secrets);
        // What the file says has been looked at.
        let checked = setting.relay.check();
        checked.map_err(|error| UsageError::new(error.message().to_owned()))?;
        Ok(setting)
    }

    /// Whom the options name, and the routes to there with these keys.
    fn keyed(&self, keys: &[String]) -> Result<(Upstream, RouteTable), UsageError> {
        let (first, others) = match keys {
            [] => (None, &[][..]),
            [first, others @ ..] => (Some(&**first), others),
        };
        let upstream = self.provider.upstream_with_clients_key(first)?;
        let with_key = |key: &String| {
            let upstream = self.provider.upstream_with_clients_key(Some(key))?;
            Ok::<_, UsageError>(upstream.provider.into())
        };
        let others = others.iter().map(with_key).collect::<Result<_, _>>()?;
        let target = Target::with_keys(upstream.provider.clone().into(), others);
        Ok((upstream, RouteTable::new(vec![Route::new("*", target)])))
    }

    /// Whether `--key-file` can be read again.
    fn has_key_file(&self) -> bool {
        let path = self.key_file.as_ref();
        path.is_some_and(|path| path.as_os_str() != "-")
    }

    /// What `--key-file` holds.
    fn keys(&self) -> Result<Vec<String>, UsageError> {
        let Some(path) = &self.key_file else {
            return Ok(Vec::new());
        };
        let name = format!("--key-file {}", path.display());
        let text = match path.as_os_str() == "-" {
            true if self.access.tokens.as_ref() == Some(path) => {
                let both =
                    "standard input can't be both --tokens and --key-file: name a file for one";
                return Err(UsageError::new(both.to_owned()));
            }
            true => read_text(&name, io::stdin().lock())?,
            false => {
                let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
                read_text(&name, file)?
            }
        };
        let lines = text.lines().map(str::trim);
        let keys: Vec<_> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        for key in &keys {
            BearerAuth::new(key.clone()).map_err(|error| UsageError::at(&name, &error))?;
        }
        let mut all = HashSet::new();
        if !keys.iter().all(|key| all.insert(key)) {
            return Err(UsageError::new(format!(
                "{name}: the same key is there twice: leave one out"
            )));
        }
        match keys.is_empty() {
            true => Err(UsageError::new(format!(
                "{name}: there is no key in it: write one a line"
            ))),
            false => Ok(keys),
        }
    }
}

/// `-h` shows what most come for, `--help` the rest too. What a configuration says of its servers is not said beside one.
fn brief(argument: Arg) -> Arg {
    let rare_of_servers = [
        "providers_file",
        "headers",
        "queries",
        "ca_file",
        "client_cert",
        "client_key",
        "max_attempts",
    ];
    let name = argument.get_id().as_str();
    let heading = argument.get_help_heading().unwrap_or_default();
    let is_under = |headings: &[&str]| headings.iter().any(|one| heading.starts_with(one));
    let is_rare_of_servers =
        is_under(&["Timeouts", "Connection"]) || rare_of_servers.contains(&name);
    let is_rare = is_rare_of_servers || is_under(&["Several nodes"]) || name == "one_piece";
    let is_of_servers =
        is_rare_of_servers || ["provider", "base_url", "api_key_env", "wire"].contains(&name);
    let argument = argument.hide_short_help(is_rare);
    match is_of_servers {
        true => argument.conflicts_with("config"),
        false => argument,
    }
}

fn configuration(path: &PathBuf) -> Result<Configuration, UsageError> {
    Configuration::from_file(path, |name| env::var_os(name))
        .map_err(|error| UsageError::at("--config", &error))
}

fn tokens(path: Option<&PathBuf>) -> Result<Option<Tokens>, UsageError> {
    let tokens = path.map(Tokens::from_file).transpose();
    tokens.map_err(|error| UsageError::at("--tokens", &error))
}

/// What SIGHUP reads again.
struct Reload {
    serve: Serve,
    tokens: Option<PathBuf>,
    /// What logs hide.
    secrets: Secrets,
}

impl Reload {
    fn read(&self) -> Result<(Option<RouteTable>, Option<Tokens>), UsageError> {
        let routes = match &self.serve.config {
            Some(path) => {
                let read = configuration(path)?;
                self.secrets.learn(read.secrets().to_vec());
                Some(read.routes)
            }
            None if self.serve.has_key_file() => {
                let keys = self.serve.keys()?;
                self.secrets.learn(keys.iter().cloned());
                Some(self.serve.keyed(&keys)?.1)
            }
            None => None,
        };
        Ok((routes, tokens(self.tokens.as_ref())?))
    }

    /// All of it, or nothing.
    fn reload(&self, relay: &Relay) {
        match self.read() {
            Ok((routes, tokens)) => {
                if let Some(routes) = routes {
                    relay.set_routes(routes);
                }
                relay.set_tokens(tokens);
                console::complain(
                    "read again: new requests go by the new routes, keys and tokens; what [relay] and [store] say changes with a new start",
                );
            }
            Err(error) => {
                console::complain(&format!("not read again, nothing has changed: {error}"))
            }
        }
    }
}

/// How it ends.
struct Drain {
    grace: Duration,
    notice: Duration,
}

async fn serve(
    relay: Relay,
    reload: Reload,
    listeners: Vec<TcpListener>,
    drain: Drain,
    interrupts: &mut Interrupts,
) -> Result<ExitStatus, UsageError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let first = listeners.first().map(TcpListener::local_addr);
    let first = first.unwrap_or_else(|| Err(IoErrorKind::AddrNotAvailable.into()));
    let first = first.map_err(UsageError::at_start)?;
    let serving = relay::serve(listeners, &relay, workers).map_err(UsageError::at_start)?;
    let mut hangups = Hangups::new().map_err(UsageError::at_start)?;
    let mut stdout = io::stdout();
    // Who does not want to know the URL knows the port.
    let _ = writeln!(stdout, "http://{first}/v1").and_then(|()| stdout.flush());
    let interrupt = loop {
        tokio::select! {
            signal = interrupts.next() => break signal,
            () = hangups.next() => reload.reload(&relay),
        }
    };
    if interrupt == Interrupt::Terminate {
        // Those who send traffic look at readiness before the listener closes, also where nothing runs.
        let drained = async {
            let noticed = tokio::time::sleep(drain.notice);
            tokio::join!(relay.drain(drain.grace), noticed);
        };
        let again = tokio::select! {
            () = drained => None,
            again = interrupts.next() => Some(again),
        };
        match again {
            None => {}
            Some(Interrupt::CtrlC) => return Ok(ExitStatus::Interrupted),
            // Whoever asks again does not wait for what runs.
            Some(Interrupt::Terminate) => relay.drain(Duration::ZERO).await,
        }
        serving.stop().await;
    }
    Ok(match interrupt {
        Interrupt::CtrlC => ExitStatus::Interrupted,
        Interrupt::Terminate => ExitStatus::Success,
    })
}
