//! A server of Redis for one test.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use actix_responses::store::{RedisOptions, RedisStore};
use tokio::time::{sleep, timeout};

use super::Folder;

/// How long a server may take until it answers.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Listens on a socket in a folder of its own, and keeps nothing on disk. It goes when the test ends.
pub(crate) struct RedisServer {
    pub(crate) folder: Folder,
    program: OsString,
    arguments: Vec<String>,
    child: Option<Child>,
    login: String,
}

impl RedisServer {
    /// One that is ready, or nothing where none is named; then it is said which test is left out, and that passes.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::start_in(Folder::new(), arguments, "").await
    }

    /// `login` is what the URL has behind the path, for those who may look whether it is ready.
    pub(crate) async fn start_in(folder: Folder, arguments: &[&str], login: &str) -> Option<Self> {
        let program = named()?;
        let mut server = Self {
            folder,
            program,
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            child: None,
            login: login.to_owned(),
        };
        server.start_again().await;
        Some(server)
    }

    /// The same, on the same socket; what it held is gone.
    pub(crate) async fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        let socket = self.folder.path("redis.sock");
        let folder = self.folder.path("");
        command.args(["--port", "0", "--unixsocket", &socket, "--dir", &folder]);
        command.args(["--save", "", "--appendonly", "no", "--logfile", "log"]);
        command.args(&self.arguments).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("the server that was named"));
        let ready = timeout(STARTS_WITHIN, async {
            while self.try_ask(&["PING"]).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        ready.await.expect("a server that answers");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.path("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}{}", self.socket(), self.login)
    }

    /// A store there, as another node would have it.
    pub(crate) fn store(&self, options: RedisOptions) -> RedisStore {
        RedisStore::new(&self.url(), options).expect("a store")
    }

    /// What the server says to a command of an administrator.
    pub(crate) async fn ask(&self, command: &[&str]) -> redis::Value {
        self.try_ask(command).await.expect("an answer")
    }

    async fn try_ask(&self, command: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (name, arguments) = command.split_first().expect("a command");
        let mut asked = redis::cmd(name);
        asked.arg(arguments).query_async(&mut connection).await
    }

    /// The same as a text.
    pub(crate) async fn tell(&self, command: &[&str]) -> String {
        let told = self.ask(command).await;
        redis::from_redis_value(told).expect("a text")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody has; the server takes it a moment later.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn named() -> Option<OsString> {
    if let Some(program) = env::var_os("RESPONSES_REDIS_SERVER").filter(|name| !name.is_empty()) {
        return Some(program);
    }
    assert_ne!(
        env::var("RESPONSES_REDIS_REQUIRED").as_deref(),
        Ok("1"),
        "RESPONSES_REDIS_REQUIRED is set, and RESPONSES_REDIS_SERVER names no server"
    );
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let said = format!(
        "LEFT OUT: {test}, which needs a server of Redis: set RESPONSES_REDIS_SERVER=redis-server, or its path\n"
    );
    // Not by a macro, whose text is shown of tests that fail alone.
    let _ = std::io::stderr().write_all(said.as_bytes());
    None
}
