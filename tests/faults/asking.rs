//! Runtimes, the program, and server processes as these tests want them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

use actix_responses::{Runtime, actors::SupervisorConfig, provider::Provider};
use tokio::time::Instant;

use crate::support::{PATIENCE, Ran, asking, program, run};

pub(crate) fn start_with(base_url: &str, change: impl FnOnce(&mut Provider, &mut u32)) -> Runtime {
    let mut provider = Provider::new("test", base_url).expect("a URL");
    let mut max_attempts = 1;
    change(&mut provider, &mut max_attempts);
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = max_attempts;
    config.retry.backoff.base = Duration::from_millis(1);
    config.retry.backoff.cap = Duration::from_millis(1);
    Runtime::with_config(config).expect("a configuration")
}

/// Lets the program ask; it must be over in time.
pub(crate) fn ask(base_url: &str, arguments: &[&str]) -> Ran {
    let begun = Instant::now();
    let arguments = [&["--json", "--max-attempts=1"], arguments].concat();
    let ran = run(&asking(base_url, &arguments));
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    ran
}

/// The kind of the error that the program's last event tells.
pub(crate) fn reported_kind(ran: &Ran) -> String {
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let kind = ran.end()["error"]["kind"].as_str().map(str::to_owned);
    kind.unwrap_or_else(|| panic!("{ran:?}"))
}

/// `actix-responses loopback` as a process of its own; it is killed when this is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) base_url: String,
}

impl ServerProcess {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program(&["loopback", "--quiet"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its base URL");
        let base_url = line.trim().to_owned();
        Self { child, base_url }
    }

    /// `kill -9`, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("its end");
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // An error means that it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
