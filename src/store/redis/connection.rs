//! One connection for many commands, which is opened again when it breaks.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection, cmd, pipe,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    keys,
    options::{Address, Place, RedisOptions},
    scripts::Script,
    values,
};
use crate::{
    store::{StoreError, time_to_send},
    transport,
};

/// How many commands wait for the one who writes them; who has more to say waits itself.
const WAITING_COMMANDS: usize = 1024;

/// How many bytes are written at once, of commands that came together.
const WRITTEN_BYTES: usize = 64 << 10;

/// About how long the keys of a script are, and what else is short.
const KEYS_BYTES: usize = 640;

/// How often a cluster may say that the keys are elsewhere, until there is a connection.
const REDIRECTIONS: usize = 4;

/// How much of what a server says of an error is passed on.
const ERROR_CHARS: usize = 200;

/// A connection to the server, or the way to one. It is opened by who needs it first, and belongs to that one's runtime; when that ends,
/// the next one opens another.
pub(super) struct Link {
    address: Address,
    options: Arc<RedisOptions>,
    state: Mutex<State>,
}

enum State {
    Idle,
    Connecting {
        /// Closed when it is.
        over: watch::Receiver<()>,
        retry: u32,
    },
    Up(Live),
    Down {
        until: Instant,
        retry: u32,
        why: StoreError,
    },
}

enum Opened {
    Here(Live),
    /// At the server that it names.
    Elsewhere(String),
}

enum Way {
    Open(Live),
    Opening(watch::Receiver<()>),
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// The digests of the scripts, in their order.
    digests: Arc<[String]>,
    driver: Arc<Driver>,
}

/// Reads and writes, as long as somebody holds it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    pub(super) fn new(address: Address, options: Arc<RedisOptions>) -> Self {
        Self {
            address,
            options,
            state: Mutex::new(State::Idle),
        }
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is none and nobody opens one, and nothing stands against opening another.
    pub(super) fn is_left(&self) -> bool {
        match &*self.state() {
            State::Idle => true,
            State::Up(live) => live.driver.0.is_finished(),
            State::Connecting { over, .. } => over.has_changed().is_err(),
            State::Down { until, .. } => Instant::now() >= *until,
        }
    }

    /// The answer to one command.
    pub(super) async fn ask(self: &Arc<Self>, command: &Cmd) -> Result<Value, StoreError> {
        self.ask_within(command, self.options.command_timeout).await
    }

    /// The same of one that may take so long at the server.
    pub(super) async fn ask_within(
        self: &Arc<Self>,
        command: &Cmd,
        time: Duration,
    ) -> Result<Value, StoreError> {
        let used = OnceLock::new();
        let asked = async {
            let mut connection = self.connection(&used).await?.connection;
            Ok(connection.send_packed_command(command).await)
        };
        let answer = self.within(time, &used, asked).await?;
        self.checked(answer, &used)
    }

    /// The answers to several commands that nothing comes between on the way.
    pub(super) async fn ask_all(
        self: &Arc<Self>,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let used = OnceLock::new();
        let asked = async {
            let mut connection = self.connection(&used).await?.connection;
            let answers = connection.send_packed_commands(commands, 0, commands.len());
            Ok(answers.await)
        };
        let time = self.options.command_timeout;
        let answers = self.within(time, &used, asked).await?.into_iter();
        answers.map(|answer| self.checked(answer, &used)).collect()
    }

    /// What a script answers; `fill` adds how many keys there are, the keys and the arguments: about so many, and of so many bytes beside the keys.
    pub(super) async fn run(
        self: &Arc<Self>,
        script: Script,
        (arguments, bytes): (usize, usize),
        fill: impl Fn(&mut Cmd),
    ) -> Result<Value, StoreError> {
        let used = OnceLock::new();
        let asked = async {
            let Live {
                mut connection,
                digests,
                ..
            } = self.connection(&used).await?;
            let mut command = Cmd::with_capacity(arguments, KEYS_BYTES + bytes);
            command.arg("EVALSHA").arg(&digests[script as usize]);
            fill(&mut command);
            let answer = connection.send_packed_command(&command).await;
            if !is_unknown_script(&answer) {
                return Ok(answer);
            }
            // Somebody had the server forget its scripts: it was not run.
            let mut command = cmd("EVAL");
            command.arg(script.source());
            fill(&mut command);
            Ok(connection.send_packed_command(&command).await)
        };
        let time = self.options.command_timeout + time_to_send(bytes);
        let answer = self.within(time, &used, asked).await?;
        self.checked(answer, &used)
    }

    /// Does it within a time. A connection that broke or did not answer is given up: what was sent may have been done.
    async fn within<T>(
        &self,
        time: Duration,
        used: &OnceLock<Arc<Driver>>,
        asked: impl Future<Output = Result<Result<T, RedisError>, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(time, asked).await {
            Ok(Ok(Err(error))) if is_of_the_connection(&error) => {
                self.give_up(used.get());
                Err(self.unavailable(&reason(&error)))
            }
            Ok(Ok(Err(error))) => Err(self.refused(&error, used)),
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.give_up(used.get());
                Err(self.unavailable(&format!("no answer within {time:?}")))
            }
        }
    }

    /// Gives up the connection that there is.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        if let State::Up(_) = *state {
            *state = State::Idle;
        }
    }

    fn give_up(&self, used: Option<&Arc<Driver>>) {
        self.leave(used, State::Idle);
    }

    /// Not another one, which was opened since.
    fn leave(&self, used: Option<&Arc<Driver>>, then: State) {
        let mut state = self.state();
        if let (State::Up(live), Some(used)) = (&*state, used)
            && Arc::ptr_eq(&live.driver, used)
        {
            *state = then;
        }
    }

    /// The connection, as soon as there is one. Where one could not be opened right now, that is said again until it is time to try anew.
    async fn connection(
        self: &Arc<Self>,
        used: &OnceLock<Arc<Driver>>,
    ) -> Result<Live, StoreError> {
        loop {
            let mut connecting = match self.way()? {
                Way::Open(live) => {
                    let _ = used.set(Arc::clone(&live.driver));
                    return Ok(live);
                }
                Way::Opening(over) => over,
            };
            // Nothing is ever said but that it is over.
            let _ = connecting.changed().await;
        }
    }

    fn way(self: &Arc<Self>) -> Result<Way, StoreError> {
        let mut state = self.state();
        let retry = match &*state {
            State::Up(live) if !live.driver.0.is_finished() => return Ok(Way::Open(live.clone())),
            State::Connecting { over, .. } if over.has_changed().is_ok() => {
                return Ok(Way::Opening(over.clone()));
            }
            State::Down { until, why, .. } if Instant::now() < *until => return Err(why.clone()),
            State::Down { retry, .. } => retry.saturating_add(1),
            // Who opened it is gone, with its runtime.
            State::Connecting { retry, .. } => *retry,
            State::Idle | State::Up(_) => 1,
        };
        let over = self.begin(retry);
        *state = State::Connecting {
            over: over.clone(),
            retry,
        };
        Ok(Way::Opening(over))
    }

    /// Opens a connection, whoever goes away meanwhile.
    fn begin(self: &Arc<Self>, retry: u32) -> watch::Receiver<()> {
        let (is_over, over) = watch::channel(());
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let time = link.options.connect_timeout;
            let opened = timeout(time, link.open()).await;
            let opened = opened.unwrap_or_else(|_| Err(format!("no connection within {time:?}")));
            *link.state() = match opened {
                Ok(live) => State::Up(live),
                Err(why) => {
                    tracing::warn!(redis = %link.address.place, %why, retry, "no connection to the store");
                    State::Down {
                        until: Instant::now() + link.options.reconnect.delay(retry),
                        retry,
                        why: link.unavailable(&why),
                    }
                }
            };
            drop(is_over);
        });
        over
    }

    /// Where the server is one of a cluster that has the keys elsewhere, goes there.
    async fn open(&self) -> Result<Live, String> {
        let mut place = self.address.place.clone();
        for _ in 0..REDIRECTIONS {
            match self.open_at(&place).await? {
                Opened::Here(live) => return Ok(live),
                Opened::Elsewhere(to) => place = place.moved(&to).ok_or("it moves to nowhere")?,
            }
        }
        Err("its cluster sends from one server to another".to_owned())
    }

    async fn open_at(&self, place: &Place) -> Result<Opened, String> {
        match place {
            #[cfg(unix)]
            Place::Unix(path) => {
                let connected = tokio::net::UnixStream::connect(path).await;
                self.set_up(connected.map_err(|error| io_reason(&error))?)
                    .await
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err("there are no such sockets here".to_owned()),
            Place::Tcp(host, port) => {
                let time = self.options.connect_timeout;
                let opened = transport::open(host, *port, time).await;
                let stream = opened.map_err(|error| error.to_string())?;
                match &self.address.tls {
                    None => self.set_up(stream).await,
                    Some(tls) => {
                        let secured = transport::secure(stream, host, *port, tls, time).await;
                        self.set_up(secured.map_err(|error| error.to_string())?)
                            .await
                    }
                }
            }
        }
    }

    async fn set_up(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Opened, String> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING_COMMANDS)
            .set_write_backpressure_boundary(WRITTEN_BYTES);
        let login = &self.address.login;
        let made = MultiplexedConnection::new_with_config(login, stream, config).await;
        let (mut connection, driver) = made.map_err(|error| self.said(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver)));
        let mut asked = pipe();
        for script in Script::ALL {
            asked.cmd("SCRIPT").arg("LOAD").arg(script.source());
        }
        // Whether the keys are here.
        let home = keys::inbox(&self.options.prefix, "");
        asked.cmd("HGET").arg(home).arg("");
        let answers = connection.send_packed_commands(&asked, 0, asked.len());
        let mut answers = answers.await.map_err(|error| self.said(&error))?;
        if let Some(Value::ServerError(error)) = answers.pop() {
            let error = RedisError::from(error);
            return match error.redirect_node() {
                Some((to, _)) => Ok(Opened::Elsewhere(to.to_owned())),
                None => Err(self.said(&error)),
            };
        }
        let digests = answers.into_iter().map(|digest| match digest {
            Value::ServerError(error) => Err(self.said(&error.into())),
            digest => values::text(&digest)
                .map(str::to_owned)
                .ok_or_else(|| "it is no server of Redis".to_owned()),
        });
        Ok(Opened::Here(Live {
            connection,
            digests: digests.collect::<Result<_, _>>()?,
            driver,
        }))
    }

    fn checked(&self, answer: Value, used: &OnceLock<Arc<Driver>>) -> Result<Value, StoreError> {
        match answer {
            Value::ServerError(error) => Err(self.refused(&error.into(), used)),
            answer => Ok(answer),
        }
    }

    /// The server answers, and does not do it.
    fn refused(&self, error: &RedisError, used: &OnceLock<Arc<Driver>>) -> StoreError {
        let why = self.unavailable(&self.said(error));
        // It has become a replica, or the keys went elsewhere: the next connection goes where they are, which may not be known there at once.
        if matches!(error.code(), Some("READONLY" | "MOVED")) {
            let down = State::Down {
                until: Instant::now() + self.options.reconnect.delay(1),
                retry: 1,
                why: why.clone(),
            };
            self.leave(used.get(), down);
        }
        why
    }

    /// What the server says, without what it should not.
    fn said(&self, error: &RedisError) -> String {
        let Some(code) = error.code() else {
            return reason(error);
        };
        let mut said = format!("{code} {}", error.detail().unwrap_or_default());
        for secret in self.address.secrets() {
            said = said.replace(secret, "...");
        }
        said.chars().take(ERROR_CHARS).collect()
    }

    fn unavailable(&self, why: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: {why}", self.address.place))
    }
}

fn is_unknown_script(answer: &Result<Value, RedisError>) -> bool {
    match answer {
        Ok(Value::ServerError(error)) => error.code() == "NOSCRIPT",
        Ok(_) => false,
        Err(error) => error.code() == Some("NOSCRIPT"),
    }
}

fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || error.is_connection_dropped()
}

fn reason(error: &RedisError) -> String {
    match error.is_connection_dropped() {
        true => "the connection was closed".to_owned(),
        false => error.category().to_owned(),
    }
}

#[cfg(unix)]
fn io_reason(error: &io::Error) -> String {
    error.kind().to_string()
}
